//! What changed between two plans: the one that was approved, and the one that is there now. Pure.
//!
//! Three walks: the old plan ([`Before::add`]), the new one ([`Changes::add`]), the old one again ([`Changes::recall`]), so
//! that old values can be told while of each old step only a fingerprint of 64 bytes is held.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use sha2::Digest as _;

use crate::model::head::Seen;
use crate::model::row::Guard;
use crate::model::step::{Action, Counts, Earlier, Footer, Header, Proof, Step, digest_text};
use crate::model::target::{Addressing, ConditionalWrites, Target};
use crate::model::text::{bytes as size, count, escape, name};

use super::text::{Paint, Tone, totals};
use super::words::properties;

/// So many changes are told, each with its old and its new value; the others are counted.
pub const CHANGES_MAX: usize = 10_000;

/// Part of a SHA-256 each: nobody can make a change that leaves a fingerprint as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fingerprint {
    /// Of endpoint, bucket and key.
    key: [u8; 16],
    n: u64,
    action: Action,
    content: u64,
    head: u64,
    source: u64,
    rest: u64,
    is_met: bool,
}

/// The old plan, by the places that it writes to.
#[derive(Debug)]
pub struct Before {
    header: Header,
    prints: Vec<Fingerprint>,
}

/// What one entry had, and has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    pub bucket: String,
    pub key: String,
    pub kind: Kind,
    pub before: Option<Action>,
    pub now: Option<Action>,
    /// What differs, as a sentence each, escaped.
    pub what: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Added,
    Gone,
    /// Another action than before.
    Action,
    /// The same action, and other content, another object in the bucket, another source or other properties.
    Other,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Action, Self::Other, Self::Added, Self::Gone];

    fn name(self) -> &'static str {
        match self {
            Self::Action => "with another action",
            Self::Other => "with the same action, otherwise changed",
            Self::Added => "added",
            Self::Gone => "gone",
        }
    }
}

/// Finds what changed, one step of the new plan at a time.
#[derive(Debug)]
pub struct Changes {
    before: Before,
    header: Header,
    unchanged: u64,
    found: BTreeMap<Kind, u64>,
    added: Vec<Change>,
    /// New steps whose old one is to be told, by its number.
    changed: BTreeMap<u64, Step>,
    told: Vec<Change>,
}

/// All that changed between two plans.
#[derive(Debug, Serialize)]
pub struct Changed {
    pub digest_before: String,
    pub digest_now: String,
    pub counts_before: Counts,
    pub counts_now: Counts,
    /// What changed for all entries alike, escaped.
    pub plan: Vec<String>,
    pub added: u64,
    pub gone: u64,
    pub action_changed: u64,
    pub otherwise_changed: u64,
    pub unchanged: u64,
    /// The first of them, of each kind so many as are told.
    pub entries: Vec<Change>,
}

impl Before {
    #[must_use]
    pub fn new(header: Header) -> Self {
        Self { header, prints: Vec::new() }
    }

    /// Takes in the next step of the old plan.
    pub fn add(&mut self, step: &Step) {
        let print = fingerprint(&self.header, step);
        self.prints.push(print);
    }

    /// Begins to compare it with a new plan.
    #[must_use]
    pub fn against(mut self, header: Header) -> Changes {
        self.prints.sort_unstable();
        Changes {
            before: self,
            header,
            unchanged: 0,
            found: BTreeMap::new(),
            added: Vec::new(),
            changed: BTreeMap::new(),
            told: Vec::new(),
        }
    }
}

impl Changes {
    /// Takes in the next step of the new plan.
    pub fn add(&mut self, step: &Step) {
        let print = fingerprint(&self.header, step);
        let prints = &mut self.before.prints;
        let from = prints.partition_point(|old| old.key < print.key);
        // A key stands in a plan once, but for plans that were made by hand.
        let old = prints[from..].iter_mut().take_while(|old| old.key == print.key).find(|old| !old.is_met);
        let Some(old) = old else {
            *self.found.entry(Kind::Added).or_default() += 1;
            if self.added.len() < CHANGES_MAX {
                let what = vec![act(step)];
                self.added.push(change(&self.header, step, Kind::Added, (None, Some(step.action)), what));
            }
            return;
        };
        old.is_met = true;
        let kind = if old.action != print.action {
            Kind::Action
        } else if (old.content, old.head, old.source, old.rest) != (print.content, print.head, print.source, print.rest)
        {
            Kind::Other
        } else {
            self.unchanged += 1;
            return;
        };
        let n = old.n;
        *self.found.entry(kind).or_default() += 1;
        if self.changed.len() < CHANGES_MAX {
            self.changed.insert(n, step.clone());
        }
    }

