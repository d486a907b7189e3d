//! What every view says of one step, in the same words. Escaped for a terminal; other views escape for their own form too.

use crate::model::entry::{Properties, Sse};
use crate::model::head::{Encryption, Seen};
use crate::model::row::Guard;
use crate::model::step::{Action, Header, Reason, Step};
use crate::model::text::{bytes as size, escape, name};

/// What a write gives its object beside the bytes; the content type alone goes without saying. Empty for a step that
/// writes nothing.
pub(super) fn properties(step: &Step) -> String {
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
                pairs.iter().map(|(key, value)| format!("{}={}", unmistakable(key), unmistakable(value))).collect();
            texts.push(format!("{what}: {}", pairs.join(" ")));
        }
    }
    texts.join(", ")
}

/// What a reviewer must know of a step beside its key.
pub(super) fn details(step: &Step) -> Vec<String> {
    let mut details = Vec::new();
    details.extend(brings_back(step));
    if let Some(head) = &step.head {
        match step.action {
            Action::Replace => details.push(format!("buries {}: {}", buried(head), why(step))),
            Action::Refuse if is_of_rollback(step) => details.push(format!("is there now: {}", buried(head))),
            Action::Refuse => details.push(format!(
                "{}: overwrite: {} does not allow to replace {} ({})",
                escape(&step.place.to_string()),
                step.rule,
                buried(head),
                why(step)
            )),
            Action::Restore => details.push(format!("takes the place of {}", buried(head))),
            Action::Delete => details.push(format!("deletes {}", buried(head))),
            Action::Create | Action::Unchanged | Action::Keep | Action::Error => {}
        }
    } else if step.action == Action::Restore {
        details.push(format!("takes the place of {NOTHING_THERE}"));
    }
    if let Some(note) = &step.note {
        let is_placed = step.action == Action::Error || is_of_rollback(step);
        let place = if is_placed { format!("{}: ", escape(&step.place.to_string())) } else { String::new() };
        details.push(format!("{place}{}", escape(note)));
    }
    details.extend(unguarded(step).map(str::to_owned));
    details
}

/// What a restore without a head takes the place of.
pub(super) const NOTHING_THERE: &str = "nothing: it must still be absent";

/// Whether a refusal is a rollback's, and not a rule's.
pub(super) fn is_of_rollback(step: &Step) -> bool {
    match step.reason {
        Reason::Moved | Reason::Gone | Reason::Flaw => step.action == Action::Refuse,
        Reason::Absent
        | Reason::Same
        | Reason::Differs
        | Reason::Unproven
        | Reason::Unseen
        | Reason::Properties
        | Reason::Undo
        | Reason::Undone => false,
    }
}

/// The version that a restore brings back.
pub(super) fn brings_back(step: &Step) -> Option<String> {
    let earlier = step.earlier.as_ref().filter(|_| step.action == Action::Restore)?;
    Some(format!("brings back {}", buried(&earlier.seen)))
}

/// That no precondition holds a step's write, where it is so.
pub(super) fn unguarded(step: &Step) -> Option<&'static str> {
    let is_checked = step.action.writes() && step.guard == Some(Guard::CheckFirst);
    is_checked.then_some("check-first: a look just before it stands in for the precondition; NOT atomic")
}

/// The report and the run of a rollback, or what a plan is of; escaped.
pub(super) fn subject(header: &Header) -> String {
    let paths: Vec<_> = header.manifests.iter().map(|manifest| escape(&manifest.path)).collect();
    let paths = paths.join(", ");
    match &header.undoes {
        Some(run) => format!("Rollback of run {} (report {paths})", name(run)),
        None => format!("Plan of {paths}"),
    }
}

pub(super) fn why(step: &Step) -> String {
    let rule = if step.action == Action::Replace { format!(", overwrite: {}", step.rule) } else { String::new() };
    match (step.reason, step.proof) {
        (Reason::Unproven, _) => format!("whether it differs cannot be told{rule}"),
        (reason, Some(proof)) => format!("{reason} by {proof}{rule}"),
        (reason, None) => format!("{reason}{rule}"),
    }
}

/// The object that would be buried: size, date, and how to find it again.
pub(super) fn buried(head: &Seen) -> String {
    let when = head.last_modified.as_deref().unwrap_or("an unknown date");
    let version = match &head.version {
        Some(id) => format!("version {}", escape(&id.0)),
        None => "no version: it could not be got back".to_owned(),
    };
    format!("{} of {}, ETag {}, {version}", size(head.size), escape(when), escape(head.etag.as_str()))
}

/// As the plan file spells it.
pub(super) fn encryption(encryption: &Encryption) -> &'static str {
    match encryption {
        Encryption::None => "none",
        Encryption::Aes256 => "aes256",
        Encryption::Kms => "kms",
        Encryption::Customer => "customer",
        Encryption::Unknown => "unknown",
    }
}

/// A key or a value beside an equals sign: quoted where it has one itself.
fn unmistakable(text: &str) -> std::borrow::Cow<'_, str> {
    let shown = name(text);
    let is_quoted = shown.starts_with('"');
    if shown.contains('=') && !is_quoted { format!("\"{shown}\"").into() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_could_be_taken_for_more_is_quoted_once() {
        for (text, shown) in [
            ("a", "a"),
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("a=b", r#""a=b""#),
            ("a = b", r#""a = b""#),
            ("\"a=b\"", r#""\"a=b\"""#),
            ("a\n=b", r#""a\n=b""#),
        ] {
            assert_eq!(unmistakable(text), shown, "{text:?}");
        }
    }
}
