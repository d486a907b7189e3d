//! Draws an entry, and what was seen of it, into a step.

use std::sync::Arc;

use crate::model::entry::{Compare, Entry, Properties, Terms};
use crate::model::head::{Head, Remote, Seen};
use crate::model::local::{LocalFile, Pinned};
use crate::model::step::{Action, Reason, Step};

use super::diff::{Decision, diff};

/// What was seen of one entry, or why nothing was.
#[derive(Debug, Clone)]
pub enum Drawing<'a> {
    Seen {
        local: &'a LocalFile,
        /// RFC 3339, as the step keeps it.
        mtime: String,
        remote: &'a Remote,
        trust_metadata: bool,
    },
    /// The file or the bucket could not be read.
    Flaw(String),
}

/// Draws step `n` of a plan. A step that would write carries the checksum that it pins; an entry for which that was not
/// computed becomes an error, never an unpinned write.
#[must_use]
pub fn draw(n: u64, entry: &Entry, drawing: Drawing<'_>) -> Step {
    let Terms { target, rule, compare, stage, properties } = &*entry.terms;
    let mut step = Step {
        n,
        place: entry.place.clone(),
        source: entry.source.to_string(),
        real: entry.real.as_deref().map(str::to_owned),
        target: Arc::clone(target),
        key: entry.key.clone(),
        rule: *rule,
        stage: stage.clone(),
        action: Action::Error,
        reason: Reason::Flaw,
        proof: None,
        note: None,
        properties: Arc::clone(properties),
        local: None,
        head: None,
        earlier: None,
        guard: None,
    };
    let (local, mtime, remote, trust_metadata) = match drawing {
        Drawing::Flaw(note) => {
            step.note = Some(note);
            return step;
        }
        Drawing::Seen { local, mtime, remote, trust_metadata } => (local, mtime, remote, trust_metadata),
    };
    let others = match remote {
        Remote::Present(head) => differing(properties, head, *compare),
        Remote::Absent | Remote::Unseen => Vec::new(),
    };
    let Decision { action, reason, proof } = diff(local, remote, *rule, *compare, trust_metadata, !others.is_empty());
    step.action = action;
    step.reason = reason;
    step.proof = proof;
    step.note = note(action, reason, &entry.terms, &others);
    step.head = match remote {
        Remote::Present(head) => Some(Seen::of(head)),
        Remote::Absent | Remote::Unseen => None,
    };
    // What is not written pins nothing: the digests that were computed depend on what the bucket holds.
    let checksum = if action.writes() { local.pin() } else { None };
    if action.writes() && checksum.is_none() {
        step.action = Action::Error;
        step.reason = Reason::Flaw;
        step.proof = None;
        step.note = Some("the file's checksum was not computed".to_owned());
    }
    step.local = Some(Pinned { size: local.stat.size, mtime, checksum });
    step
}

fn note(action: Action, reason: Reason, terms: &Terms, others: &[&'static str]) -> Option<String> {
    match (action, reason) {
        (Action::Error, Reason::Unseen) => Some(format!(
            "overwrite: {} needs s3:GetObject on this key: the server answered HEAD with 403, so what would be replaced cannot be seen",
            terms.rule
        )),
        (Action::Create, Reason::Unseen) => {
            Some("HEAD was answered with 403: created only if the key is free".to_owned())
        }
        (Action::Replace, Reason::Properties) => Some(format!("other properties: {}", others.join(", "))),
        (Action::Unchanged, _) if !others.is_empty() && terms.compare == Compare::Content => {
            Some(format!("same content, other properties: {}", others.join(", ")))
        }
        (Action::Unchanged, _) if !others.is_empty() => Some(format!(
            "same content, other properties: {}; overwrite: {} leaves them",
            others.join(", "),
            terms.rule
        )),
        (
            Action::Create
            | Action::Replace
            | Action::Restore
            | Action::Delete
            | Action::Unchanged
            | Action::Keep
            | Action::Refuse
            | Action::Error,
            _,
        ) => None,
    }
}

/// The properties that an upload would give the object and that it does not have now. Tags count where they were read,
/// which is where the entry compares properties; the ACL cannot be seen.
fn differing(ours: &Properties, head: &Head, compare: Compare) -> Vec<&'static str> {
    let theirs = &head.properties;
    let Properties {
        content_type,
        cache_control,
        content_encoding,
        content_disposition,
        content_language,
        storage_class,
        acl: _,
        sse,
        metadata,
        tags,
    } = ours;
    let mut names = Vec::new();
    let mut differ = |name, differs: bool| {
        if differs {
            names.push(name);
        }
    };
    let class = |class: &Option<String>| class.clone().unwrap_or_else(|| "STANDARD".to_owned());
    differ("content_type", content_type.is_some() && *content_type != theirs.content_type);
    differ("cache_control", *cache_control != theirs.cache_control);
    differ("content_encoding", *content_encoding != theirs.content_encoding);
    differ("content_disposition", *content_disposition != theirs.content_disposition);
    differ("content_language", *content_language != theirs.content_language);
    differ("storage_class", class(storage_class) != class(&theirs.storage_class));
    differ("sse", sse.is_some() && *sse != theirs.sse);
    differ("metadata", *metadata != theirs.metadata);
    differ("tags", compare == Compare::Properties && *tags != theirs.tags);
    names
}