    /// Takes in the next step of the old plan once more, after all of the new one.
    pub fn recall(&mut self, old: &Step) {
        if let Some(new) = self.changed.remove(&old.n) {
            let targets = [terms(&self.before.header, old), terms(&self.header, &new)];
            let what = differences(old, &new, targets);
            let kind = if old.action == new.action { Kind::Other } else { Kind::Action };
            self.told.push(change(&self.header, &new, kind, (Some(old.action), Some(new.action)), what));
            return;
        }
        let key = place(&self.before.header, old);
        let prints = &self.before.prints;
        let from = prints.partition_point(|print| print.key < key);
        let is_gone =
            prints[from..].iter().take_while(|print| print.key == key).any(|print| print.n == old.n && !print.is_met);
        if is_gone {
            let gone = self.found.entry(Kind::Gone).or_default();
            *gone += 1;
            if *gone <= CHANGES_MAX as u64 {
                let what = vec![format!("was {}", act(old))];
                self.told.push(change(&self.before.header, old, Kind::Gone, (Some(old.action), None), what));
            }
        }
    }

    /// All that changed. The footers are those that the walks ended with.
    #[must_use]
    pub fn finish(mut self, before: &Footer, now: &Footer) -> Changed {
        let of = |kind: Kind| self.found.get(&kind).copied().unwrap_or(0);
        let (added, gone, action_changed, otherwise_changed) =
            (of(Kind::Added), of(Kind::Gone), of(Kind::Action), of(Kind::Other));
        let mut entries = std::mem::take(&mut self.told);
        entries.append(&mut self.added);
        Changed {
            digest_before: digest_text(&before.digest),
            digest_now: digest_text(&now.digest),
            counts_before: before.counts,
            counts_now: now.counts,
            plan: of_all(&self.before.header, &self.header),
            added,
            gone,
            action_changed,
            otherwise_changed,
            unchanged: self.unchanged,
            entries,
        }
    }
}

impl Changed {
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.plan.is_empty() && self.added + self.gone + self.action_changed + self.otherwise_changed == 0
    }

    /// For a person: what changed for all, then entry by entry, then both plans' totals.
    #[must_use]
    pub fn text(&self, paint: Paint<'_>) -> String {
        let mut lines = vec![paint(Tone::Strong, "Changes since the earlier plan")];
        lines.extend(self.plan.iter().map(|line| format!("  {}", paint(Tone::Replace, line))));
        for kind in Kind::ALL {
            let (all, glyph, tone) = match kind {
                Kind::Action => (self.action_changed, '~', Tone::Replace),
                Kind::Other => (self.otherwise_changed, '~', Tone::Replace),
                Kind::Added => (self.added, '+', Tone::Create),
                Kind::Gone => (self.gone, '-', Tone::Refuse),
            };
            if all == 0 {
                continue;
            }
            lines.push(paint(tone, &format!("{glyph} {} {}", count(all), kind.name())));
            let mut told = 0;
            for entry in self.entries.iter().filter(|entry| entry.kind == kind) {
                told += 1;
                let glyph = paint(tone, &glyph.to_string());
                match (kind, entry.what.as_slice()) {
                    (Kind::Added | Kind::Gone, [one]) => lines.push(format!("  {glyph} {}  {one}", address(entry))),
                    (_, what) => {
                        lines.push(format!("  {glyph} {}", address(entry)));
                        lines.extend(what.iter().map(|what| format!("      {}", paint(Tone::Quiet, what))));
                    }
                }
            }
            if told < all {
                lines.push(format!("    and {} more", count(all - told)));
            }
        }
        lines.push(paint(Tone::Quiet, &format!("= {} as before", count(self.unchanged))));
        lines.push(String::new());
        let counts = |counts: &Counts| totals(counts).trim_start_matches("Plan: ").to_owned();
        lines.push(format!("Before: {}", counts(&self.counts_before)));
        lines.push(format!("        {}", self.digest_before));
        lines.push(format!("Now:    {}", counts(&self.counts_now)));
        lines.push(format!("        {}\n", self.digest_now));
        lines.join("\n")
    }
}

fn address(change: &Change) -> String {
    name(&format!("s3://{}/{}", change.bucket, change.key)).into_owned()
}

fn change(
    header: &Header,
    step: &Step,
    kind: Kind,
    (before, now): (Option<Action>, Option<Action>),
    what: Vec<String>,
) -> Change {
    let bucket =
        header.targets.iter().find(|known| *known.name == *step.target).map_or(&*step.target, |known| &known.bucket);
    Change { bucket: bucket.to_owned(), key: step.key.to_string(), kind, before, now, what }
}

