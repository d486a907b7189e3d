//! The report's one durable form: RFC 4180, one header, one row an entry. Writes and reads text, never files.

use std::borrow::Cow;
use std::io::Read;

use crate::model::entry::{Flaw, Place};
use crate::model::row::{Guard, REPORT_FORMAT, Row, whole_rows};
use crate::model::text::escape;

/// The columns of format 1, in order. New ones come only at the end, with a new format number.
pub const COLUMNS: [&str; 32] = [
    "format",
    "run_id",
    "plan_digest",
    "entry",
    "place",
    "source",
    "target",
    "endpoint",
    "region",
    "owner",
    "bucket",
    "key",
    "rule",
    "action",
    "reason",
    "outcome",
    "size_bytes",
    "sha256",
    "checksum",
    "etag_before",
    "version_before",
    "etag_after",
    "version_after",
    "guard",
    "attempts",
    "started_at",
    "duration_ms",
    "http_status",
    "error_code",
    "message",
    "request_id",
    "write_id",
];

/// One encoded row with its line end.
#[must_use]
pub fn line(row: &Row) -> String {
    encode(&fields(row))
}

/// A row's fields, in the order of [`COLUMNS`].
pub(super) fn fields(row: &Row) -> [Cow<'_, str>; COLUMNS.len()] {
    let Row {
        format,
        run_id,
        plan_digest,
        entry,
        place,
        source,
        target,
        endpoint,
        region,
        owner,
        bucket,
        key,
        rule,
        action,
        reason,
        outcome,
        size_bytes,
        sha256,
        checksum,
        etag_before,
        version_before,
        etag_after,
        version_after,
        guard,
        attempts,
        started_at,
        duration_ms,
        http_status,
        error_code,
        message,
        request_id,
        write_id,
    } = row;
    let number = |number: Option<u64>| number.map_or(Cow::Borrowed(""), |number| number.to_string().into());
    [
        format.to_string().into(),
        run_id.into(),
        plan_digest.into(),
        entry.to_string().into(),
        place.into(),
        source.into(),
        target.into(),
        endpoint.into(),
        region.into(),
        owner.into(),
        bucket.into(),
        key.into(),
        rule.into(),
        action.into(),
        reason.into(),
        outcome.name().into(),
        number(*size_bytes),
        sha256.into(),
        checksum.into(),
        etag_before.into(),
        version_before.into(),
        etag_after.into(),
        version_after.into(),
        guard.map_or("", Guard::name).into(),
        attempts.to_string().into(),
        started_at.into(),
        number(*duration_ms),
        number(http_status.map(u64::from)),
        error_code.into(),
        message.into(),
        request_id.into(),
        write_id.into(),
    ]
}

/// The header with its line end.
#[must_use]
pub fn header() -> String {
    encode(&COLUMNS.map(Cow::Borrowed))
}

