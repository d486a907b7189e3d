//! `bucket versions`: the history of one key, and who wrote what.

use std::collections::HashMap;

use serde_json::json;

use crate::audit::judge::run_of;
use crate::flow::cancel::Cancel;
use crate::flow::history::{History, Told, history};
use crate::model::entry::Key;
use crate::model::exit::Exit;
use crate::model::head::Head;
use crate::model::row::{Outcome, Row};
use crate::model::text::{bytes, count, escape, name};

use super::args::{At, Global, Versions};
use super::bucket::{connect, told_place};
use super::out::Out;
use super::reach::Reach;
use super::{Ended, Failure, report, signal};

pub(super) async fn versions(global: &Global, args: Versions, out: Out) -> Ended {
    if args.at.place.prefix.is_empty() {
        return Err(Failure::new(Exit::Usage, "whose versions? Give the whole key: s3://BUCKET/KEY"));
    }
    let rows = rows(&args)?;
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    let reach = Reach::begin(global).await?;
    let ended = Box::pin(look_and_tell(&reach, &args, &rows, &cancel, out)).await;
    reach.end().await;
    ended
}

/// What the reports say of this key's writes, by write id.
type Rows = HashMap<String, Row>;

fn rows(args: &Versions) -> Result<Rows, Failure> {
    let place = &args.at.place;
    let mut rows = Rows::new();
    for path in &args.reports {
        let of_key =
            report::read(path)?.rows.into_iter().filter(|row| row.key == place.prefix && row.bucket == place.bucket);
        rows.extend(of_key.filter(|row| !row.write_id.is_empty()).map(|row| (row.write_id.clone(), row)));
    }
    Ok(rows)
}

