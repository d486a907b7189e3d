//! Shows a run to whoever watches: bars on a terminal, lines in a log, JSON for a program. Progress goes to stderr, JSON
//! events to stdout. Nothing that a key or a server says can move the cursor or fake a line.

mod bars;
mod json;
mod meter;
mod plain;

use std::io::{IsTerminal as _, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::event::Watch;
use crate::model::row::{Outcome, Row};
use crate::model::text::escape;
use crate::report::facts::why;

use meter::since_now;
use plain::Progress;

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One bar a phase, on a terminal; problems and warnings stand above them.
    Bars,
    /// A line every few seconds and at each phase's end.
    Plain,
    /// One JSON object a line, on stdout.
    Json,
    /// Problems and warnings alone.
    Quiet,
}

impl Style {
    /// What the flags ask for, and where they ask for nothing, what stderr can show.
    #[must_use]
    pub fn choose(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (true, _) => Self::Json,
            (false, true) => Self::Quiet,
            (false, false) if stderr().is_terminal() => Self::Bars,
            (false, false) => Self::Plain,
        }
    }
}

/// Whoever watches in this style. Bars become lines where the terminal cannot draw.
#[must_use]
pub fn watch(style: Style) -> Arc<dyn Watch> {
    let plain = |progress| Arc::new(plain::Plain::new(stderr(), progress, since_now()));
    match style {
        Style::Bars => match bars::Bars::on_stderr() {
            Some(bars) => Arc::new(bars),
            None => plain(Progress::Shown),
        },
        Style::Plain => plain(Progress::Shown),
        Style::Quiet => plain(Progress::Hidden),
        Style::Json => Arc::new(json::Json::new(stdout(), since_now())),
    }
}

/// Problems of rows, as lines for a person; the first of them, since the report has them all.
#[derive(Debug, Default)]
struct Problems {
    told: AtomicU32,
}

impl Problems {
    const MOST: u32 = 50;

    /// The line that a row is worth, where it is worth one.
    fn line(&self, row: &Row) -> Option<String> {
        match row.outcome {
            Outcome::Lost | Outcome::Stale | Outcome::SourceChanged | Outcome::Failed | Outcome::Unknown => {}
            // Not attempted follows from some other row, which was told; refused was known when the plan was made.
            Outcome::Created
            | Outcome::Replaced
            | Outcome::Restored
            | Outcome::Deleted
            | Outcome::Unchanged
            | Outcome::Kept
            | Outcome::Refused
            | Outcome::NotAttempted => return None,
        }
        match self.told.fetch_add(1, Ordering::Relaxed) {
            told if told < Self::MOST => Some(problem(row)),
            Self::MOST => Some("more rows ended badly; the report has them all".into()),
            _ => None,
        }
    }
}

/// A row that did not end well, on one line.
pub(super) fn problem(row: &Row) -> String {
    let Row { outcome, place, bucket, key, .. } = row;
    let why = why(row);
    escape(&format!("{outcome}: {place}: s3://{bucket}/{key}: {why}")).into_owned()
}

fn note(text: &str) -> String {
    format!("note: {}", escape(text))
}

fn warning(text: &str) -> String {
    format!("warning: {}", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_problem_is_one_line_whatever_the_key_says() {
        let row = Row {
            key: "a\n\u{1b}[2Jcreated: all is well".into(),
            message: "somebody else wrote first".into(),
            ..samples::row(3, Outcome::Lost)
        };
        assert_eq!(
            Problems::default().line(&row).as_deref(),
            Some("lost: nightly.yaml:3: s3://finance/a\\n\\u{1b}[2Jcreated: all is well: somebody else wrote first")
        );
        assert_eq!(warning("a\rb"), "warning: a\\rb");
    }

    #[test]
    fn what_ended_well_or_was_known_before_is_not_told_again() {
        let problems = Problems::default();
        let told: Vec<_> = Outcome::ALL.into_iter().filter(|o| problems.line(&samples::row(1, *o)).is_some()).collect();
        let bad = [Outcome::Lost, Outcome::Stale, Outcome::SourceChanged, Outcome::Failed, Outcome::Unknown];
        assert_eq!(told, bad);
    }

    #[test]
    fn a_flood_of_problems_is_cut_off_and_says_so() {
        let problems = Problems::default();
        let lines: Vec<_> = (0..200).filter_map(|n| problems.line(&samples::row(n, Outcome::Failed))).collect();
        assert_eq!(lines.len(), 51);
        assert_eq!(lines[50], "more rows ended badly; the report has them all");
    }
}
