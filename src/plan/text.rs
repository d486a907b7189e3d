//! A plan as a person reads it: what is dangerous first and in full, what is harmless folded, totals and digest last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::model::entry::{Properties, Sse};
use crate::model::head::Seen;
use crate::model::step::{Action, Counts, Footer, Header, Reason, Step, digest_text};
use crate::model::target::ConditionalWrites;
use crate::model::text::{bytes as size, count, escape, name};

use super::file::Plan;

/// What a stretch of text means, for whoever may colour it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Create,
    Replace,
    Quiet,
    Refuse,
    Strong,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Groups of harmless steps longer than this are folded by folder.
    Fold(usize),
    All,
}

/// Renders a plan. Refusals, errors and replaces are never folded: each is shown with what it buries. Creates, unchanged
/// and kept are folded by folder where there are many. Everything that came from outside is escaped, so that no key can
/// fake a line. `paint` colours a stretch, or leaves it as it is.
#[must_use]
pub fn render(plan: &Plan, detail: Detail, paint: &dyn Fn(Tone, &str) -> String) -> String {
    let mut page = Page { text: String::new(), paint, single: plan.header.targets.len() == 1 };
    page.head(&plan.header);
    let of = |action: Action| plan.steps.iter().filter(move |step| step.action == action).collect::<Vec<_>>();
    page.full("refused", Tone::Refuse, '!', &of(Action::Refuse));
    page.full("in error", Tone::Refuse, '!', &of(Action::Error));
    page.full("to replace", Tone::Replace, '~', &of(Action::Replace));
    page.folded("to create", Tone::Create, '+', &of(Action::Create), detail);
    page.folded("kept", Tone::Quiet, '.', &of(Action::Keep), detail);
    page.folded("unchanged", Tone::Quiet, '=', &of(Action::Unchanged), detail);
    for warning in &plan.header.warnings {
        page.line(&format!("{} {}", (page.paint)(Tone::Replace, "warning:"), escape(warning)));
    }
    for refusal in &plan.header.refusals {
        page.line(&format!("{} {}", (page.paint)(Tone::Refuse, "refused:"), escape(refusal)));
    }
    if !(plan.header.warnings.is_empty() && plan.header.refusals.is_empty()) {
        page.line("");
    }
    page.line(&(page.paint)(Tone::Strong, &totals(&plan.footer.counts)));
    page.line(&digest_line(&plan.footer));
    page.text
}

/// The two numbers that a ticket needs, in one line.
#[must_use]
pub fn totals(counts: &Counts) -> String {
    let Counts { create, replace, unchanged, keep, refuse, error, by_claim, bytes } = *counts;
    let claims = if by_claim > 0 { format!(" ({} by claim)", count(by_claim)) } else { String::new() };
    let errors = if error > 0 { format!(", {} in error", count(error)) } else { String::new() };
    format!(
        "Plan: {} to create, {} to replace, {} unchanged{claims}, {} kept, {} refused{errors} ({} to upload)",
        count(create),
        count(replace),
        count(unchanged),
        count(keep),
        count(refuse),
        size(bytes)
    )
}

#[must_use]
pub fn digest_line(footer: &Footer) -> String {
    format!("Digest: {}", digest_text(&footer.digest))
}