async fn look_and_tell(reach: &Reach, args: &Versions, rows: &Rows, cancel: &Cancel, out: Out) -> Ended {
    let at = &args.at;
    let store = connect(reach, at).await?;
    let key = Key::new(at.place.prefix.as_str());
    let could_not = |why: &dyn std::fmt::Display| Failure::new(Exit::CouldNotRun, format!("{}: {why}", told_place(at)));
    let told = history(&store, &key, usize::from(args.most), cancel).await.map_err(|error| could_not(&error))?;
    match told {
        None => Err(Failure::new(Exit::Interrupted, "interrupted")),
        Some(History::Nothing) => Err(could_not(&"there is no such key, and no version of it")),
        Some(History::Unseen) => Err(could_not(&"the server does not allow to look (403)")),
        Some(History::Unversioned(head)) => {
            let lines = [Line::of(None, true, head.last_modified.clone(), Told::Head(head), rows)];
            tell(at, &lines, Kind::Unversioned, out)
        }
        Some(History::Versions { past, is_cut }) => {
            let line = |past: crate::flow::history::Past| {
                let crate::store::Version { id, etag: _, size: _, is_latest, last_modified } = past.version;
                Line::of(Some(id.0), is_latest, last_modified, past.head, rows)
            };
            let lines: Vec<Line> = past.into_iter().map(line).collect();
            tell(at, &lines, if is_cut { Kind::Cut } else { Kind::Whole }, out)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unversioned,
    Whole,
    Cut,
}

/// One version, as it is told.
struct Line {
    version: Option<String>,
    is_latest: bool,
    modified: Option<String>,
    /// `None` for a delete marker.
    size: Option<u64>,
    etag: Option<String>,
    is_marker: bool,
    write_id: Option<String>,
    row: Option<(String, Outcome)>,
    who: String,
}

impl Line {
    fn of(version: Option<String>, is_latest: bool, modified: Option<String>, told: Told, rows: &Rows) -> Self {
        let blank = Self {
            version,
            is_latest,
            modified,
            size: None,
            etag: None,
            is_marker: false,
            write_id: None,
            row: None,
            who: String::new(),
        };
        match told {
            Told::Marker => Self { is_marker: true, who: "-".to_owned(), ..blank },
            Told::Not(why) => Self { who: format!("not known: {why}"), ..blank },
            Told::Head(head) => {
                let row = head.write_id.as_ref().and_then(|id| rows.get(id));
                let who = who(&head, row);
                let row = row.filter(|row| is_of(row, &head)).map(|row| (row.place.clone(), row.outcome));
                let Head { size, etag, write_id, .. } = *head;
                Self { size: Some(size), etag: Some(etag.as_str().to_owned()), write_id, row, who, ..blank }
            }
        }
    }
}

/// Whether a version is the one that a row of its write id stored: a copy has another version id.
fn is_of(row: &Row, head: &Head) -> bool {
    let version = head.version.as_ref().map(|id| id.0.as_str()).unwrap_or_default();
    (row.version_after.is_empty() || version.is_empty() || row.version_after == version)
        && (row.etag_after.is_empty() || row.etag_after == head.etag.as_str())
}

/// Who wrote a version, as far as its write id tells; not escaped.
fn who(head: &Head, row: Option<&Row>) -> String {
    match (&head.write_id, row) {
        (None, _) => "a stranger (no write id)".to_owned(),
        (Some(_), Some(row)) if is_of(row, head) => format!("run {}, {}, {}", row.run_id, row.place, row.outcome),
        (Some(_), Some(row)) => format!("a copy of what run {} stored ({})", row.run_id, row.place),
        (Some(id), None) => match run_of(id) {
            Some(run) => format!("run {run}"),
            None => format!("a write id that no run makes: {id}"),
        },
    }
}

fn tell(at: &At, lines: &[Line], kind: Kind, out: Out) -> Ended {
    if out.json {
        events(at, lines, kind, out)?;
        return Ok(Exit::Done);
    }
    let n = count(lines.len() as u64);
    let head = match kind {
        Kind::Unversioned => "no versions are kept: this is what is there now".to_owned(),
        Kind::Whole if lines.len() == 1 => "1 version".to_owned(),
        Kind::Whole => format!("{n} versions, newest first"),
        Kind::Cut if lines.len() == 1 => "the newest version; there are more: --most tells them".to_owned(),
        Kind::Cut => format!("the newest {n} versions; there are more: --most tells them"),
    };
    out.result(&format!("{}: {head}", told_place(at)))?;
    let cells: Vec<[String; 5]> = std::iter::once(["MODIFIED", "SIZE", "VERSION", "ETAG", "WHO"].map(str::to_owned))
        .chain(lines.iter().map(cells))
        .collect();
    let mut widths = [0; 5];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [when_width, size_width, version_width, etag_width, _] = widths;
    for [modified, size, version, etag, who] in &cells {
        let line =
            format!("{modified:when_width$}  {size:>size_width$}  {version:version_width$}  {etag:etag_width$}  {who}");
        out.result(line.trim_end())?;
    }
    Ok(Exit::Done)
}

fn cells(line: &Line) -> [String; 5] {
    let Line { version, is_latest, modified, size, etag, is_marker, write_id: _, row: _, who } = line;
    let now = if *is_latest { " (now)" } else { "" };
    let shown = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), |text| name(text).into_owned());
    [
        format!("{}{now}", shown(modified)),
        size.map_or_else(|| "-".to_owned(), bytes),
        shown(version),
        if *is_marker { "delete marker".to_owned() } else { shown(etag) },
        escape(who).into_owned(),
    ]
}

fn events(at: &At, lines: &[Line], kind: Kind, out: Out) -> Result<(), Failure> {
    let place = &at.place;
    for line in lines {
        let Line { version, is_latest, modified, size, etag, is_marker, write_id, row, who } = line;
        out.event(&json!({
            "event": "version",
            "bucket": place.bucket,
            "key": place.prefix,
            "version_id": version,
            "is_latest": is_latest,
            "is_delete_marker": is_marker,
            "last_modified": modified,
            "size_bytes": size,
            "etag": etag,
            "write_id": write_id,
            "run_id": write_id.as_deref().and_then(run_of),
            "place": row.as_ref().map(|(place, _)| place),
            "outcome": row.as_ref().map(|(_, outcome)| outcome),
            "who": who,
        }))?;
    }
    out.event(&json!({
        "event": "versions",
        "bucket": place.bucket,
        "key": place.prefix,
        "told": lines.len(),
        "versioned": kind != Kind::Unversioned,
        "more": kind == Kind::Cut,
    }))
}
