//! The report for programs: one object with the summary and the rows.

use serde::Serialize;

use super::{Level, Report, State, tally};
use crate::model::row::{Row, Tally};

/// How every document begins.
pub const MARK: &str = "{\n  \"summary\": {";

#[derive(Serialize)]
struct Document<'a> {
    summary: Tally,
    finished: bool,
    level: &'static str,
    left_out: u64,
    rows: Vec<&'a Row>,
}

/// Renders a report as one JSON object: `summary` counts the outcomes of all rows, `rows` are the CSV's, under its column
/// names, and `left_out` says how many of them this level does not tell.
pub fn render(report: &Report, level: Level) -> Result<String, serde_json::Error> {
    let document = Document {
        summary: tally(&report.rows),
        finished: report.state == State::Finished,
        level: match level {
            Level::All => "all",
            Level::Problems => "problems",
        },
        left_out: report.left_out(level),
        rows: report.told(level).collect(),
    };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Outcome;
    use crate::report::samples;

    #[test]
    fn json_holds_every_column_and_the_counts() {
        let rows = vec![samples::row(1, Outcome::Replaced), samples::row(2, Outcome::SourceChanged)];
        let text = render(&Report { rows, state: State::Finished }, Level::All).unwrap();
        assert!(text.starts_with(MARK));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["summary"]["source_changed"], 1);
        assert_eq!(json["summary"]["bytes"], 1536);
        assert_eq!(json["finished"], true);
        assert_eq!(json["rows"].as_array().unwrap().len(), 2);
        let first = json["rows"][0].as_object().unwrap();
        let mut columns: Vec<_> = first.keys().map(String::as_str).collect();
        let mut expected = crate::report::csv::COLUMNS.to_vec();
        columns.sort_unstable();
        expected.sort_unstable();
        assert_eq!(columns, expected);
        assert_eq!(first["outcome"], "replaced");
    }

    #[test]
    fn rows_that_are_left_out_are_counted_all_the_same() {
        let report = Report { rows: samples::mixed(), state: State::Unfinished };
        let json: serde_json::Value = serde_json::from_str(&render(&report, Level::Problems).unwrap()).unwrap();
        assert_eq!(json["summary"]["unchanged"], 1);
        assert_eq!(
            (&json["level"], &json["finished"], &json["left_out"]),
            (&"problems".into(), &false.into(), &3.into())
        );
        assert_eq!(json["rows"].as_array().unwrap().len(), report.rows.len() - 3);
    }
}