// By hand, and not by the csv crate's writer, whose every call may fail: a row of evidence is encoded or it does not
// compile. The crate reads what this writes, in the tests too.
pub(super) fn encode(fields: &[Cow<'_, str>]) -> String {
    let mut line = String::with_capacity(fields.iter().map(|field| field.len() + 1).sum::<usize>() + 8);
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            line.push(',');
        }
        if field.contains(['"', ',', '\r', '\n']) {
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

/// What a reader makes of a last row without its line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// A finished report has none; a copy that has one is refused.
    Whole,
    /// A crash may have torn it: it is left out.
    MayBeTorn,
}

/// Reads the rows of a report, as they stand. `name` is what flaws call it. Every flaw is told, not only the first.
pub fn read(name: &str, from: impl Read, tail: Tail) -> Result<Vec<Row>, Vec<Flaw>> {
    Ok(read_placed(name, from, tail)?.into_iter().map(|(_, row)| row).collect())
}

/// A flaw of a report's line.
pub(super) fn flaw_at(name: &str, line: u64, message: String) -> Flaw {
    Flaw { place: Place { file: name.into(), line: u32::try_from(line).unwrap_or(0) }, message }
}

/// The rows, each with the line that it begins on.
pub(super) fn read_placed(name: &str, mut from: impl Read, tail: Tail) -> Result<Vec<(u64, Row)>, Vec<Flaw>> {
    let flaw = |line: u64, message: String| flaw_at(name, line, message);
    let mut text = Vec::new();
    from.read_to_end(&mut text).map_err(|error| vec![flaw(0, format!("cannot be read: {error}"))])?;
    if tail == Tail::MayBeTorn {
        let whole = whole_rows(&text).map(<[u8]>::len).sum();
        text.truncate(whole);
    }
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_slice());
    let mut records = reader.records();
    match records.next() {
        Some(Ok(header)) if header == COLUMNS[..] => {}
        Some(Ok(header)) if header.iter().any(|name| name == super::spreadsheet::COLUMN) => {
            let message = "is a copy for spreadsheets (--spreadsheet-safe), whose cells are not the report's to the letter; \
                           use the report that it was made from";
            return Err(vec![flaw(1, message.into())]);
        }
        Some(Ok(header)) if header.len() > COLUMNS.len() && header.iter().zip(COLUMNS).all(|(a, b)| a == b) => {
            return Err(vec![flaw(1, "has columns of a newer noclobber; read it with that version".into())]);
        }
        Some(Ok(_) | Err(_)) | None => {
            return Err(vec![flaw(1, "not a noclobber report: its first line is not the report's header".into())]);
        }
    }
    if tail == Tail::Whole && !text.ends_with(b"\n") {
        let last = text.split(|byte| *byte == b'\n').count() as u64;
        return Err(vec![flaw(last, "is cut short: a report ends with a line end".into())]);
    }
    let header = ::csv::StringRecord::from(COLUMNS.to_vec());
    let mut rows: Vec<(u64, Row)> = Vec::new();
    let mut flaws = Vec::new();
    let mut lines = Lines { text: &text, at: 0, line: 1 };
    for record in records {
        let (position, row) = match record {
            Ok(record) => (record.position().cloned(), row(&record, &header)),
            Err(error) => (error.position().cloned(), Err(error.to_string())),
        };
        let line = position.map_or(0, |position| lines.of(position.byte()));
        match row {
            Ok(row) => match rows.first() {
                Some((_, first)) if first.plan_digest != row.plan_digest => {
                    let (theirs, ours) = (escape(&row.plan_digest), escape(&first.plan_digest));
                    flaws.push(flaw(line, format!("is a row of plan {theirs}, among rows of plan {ours}")));
                }
                Some(_) | None => rows.push((line, row)),
            },
            Err(message) => flaws.push(flaw(line, message)),
        }
    }
    if flaws.is_empty() { Ok(rows) } else { Err(flaws) }
}

/// Counts lines on the way through a text. The csv crate's own count is one behind after CRLF.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that begins at, or just before, a line end at `byte`. Never goes back.
    fn of(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        while let Some(c) = self.text.get(self.at)
            && (self.at < byte || matches!(c, b'\r' | b'\n'))
        {
            self.line += u64::from(*c == b'\n');
            self.at += 1;
        }
        self.line
    }
}

