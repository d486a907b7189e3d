//! The report for programs: one object with the summary and the rows.

use serde::Serialize;

use super::tally;
use crate::model::row::{Row, Tally};

#[derive(Serialize)]
struct Report<'a> {
    summary: Tally,
    rows: &'a [Row],
}

/// Renders a report as one JSON object: `summary` counts the outcomes, `rows` are the CSV's, under its column names.
pub fn render(rows: &[Row]) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&Report { summary: tally(rows), rows })?;
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
        let rows = [samples::row(1, Outcome::Replaced), samples::row(2, Outcome::SourceChanged)];
        let json: serde_json::Value = serde_json::from_str(&render(&rows).unwrap()).unwrap();
        assert_eq!(json["summary"]["source_changed"], 1);
        assert_eq!(json["summary"]["bytes"], 1536);
        assert_eq!(json["rows"].as_array().unwrap().len(), 2);
        let first = json["rows"][0].as_object().unwrap();
        let mut columns: Vec<_> = first.keys().map(String::as_str).collect();
        let mut expected = crate::report::csv::COLUMNS.to_vec();
        columns.sort_unstable();
        expected.sort_unstable();
        assert_eq!(columns, expected);
        assert_eq!(first["outcome"], "replaced");
    }
}
