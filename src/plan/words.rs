//! What every view says of one step, in the same words. Escaped for a terminal; other views escape for their own form too.

use crate::model::entry::{Properties, Sse};
use crate::model::head::{Encryption, Seen};
use crate::model::step::{Action, Reason, Step};
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
            Action::Restore => details.push(format!("takes the place of {}", buried(head))),
            Action::Delete => details.push(format!("deletes {}", buried(head))),
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
    if text.contains(['=', ' ']) || text.is_empty() { format!("\"{}\"", name(text)).into() } else { name(text) }
}
