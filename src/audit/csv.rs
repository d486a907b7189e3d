//! What was found as CSV: RFC 4180, a header, one row a row of the reports that was judged.

use std::borrow::Cow;

use serde::Serialize;

use super::claim::{Audit, Claim, Subject, Wanted};
use super::{Kept, Verdict, Writer, words};
use crate::model::row::Outcome;

/// The format's number. It changes whenever the columns do.
pub const FORMAT: u32 = 1;

/// The columns of format 1, in order. New ones come only at the end, with a new format number.
pub const COLUMNS: [&str; 28] = [
    "format",
    "run_id",
    "report",
    "entry",
    "place",
    "outcome",
    "endpoint",
    "bucket",
    "key",
    "state",
    "proof",
    "etag",
    "version",
    "size_bytes",
    "now_etag",
    "now_version",
    "now_size_bytes",
    "now_modified",
    "now_write_id",
    "now_run_id",
    "same_bytes",
    "delete_marker",
    "deleted_at",
    "recoverable",
    "recoverable_version",
    "later_run_id",
    "later_place",
    "message",
];

/// One judged row, flat: of the CSV, and of the JSON under the same names. What does not apply is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line<'a> {
    pub format: u32,
    pub run_id: &'a str,
    pub report: &'a str,
    pub entry: u64,
    pub place: &'a str,
    pub outcome: Outcome,
    pub endpoint: &'a str,
    pub bucket: &'a str,
    pub key: &'a str,
    pub state: &'static str,
    pub proof: Option<&'static str>,
    pub etag: Option<&'a str>,
    pub version: Option<&'a str>,
    pub size_bytes: Option<u64>,
    pub now_etag: Option<&'a str>,
    pub now_version: Option<&'a str>,
    pub now_size_bytes: Option<u64>,
    pub now_modified: Option<&'a str>,
    pub now_write_id: Option<&'a str>,
    pub now_run_id: Option<&'a str>,
    pub same_bytes: Option<bool>,
    pub delete_marker: Option<&'a str>,
    pub deleted_at: Option<&'a str>,
    /// `yes`, `no` or `not-known`.
    pub recoverable: Option<&'static str>,
    pub recoverable_version: Option<&'a str>,
    pub later_run_id: Option<&'a str>,
    pub later_place: Option<&'a str>,
    pub message: String,
}

impl<'a> Line<'a> {
    #[must_use]
    pub fn of(audit: &'a Audit, subject: &'a Subject, claim: &'a Claim, verdict: &'a Verdict) -> Self {
        let run = audit.run(claim.run);
        let bucket = audit.buckets.get(subject.bucket as usize);
        let stored = match &claim.wanted {
            Wanted::Object(stored) => Some(stored),
            Wanted::Nothing { .. } => None,
        };
        let finding = verdict.finding.as_deref();
        let current = finding.and_then(|finding| finding.current.as_ref());
        let marker = finding.and_then(|finding| finding.marker.as_ref());
        let later = finding.and_then(|finding| finding.later.as_ref());
        Self {
            format: FORMAT,
            run_id: run.map_or("", |run| &run.id),
            report: run.map_or("", |run| &run.report),
            entry: claim.entry,
            place: &claim.place,
            outcome: claim.outcome,
            endpoint: bucket.map_or("", |bucket| &bucket.endpoint),
            bucket: bucket.map_or("", |bucket| &bucket.bucket),
            key: subject.key.as_str(),
            state: verdict.state.name(),
            proof: verdict.proof.map(super::Proof::name),
            etag: stored.and_then(|stored| stored.etag.as_ref()).map(crate::model::digest::ETag::as_str),
            version: stored.and_then(|stored| stored.version.as_ref()).map(|id| id.0.as_str()),
            size_bytes: stored.and_then(|stored| stored.size),
            now_etag: current.map(|(current, _)| current.etag.as_str()),
            now_version: current.and_then(|(current, _)| current.version.as_ref()).map(|id| id.0.as_str()),
            now_size_bytes: current.map(|(current, _)| current.size),
            now_modified: current.and_then(|(current, _)| current.modified.as_deref()),
            now_write_id: current.and_then(|(current, _)| current.write_id.as_deref()),
            now_run_id: current.and_then(|(_, writer)| match writer {
                Writer::Run { run_id, .. } => Some(run_id.as_str()),
                Writer::Stranger | Writer::Copy | Writer::Odd(_) => None,
            }),
            same_bytes: finding.filter(|_| current.is_some()).map(|finding| finding.same_bytes),
            delete_marker: marker.map(|marker| marker.version.0.as_str()),
            deleted_at: marker.and_then(|marker| marker.modified.as_deref()),
            recoverable: words::kept(verdict).and_then(|kept| match kept {
                Kept::Version(_) => Some("yes"),
                Kept::No => Some("no"),
                Kept::NotKnown(_) => Some("not-known"),
                Kept::Nothing => None,
            }),
            recoverable_version: words::kept_version(verdict).map(|id| id.0.as_str()),
            later_run_id: later.map(|later| later.run_id.as_str()),
            later_place: later.map(|later| later.place.as_str()),
            message: words::what(claim, verdict),
        }
    }

    /// The encoded row with its line end. Nothing is escaped but as CSV asks: a program that reads it gets the very key.
    #[must_use]
    pub fn csv(&self) -> String {
        fn text(text: Option<&str>) -> Cow<'_, str> {
            Cow::Borrowed(text.unwrap_or_default())
        }
        let number = |number: Option<u64>| Cow::Owned(number.map(|number| number.to_string()).unwrap_or_default());
        encode(&[
            number(Some(u64::from(self.format))),
            text(Some(self.run_id)),
            text(Some(self.report)),
            number(Some(self.entry)),
            text(Some(self.place)),
            text(Some(self.outcome.name())),
            text(Some(self.endpoint)),
            text(Some(self.bucket)),
            text(Some(self.key)),
            text(Some(self.state)),
            text(self.proof),
            text(self.etag),
            text(self.version),
            number(self.size_bytes),
            text(self.now_etag),
            text(self.now_version),
            number(self.now_size_bytes),
            text(self.now_modified),
            text(self.now_write_id),
            text(self.now_run_id),
            text(self.same_bytes.map(|same| if same { "true" } else { "false" })),
            text(self.delete_marker),
            text(self.deleted_at),
            text(self.recoverable),
            text(self.recoverable_version),
            text(self.later_run_id),
            text(self.later_place),
            text(Some(&self.message)),
        ])
    }
}

/// The header with its line end.
#[must_use]
pub fn header() -> String {
    encode(&COLUMNS.map(Cow::Borrowed))
}

fn encode(fields: &[Cow<'_, str>; COLUMNS.len()]) -> String {
    let mut line = String::with_capacity(fields.iter().map(|field| field.len() + 1).sum::<usize>() + 8);
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        // Blanks at an end are part of the field, but some readers trim what stands without quotes.
        if field.contains(['"', ',', '\r', '\n']) || field.trim() != &**field {
            line.push('"');
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(field);
        }
    }
    line.push_str("\r\n");
    line
}