fn row(record: &::csv::StringRecord, header: &::csv::StringRecord) -> Result<Row, String> {
    match record.get(0).unwrap_or("").parse() {
        Ok(REPORT_FORMAT) => {}
        Ok(newer) if newer > REPORT_FORMAT => {
            return Err(format!("format {newer} is of a newer noclobber; read it with that version"));
        }
        Ok(_) | Err(_) => return Err("has no format number that a report can have".into()),
    }
    if record.len() != header.len() {
        return Err(format!("has {} columns where a report has {}", record.len(), header.len()));
    }
    record.deserialize(Some(header)).map_err(|error| match error.kind() {
        ::csv::ErrorKind::Deserialize { err, .. } => {
            let column = err.field().and_then(|i| usize::try_from(i).ok()).and_then(|i| COLUMNS.get(i));
            format!("{}: {}", column.unwrap_or(&"row"), err.kind())
        }
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::row::{Guard, Outcome};
    use crate::report::samples;

    const NAME: &str = "report.csv";

    fn text(rows: &[Row]) -> String {
        header() + &rows.iter().map(line).collect::<String>()
    }

    fn flaws(text: &str) -> Vec<String> {
        read(NAME, text.as_bytes(), Tail::Whole).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn columns_are_those_of_the_contract_and_of_the_row() {
        assert_eq!(
            header(),
            "format,run_id,plan_digest,entry,place,source,target,endpoint,region,owner,bucket,key,rule,action,reason,\
             outcome,size_bytes,sha256,checksum,etag_before,version_before,etag_after,version_after,guard,attempts,\
             started_at,duration_ms,http_status,error_code,message,request_id,write_id\r\n"
        );
        let mut by_serde = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(Vec::new());
        by_serde.serialize(samples::row(7, Outcome::SourceChanged)).unwrap();
        let by_serde = String::from_utf8(by_serde.into_inner().unwrap()).unwrap();
        assert_eq!(text(&[samples::row(7, Outcome::SourceChanged)]), by_serde);
    }

    #[test]
    fn a_row_is_one_line_that_a_ticket_can_quote() {
        let row = Row {
            key: "a \"b\",c\r\nd".into(),
            sha256: String::new(),
            checksum: String::new(),
            size_bytes: None,
            guard: None,
            ..samples::row(3, Outcome::NotAttempted)
        };
        let digest = "ab".repeat(32);
        assert_eq!(
            line(&row),
            format!(
                "1,0198-run,sha256:{digest},3,nightly.yaml:3,out/3.csv,default,https://s3.eu-west-1.amazonaws.com,\
                 eu-west-1,111122223333,finance,\"a \"\"b\"\",c\r\nd\",if-changed,replace,differs,not-attempted,,,,\
                 before-3,v3-before,after-3,v3-after,,1,2026-07-01T02:00:00.000Z,1500,200,,,request-3,0198-run-3\r\n"
            )
        );
    }

    #[test]
    fn every_outcome_and_guard_survives_the_file() {
        let guards = [None, Some(Guard::Atomic), Some(Guard::Tested), Some(Guard::CheckFirst)];
        let rows: Vec<_> = Outcome::ALL
            .into_iter()
            .flat_map(|outcome| guards.map(|guard| Row { guard, ..samples::row(1, outcome) }))
            .collect();
        assert_eq!(read(NAME, text(&rows).as_bytes(), Tail::Whole), Ok(rows));
    }

    #[test]
    fn what_is_no_report_of_this_format_is_refused() {
        let good = text(&[samples::row(1, Outcome::Created)]);
        let not = "report.csv:1: not a noclobber report: its first line is not the report's header";
        assert_eq!(flaws(""), [not]);
        assert_eq!(flaws("a,b\r\n"), [not]);
        assert_eq!(flaws(&good.replacen("run_id,plan_digest", "plan_digest,run_id", 1)), [not]);
        assert_eq!(
            flaws(&good.replacen("write_id\r\n", "write_id,weather\r\n", 1)),
            ["report.csv:1: has columns of a newer noclobber; read it with that version"]
        );
        assert_eq!(
            flaws(&good.replacen("\r\n1,", "\r\n2,", 1)),
            ["report.csv:2: format 2 is of a newer noclobber; read it with that version"]
        );
    }

    #[test]
    fn every_bad_row_is_named_by_its_line() {
        let bad = text(&[
            Row { key: "two\nlines".into(), ..samples::row(1, Outcome::Created) },
            samples::row(2, Outcome::Kept),
            samples::row(3, Outcome::Lost),
        ]);
        let bad = bad.replace(",kept,", ",perhaps,").replace(",200,", ",many,") + "1,short\r\nx\r\n";
        assert_eq!(
            flaws(&bad),
            [
                "report.csv:2: http_status: invalid digit found in string",
                "report.csv:4: row: unknown variant `perhaps`, expected one of `created`, `replaced`, `restored`, `deleted`, `unchanged`, \
                 `kept`, `refused`, `lost`, `stale`, `source-changed`, `failed`, `unknown`, `not-attempted`",
                "report.csv:5: http_status: invalid digit found in string",
                "report.csv:6: has 2 columns where a report has 32",
                "report.csv:7: has no format number that a report can have",
            ]
        );
    }

    #[test]
    fn a_torn_last_row_is_left_out_only_when_asked() {
        let rows = [samples::row(1, Outcome::Created), samples::row(2, Outcome::Created)];
        let whole = text(&rows);
        let first = text(&rows[..1]).len();
        // A cut inside the last column leaves 32 columns: only the missing line end tells.
        for cut in [1, 2, 3, 20, whole.len() - first - 1] {
            let torn = &whole[..whole.len() - cut];
            let expected = if cut == 0 { &rows[..] } else { &rows[..1] };
            assert_eq!(read(NAME, torn.as_bytes(), Tail::MayBeTorn).as_deref(), Ok(expected), "{cut}");
            // The cut at 1 leaves the carriage return alone.
            assert_eq!(flaws(torn), ["report.csv:3: is cut short: a report ends with a line end"], "{cut}");
        }
    }

    #[test]
    fn rows_of_two_plans_make_no_report() {
        let other = Row { plan_digest: "sha256:00".into(), ..samples::row(2, Outcome::Created) };
        let ours = samples::row(1, Outcome::Created).plan_digest;
        assert_eq!(
            flaws(&text(&[samples::row(1, Outcome::Created), other, samples::row(3, Outcome::Created)])),
            [format!("report.csv:3: is a row of plan sha256:00, among rows of plan {ours}")]
        );
    }

    proptest! {
        #[test]
        fn any_text_in_a_row_survives_the_file(key in any::<String>(), message in "[\"',\r\n\t;= ]{0,12}", entry: u64) {
            let row = Row { key, message, ..samples::row(entry, Outcome::Failed) };
            let rows = vec![row.clone(), row];
            let text = text(&rows);
            prop_assert_eq!(whole_rows(text.as_bytes()).count(), 3);
            prop_assert_eq!(read(NAME, text.as_bytes(), Tail::Whole), Ok(rows));
        }
    }
}
