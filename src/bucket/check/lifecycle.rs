//! What a lifecycle configuration does to the keys that are meant, and a merged one that does better.
//!
//! PutBucketLifecycleConfiguration replaces the configuration as a whole: a fix is always the whole, with every rule that
//! is there.

use std::fmt::Write as _;

use super::command::{ascii, aws};
use super::{Document, Finding, Fix, Level, Question, unseen};
use crate::model::bucket::{AbortIncomplete, Aspect, Configuration, Expiration, Filter, Lifecycle, Rule, Status, Told};
use crate::model::text::name;

const NONCURRENT: &str = "noncurrent-expiry";
const INCOMPLETE: &str = "incomplete-uploads";
const MARKERS: &str = "delete-markers";

/// The file that a fix's document is to be kept in.
const FILE: &str = "lifecycle.json";
/// Long enough for an apply that was cut off to go on with its parts.
const ABORT_DAYS: i32 = 7;
/// Classes out of which an object must be brought back before it can be read, which takes hours.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Which of the keys that are meant a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    None,
    /// Objects with certain tags; whether there are any is not known.
    Tagged,
    /// Some of them, by a longer prefix or by their size.
    Some,
    All,
}

/// Which of the keys under `prefix` an enabled rule is for.
pub(super) fn reach(rule: &Rule, prefix: &str) -> Reach {
    let is_all = prefix.starts_with(rule.prefix());
    if !rule.is_enabled() || !(is_all || rule.prefix().starts_with(prefix)) {
        Reach::None
    } else if rule.tags().next().is_some() {
        Reach::Tagged
    } else if is_all && rule.sizes() == (None, None) {
        Reach::All
    } else {
        Reach::Some
    }
}

/// After how many days a rule may delete a version that another one buried. The newest that it keeps do not count: so
/// many more replaces, and they are gone too.
pub(super) fn noncurrent_days(rule: &Rule) -> Option<u64> {
    let expiration = rule.noncurrent_version_expiration.as_ref()?;
    Some(expiration.noncurrent_days.and_then(|days| u64::try_from(days).ok()).unwrap_or(0))
}

/// A rule by its id, and how it chooses.
pub(super) fn told(rule: &Rule) -> String {
    let mut text = format!("rule {}", name(rule.id.as_deref().unwrap_or_default()));
    let mut only = Vec::new();
    if !rule.prefix().is_empty() {
        only.push(format!("under {}", name(rule.prefix())));
    }
    only.extend(rule.tags().map(|tag| format!("tagged {}={}", name(&tag.key), name(&tag.value))));
    let (above, below) = rule.sizes();
    only.extend(above.map(|bytes| format!("above {bytes} B")));
    only.extend(below.map(|bytes| format!("below {bytes} B")));
    if !only.is_empty() {
        let _ = write!(text, " (objects {})", only.join(", "));
    }
    text
}