/// What two steps of one key differ in, as far as a reviewer cares: not where in the manifest they stand, nor when the
/// file was touched.
fn differences(old: &Step, new: &Step, [target_before, target_now]: [String; 2]) -> Vec<String> {
    let mut what = Vec::new();
    let mut say = |label: &str, old: String, new: String| {
        if old != new {
            what.push(format!("{label}: {} -> {}", or_none(&old), or_none(&new)));
        }
    };
    say("action", old.action.to_string(), new.action.to_string());
    say("reason", old.reason.to_string(), new.reason.to_string());
    say("rule", old.rule.to_string(), new.rule.to_string());
    say("content", content(old), content(new));
    say(
        "in the bucket",
        old.head.as_ref().map(seen).unwrap_or_default(),
        new.head.as_ref().map(seen).unwrap_or_default(),
    );
    say("brings back", brought_back(old), brought_back(new));
    say("guard", guard(old), guard(new));
    say("proof", claim(old), claim(new));
    say("source", source(old), source(new));
    say("target", target_before, target_now);
    let stage = |step: &Step| step.stage.as_deref().map(|stage| name(stage).into_owned()).unwrap_or_default();
    say("stage", stage(old), stage(new));
    say("content_type", content_type(old), content_type(new));
    say("properties", properties(old), properties(new));
    let note = |step: &Step| step.note.as_deref().map(|note| escape(note).into_owned()).unwrap_or_default();
    say("note", note(old), note(new));
    what
}

/// What a step does, and from what.
fn act(step: &Step) -> String {
    let version = step.earlier.as_ref().and_then(|earlier| earlier.seen.version.as_ref());
    match step.action {
        Action::Restore => format!("restore <- version {}", version.map_or("".into(), |id| name(&id.0))),
        Action::Delete => "delete".to_owned(),
        Action::Create | Action::Replace | Action::Unchanged | Action::Keep | Action::Refuse | Action::Error => {
            format!("{} <- {}", step.action, name(&step.source))
        }
    }
}

fn brought_back(step: &Step) -> String {
    let Some(Earlier { seen: version, carried }) = step.earlier.as_deref() else { return String::new() };
    let carried = match serde_json::to_string(carried) {
        Ok(text) if !carried.is_nothing() => format!(", with {}", escape(&text)),
        Ok(_) | Err(_) => String::new(),
    };
    format!("{}{carried}", seen(version))
}

fn guard(step: &Step) -> String {
    step.guard.map(Guard::name).unwrap_or_default().to_owned()
}

/// That a step rests on a claim alone. Which of the sounder proofs was at hand is no news.
fn claim(step: &Step) -> String {
    step.proof.filter(|proof| *proof == Proof::Claim).map(|proof| proof.to_string()).unwrap_or_default()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn content(step: &Step) -> String {
    match &step.local {
        Some(local) => match &local.checksum {
            Some(checksum) => format!("{} {checksum}", size(local.size)),
            None => format!("{} bytes", local.size),
        },
        None => String::new(),
    }
}

fn source(step: &Step) -> String {
    let real = step.real.as_ref().map(|real| format!(" -> {}", name(real))).unwrap_or_default();
    format!("{}{real}", name(&step.source))
}

fn content_type(step: &Step) -> String {
    let text = step.properties.content_type.as_deref().filter(|_| step.action.writes());
    text.map(|text| escape(text).into_owned()).unwrap_or_default()
}

fn seen(head: &Seen) -> String {
    let version = head.version.as_ref().map(|id| format!(", version {}", escape(&id.0))).unwrap_or_default();
    format!("ETag {}{version}, {} bytes", escape(head.etag.as_str()), head.size)
}

/// What changed for all entries alike. The targets are met by where they lead, so that another endpoint or bucket shows
/// as entries that are gone and added; here stands what else is asked of them.
fn of_all(before: &Header, now: &Header) -> Vec<String> {
    let mut lines = Vec::new();
    let undoes = |header: &Header| header.undoes.as_deref().map(|run| name(run).into_owned()).unwrap_or_default();
    if before.undoes != now.undoes {
        lines.push(format!("rolls back run: {} -> {}", or_none(&undoes(before)), or_none(&undoes(now))));
    }
    if before.base != now.base {
        lines.push(format!("sources below: {} -> {}", name(&before.base), name(&now.base)));
    }
    let stages = |header: &Header| header.stages.iter().map(|stage| name(stage)).collect::<Vec<_>>().join(", then ");
    if before.stages != now.stages {
        lines.push(format!("stages: {} -> {}", or_none(&stages(before)), or_none(&stages(now))));
    }
    let parameters: BTreeSet<&String> = before.parameters.keys().chain(now.parameters.keys()).collect();
    for parameter in parameters {
        let [old, new] = [before, now].map(|header| header.parameters.get(parameter));
        if old != new {
            let [old, new] = [old, new].map(|value| value.map_or("none".into(), |value| name(value)));
            lines.push(format!("{}: {old} -> {new}", escape(parameter)));
        }
    }
    // Two targets may lead to one bucket on different terms: met by name, or by terms where only the name is another.
    let is_same =
        |old: &Target, new: &Target| old.place() == new.place() && (old.name == new.name || asked(old) == asked(new));
    let address =
        |target: &Target| format!("{}: {} at {}", name(&target.name), name(&target.bucket), escape(&target.endpoint));
    for target in &now.targets {
        let by_name = before.targets.iter().find(|old| old.name == target.name && is_same(old, target));
        match by_name.or_else(|| before.targets.iter().find(|old| is_same(old, target))) {
            None => lines.push(format!("target {}: added", address(target))),
            Some(old) if asked(old) != asked(target) => {
                lines.push(format!("target {}: {} -> {}", name(&target.name), asked(old), asked(target)));
            }
            Some(_) => {}
        }
    }
    for old in &before.targets {
        if !now.targets.iter().any(|target| is_same(old, target)) {
            lines.push(format!("target {}: gone", address(old)));
        }
    }
    for warning in now.warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
        lines.push(format!("warned now: {}", escape(warning)));
    }
    for warning in before.warnings.iter().filter(|warning| !now.warnings.contains(warning)) {
        lines.push(format!("no longer warned: {}", escape(warning)));
    }
    for refusal in now.refusals.iter().filter(|refusal| !before.refusals.contains(refusal)) {
        lines.push(format!("refused now: {}", escape(refusal)));
    }
    for refusal in before.refusals.iter().filter(|refusal| !now.refusals.contains(refusal)) {
        lines.push(format!("no longer refused: {}", escape(refusal)));
    }
    lines
}

