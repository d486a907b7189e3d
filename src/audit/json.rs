//! What was found as one JSON document, part by part: the summary first, then one object a judged row, in one line each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::claim::Audit;
use super::csv::Line;
use super::{Count, Found, Settled};

/// How every document begins.
pub const MARK: &str = "{\"noclobber_verify\":1,";

/// Everything but the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary<'a> {
    pub summary: Count,
    pub not_checked: BTreeMap<&'static str, u64>,
    pub runs: Vec<RunTold<'a>>,
    pub unknown: Vec<DoubtTold<'a>>,
}

/// A run of the given reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunTold<'a> {
    pub run_id: &'a str,
    pub report: &'a str,
    pub rows: u64,
    /// Whether its rows were judged; those of runs before `--since` were not.
    pub judged: bool,
}

/// A row that ended `unknown`, and whether its write is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoubtTold<'a> {
    pub run_id: &'a str,
    pub entry: u64,
    pub place: &'a str,
    pub bucket: &'a str,
    pub key: &'a str,
    pub write_id: &'a str,
    pub found: Settled,
}

impl<'a> Summary<'a> {
    #[must_use]
    pub fn of(audit: &'a Audit, found: &Found) -> Self {
        let runs = audit.runs.iter().map(|run| RunTold {
            run_id: &run.id,
            report: &run.report,
            rows: run.rows,
            judged: !run.is_left_out,
        });
        let unknown = audit.doubts().zip(&found.doubts).map(|((subject, doubt), found)| DoubtTold {
            run_id: audit.run(doubt.run).map_or("", |run| &run.id),
            entry: doubt.entry,
            place: &doubt.place,
            bucket: audit.buckets.get(subject.bucket as usize).map_or("", |bucket| &bucket.bucket),
            key: subject.key.as_str(),
            write_id: &doubt.write_id,
            found: *found,
        });
        Self {
            summary: found.count(),
            not_checked: audit.not_checked().into_iter().map(|(outcome, count)| (outcome.name(), count)).collect(),
            runs: runs.collect(),
            unknown: unknown.collect(),
        }
    }
}

/// Says the document, part by part; a million rows are never one text.
pub fn tell<E: From<serde_json::Error>>(
    audit: &Audit,
    found: &Found,
    say: &mut dyn FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let summary = serde_json::to_string(&Summary::of(audit, found))?;
    let fields = summary.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    say(&format!("{MARK}{fields},\"rows\":["))?;
    let mut before = "\n";
    for ((subject, claim), verdict) in audit.judged().zip(&found.verdicts) {
        let line = serde_json::to_string(&Line::of(audit, subject, claim, verdict))?;
        say(&format!("{before}{line}"))?;
        before = ",\n";
    }
    say("\n]}\n")
}
