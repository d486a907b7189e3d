//! Which rows of a report a rollback is of, and whether they can be believed.

use std::collections::{BTreeMap, HashSet};

use super::{Written, rule};
use crate::model::entry::{Flaw, Place};
use crate::model::glob::Glob;
use crate::model::row::{Outcome, Row};
use crate::model::step::Action;
use crate::model::write::WriteId;

/// A row with its line in the report.
pub type Placed = (u64, Row);

/// Where rows of one target went, as the report has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Went<'a> {
    pub target: &'a str,
    pub endpoint: &'a str,
    pub region: &'a str,
    pub owner: &'a str,
    pub bucket: &'a str,
}

impl<'a> Went<'a> {
    fn of(row: &'a Row) -> Self {
        let Row { target, endpoint, region, owner, bucket, .. } = row;
        Self { target, endpoint, region, owner, bucket }
    }
}

/// Everything by which a report cannot be the one that a run left, so far as a rollback builds on it. Nothing here stops
/// somebody who forges a report; what the bucket says has to agree with it in any case.
#[must_use]
pub fn flaws(name: &str, rows: &[Placed]) -> Vec<Flaw> {
    let at = |line: u64, message: String| Flaw {
        place: Place { file: name.into(), line: u32::try_from(line).unwrap_or(0) },
        message,
    };
    let Some((_, first)) = rows.first() else {
        return vec![at(0, "has no rows: there is nothing to roll back".to_owned())];
    };
    let mut found = Vec::new();
    let mut went: BTreeMap<&str, Went<'_>> = BTreeMap::new();
    let mut keys = HashSet::new();
    for (line, row) in rows {
        if row.run_id != first.run_id {
            let (theirs, ours) = (&row.run_id, &first.run_id);
            found.push(at(
                *line,
                format!("is a row of run {theirs:?}, among rows of run {ours:?}: roll back one at a time"),
            ));
            continue;
        }
        let known = went.entry(&row.target).or_insert_with(|| Went::of(row));
        if *known != Went::of(row) {
            found.push(at(*line, format!("target {:?} is at another place than in the rows before", row.target)));
        }
        if Written::of(row).is_none() {
            continue;
        }
        found.extend(flaw_of(row).map(|flaw| at(*line, flaw)));
        if !keys.insert((&row.endpoint, &row.bucket, &row.key)) {
            found.push(at(*line, format!("is a second write to key {:?}", row.key)));
        }
    }
    found
}

/// How a row that wrote says what no run says.
fn flaw_of(row: &Row) -> Option<String> {
    let Row { run_id, entry, key, outcome, action, write_id, etag_before, version_before, .. } = row;
    if run_id.is_empty() {
        return Some("names no run".to_owned());
    }
    if key.is_empty() || key.len() > 1024 {
        return Some("has a key that S3 cannot have".to_owned());
    }
    if rule(row).is_none() {
        return Some(format!("has rule {:?}, which no entry has", row.rule));
    }
    let due: &[Action] = match outcome {
        Outcome::Created => &[Action::Create],
        Outcome::Replaced => &[Action::Replace],
        Outcome::Restored => &[Action::Restore],
        Outcome::Deleted => &[Action::Delete],
        Outcome::Unknown => &[Action::Create, Action::Replace, Action::Restore, Action::Delete],
        Outcome::Unchanged
        | Outcome::Kept
        | Outcome::Refused
        | Outcome::Lost
        | Outcome::Stale
        | Outcome::SourceChanged
        | Outcome::Failed
        | Outcome::NotAttempted => return None,
    };
    if !due.iter().any(|due| due.name() == action) {
        return Some(format!("is {outcome}, and its action is {action:?}"));
    }
    let has_before = !etag_before.is_empty() || !version_before.is_empty();
    if action == Action::Create.name() && has_before {
        return Some("is of a create, and names an object that was there before".to_owned());
    }
    if (action == Action::Replace.name() || action == Action::Delete.name()) && etag_before.is_empty() {
        return Some(format!("is of a {action}, and does not name what was there before"));
    }
    let is_own = *write_id == WriteId::new(run_id, *entry).0;
    if !is_own && (action != Action::Delete.name() || !write_id.is_empty()) {
        return Some(format!("has write id {write_id:?}, which is not its own"));
    }
    None
}

/// The rows to roll back: those that wrote and that a glob names, if any are given. What was written last comes first,
/// so far as the rows tell. The error is the first glob that names no row at all.
pub fn chosen<'a>(rows: &'a [Placed], only: &[(String, Glob)]) -> Result<Vec<(u64, Written<'a>)>, String> {
    for (text, glob) in only {
        if !rows.iter().any(|(_, row)| glob.is_match(&row.key)) {
            return Err(text.clone());
        }
    }
    let is_chosen = |row: &Row| only.is_empty() || only.iter().any(|(_, glob)| glob.is_match(&row.key));
    let mut chosen: Vec<_> = rows
        .iter()
        .filter(|(_, row)| is_chosen(row))
        .filter_map(|(line, row)| Some((*line, Written::of(row)?)))
        .collect();
    // The times have one form and one zone, and sort as text.
    chosen.sort_by(|(_, a), (_, b)| {
        let of = |written: &Written<'a>| (written.row().started_at.as_str(), written.row().entry);
        of(b).cmp(&of(a))
    });
    Ok(chosen)
}

/// Where the rows went, each target once.
#[must_use]
pub fn targets<'a>(chosen: &[(u64, Written<'a>)]) -> Vec<Went<'a>> {
    let by_name: BTreeMap<&str, Went<'a>> =
        chosen.iter().map(|(_, written)| (written.row().target.as_str(), Went::of(written.row()))).collect();
    by_name.into_values().collect()
}