struct Page<'a> {
    text: String,
    paint: &'a dyn Fn(Tone, &str) -> String,
    /// With one target, its name says nothing.
    single: bool,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn head(&mut self, header: &Header) {
        let manifests: Vec<String> = header.manifests.iter().map(|manifest| escape(&manifest.path).into()).collect();
        self.line(&format!("Plan of {}, made {}", manifests.join(", "), escape(&header.made_at)));
        for target in &header.targets {
            let label = if self.single { String::new() } else { format!("{}: ", name(&target.name)) };
            let owner = target.owner.as_ref().map(|owner| format!(", owner {}", escape(owner))).unwrap_or_default();
            let line = format!(
                "  {label}s3://{} at {} ({}{owner})",
                escape(&target.bucket),
                escape(&target.endpoint),
                escape(&target.region)
            );
            self.line(&line);
            if target.conditional_writes == ConditionalWrites::CheckFirst {
                let text = "    conditional_writes: check-first: a HEAD stands in for the precondition; NOT atomic";
                self.line(&(self.paint)(Tone::Refuse, text));
            }
            if !target.trust_metadata {
                self.line("    trust_metadata: false");
            }
        }
        self.line(&format!("  sources below {}", name(&header.base)));
        if !header.stages.is_empty() {
            let stages: Vec<String> = header.stages.iter().map(|stage| escape(stage).into()).collect();
            self.line(&format!("  stages: {}", stages.join(", then ")));
        }
        self.line("");
    }

    fn title(&mut self, what: &str, tone: Tone, glyph: char, count_: usize) {
        self.line(&(self.paint)(tone, &format!("{glyph} {} {what}", count(count_ as u64))));
    }

    /// A group that is never folded.
    fn full(&mut self, what: &str, tone: Tone, glyph: char, steps: &[&Step]) {
        if steps.is_empty() {
            return;
        }
        self.title(what, tone, glyph, steps.len());
        let own = self.shared(steps);
        for step in steps {
            self.step(tone, glyph, step, own);
        }
        self.line("");
    }

    /// A group that is folded by folder where it is long.
    fn folded(&mut self, what: &str, tone: Tone, glyph: char, steps: &[&Step], detail: Detail) {
        if steps.is_empty() {
            return;
        }
        self.title(what, tone, glyph, steps.len());
        match detail {
            Detail::Fold(most) if steps.len() > most => self.folders(tone, glyph, steps),
            Detail::Fold(_) | Detail::All => {
                let own = self.shared(steps);
                for step in steps {
                    self.step(tone, glyph, step, own);
                }
            }
        }
        self.line("");
    }

    /// Tells once what all writes of a group have in common. Whether each step must tell its own properties instead.
    fn shared(&mut self, steps: &[&Step]) -> Own {
        let texts: BTreeSet<String> = steps.iter().map(|step| properties(step)).collect();
        match texts.first() {
            Some(text) if texts.len() == 1 => {
                if !text.is_empty() {
                    self.line(&(self.paint)(Tone::Quiet, &format!("    all with {text}")));
                }
                Own::Untold
            }
            Some(_) | None => Own::Told,
        }
    }

    fn step(&mut self, tone: Tone, glyph: char, step: &Step, own: Own) {
        let key = format!("{}{}", self.target(step), name(step.key.as_str()));
        let mut line = format!("  {} {key}", (self.paint)(tone, &glyph.to_string()));
        let from = name(&step.source);
        match (&step.action, &step.local) {
            (Action::Create | Action::Replace, Some(local)) => {
                let _ = write!(line, "  <- {from} ({})", size(local.size));
            }
            (Action::Create | Action::Replace | Action::Refuse | Action::Error, _) => {
                let _ = write!(line, "  <- {from}");
            }
            (Action::Unchanged | Action::Keep, _) => {}
        }
        if let Some(real) = &step.real {
            let _ = write!(line, " -> {}", name(real));
        }
        if let Some(stage) = &step.stage {
            let _ = write!(line, "  [{}]", escape(stage));
        }
        self.line(&line);
        let with = properties(step);
        let with = (own == Own::Told && !with.is_empty()).then(|| format!("with {with}"));
        for detail in details(step).into_iter().chain(with) {
            self.line(&(self.paint)(Tone::Quiet, &format!("      {detail}")));
        }
    }

    fn target(&self, step: &Step) -> String {
        if self.single { String::new() } else { format!("{}:", name(&step.target)) }
    }

    fn folders(&mut self, tone: Tone, glyph: char, steps: &[&Step]) {
        const FOLDERS_MAX: usize = 20;
        let mut folders: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut with: BTreeMap<String, u64> = BTreeMap::new();
        for step in steps {
            *with.entry(properties(step)).or_default() += 1;
            let key = step.key.as_str();
            let folder = key.rfind('/').map_or("", |at| &key[..=at]);
            let (files, bytes) = folders.entry(format!("{}{folder}", self.target(step))).or_default();
            *files += 1;
            *bytes += step.local.as_ref().map_or(0, |local| local.size);
        }
        let mut largest: Vec<_> = folders.iter().collect();
        largest.sort_by(|(a, (a_files, _)), (b, (b_files, _))| b_files.cmp(a_files).then(a.cmp(b)));
        for (folder, (files, bytes)) in largest.iter().take(FOLDERS_MAX) {
            let line = format!(
                "  {} {}...  {} files, {}",
                (self.paint)(tone, &glyph.to_string()),
                name(folder),
                count(*files),
                size(*bytes)
            );
            self.line(&line);
        }
        if largest.len() > FOLDERS_MAX {
            self.line(&format!(
                "    and {} more folders (--all lists every key)",
                count((largest.len() - FOLDERS_MAX) as u64)
            ));
        }
        // An ACL or a key must not hide in a fold.
        with.remove("");
        for (text, files) in with.iter().take(FOLDERS_MAX) {
            self.line(&(self.paint)(Tone::Quiet, &format!("    {} with {text}", count(*files))));
        }
        if with.len() > FOLDERS_MAX {
            let more = count((with.len() - FOLDERS_MAX) as u64);
            self.line(&format!("    and {more} more sets of properties (--all lists every key)"));
        }
    }
}

/// Whether a step tells its own properties.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Told,
    Untold,
}

