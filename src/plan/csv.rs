//! The plan as CSV: RFC 4180, a header, one row a step. For spreadsheets and databases; the plan file is the plan.

use crate::model::step::{Header, Step};
use crate::model::target::Target;

use super::words::encryption;

/// The format's number. It changes whenever the columns do.
pub const FORMAT: u32 = 2;

/// The columns of format 2, in order. New ones come only at the end, with a new format number.
pub const COLUMNS: [&str; 26] = [
    "format",
    "n",
    "place",
    "source",
    "target",
    "bucket",
    "key",
    "rule",
    "stage",
    "action",
    "reason",
    "proof",
    "note",
    "size_bytes",
    "mtime",
    "checksum",
    "etag_before",
    "version_before",
    "size_before",
    "last_modified_before",
    "encryption_before",
    "checksum_before",
    "version_restored",
    "etag_restored",
    "size_restored",
    "guard",
];

/// The first line.
#[must_use]
pub fn head() -> String {
    line(&COLUMNS.map(str::to_owned))
}

/// One step's line. Nothing is escaped but as CSV asks: a program that reads it gets the very key.
#[must_use]
pub fn row(header: &Header, step: &Step) -> String {
    let Step {
        n,
        place,
        source,
        real: _,
        target,
        key,
        rule,
        stage,
        action,
        reason,
        proof,
        note,
        properties: _,
        local,
        head,
        earlier,
        guard,
    } = step;
    let bucket = header.targets.iter().find(|known: &&Target| *known.name == **target).map(|known| &*known.bucket);
    let local = local.as_ref();
    let seen = head.as_ref();
    let earlier = earlier.as_ref().map(|earlier| &earlier.seen);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    line(&[
        FORMAT.to_string(),
        n.to_string(),
        place.to_string(),
        source.clone(),
        target.to_string(),
        text(bucket),
        key.to_string(),
        rule.to_string(),
        text(stage.as_deref()),
        action.to_string(),
        reason.to_string(),
        text(proof.map(crate::model::step::Proof::name)),
        text(note.as_deref()),
        local.map(|local| local.size.to_string()).unwrap_or_default(),
        text(local.map(|local| &*local.mtime)),
        local.and_then(|local| local.checksum).map(|checksum| checksum.to_string()).unwrap_or_default(),
        text(seen.map(|seen| seen.etag.as_str())),
        text(seen.and_then(|seen| seen.version.as_ref()).map(|version| &*version.0)),
        seen.map(|seen| seen.size.to_string()).unwrap_or_default(),
        text(seen.and_then(|seen| seen.last_modified.as_deref())),
        text(seen.map(|seen| encryption(&seen.encryption))),
        text(seen.and_then(|seen| seen.checksum.as_deref())),
        text(earlier.and_then(|earlier| earlier.version.as_ref()).map(|version| &*version.0)),
        text(earlier.map(|earlier| earlier.etag.as_str())),
        earlier.map(|earlier| earlier.size.to_string()).unwrap_or_default(),
        text(guard.map(crate::model::row::Guard::name)),
    ])
}

/// Writing to a `String` cannot fail, so the quoting of RFC 4180, section 2, is spelled out here.
fn line(fields: &[String; COLUMNS.len()]) -> String {
    let mut line = String::with_capacity(fields.iter().map(|field| field.len() + 3).sum());
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        // Blanks at an end are part of the field, but some readers trim what stands without quotes.
        let is_plain = !field.contains(['"', ',', '\r', '\n']) && field.trim() == field;
        if is_plain {
            line.push_str(field);
        } else {
            line.push('"');
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        }
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples;

    #[test]
    fn every_text_comes_back_from_a_reader_of_csv_as_it_was() {
        for text in ["a,b", "a\"b", "a\r\nb", " a ", "\u{202e}<b>", "=1+1", "", "ü"] {
            let plan = samples::said_everywhere(text);
            let mut csv = head();
            for step in &plan.steps {
                csv.push_str(&row(&plan.header, step));
            }
            let mut reader = ::csv::Reader::from_reader(csv.as_bytes());
            assert_eq!(reader.headers().unwrap(), &COLUMNS[..]);
            let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
            assert_eq!(rows.len(), plan.steps.len());
            for (row, step) in rows.iter().zip(&plan.steps) {
                let of = |name: &str| &row[COLUMNS.iter().position(|column| *column == name).unwrap()];
                for name in ["source", "target", "bucket", "key", "stage", "note"] {
                    assert_eq!(of(name), text, "{name}");
                }
                assert_eq!(of("action"), step.action.name());
                assert_eq!(of("etag_before"), step.head.as_ref().map_or("", |head| head.etag.as_str()));
                assert_eq!(of("version_before"), if step.head.is_some() { text } else { "" });
                assert_eq!(of("checksum").is_empty(), !step.action.writes());
            }
        }
    }
}
