//! Findings for programs: one object, whose fields stay.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Finding, Level, Report};

/// How every document begins.
pub const MARK: &str = "{\n  \"noclobber_bucket_check\": ";

/// The format of the document. Fields are added, never changed.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    noclobber_bucket_check: u32,
    bucket: &'a str,
    prefix: &'a str,
    endpoint: &'a str,
    recovery_days: u64,
    exit: u8,
    counts: BTreeMap<&'static str, usize>,
    findings: &'a [Finding],
}

/// Renders a report as one JSON object: `counts` by level, and every finding, the gravest first.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    let document = Document {
        noclobber_bucket_check: FORMAT,
        bucket: &report.bucket,
        prefix: &report.prefix,
        endpoint: &report.endpoint,
        recovery_days: report.recovery_days,
        exit: report.exit().code(),
        counts: Level::ALL.map(|level| (level.word(), report.count(level))).into(),
        findings: report.findings(),
    };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}
