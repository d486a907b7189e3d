//! Rows of evidence, as CSV and as pages. Pure.

pub mod advice;
pub mod csv;
pub mod facts;
pub mod html;
pub mod json;
pub mod markdown;
pub mod metrics;
pub mod restore;
pub mod row;
pub mod spreadsheet;
pub mod summary;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Read;

use crate::model::entry::Flaw;
use crate::model::row::{Outcome, Row, Tally};
use csv::Tail;

/// A report as it was read: one row an entry, in the plan's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub rows: Vec<Row>,
    pub state: State,
}

/// Whether the run had put its report in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Finished,
    /// It is running, or was killed: entries may have no row yet, and rows may not have their last word.
    Unfinished,
}

/// Which rows are shown. Totals are of all rows, whichever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    All,
    /// What did not end well, what was overwritten, and creates of which something is said.
    Problems,
}

impl Level {
    /// Whether a row of the report is shown.
    #[must_use]
    pub fn tells(self, row: &Row) -> bool {
        match row.outcome {
            Outcome::Unchanged | Outcome::Kept => self == Self::All,
            // Of a lost answer that was settled, say, something is said.
            Outcome::Created => self == Self::All || !row.message.is_empty(),
            // What was overwritten is what a report is asked first.
            Outcome::Replaced
            | Outcome::Restored
            | Outcome::Deleted
            | Outcome::Refused
            | Outcome::Lost
            | Outcome::Stale
            | Outcome::SourceChanged
            | Outcome::Failed
            | Outcome::Unknown
            | Outcome::NotAttempted => true,
        }
    }
}

impl Report {
    /// Reads a report that a person wants to see. A finished one has exactly one row for each entry from 1 on, in order;
    /// the rows of an unfinished one are in the order in which they ended, and the later of two speaks, unless the
    /// earlier was final.
    ///
    /// Rows that were cut off at the end, to the line, cannot be missed: only the plan knows how many there should be.
    pub fn read(name: &str, from: impl Read, state: State) -> Result<Self, Vec<Flaw>> {
        let rows = match state {
            State::Finished => finished(name, from)?.into_iter().map(|(_, row)| row).collect(),
            State::Unfinished => latest(csv::read_placed(name, from, Tail::MayBeTorn)?),
        };
        Ok(Self { rows, state })
    }

    /// The rows that are shown at this level.
    pub fn told(&self, level: Level) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| level.tells(row))
    }

    /// How many rows are not shown at this level.
    #[must_use]
    pub fn left_out(&self, level: Level) -> u64 {
        (self.rows.len() - self.told(level).count()) as u64
    }
}

/// Reads the rows of a finished report, one for each entry from 1 on, each with the line that it begins on.
pub fn finished(name: &str, from: impl Read) -> Result<Vec<(u64, Row)>, Vec<Flaw>> {
    let placed = csv::read_placed(name, from, Tail::Whole)?;
    for ((line, row), expected) in placed.iter().zip(1..) {
        if row.entry != expected {
            let message = format!(
                "is the row of entry {} where that of entry {expected} is due: rows were taken out, put in or moved",
                row.entry
            );
            // What follows from it is not told line by line.
            return Err(vec![csv::flaw_at(name, *line, message)]);
        }
    }
    Ok(placed)
}

fn latest(placed: Vec<(u64, Row)>) -> Vec<Row> {
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for (_, row) in placed {
        match rows.entry(row.entry) {
            Entry::Vacant(place) => {
                place.insert(row);
            }
            Entry::Occupied(mut place) if !place.get().outcome.is_final() => {
                place.insert(row);
            }
            Entry::Occupied(_) => {}
        }
    }
    rows.into_values().collect()
}

/// Counts the rows by outcome, and the bytes that were stored.
#[must_use]
pub fn tally(rows: &[Row]) -> Tally {
    let mut tally = Tally::default();
    for row in rows {
        tally.add(row.outcome, row.size_bytes.unwrap_or(0));
    }
    tally
}

#[cfg(test)]
pub(crate) mod samples {
    use crate::model::row::{Guard, Outcome, REPORT_FORMAT, Row};

