//! A plan as a person reads it: what is dangerous first and in full, what is harmless folded, totals and digest last.

use std::convert::Infallible;
use std::fmt::Write as _;

use crate::model::step::{Action, Counts, Footer, Header, Step, digest_text};
use crate::model::target::ConditionalWrites;
use crate::model::text::{bytes as size, count, escape, name};

use super::file::Plan;
use super::fold::{Folder, Reach};
use super::review::{Group, Reviewed, Told, review};
use super::words::{details, is_of_rollback, properties, subject};

pub use super::review::Detail;

/// What a stretch of text means, for whoever may colour it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Create,
    Replace,
    Quiet,
    Refuse,
    Strong,
}

/// Colours a stretch, or leaves it as it is.
pub type Paint<'a> = &'a dyn Fn(Tone, &str) -> String;

/// Shows every step of an action to whoever asks, in the plan's order.
pub type Again<'a, E> = &'a mut dyn FnMut(Action, &mut dyn FnMut(&Step) -> Result<(), E>) -> Result<(), E>;

/// How many folders and sets of properties are named; the others are counted.
const LINES_MAX: usize = 40;

/// Renders a plan that is in memory. Refusals, errors and replaces are never folded: each is shown with what it buries.
/// Creates, unchanged and kept are folded by folder where there are many. Everything that came from outside is escaped,
/// so that no key can fake a line.
#[must_use]
pub fn render(plan: &Plan, detail: Detail, paint: Paint<'_>) -> String {
    let mut text = String::new();
    let mut again = |action: Action, show: &mut dyn FnMut(&Step) -> Result<(), Infallible>| {
        plan.steps.iter().filter(|step| step.action == action).try_for_each(show)
    };
    let mut say = |part: &str| {
        text.push_str(part);
        Ok(())
    };
    match tell(&review(plan, detail), paint, &mut again, &mut say) {
        Ok(()) => text,
    }
}

/// Renders what was reviewed with folds. (With [`Detail::All`], [`tell`] has to go through a long plan again.)
#[must_use]
pub fn page(reviewed: &Reviewed, paint: Paint<'_>) -> String {
    let mut text = String::new();
    let mut again = |_, _: &mut dyn FnMut(&Step) -> Result<(), Infallible>| Ok(());
    let mut say = |part: &str| {
        text.push_str(part);
        Ok(())
    };
    match tell(reviewed, paint, &mut again, &mut say) {
        Ok(()) => text,
    }
}

/// Says what was reviewed, part by part. A group that is to be listed and is too long to be held is asked for `again`.
pub fn tell<E>(
    reviewed: &Reviewed,
    paint: Paint<'_>,
    again: Again<'_, E>,
    say: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let Reviewed { header, footer, groups } = reviewed;
    let mut page = Page { text: String::new(), paint, single: header.targets.len() == 1 };
    page.head(header);
    for group in groups {
        page.title(group);
        match group.told {
            Told::Each | Told::Cut | Told::Folded => page.group(group),
            Told::Again => {
                let own = page.shared(group);
                say(&std::mem::take(&mut page.text))?;
                again(group.action, &mut |step| {
                    page.step(step, own);
                    if page.text.len() > 1 << 16 { say(&std::mem::take(&mut page.text)) } else { Ok(()) }
                })?;
            }
        }
        page.line("");
    }
    for warning in &header.warnings {
        page.line(&format!("{} {}", paint(Tone::Replace, "warning:"), escape(warning)));
    }
    for refusal in &header.refusals {
        page.line(&format!("{} {}", paint(Tone::Refuse, "refused:"), escape(refusal)));
    }
    if !(header.warnings.is_empty() && header.refusals.is_empty()) {
        page.line("");
    }
    page.line(&paint(Tone::Strong, &totals(&footer.counts)));
    page.line(&digest_line(footer));
    say(&page.text)
}