/// What a write gives its object beside the bytes; the content type alone goes without saying. Empty for a step that
/// writes nothing.
fn properties(step: &Step) -> String {
    if !step.action.writes() {
        return String::new();
    }
    let Properties {
        content_type: _,
        cache_control,
        content_encoding,
        content_disposition,
        content_language,
        storage_class,
        acl,
        sse,
        metadata,
        tags,
    } = &*step.properties;
    let mut texts = Vec::new();
    let one = [
        ("acl", acl),
        ("storage_class", storage_class),
        ("cache_control", cache_control),
        ("content_encoding", content_encoding),
        ("content_disposition", content_disposition),
        ("content_language", content_language),
    ];
    for (what, value) in one {
        if let Some(value) = value {
            texts.push(format!("{what}: {}", name(value)));
        }
    }
    match sse {
        Some(Sse::Aes256) => texts.push("sse: AES256".to_owned()),
        Some(Sse::Kms(key)) => texts.push(format!("sse: kms {}", name(key))),
        None => {}
    }
    for (what, pairs) in [("metadata", metadata), ("tags", tags)] {
        if !pairs.is_empty() {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}={}", name(key), name(value))).collect();
            texts.push(format!("{what}: {}", pairs.join(" ")));
        }
    }
    texts.join(", ")
}

/// What a reviewer must know of a step beside its key.
fn details(step: &Step) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(head) = &step.head {
        match step.action {
            Action::Replace => details.push(format!("buries {}: {}", buried(head), why(step))),
            Action::Refuse => details.push(format!(
                "{}: overwrite: {} does not allow to replace {} ({})",
                escape(&step.place.to_string()),
                step.rule,
                buried(head),
                why(step)
            )),
            Action::Create | Action::Unchanged | Action::Keep | Action::Error => {}
        }
    }
    if let Some(note) = &step.note {
        let place =
            if step.action == Action::Error { format!("{}: ", escape(&step.place.to_string())) } else { String::new() };
        details.push(format!("{place}{}", escape(note)));
    }
    details
}

fn why(step: &Step) -> String {
    let rule = if step.action == Action::Replace { format!(", overwrite: {}", step.rule) } else { String::new() };
    match (step.reason, step.proof) {
        (Reason::Unproven, _) => format!("whether it differs cannot be told{rule}"),
        (reason, Some(proof)) => format!("{reason} by {proof}{rule}"),
        (reason, None) => format!("{reason}{rule}"),
    }
}

/// The object that would be buried: size, date, and how to find it again.
fn buried(head: &Seen) -> String {
    let when = head.last_modified.as_deref().unwrap_or("an unknown date");
    let version = match &head.version {
        Some(id) => format!("version {}", escape(&id.0)),
        None => "no version: it could not be got back".to_owned(),
    };
    format!("{} of {}, ETag {}, {version}", size(head.size), escape(when), escape(head.etag.as_str()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::digest::{Checksum, Sha256};
    use crate::model::entry::{Key, Place, Rule};
    use crate::model::local::Pinned;
    use crate::model::step::PLAN_FORMAT;

    /// Creates of so many keys, the last of which is open to everybody.
    fn plan(creates: u64) -> Plan {
        let header = Header {
            noclobber_plan: PLAN_FORMAT,
            tool: "t".into(),
            made_at: "2026-01-02T03:04:05Z".into(),
            base: "/srv/a b".into(),
            parameters: BTreeMap::new(),
            manifests: Vec::new(),
            targets: Vec::new(),
            stages: Vec::new(),
            refusals: Vec::new(),
            warnings: Vec::new(),
        };
        let step = |n| Step {
            n,
            place: Place { file: "m.yaml".into(), line: 3 },
            source: format!("f{n}"),
            real: None,
            target: "default".into(),
            key: Key::new(format!("in/{n}  <- safe (1 B)")),
            rule: Rule::Never,
            stage: None,
            action: Action::Create,
            reason: Reason::Absent,
            proof: None,
            note: None,
            properties: Arc::new(Properties {
                acl: (n == creates).then(|| "public-read".to_owned()),
                ..Properties::default()
            }),
            local: Some(Pinned {
                size: 1,
                mtime: "2026-01-01T00:00:00Z".into(),
                checksum: Some(Checksum::Full(Sha256([7; 32]))),
            }),
            head: None,
        };
        let steps: Vec<Step> = (1..=creates).map(step).collect();
        let mut counts = Counts::default();
        for step in &steps {
            counts.add(step);
        }
        Plan { header, steps, footer: Footer { counts, digest: Sha256([0; 32]) } }
    }

    fn text(creates: u64) -> String {
        render(&plan(creates), Detail::Fold(5), &|_, text| text.to_owned())
    }

    #[test]
    fn no_fold_hides_who_may_read_what_is_written() {
        let folded = text(60);
        assert!(folded.contains("\n  + default:in/...  60 files, 60 B\n    1 with acl: public-read\n"), "{folded}");
        assert!(!folded.contains("in/7"), "{folded}");
        let open = text(2);
        assert!(open.contains("<- f2 (1 B)\n      with acl: public-read\n"), "{open}");
        assert!(text(1).contains("\n+ 1 to create\n    all with acl: public-read\n"));
    }

    #[test]
    fn a_key_cannot_fake_its_source() {
        let open = text(2);
        assert!(open.contains("\n  + default:\"in/1  <- safe (1 B)\"  <- f1 (1 B)\n"), "{open}");
        assert!(open.contains("  sources below \"/srv/a b\"\n"), "{open}");
    }
}