/// All that is asked of a target besides where it leads.
fn asked(target: &Target) -> String {
    let Target {
        name: _,
        bucket: _,
        endpoint: _,
        region,
        addressing,
        owner,
        profile,
        role_arn,
        request_payer,
        trust_metadata,
        conditional_writes,
    } = target;
    let mut text = owner.as_ref().map_or("owner anybody".to_owned(), |owner| format!("owner {}", escape(owner)));
    let _ = write!(text, ", region {}", escape(region));
    for (what, value) in [("profile", profile), ("role_arn", role_arn)] {
        if let Some(value) = value {
            let _ = write!(text, ", {what} {}", escape(value));
        }
    }
    for (is, what) in [
        (*addressing == Addressing::Virtual, ", addressed by host"),
        (*request_payer, ", requester pays"),
        (!*trust_metadata, ", trust_metadata: false"),
        (*conditional_writes == ConditionalWrites::CheckFirst, ", check-first: NOT atomic"),
    ] {
        if is {
            text.push_str(what);
        }
    }
    text
}

/// The terms of a step's target, where others lead to the same place; of a target that is alone they are told for all.
fn terms(header: &Header, step: &Step) -> String {
    let Some(target) = header.targets.iter().find(|known| *known.name == *step.target) else { return String::new() };
    let rivals = header.targets.iter().filter(|other| other.place() == target.place()).count();
    if rivals > 1 { asked(target) } else { String::new() }
}

fn fingerprint(header: &Header, step: &Step) -> Fingerprint {
    // As data: two different sets of tags may read alike.
    let asked_for =
        if step.action.writes() { serde_json::to_string(&step.properties).unwrap_or_default() } else { String::new() };
    let rest = [
        step.rule.to_string(),
        step.reason.to_string(),
        step.stage.as_deref().unwrap_or_default().to_owned(),
        claim(step),
        terms(header, step),
        asked_for,
        // What a copy carries over is told nowhere else.
        serde_json::to_string(&step.earlier).unwrap_or_default(),
        guard(step),
        step.note.clone().unwrap_or_default(),
    ];
    Fingerprint {
        key: place(header, step),
        n: step.n,
        action: step.action,
        content: print(&[&content(step)]),
        head: print(&[&step.head.as_ref().map(seen).unwrap_or_default()]),
        source: print(&[&step.source, step.real.as_deref().unwrap_or_default()]),
        rest: print(&rest.each_ref().map(String::as_str)),
        is_met: false,
    }
}

/// Where a step writes: endpoint, bucket and key.
fn place(header: &Header, step: &Step) -> [u8; 16] {
    let target = header.targets.iter().find(|known| *known.name == *step.target);
    let (endpoint, bucket) = target.map_or((String::new(), ""), Target::place);
    *digest(&[&endpoint, bucket, step.key.as_str()]).first_chunk().unwrap_or(&[0; 16])
}

fn print(parts: &[&str]) -> u64 {
    digest(parts).first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;
