//! The report's rows for a spreadsheet that somebody opens without thinking: no cell of them is a formula.
//!
//! A key is a stranger's text, and a spreadsheet runs `=HYPERLINK(...)` or `@SUM(...)` wherever it opens a CSV (OWASP's
//! page on CSV injection lists the characters). Here an apostrophe stands before such text, so cells are no longer the
//! report's to the letter. One more column says so in every row, and [`super::csv::read`] refuses the copy by it.

use std::borrow::Cow;

use super::csv::{COLUMNS, encode, fields};
use crate::model::row::Row;

/// The column that tells a copy for spreadsheets from a report.
pub const COLUMN: &str = "spreadsheet_safe";

/// The header with its line end.
#[must_use]
pub fn header() -> String {
    let names = COLUMNS.into_iter().chain([COLUMN]).map(Cow::Borrowed);
    encode(&names.collect::<Vec<_>>())
}

/// One row with its line end.
#[must_use]
pub fn line(row: &Row) -> String {
    let mut cells = fields(row).to_vec();
    for cell in &mut cells {
        if let Cow::Owned(safe) = safe(cell) {
            *cell = Cow::Owned(safe);
        }
    }
    cells.push(Cow::Borrowed("yes"));
    encode(&cells)
}

/// Whether a spreadsheet may take a text that begins so for a formula. The wide forms are taken for the narrow ones where
/// Chinese and Japanese are written.
fn is_dangerous(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠')
}

/// The text with an apostrophe before each place where a formula could begin: the cell's own start, blanks skipped, and
/// what follows a `;`, a tab or a line end, where a spreadsheet that splits at those, whatever the quotes, sees a cell begin.
fn safe(text: &str) -> Cow<'_, str> {
    let mut made = String::new();
    let mut kept = 0;
    let mut begins = true;
    for (at, c) in text.char_indices() {
        let was_start = begins;
        if was_start && is_dangerous(c) {
            made.push_str(&text[kept..at]);
            made.push('\'');
            kept = at;
        }
        let splits = matches!(c, ';' | '\t' | '\r' | '\n');
        begins = splits || was_start && (c == ' ' || c == '"');
    }
    if kept == 0 && made.is_empty() {
        return Cow::Borrowed(text);
    }
    made.push_str(&text[kept..]);
    Cow::Owned(made)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::row::Outcome;
    use crate::report::csv::{Tail, read};
    use crate::report::samples;

    #[test]
    fn a_formula_is_text_and_all_other_text_is_left_alone() {
        let cases = [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t'=1"),
            ("\r\n=1", "'\r'\n'=1"),
            ("  =1", "  '=1"),
            ("a;=1", "a;'=1"),
            ("\"=1", "\"'=1"),
            ("＝1", "'＝1"),
        ];
        for (text, expected) in cases {
            assert_eq!(safe(text), expected, "{text:?}");
        }
        for text in ["", "a=b", "reports/2026-07-01/a+b@c.csv", "sha256:ab==", "'", "a b", "2026-07-01T02:00:00.000Z"] {
            assert!(matches!(safe(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn a_copy_for_spreadsheets_is_never_taken_for_the_report() {
        let copy = header() + &line(&samples::row(1, Outcome::Created));
        assert!(
            copy.starts_with("format,run_id,") && copy.contains(",write_id,spreadsheet_safe\r\n1,0198-run,"),
            "{copy}"
        );
        let flaws = read("safe.csv", copy.as_bytes(), Tail::Whole).unwrap_err();
        assert_eq!(
            flaws[0].to_string(),
            "safe.csv:1: is a copy for spreadsheets (--spreadsheet-safe), whose cells are not the report's to the \
             letter; use the report that it was made from"
        );
    }

    proptest! {
        #[test]
        fn no_cell_begins_a_formula_however_the_file_is_split(text in "[=+@;,\"'\t\r\n a－＝-]{0,12}", key: String) {
            let row = Row {
                key, source: text.clone(), message: text.clone(), etag_before: text.clone(), run_id: text.clone(),
                bucket: text, ..samples::row(1, Outcome::Failed)
            };
            let csv = header() + &line(&row);
            let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
            let mut cells = 0;
            for record in reader.records() {
                for cell in &record.unwrap() {
                    cells += 1;
                    prop_assert!(!cell.trim_start_matches(' ').starts_with(is_dangerous), "{:?}", cell);
                }
            }
            prop_assert_eq!(cells, 2 * (COLUMNS.len() + 1));
            for cell in csv.split([';', '\t', '\r', '\n']) {
                prop_assert!(!cell.trim_start_matches([' ', '"']).starts_with(is_dangerous), "{:?} of {:?}", cell, csv);
            }
        }
    }
}
