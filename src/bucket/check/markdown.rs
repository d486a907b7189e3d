//! Findings for a ticket: a table of all, and under it what is to be done.

use std::fmt::Write as _;

use super::{Finding, Fix, Level, Report, text};
use crate::model::text::{count, markdown, markdown_of};

/// How every page begins.
pub const MARK: &str = "## Bucket check: ";

/// Renders a report as Markdown. Nothing that came from outside is markup there.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut page = format!("{MARK}{}\n\n", markdown_of(&text::place(report)));
    let _ = writeln!(page, "{}. Recovery days: {}.\n", report.counts(), count(report.recovery_days));
    page.push_str("| level | name | found |\n|---|---|---|\n");
    for Finding { name, level, found, .. } in report.findings() {
        let _ = writeln!(page, "| {} | {} | {} |", shown(*level), markdown(name), markdown_of(found));
    }
    for finding in report.findings().iter().filter(|finding| finding.level != Level::Ok) {
        let Finding { name, level, why, fix, .. } = finding;
        let _ = write!(page, "\n### {}: {level}\n\n{}.\n", markdown(name), markdown_of(why));
        let Some(Fix { say, commands, document }) = fix else { continue };
        let _ = write!(page, "\nTo do: {}.\n", markdown_of(say));
        if !commands.is_empty() {
            fenced(&mut page, "sh", &commands.join("\n"));
        }
        if let Some(document) = document {
            let _ = write!(page, "\n`{}`:\n", document.file);
            fenced(&mut page, "json", &document.text);
        }
    }
    page
}

fn shown(level: Level) -> String {
    match level {
        Level::Ok | Level::Warning => level.name().to_owned(),
        Level::Problem | Level::NotAllowed | Level::CannotTell => format!("**{level}**"),
    }
}

/// A block of text as it is, within a fence that is longer than any in it.
fn fenced(page: &mut String, language: &str, text: &str) {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(3.max(longest + 1));
    let _ = write!(page, "\n{fence}{language}\n{text}\n{fence}\n");
}
