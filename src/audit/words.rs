//! What is said of a row, in sentences. Nothing is escaped here: whoever shows them does.

use super::claim::{Claim, Wanted, names_one_write};
use super::{Current, Finding, Found, Kept, Later, Met, Proof, State, Verdict, Writer};
use crate::model::head::VersionId;
use crate::model::row::Outcome;
use crate::model::text::bytes;

/// What was found, in one sentence.
#[must_use]
pub fn what(claim: &Claim, verdict: &Verdict) -> String {
    let Verdict { state, proof, finding } = verdict;
    let blank = Finding::blank();
    let finding = finding.as_deref().unwrap_or(&blank);
    match (state, &finding.later) {
        (State::Intact, _) => proof.map_or("intact", shown_by).to_owned(),
        (State::Superseded, later) => later.as_ref().map_or_else(String::new, |later| {
            format!("{}, as that run's report says", by_run(&later.run_id, Some((&later.place, later.outcome))))
        }),
        (State::NotAllowed, _) => {
            "the server does not allow to look (403): the role needs s3:GetObject, and s3:ListBucket to tell an absent key"
                .to_owned()
        }
        (State::Unreachable, _) => format!("no answer that tells: {}", finding.why),
        (State::Gone, _) => gone(claim, finding),
        (State::Overwritten | State::Deleted, Some(later)) => between(later, finding.same_bytes),
        (State::Overwritten, None) => overwritten(claim, finding),
        (State::Deleted, None) => deleted(finding),
    }
}

/// What shows that a row's object is there.
#[must_use]
pub fn shown_by(proof: Proof) -> &'static str {
    match proof {
        Proof::Version => "the version id is the row's",
        Proof::WriteId => "ETag, size and write id are the row's, and it is no younger",
        Proof::Etag => "ETag and size are the row's, and it is no younger; no version or write id is known",
        Proof::Listed => "a listing shows the row's ETag, size and time",
        Proof::Absent => "no object is there",
    }
}

fn gone(claim: &Claim, finding: &Finding) -> String {
    let lost = match claim.version() {
        Some(version) => format!("version {version} does not exist any more (expired, or deleted for good)"),
        None => "no version of it exists any more (expired, or deleted for good)".to_owned(),
    };
    match (&finding.later, &finding.current) {
        (Some(later), _) => format!("{lost}; {}", between(later, finding.same_bytes)),
        (None, Some((current, writer))) => {
            let same = if finding.same_bytes { ", the same bytes" } else { "" };
            format!("{lost}; current is {}{same}, {}", object(current), by(writer))
        }
        (None, None) => format!("{lost}; {}", deleted(finding)),
    }
}

fn overwritten(claim: &Claim, finding: &Finding) -> String {
    let Some((current, writer)) = &finding.current else { return "another object is current".to_owned() };
    let how = match &claim.wanted {
        Wanted::Nothing { was } if was.is_some() && *was == current.version => {
            "the version that the run deleted is current again: somebody removed the delete marker".to_owned()
        }
        Wanted::Nothing { .. } => format!("an object is there again, {}", by(writer)),
        Wanted::Object(_) if finding.same_bytes => format!("written anew with the same bytes, {}", by(writer)),
        Wanted::Object(_) => format!("overwritten {}", by(writer)),
    };
    format!("{how}: {}", object(current))
}

fn deleted(finding: &Finding) -> String {
    match &finding.marker {
        Some(marker) => {
            let when = marker.modified.as_ref().map(|when| format!(" at {when}")).unwrap_or_default();
            format!("deleted{when}, by the delete marker {}", marker.version)
        }
        None => "no object is there; who deleted it, and when, is not known".to_owned(),
    }
}

/// What somebody else did before a later run.
fn between(later: &Later, same_bytes: bool) -> String {
    let run = by_run(&later.run_id, Some((&later.place, later.outcome)));
    match &later.met {
        Some(Met::Object(etag, version)) => {
            let same = if same_bytes { " with the same bytes" } else { "" };
            let version = version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
            format!(
                "before it was {run}, somebody else had written there{same}: ETag {etag}{version}, which is buried now"
            )
        }
        Some(Met::Nothing) | None => format!("before it was {run}, somebody had deleted it"),
    }
}