    /// A row with every column filled and told apart.
    pub fn row(entry: u64, outcome: Outcome) -> Row {
        Row {
            format: REPORT_FORMAT,
            run_id: "0198-run".into(),
            plan_digest: format!("sha256:{}", "ab".repeat(32)),
            entry,
            place: format!("nightly.yaml:{entry}"),
            source: format!("out/{entry}.csv"),
            target: "default".into(),
            endpoint: "https://s3.eu-west-1.amazonaws.com".into(),
            region: "eu-west-1".into(),
            owner: "111122223333".into(),
            bucket: "finance".into(),
            key: format!("reports/{entry}.csv"),
            rule: "if-changed".into(),
            action: "replace".into(),
            reason: "differs".into(),
            outcome,
            size_bytes: Some(1536),
            sha256: "cd".repeat(32),
            checksum: format!("sha256:{}", "cd".repeat(32)),
            etag_before: format!("before-{entry}"),
            version_before: format!("v{entry}-before"),
            etag_after: format!("after-{entry}"),
            version_after: format!("v{entry}-after"),
            guard: Some(Guard::Atomic),
            attempts: 1,
            started_at: "2026-07-01T02:00:00.000Z".into(),
            duration_ms: Some(1500),
            http_status: Some(200),
            error_code: String::new(),
            message: String::new(),
            request_id: format!("request-{entry}"),
            write_id: format!("0198-run-{entry}"),
        }
    }

    /// One row of each outcome, and what is special: a settled create, replaces that cannot be undone, a hostile key.
    pub fn mixed() -> Vec<Row> {
        let mut rows: Vec<Row> = (1..).zip(Outcome::ALL).map(|(n, outcome)| self::row(n, outcome)).collect();
        for row in &mut rows {
            if !row.outcome.is_success() {
                row.message = format!("why it is {}", row.outcome);
                row.http_status = (row.outcome == Outcome::Lost).then_some(412);
            }
        }
        rows.push(Row { message: "the answer was lost; found by its write id".into(), ..row(14, Outcome::Created) });
        let no_versions =
            Row { version_before: String::new(), version_after: String::new(), ..row(15, Outcome::Replaced) };
        rows.push(Row { key: "</script><b>=1|\u{202e}".into(), ..no_versions });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_every_row_once_and_only_stored_bytes() {
        let rows: Vec<_> = (1..).zip(Outcome::ALL).map(|(n, outcome)| samples::row(n, outcome)).collect();
        let tally = tally(&rows);
        assert_eq!(tally.rows(), Outcome::ALL.len() as u64);
        assert!(Outcome::ALL.iter().all(|outcome| tally.of(*outcome) == 1));
        assert_eq!(tally.bytes, 2 * 1536);
    }

    fn report(rows: &[Row], state: State) -> Result<Report, Vec<String>> {
        let csv = csv::header() + &rows.iter().map(csv::line).collect::<String>();
        let read = Report::read("r.csv", csv.as_bytes(), state);
        read.map_err(|flaws| flaws.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_report_from_which_rows_were_taken_is_refused_at_the_line() {
        let rows: Vec<_> = (1..=4).map(|n| samples::row(n, Outcome::Created)).collect();
        assert_eq!(report(&rows, State::Finished).map(|report| report.rows), Ok(rows.clone()));
        let without = [rows[0].clone(), rows[2].clone(), rows[3].clone()];
        let twice = [rows[0].clone(), rows[1].clone(), rows[1].clone()];
        for (rows, line, found, due) in [(&without[..], 3, 3, 2), (&twice, 4, 2, 3), (&rows[1..], 2, 2, 1)] {
            let told = format!(
                "r.csv:{line}: is the row of entry {found} where that of entry {due} is due: rows were taken out, put in or \
                 moved"
            );
            assert_eq!(report(rows, State::Finished), Err(vec![told]));
        }
    }

    #[test]
    fn of_an_unfinished_report_the_last_word_on_each_entry_is_read() {
        let row = samples::row;
        let rows =
            [row(3, Outcome::Created), row(1, Outcome::Failed), row(1, Outcome::Replaced), row(1, Outcome::Failed)];
        let read = report(&rows, State::Unfinished).unwrap();
        assert_eq!(read.rows, [row(1, Outcome::Replaced), row(3, Outcome::Created)]);
    }

    #[test]
    fn the_level_of_problems_tells_all_but_what_went_as_planned_and_buried_nothing() {
        let told: Vec<_> =
            samples::mixed().into_iter().filter(|row| Level::Problems.tells(row)).map(|r| r.entry).collect();
        assert_eq!(told, [2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    }
}
