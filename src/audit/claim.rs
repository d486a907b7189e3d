//! From the rows of reports to what they claim of a bucket, key by key, each key's claims in the order of the runs.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::Met;
use crate::model::digest::ETag;
use crate::model::entry::{Flaw, Key, Place};
use crate::model::head::VersionId;
use crate::model::row::{Outcome, Row};
use crate::model::text::escape;
use crate::model::write::WriteId;

/// What some reports claim, together.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// In the order of time.
    pub runs: Vec<Run>,
    pub buckets: Vec<Bucket>,
    /// One a key of a bucket, in the order in which the reports first name them.
    pub subjects: Vec<Subject>,
    /// Whether what a later run replaced on purpose is superseded, or judged like everything else.
    pub chains: bool,
}

/// A report's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: String,
    /// The report's name, as it was given.
    pub report: String,
    pub rows: u64,
    /// How many rows claim nothing, by their outcome.
    pub not_checked: BTreeMap<Outcome, u64>,
    /// Earlier than what was asked for: it only helps to name who wrote what.
    pub is_left_out: bool,
}

/// Where a report's rows went.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bucket {
    pub endpoint: String,
    pub region: String,
    pub owner: String,
    pub bucket: String,
    /// The name of a target that goes there.
    pub target: String,
}

/// One key, and what the runs claim of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its place among the buckets.
    pub bucket: u32,
    pub key: Key,
    /// In the order of the runs.
    pub claims: Vec<Claim>,
    pub doubts: Vec<Doubt>,
}

/// What one row says that it left under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its place among the runs.
    pub run: u32,
    pub entry: u64,
    pub place: Box<str>,
    pub outcome: Outcome,
    pub wanted: Wanted,
    /// What the run found there, and wrote over or left.
    pub before: Met,
    /// When the row was begun and when it had ended, in whole seconds since 1970 began. An `unchanged` row was looked at
    /// before its run began.
    pub since: Option<i64>,
    pub until: Option<i64>,
}

/// What is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Object(Stored),
    /// No object; `was` is the version that the row took away.
    Nothing {
        was: Option<VersionId>,
    },
}

/// An object as a row names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub etag: Option<ETag>,
    pub version: Option<VersionId>,
    pub size: Option<u64>,
    /// Of what this row itself wrote.
    pub write_id: Option<Box<str>>,
}

/// A row that ended `unknown`: its write may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    pub run: u32,
    pub entry: u64,
    pub place: Box<str>,
    pub write_id: Box<str>,
    pub size: Option<u64>,
}

/// One report, read.
#[derive(Debug)]
pub struct Given {
    pub name: String,
    pub rows: Vec<Row>,
}

impl Claim {
    /// The version that is to be there, where its id names one write for ever: `null` is taken over by the next one.
    #[must_use]
    pub fn version(&self) -> Option<&VersionId> {
        match &self.wanted {
            Wanted::Object(stored) => stored.version.as_ref().filter(|id| names_one_write(id)),
            Wanted::Nothing { .. } => None,
        }
    }

    /// Whether the row changed what is under its key.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.outcome != Outcome::Unchanged
    }
}

/// Whether a version id is never given twice. Where versioning is off or suspended, every write goes to `null`.
#[must_use]
pub fn names_one_write(version: &VersionId) -> bool {
    version.0 != "null"
}

impl Audit {
    /// The first report whose rows went to a bucket, by its place among the buckets.
    #[must_use]
    pub fn report_of(&self, bucket: u32) -> Option<&str> {
        let subject = self.subjects.iter().find(|subject| subject.bucket == bucket)?;
        let claims = subject.claims.iter().map(|claim| claim.run);
        let run = claims.chain(subject.doubts.iter().map(|doubt| doubt.run)).min()?;
        Some(&self.run(run)?.report)
    }