/// The two numbers that a ticket needs, in one line.
#[must_use]
pub fn totals(counts: &Counts) -> String {
    let Counts { create, replace, restore, delete, unchanged, keep, refuse, error, by_claim, bytes } = *counts;
    let claims = if by_claim > 0 { format!(" ({} by claim)", count(by_claim)) } else { String::new() };
    let errors = if error > 0 { format!(", {} in error", count(error)) } else { String::new() };
    let of_rollback = [(restore, "to restore"), (delete, "to delete")];
    let of_rollback: Vec<String> =
        of_rollback.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {} {what}", count(*n))).collect();
    let of_rollback = of_rollback.concat();
    format!(
        "Plan: {} to create, {} to replace{of_rollback}, {} unchanged{claims}, {} kept, {} refused{errors} ({} to upload)",
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

/// What stands before a step, what is said of a group, and in which tone.
fn look(action: Action) -> (char, &'static str, Tone) {
    match action {
        Action::Refuse => ('!', "refused", Tone::Refuse),
        Action::Error => ('!', "in error", Tone::Refuse),
        Action::Replace => ('~', "to replace", Tone::Replace),
        Action::Create => ('+', "to create", Tone::Create),
        Action::Restore => ('<', "to restore", Tone::Replace),
        Action::Delete => ('-', "to delete", Tone::Refuse),
        Action::Keep => ('.', "kept", Tone::Quiet),
        Action::Unchanged => ('=', "unchanged", Tone::Quiet),
    }
}

struct Page<'a> {
    text: String,
    paint: Paint<'a>,
    /// With one target, its name says nothing.
    single: bool,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn head(&mut self, header: &Header) {
        self.line(&format!("{}, made {}", subject(header), escape(&header.made_at)));
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
        match &header.undoes {
            // It reads no file, and what is in its parameters chose its rows.
            Some(_) => {
                for (what, value) in &header.parameters {
                    self.line(&format!("  {} {}", escape(what), escape(value)));
                }
            }
            None => self.line(&format!("  sources below {}", name(&header.base))),
        }
        if !header.stages.is_empty() {
            let stages: Vec<String> = header.stages.iter().map(|stage| escape(stage).into()).collect();
            self.line(&format!("  stages: {}", stages.join(", then ")));
        }
        self.line("");
    }

    fn title(&mut self, group: &Group) {
        let (glyph, what, tone) = look(group.action);
        self.line(&(self.paint)(tone, &format!("{glyph} {} {what}", count(group.count))));
    }

    fn group(&mut self, group: &Group) {
        if group.told == Told::Folded {
            self.folders(group);
            return self.sets(group);
        }
        let own = self.shared(group);
        for step in &group.steps {
            self.step(step, own);
        }
        if group.told == Told::Cut {
            let more = count(group.count.saturating_sub(group.steps.len() as u64));
            let (_, what, tone) = look(group.action);
            self.line(&(self.paint)(tone, &format!("    and {more} more {what} (--all lists every key):")));
            self.folders(group);
            self.sets(group);
        }
    }

    /// Tells once what all writes of a group have in common. Whether each step must tell its own properties instead.
    fn shared(&mut self, group: &Group) -> Own {
        let Some(text) = group.sets.shared() else { return Own::Told };
        if !text.is_empty() {
            self.line(&(self.paint)(Tone::Quiet, &format!("    all with {text}")));
        }
        Own::Untold
    }

    fn step(&mut self, step: &Step, own: Own) {
        let (glyph, _, tone) = look(step.action);
        let key = format!("{}{}", self.target(&step.target), name(step.key.as_str()));
        let mut line = format!("  {} {key}", (self.paint)(tone, &glyph.to_string()));
        let from = name(&step.source);
        match (&step.action, &step.local) {
            (Action::Create | Action::Replace, Some(local)) => {
                let _ = write!(line, "  <- {from} ({})", size(local.size));
            }
            // It reads no file.
            (Action::Refuse, _) if is_of_rollback(step) => {}
            (Action::Create | Action::Replace | Action::Refuse | Action::Error, _) => {
                let _ = write!(line, "  <- {from}");
            }
            (Action::Restore | Action::Delete | Action::Unchanged | Action::Keep, _) => {}
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

    fn target(&self, target: &str) -> String {
        if self.single { String::new() } else { format!("{}:", name(target)) }
    }

    fn folders(&mut self, group: &Group) {
        let (glyph, _, tone) = look(group.action);
        for folder in group.folders.iter().take(LINES_MAX) {
            let Folder { target, path, reach, files, bytes } = folder;
            let below = match reach {
                Reach::Own => "",
                Reach::Below => " in other folders",
            };
            let line = format!(
                "  {} {}...  {} files{below}, {}",
                (self.paint)(tone, &glyph.to_string()),
                name(&format!("{}{path}", self.target(target))),
                count(*files),
                size(*bytes)
            );
            self.line(&line);
        }
        let rest = group.folders.get(LINES_MAX..).unwrap_or_default();
        if !rest.is_empty() {
            let files = count(rest.iter().map(|folder| folder.files).sum());
            let more = count(rest.len() as u64);
            self.line(&format!("    and {more} more folders, {files} files (--all lists every key)"));
        }
    }

    /// An ACL or a key must not hide in a fold.
    fn sets(&mut self, group: &Group) {
        let sets = &group.sets;
        let texts = || sets.by_text.iter().filter(|(text, _)| !text.is_empty());
        for (text, files) in texts().take(LINES_MAX) {
            self.line(&(self.paint)(Tone::Quiet, &format!("    {} with {text}", count(*files))));
        }
        let files = sets.more + texts().skip(LINES_MAX).map(|(_, files)| files).sum::<u64>();
        if files > 0 {
            self.line(&format!("    {} with other properties (--all lists every key)", count(files)));
            for (acl, files) in &sets.acls {
                self.line(&(self.paint)(Tone::Replace, &format!("    {} with acl: {}", count(*files), name(acl))));
            }
        }
    }
}

/// Whether a step tells its own properties.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Told,
    Untold,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::model::digest::{Checksum, Sha256};
    use crate::model::entry::{Key, Place, Properties, Rule};
    use crate::model::local::Pinned;
    use crate::model::step::{PLAN_FORMAT, Reason};
    use crate::plan::samples;

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
            undoes: None,
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
            earlier: None,
            guard: None,
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
    fn a_rollback_says_what_comes_back_and_what_goes() {
        let plan = samples::plan(samples::undoing(), samples::undo());
        insta::assert_snapshot!(render(&plan, Detail::All, &|_, text| text.to_owned()));
    }

    #[test]
    fn a_key_cannot_fake_its_source() {
        let open = text(2);
        assert!(open.contains("\n  + default:\"in/1  <- safe (1 B)\"  <- f1 (1 B)\n"), "{open}");
        assert!(open.contains("  sources below \"/srv/a b\"\n"), "{open}");
    }
}
