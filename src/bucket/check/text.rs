//! Findings as a person reads them at a terminal: problems first and in full, what is fine in one line each.

use std::fmt::Write as _;

use super::{Finding, Fix, Level, Report};
use crate::model::text::{count, name};

/// Marks a level, or leaves it as it is.
pub type Paint<'a> = &'a dyn Fn(Level, &str) -> String;

/// Renders a report. Lines are as long as they are: commands are there to be copied.
#[must_use]
pub fn render(report: &Report, paint: Paint<'_>) -> String {
    let mut text = String::new();
    for finding in report.findings() {
        tell(&mut text, finding, paint);
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}: {}", place(report), report.counts());
    let _ = writeln!(
        text,
        "Recovery days: {}. Nothing was changed; a command above is there to be reviewed first.",
        count(report.recovery_days)
    );
    text
}

/// Which bucket, and where.
pub(super) fn place(report: &Report) -> String {
    let prefix = if report.prefix.is_empty() { "".into() } else { name(&report.prefix) };
    format!("s3://{}/{prefix} at {}", name(&report.bucket), name(&report.endpoint))
}

fn tell(text: &mut String, finding: &Finding, paint: Paint<'_>) {
    let Finding { name, level, found, why, fix } = finding;
    let level_name = paint(*level, level.name());
    let _ = writeln!(text, "{level_name}  {name}: {found}");
    if *level == Level::Ok {
        return;
    }
    let _ = writeln!(text, "    why: {why}");
    let Some(Fix { say, commands, document }) = fix else {
        text.push('\n');
        return;
    };
    let _ = writeln!(text, "    fix: {say}");
    for command in commands {
        let _ = writeln!(text, "        {command}");
    }
    if let Some(document) = document {
        let _ = writeln!(text, "    {}:", document.file);
        for line in document.text.lines() {
            let _ = writeln!(text, "        {line}");
        }
    }
    text.push('\n');
}