pub(super) fn findings(question: &Question<'_>, configuration: &Configuration) -> Vec<Finding> {
    let is_versioned = matches!(&configuration.versioning, Told::Is(it) if it.status == Status::Enabled);
    let lifecycle = match &configuration.lifecycle {
        Told::Is(lifecycle) => Some(lifecycle),
        _ => None,
    };
    let rules: Vec<(&Rule, Reach)> = lifecycle
        .into_iter()
        .flat_map(|lifecycle| &lifecycle.rules)
        .map(|rule| (rule, reach(rule, question.prefix)))
        .filter(|(_, reach)| *reach != Reach::None)
        .collect();
    let mut merged = Merged::new(lifecycle, question);
    let all: [(&'static str, &'static str, Judge<'_>); 5] = [
        (
            NONCURRENT,
            "a version that a replace buried must be there for as long as somebody may want it back",
            &|merged| noncurrent_expiry(question, &rules, merged),
        ),
        ("archived-versions", "what was moved to an archive comes back in hours, and not by a copy alone", &|_| {
            archived(&rules)
        }),
        ("current-expiry", "what is uploaded does not stay, and its key is free to be created again", &|_| {
            current_expiry(&rules)
        }),
        (
            INCOMPLETE,
            "the parts of uploads that nobody completed or aborted are billed until somebody does, and no listing shows them",
            &|merged| incomplete_uploads(&rules, merged),
        ),
        (
            MARKERS,
            "a delete marker whose versions have all expired hides nothing any more, and slows listings down",
            &|merged| delete_markers(&rules, is_versioned, merged),
        ),
    ];
    let mut found = Vec::new();
    for (name, why, judge) in all {
        let hidden = unseen(name, why, Aspect::Lifecycle, &configuration.lifecycle, question.target);
        found.push(hidden.unwrap_or_else(|| {
            let (level, text, say) = judge(&mut merged);
            let finding = Finding::new(name, level, text, why);
            match say {
                Some(say) => finding.say(say),
                None => finding,
            }
        }));
    }
    merged.attach(&mut found);
    found
}

type Judged = (Level, String, Option<String>);
type Judge<'a> = &'a dyn Fn(&mut Merged<'_>) -> Judged;

fn noncurrent_expiry(question: &Question<'_>, rules: &[(&Rule, Reach)], merged: &mut Merged<'_>) -> Judged {
    let wanted = question.recovery_days;
    let mut level = Level::Ok;
    let mut soon = Vec::new();
    let mut later = Vec::new();
    for (rule, reach) in rules {
        let Some(days) = noncurrent_days(rule) else { continue };
        let newer = rule.noncurrent_version_expiration.as_ref().and_then(|it| it.newer_noncurrent_versions);
        let kept = newer.map_or_else(String::new, |newer| format!(", but for the {newer} newest of each key"));
        let text = format!("{} deletes them after {}{kept}", told(rule), counted(days));
        if days >= wanted {
            later.push(text);
            continue;
        }
        soon.push(text);
        if *reach == Reach::Tagged {
            // It may be meant for other objects alone: that rule is left as it is.
            level = level.min(Level::Warning);
        } else {
            level = Level::Problem;
            merged.lengthen(rule, wanted);
        }
    }
    if soon.is_empty() {
        let found = if later.is_empty() { "no rule deletes old versions".to_owned() } else { later.join("; ") };
        return (Level::Ok, found, None);
    }
    let say = match level {
        Level::Problem => format!("let old versions live for {} at least", counted(wanted)),
        _ => "see that nothing that is to be got back is tagged so; the rule may be meant for other objects".to_owned(),
    };
    (level, format!("{}, sooner than {}", soon.join("; "), counted(wanted)), Some(say))
}

pub(super) fn counted(days: u64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// Days as S3 tells them.
fn after(days: Option<i32>) -> String {
    counted(days.and_then(|days| u64::try_from(days).ok()).unwrap_or(0))
}

fn archived(rules: &[(&Rule, Reach)]) -> Judged {
    let mut found = Vec::new();
    for (rule, _) in rules {
        for moved in &rule.noncurrent_version_transitions {
            let class = moved.storage_class.as_deref().unwrap_or_default();
            if ARCHIVES.contains(&class) {
                let days = after(moved.noncurrent_days);
                found.push(format!("{} moves old versions to {class} after {days}", told(rule)));
            }
        }
    }
    if found.is_empty() {
        return (Level::Ok, "no rule moves old versions to an archive".to_owned(), None);
    }
    let say = "`aws s3api restore-object` brings one back for some days; GLACIER_IR needs no such thing".to_owned();
    (Level::Warning, found.join("; "), Some(say))
}

fn current_expiry(rules: &[(&Rule, Reach)]) -> Judged {
    let mut found = Vec::new();
    for (rule, _) in rules {
        let Some(expiration) = &rule.expiration else { continue };
        match (expiration.days, &expiration.date) {
            (Some(days), _) => found.push(format!("{} ends objects after {}", told(rule), after(Some(days)))),
            (None, Some(date)) => found.push(format!("{} ends objects on {}", told(rule), name(date))),
            (None, None) => {}
        }
    }
    if found.is_empty() {
        return (Level::Ok, "no rule ends current objects".to_owned(), None);
    }
    let say = "see that this is meant for what is uploaded; a later create then finds the key absent".to_owned();
    (Level::Warning, found.join("; "), Some(say))
}

fn incomplete_uploads(rules: &[(&Rule, Reach)], merged: &mut Merged<'_>) -> Judged {
    let aborts = rules.iter().filter(|(_, reach)| *reach == Reach::All).find_map(|(rule, _)| {
        let days = rule.abort_incomplete_multipart_upload.as_ref()?.days_after_initiation?;
        Some(format!("{} aborts them after {}", told(rule), after(Some(days))))
    });
    if let Some(found) = aborts {
        return (Level::Ok, found, None);
    }
    merged.abort_incomplete();
    let say = format!(
        "add a rule that aborts them after {ABORT_DAYS} days; an apply that was cut off can go on with its parts until then"
    );
    (Level::Warning, "no rule aborts all of them".to_owned(), Some(say))
}

fn delete_markers(rules: &[(&Rule, Reach)], is_versioned: bool, merged: &mut Merged<'_>) -> Judged {
    let removes = |rule: &Rule| {
        // A rule that ends current objects removes the markers that it leaves, too.
        rule.expiration.as_ref().is_some_and(|it| it.expired_object_delete_marker == Some(true) || it.days.is_some())
    };
    if let Some((rule, _)) = rules.iter().find(|(rule, reach)| *reach == Reach::All && removes(rule)) {
        return (Level::Ok, format!("{} removes them", told(rule)), None);
    }
    if !is_versioned || !rules.iter().any(|(rule, _)| noncurrent_days(rule).is_some()) {
        return (Level::Ok, "none are left behind: no rule deletes old versions".to_owned(), None);
    }
    merged.remove_markers();
    let say = "add a rule that removes expired delete markers".to_owned();
    (Level::Warning, "old versions expire, and no rule removes the delete markers over them".to_owned(), Some(say))
}

/// The configuration as it should be: one document for all findings, or the one would undo the other.
struct Merged<'a> {
    /// As it is told, or none.
    lifecycle: Lifecycle,
    question: &'a Question<'a>,
    /// For the finding of this name, what.
    changes: Vec<(&'static str, String)>,
}

impl<'a> Merged<'a> {
    fn new(lifecycle: Option<&Lifecycle>, question: &'a Question<'a>) -> Self {
        Self { lifecycle: lifecycle.cloned().unwrap_or_default(), question, changes: Vec::new() }
    }

    fn lengthen(&mut self, rule: &Rule, days: u64) {
        let Some(days) = i32::try_from(days).ok() else { return };
        for own in self.lifecycle.rules.iter_mut().filter(|own| *own == rule) {
            if let Some(expiration) = &mut own.noncurrent_version_expiration {
                expiration.noncurrent_days = Some(days);
            }
        }
        self.changes.push((NONCURRENT, format!("{} keeps old versions for {days} days", told(rule))));
    }

    fn abort_incomplete(&mut self) {
        let abort = AbortIncomplete { days_after_initiation: Some(ABORT_DAYS) };
        let prefix = self.question.prefix;
        let rule = self.rule("noclobber-abort-incomplete-uploads", prefix);
        self.add(INCOMPLETE, Rule { abort_incomplete_multipart_upload: Some(abort), ..rule });
    }

    fn remove_markers(&mut self) {
        let expiration = Expiration { expired_object_delete_marker: Some(true), ..Expiration::default() };
        let prefix = self.question.prefix;
        let rule = self.rule("noclobber-expired-delete-markers", prefix);
        self.add(MARKERS, Rule { expiration: Some(expiration), ..rule });
    }

    /// A new rule, in the form that the others have: S3 refuses a configuration with both.
    fn rule(&self, id: &str, prefix: &str) -> Rule {
        let is_taken = |id: &str| self.lifecycle.rules.iter().any(|rule| rule.id.as_deref() == Some(id));
        let mut free = id.to_owned();
        let mut n = 1;
        while is_taken(&free) {
            n += 1;
            free = format!("{id}-{n}");
        }
        let is_old = self.lifecycle.rules.iter().any(|rule| rule.filter.is_none() && rule.prefix.is_some());
        let prefix = Some(prefix.to_owned());
        let (prefix, filter) =
            if is_old { (prefix, None) } else { (None, Some(Filter { prefix, ..Filter::default() })) };
        Rule { id: Some(free), status: "Enabled".to_owned(), prefix, filter, ..Rule::default() }
    }

    fn add(&mut self, finding: &'static str, rule: Rule) {
        self.changes.push((finding, format!("{} is new", told(&rule))));
        self.lifecycle.rules.push(rule);
    }

    /// Gives the document to the gravest finding that wants it, and lets the others point there.
    fn attach(self, findings: &mut [Finding]) {
        let Self { lifecycle, question, changes } = self;
        let wants = |finding: &Finding| changes.iter().any(|(name, _)| *name == finding.name);
        let Some(at) = (0..findings.len()).filter(|at| wants(&findings[*at])).min_by_key(|at| findings[*at].level)
        else {
            return;
        };
        let holder = findings[at].name;
        for (n, finding) in findings.iter_mut().enumerate().filter(|(_, finding)| wants(finding)) {
            let Some(fix) = &mut finding.fix else { continue };
            if n != at {
                let _ = write!(fix.say, "; it is in the {FILE} of `{holder}`");
                continue;
            }
            let mut options = vec![("lifecycle-configuration", "file://lifecycle.json")];
            if let Some(minimum) = &lifecycle.transition_minimum {
                options.push(("transition-default-minimum-object-size", minimum));
            }
            let Fix { say, commands, document } = fix;
            let _ = write!(
                say,
                ". {FILE} replaces the whole configuration, so every rule that is there now is in it; put it back before \
                 anybody changes the rules. In it, {}",
                changes.iter().map(|(_, change)| change.as_str()).collect::<Vec<_>>().join("; ")
            );
            commands.push(aws(question.target, "put-bucket-lifecycle-configuration", &options));
            *document = Some(Document { file: FILE, text: ascii(&lifecycle) });
        }
    }
}
