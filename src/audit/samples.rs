//! Rows, heads and audits for the tests of this room.

use super::claim::Given;
use super::{Audit, Current, Finding, Found, Kept, Later, Marker, Met, Proof, Settled, State, Verdict, Writer};
use crate::model::digest::ETag;
use crate::model::entry::Properties;
use crate::model::head::{Encryption, Head, HeldChecksums, VersionId};
use crate::model::row::{Outcome, Row};
use crate::report::samples;

pub const FIRST: &str = "019db0c5-4a52-7d10-9f5e-3b0d8c1f2a77";
pub const SECOND: &str = "019db4ec-0052-7d10-9f5e-3b0d8c1f2a77";
pub const THIRD: &str = "019db912-b652-7d10-9f5e-3b0d8c1f2a77";

/// A row of a run, over the object of `<name>-before` or over nothing, that left the object of `<name>`.
pub fn row(run: &str, entry: u64, outcome: Outcome, left: &str, before: &str) -> Row {
    let of = |name: &str, kind: &str| if name.is_empty() { String::new() } else { format!("{kind}-{name}") };
    Row {
        run_id: run.into(),
        write_id: format!("{run}-{entry}"),
        etag_before: of(before, "etag"),
        version_before: of(before, "v"),
        etag_after: of(left, "etag"),
        version_after: of(left, "v"),
        started_at: "2026-07-01T02:00:00.500Z".into(),
        duration_ms: Some(1500),
        ..samples::row(entry, outcome)
    }
}

/// The same on a bucket without versions.
pub fn unversioned(row: Row) -> Row {
    Row { version_before: String::new(), version_after: String::new(), ..row }
}

pub fn given(rows: &[Row]) -> Given {
    let name = rows.first().map_or("empty.csv".to_owned(), |row| format!("{}.csv", &row.run_id[..8]));
    Given { name, rows: rows.to_vec() }
}

pub fn audit(reports: &[&[Row]]) -> Audit {
    Audit::of(reports.iter().map(|rows| given(rows)).collect()).unwrap()
}

/// The object of a name, of 1,536 bytes, written when the rows were.
pub fn head(name: &str, write_id: Option<&str>) -> Head {
    Head {
        size: 1536,
        etag: ETag::new(&format!("etag-{name}")),
        version: Some(VersionId(format!("v-{name}"))),
        last_modified: Some("2026-07-01T02:00:01Z".into()),
        encryption: Encryption::None,
        checksums: HeldChecksums::default(),
        first_part: None,
        properties: Properties::default(),
        claim: None,
        write_id: write_id.map(str::to_owned),
    }
}

/// One row in every state, twice in some, with everything that can be said of one; and a key that would be markup.
pub fn every_state() -> (Audit, Found) {
    let mut rows: Vec<Row> = (1..=11).map(|n| row(FIRST, n, Outcome::Created, &format!("{n}"), "")).collect();
    for (row, key) in rows.iter_mut().zip(["a/intact.csv", "a/b c.csv", "<script>|`x`\n\u{202e}.csv"]) {
        row.key = key.into();
    }
    rows.push(row(FIRST, 12, Outcome::Failed, "", ""));
    rows.push(row(FIRST, 13, Outcome::Unknown, "", ""));
    let audit = audit(&[&rows]);
    let stranger = |name: &str| Some((Current::of(&head(name, None)), Writer::Stranger));
    let version = |name: &str| VersionId(format!("v-{name}"));
    let writer = Writer::Run { run_id: SECOND.into(), row: Some(("nightly.yaml:7".into(), Outcome::Replaced)) };
    let by_run = Some((Current::of(&head("run", Some("other"))), writer));
    let blank = Finding::blank;
    let marker = Marker { version: version("marker"), modified: Some("2026-07-02T03:04:05Z".into()) };
    let later = |met| {
        let (run_id, place) = (SECOND.to_owned(), "nightly.yaml:8".to_owned());
        Some(Later { run_id, place, outcome: Outcome::Replaced, met })
    };
    let verdicts = vec![
        Verdict::intact(Proof::Version),
        Verdict::of(
            State::Overwritten,
            Finding { current: stranger("new"), kept: Kept::Version(version("2")), ..blank() },
        ),
        Verdict::of(
            State::Overwritten,
            Finding { current: stranger("3"), same_bytes: true, kept: Kept::NotKnown("403".into()), ..blank() },
        ),
        Verdict::of(State::Overwritten, Finding { current: by_run, kept: Kept::No, ..blank() }),
        Verdict::of(
            State::Deleted,
            Finding { marker: Some(marker.clone()), kept: Kept::Version(version("5")), ..blank() },
        ),
        Verdict::of(State::Gone, Finding { marker: Some(marker), kept: Kept::No, ..blank() }),
        Verdict::of(State::Gone, Finding { current: stranger("new"), kept: Kept::No, ..blank() }),
        Verdict::of(State::Superseded, Finding { later: later(None), ..blank() }),
        Verdict::of(
            State::Overwritten,
            Finding {
                later: later(Some(Met::Object(ETag::new("etag-odd"), Some(version("odd"))))),
                kept: Kept::Version(version("9")),
                ..blank()
            },
        ),
        Verdict::of(State::NotAllowed, blank()),
        Verdict::of(State::Unreachable, Finding { why: "503 SlowDown: please".into(), ..blank() }),
    ];
    (audit, Found { verdicts, doubts: vec![Settled::Stored] })
}