    /// Puts reports together, in the order of their runs. Every flaw is told, of all of them.
    pub fn of(mut given: Vec<Given>) -> Result<Self, Vec<Flaw>> {
        let mut flaws: Vec<Flaw> = given.iter().flat_map(flaws_of).collect();
        // Ids of version 7 begin with their time.
        given.sort_by(|a, b| run_id(a).cmp(run_id(b)));
        for pair in given.windows(2) {
            if let [first, second] = pair
                && run_id(first) == run_id(second)
                && !first.rows.is_empty()
            {
                let id = escape(run_id(first));
                let message = format!("is of run {id}, like {}: give each run's report once", first.name);
                flaws.push(flaw(&second.name, message));
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let mut audit = Self::default();
        let mut buckets: HashMap<(String, String), u32> = HashMap::new();
        let mut keys: HashMap<(u32, String), u32> = HashMap::new();
        for (Given { name, rows }, run) in given.into_iter().zip(0u32..) {
            let id = rows.first().map(|row| row.run_id.clone()).unwrap_or_default();
            let began = began(&id);
            let mut told =
                Run { id, report: name, rows: rows.len() as u64, not_checked: BTreeMap::new(), is_left_out: false };
            for row in rows {
                let claim = claim(run, &row, began);
                let doubt = (row.outcome == Outcome::Unknown).then(|| doubt(run, &row));
                if claim.is_none() {
                    *told.not_checked.entry(row.outcome).or_default() += 1;
                    if doubt.is_none() {
                        continue;
                    }
                }
                let place = (row.endpoint.trim_end_matches('/').to_ascii_lowercase(), row.bucket.clone());
                let bucket = *buckets.entry(place).or_insert_with(|| {
                    audit.buckets.push(Bucket {
                        endpoint: row.endpoint.clone(),
                        region: row.region.clone(),
                        owner: row.owner.clone(),
                        bucket: row.bucket.clone(),
                        target: row.target.clone(),
                    });
                    u32::try_from(audit.buckets.len() - 1).unwrap_or(u32::MAX)
                });
                let next = u32::try_from(audit.subjects.len()).unwrap_or(u32::MAX);
                let at = *keys.entry((bucket, row.key.clone())).or_insert(next);
                if at == next {
                    let key = Key::new(row.key);
                    audit.subjects.push(Subject { bucket, key, claims: Vec::new(), doubts: Vec::new() });
                }
                if let Some(subject) = audit.subjects.get_mut(at as usize) {
                    subject.claims.extend(claim);
                    subject.doubts.extend(doubt);
                }
            }
            audit.runs.push(told);
        }
        Ok(audit)
    }

    /// Begins with this run, named by its id or by the beginning of it, and takes what a later run did on purpose for
    /// that. An error says what is wrong with the name.
    pub fn since(&mut self, name: &str) -> Result<(), String> {
        let known = || self.runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>().join(", ");
        let mut fitting = self.runs.iter().filter(|run| !name.is_empty() && run.id.starts_with(name));
        let first = match (fitting.next(), fitting.next()) {
            (Some(run), None) => run.id.clone(),
            (Some(_), Some(_)) => return Err(format!("{name:?} begins the id of more than one run: {}", known())),
            (None, _) => return Err(format!("{name:?} is no run of the given reports; they are of {}", known())),
        };
        for run in &mut self.runs {
            run.is_left_out = run.id < first;
        }
        self.chains = true;
        self.forget_what_is_left_out();
        Ok(())
    }

    /// Keeps the keys, and the buckets, that rows which are judged speak of.
    fn forget_what_is_left_out(&mut self) {
        let runs = &self.runs;
        let is_judged = |run: u32| runs.get(run as usize).is_some_and(|run| !run.is_left_out);
        self.subjects.retain(|subject| {
            subject.claims.iter().any(|claim| is_judged(claim.run))
                || subject.doubts.iter().any(|doubt| is_judged(doubt.run))
        });
        let mut kept: Vec<Option<u32>> = vec![None; self.buckets.len()];
        let mut buckets = Vec::new();
        for subject in &mut self.subjects {
            let Some((place, bucket)) =
                kept.get_mut(subject.bucket as usize).zip(self.buckets.get(subject.bucket as usize))
            else {
                continue;
            };
            subject.bucket = *place.get_or_insert_with(|| {
                buckets.push(bucket.clone());
                u32::try_from(buckets.len() - 1).unwrap_or(u32::MAX)
            });
        }
        self.buckets = buckets;
    }

    #[must_use]
    pub fn run(&self, at: u32) -> Option<&Run> {
        self.runs.get(at as usize)
    }

    /// Every claim that is judged, with its key.
    pub fn judged(&self) -> impl Iterator<Item = (&Subject, &Claim)> {
        self.subjects
            .iter()
            .flat_map(|subject| subject.claims.iter().map(move |claim| (subject, claim)))
            .filter(|(_, claim)| self.is_judged(claim.run))
    }

    /// Every row that ended `unknown`, with its key.
    pub fn doubts(&self) -> impl Iterator<Item = (&Subject, &Doubt)> {
        self.subjects
            .iter()
            .flat_map(|subject| subject.doubts.iter().map(move |doubt| (subject, doubt)))
            .filter(|(_, doubt)| self.is_judged(doubt.run))
    }

    /// Whether the rows of a run are judged.
    #[must_use]
    pub fn is_judged(&self, run: u32) -> bool {
        self.run(run).is_some_and(|run| !run.is_left_out)
    }

    /// How many rows claim nothing, by their outcome, of the runs that are judged.
    #[must_use]
    pub fn not_checked(&self) -> BTreeMap<Outcome, u64> {
        let mut all = BTreeMap::new();
        for run in self.runs.iter().filter(|run| !run.is_left_out) {
            for (outcome, count) in &run.not_checked {
                *all.entry(*outcome).or_default() += count;
            }
        }
        all
    }
}

fn run_id(given: &Given) -> &str {
    given.rows.first().map_or("", |row| &row.run_id)
}

fn flaw(name: &str, message: String) -> Flaw {
    Flaw { place: Place { file: name.into(), line: 0 }, message }
}

/// What cannot be in a report that a run wrote, however whole it is as CSV.
fn flaws_of(Given { name, rows }: &Given) -> Vec<Flaw> {
    let Some(first) = rows.first() else {
        return vec![flaw(name, "has no rows: it says nothing that could be checked".to_owned())];
    };
    let mut flaws = Vec::new();
    let mut seen: HashMap<(&str, &str, &str), u64> = HashMap::new();
    for row in rows {
        let mut wrong = |what: String| flaws.push(flaw(name, format!("entry {} {what}", row.entry)));
        if row.run_id != first.run_id {
            wrong(format!("is of run {:?}, among rows of run {:?}", row.run_id, first.run_id));
        }
        if row.bucket.is_empty() || row.key.is_empty() || row.endpoint.is_empty() {
            wrong("does not say where it went: bucket, key or endpoint is empty".to_owned());
        }
        let is_write = matches!(row.outcome, Outcome::Created | Outcome::Replaced | Outcome::Restored);
        if is_write && row.write_id != WriteId::new(&row.run_id, row.entry).0 {
            wrong(format!("is {} under the write id {:?}, which is not its own", row.outcome, row.write_id));
        }
        if is_write && row.etag_after.is_empty() && row.version_after.is_empty() {
            wrong(format!("is {} and names neither ETag nor version", row.outcome));
        }
        if let Some(other) = seen.insert((&row.endpoint, &row.bucket, &row.key), row.entry) {
            wrong(format!("has the key of entry {other}"));
        }
    }
    flaws
}

fn claim(run: u32, row: &Row, began: Option<i64>) -> Option<Claim> {
    let started = row.started_at.parse::<Timestamp>().ok();
    let ended = started.zip(row.duration_ms).map(|(at, ms)| at.as_millisecond().saturating_add_unsigned(ms));
    let since = started.map(Timestamp::as_second);
    let until = ended.map(|ms| ms.div_euclid(1000));
    let (wanted, since, until) = match row.outcome {
        Outcome::Created | Outcome::Replaced | Outcome::Restored => {
            (object(row, &row.etag_after, &row.version_after, true), since, until)
        }
        Outcome::Deleted => (Wanted::Nothing { was: version(&row.version_before) }, since, until),
        // A rollback found nothing there that was to be undone.
        Outcome::Unchanged if row.etag_before.is_empty() && row.version_before.is_empty() => {
            (Wanted::Nothing { was: None }, None, began)
        }
        Outcome::Unchanged => (object(row, &row.etag_before, &row.version_before, false), None, began),
        Outcome::Kept
        | Outcome::Refused
        | Outcome::Lost
        | Outcome::Stale
        | Outcome::SourceChanged
        | Outcome::Failed
        | Outcome::Unknown
        | Outcome::NotAttempted => return None,
    };
    let before = match row.etag_before.as_str() {
        "" => Met::Nothing,
        etag => Met::Object(ETag::new(etag), version(&row.version_before)),
    };
    Some(Claim {
        run,
        entry: row.entry,
        place: row.place.as_str().into(),
        outcome: row.outcome,
        wanted,
        before,
        since,
        until,
    })
}

fn object(row: &Row, etag: &str, id: &str, is_own: bool) -> Wanted {
    Wanted::Object(Stored {
        etag: (!etag.is_empty()).then(|| ETag::new(etag)),
        version: version(id),
        size: row.size_bytes,
        write_id: (is_own && !row.write_id.is_empty()).then(|| row.write_id.as_str().into()),
    })
}

fn version(id: &str) -> Option<VersionId> {
    (!id.is_empty()).then(|| VersionId(id.to_owned()))
}

fn doubt(run: u32, row: &Row) -> Doubt {
    Doubt {
        run,
        entry: row.entry,
        place: row.place.as_str().into(),
        write_id: row.write_id.as_str().into(),
        size: row.size_bytes,
    }
}

/// When a run began, in whole seconds: its id is a UUID of version 7.
fn began(run_id: &str) -> Option<i64> {
    let id = uuid::Uuid::parse_str(run_id).ok()?;
    let (seconds, _) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()
}