fn by_run(run_id: &str, row: Option<(&str, Outcome)>) -> String {
    match row {
        Some((place, outcome)) => format!("{outcome} by run {run_id} ({place})"),
        None => format!("by run {run_id}"),
    }
}

/// Who wrote what is current.
#[must_use]
pub fn by(writer: &Writer) -> String {
    match writer {
        Writer::Stranger => "by a stranger (it carries no write id)".to_owned(),
        Writer::Copy => "by whoever copied it (it carries the row's own write id, as a copy does)".to_owned(),
        Writer::Run { run_id, row: None } => format!("by run {run_id}, as its write id says"),
        Writer::Run { run_id, row: Some((place, outcome)) } => {
            format!("by run {run_id}, as its write id says ({place}, {outcome})")
        }
        Writer::Odd(write_id) => format!("by somebody whose write id no run makes ({write_id})"),
    }
}

fn object(current: &Current) -> String {
    let Current { size, etag, version, modified, write_id: _ } = current;
    let when = modified.as_ref().map(|when| format!(" of {when}")).unwrap_or_default();
    let version = version.as_ref().filter(|id| names_one_write(id)).map(|id| format!(", version {id}"));
    format!("{}{when}, ETag {etag}{}", bytes(*size), version.unwrap_or_default())
}

/// Whether what the run stored can be got back, as a person reads it. `None` where nobody asks.
#[must_use]
pub fn back(verdict: &Verdict) -> Option<String> {
    Some(match kept(verdict)? {
        Kept::Version(version) => format!("recoverable: version {version}"),
        Kept::No => "recoverable: no".to_owned(),
        Kept::Nothing => return None,
        Kept::NotKnown(why) if why.is_empty() => "recoverable: not known".to_owned(),
        Kept::NotKnown(why) => format!("recoverable: not known ({why})"),
    })
}

/// Whether what the run stored can be got back, where that is a question.
#[must_use]
pub fn kept(verdict: &Verdict) -> Option<&Kept> {
    match verdict.state {
        State::Gone | State::Overwritten | State::Deleted => {
            verdict.finding.as_ref().map(|finding| &finding.kept).filter(|kept| **kept != Kept::Nothing)
        }
        State::Intact | State::Superseded | State::NotAllowed | State::Unreachable => None,
    }
}

/// The version under which it can be got back.
#[must_use]
pub fn kept_version(verdict: &Verdict) -> Option<&VersionId> {
    match kept(verdict)? {
        Kept::Version(version) => Some(version),
        Kept::No | Kept::NotKnown(_) | Kept::Nothing => None,
    }
}

/// What to do about rows in this state, as far as any of them can be got back.
#[must_use]
pub fn advice(state: State, found: &Found) -> Option<String> {
    let kept: Vec<_> = found.verdicts.iter().filter(|it| it.state == state).filter_map(kept).collect();
    let is_named = kept.iter().any(|kept| matches!(kept, Kept::Version(_)));
    let is_lost = kept.iter().any(|kept| !matches!(kept, Kept::Version(_)));
    let mut advice = match state {
        State::Intact | State::Superseded => return None,
        State::Gone => "nothing in the bucket brings it back. Find the source, and plan it again; look at the bucket's lifecycle rules, and at who may delete versions",
        State::Overwritten => "ask whoever wrote it",
        State::Deleted => "ask whoever deleted it",
        State::NotAllowed => "nothing is known of these rows: verify again with a role that has s3:GetObject and s3:ListBucket",
        State::Unreachable => "nothing is known of these rows: verify again",
    }
    .to_owned();
    if is_named {
        advice.push_str(match state {
            State::Overwritten => ". To bring the run's object back, copy the version that is named over the key, guarded by what is there now: aws s3api copy-object --bucket BUCKET --key KEY --copy-source 'BUCKET/KEY?versionId=VERSION' --if-match ETAG-NOW",
            State::Deleted => ". The version that is named is still there: removing the delete marker brings it back, and so does a copy of it over the key",
            State::Intact | State::Superseded | State::Gone | State::NotAllowed | State::Unreachable => "",
        });
    }
    if is_lost && matches!(state, State::Overwritten | State::Deleted) {
        advice.push_str(
            ". Where no version is named, none is known that brings it back: find the source, and plan it again",
        );
    }
    if state == State::Overwritten {
        advice.push_str(". What a later run wrote is undone by noclobber rollback of that run's report");
    }
    Some(advice)
}
