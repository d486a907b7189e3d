//! The run's evidence while it grows: one row a step, on disk as it happens. It decides no outcome, and lets none be
//! forgotten.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::journal::{Begun, Journal, JournalError, Opened, Upload};
use crate::model::entry::{Flaw, Key};
use crate::model::row::{Outcome, Row};
use crate::report::csv::{self, Tail};

use super::ledger::{Ledger, LedgerError};

/// The ledger of real runs, kept beside the report: the rows of this run, and of the runs of the same plan that it goes
/// on with.
#[derive(Debug)]
pub struct Record {
    run_id: String,
    plan_digest: String,
    is_resumed: bool,
    finished: HashMap<u64, Row>,
    in_doubt: HashSet<u64>,
    /// The notes of what was about to be sent may be lost: any step may have been.
    all_in_doubt: bool,
    uploads: Vec<Upload>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` once the run is closed.
    journal: Option<Journal>,
    /// By entry: the earlier runs' rows, overlaid with this one's.
    rows: BTreeMap<u64, Recorded>,
}

#[derive(Debug)]
struct Recorded {
    row: Row,
    by: Run,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Earlier,
    This,
}

/// Why the evidence could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("an earlier run's rows cannot be read: {}", list(.0))]
    Unreadable(Vec<Flaw>),
    #[error("entry {entry} ended twice, as {first} and as {second}: a fault of noclobber; please report it")]
    Twice { entry: u64, first: Outcome, second: Outcome },
    #[error("the run's record is closed: a fault of noclobber; please report it")]
    Closed,
    #[error("entry {entry}: its row is of another run or plan: a fault of noclobber; please report it")]
    Foreign { entry: u64 },
    #[error(
        "{rows} rows for {steps} steps, the first without its own is {first}: a fault of noclobber; please report it"
    )]
    Unequal { rows: u64, steps: u64, first: u64 },
}

fn list(flaws: &[Flaw]) -> String {
    const SHOWN: usize = 3;
    let shown = flaws.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if flaws.len() > SHOWN { format!("{shown}; and {} more", flaws.len() - SHOWN) } else { shown }
}

impl Record {
    /// Opens a report path for a run of this plan, or for going on with one. When it returns, the run id is on disk.
    pub fn open(report: &Path, plan_digest: &str, fresh_run_id: impl FnOnce() -> String) -> Result<Self, RecordError> {
        let Opened { mut journal, run_id, is_resumed, report: before, partial, begun, begun_is_whole, uploads } =
            Journal::open(report, plan_digest, fresh_run_id)?;
        let name = report.display().to_string();
        let before = read(&name, &before)?;
        let of_partial = read(&format!("{name}.partial"), &partial)?;
        let answered = last_lines(&of_partial);
        let mut rows: BTreeMap<u64, Recorded> = BTreeMap::new();
        for row in before.into_iter().chain(of_partial) {
            let was_final = rows.get(&row.entry).is_some_and(|before| before.row.outcome.is_final());
            if !was_final {
                rows.insert(row.entry, Recorded { row, by: Run::Earlier });
            }
        }
        if partial.is_empty() {
            journal.append(csv::header())?;
        }
        // Sent, or nearly so, and nothing was heard of it since; or heard of, and nobody could tell.
        let unheard = |step: &Begun| answered.get(&step.n).is_none_or(|line| *line < step.lines);
        let mut in_doubt: HashSet<u64> = begun.iter().filter(|step| unheard(step)).map(|step| step.n).collect();
        let ended = |outcome: fn(Outcome) -> bool| {
            rows.iter()
                .filter(move |(_, recorded)| outcome(recorded.row.outcome))
                .map(|(entry, recorded)| (*entry, recorded))
        };
        in_doubt.extend(ended(|outcome| outcome == Outcome::Unknown).map(|(entry, _)| entry));
        let finished = ended(Outcome::is_final).map(|(entry, recorded)| (entry, recorded.row.clone())).collect();
        let plan_digest = plan_digest.to_owned();
        let inner = Mutex::new(Inner { journal: Some(journal), rows });
        let all_in_doubt = is_resumed && !begun_is_whole;
        Ok(Self { run_id, plan_digest, is_resumed, finished, in_doubt, all_in_doubt, uploads, inner })
    }

    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Earlier runs' final rows by entry: these steps are not done again.
    #[must_use]
    pub fn finished(&self) -> &HashMap<u64, Row> {
        &self.finished
    }

    /// Multipart uploads that earlier runs began, as far as is known neither completed nor aborted.
    #[must_use]
    pub fn uploads(&self) -> &[Upload] {
        &self.uploads
    }

    /// Records how a step ended, on disk when this returns. Where the disk refuses, the row is held all the same, its
    /// line is handed back in the error ([`JournalError::NotWritten`]), and nothing more may be started.
    ///
    /// A `not-attempted` row tells less than what an earlier run found out (`failed`, `unknown`): that row then stays.
    pub fn record(&self, row: Row) -> Result<(), RecordError> {
        let entry = row.entry;
        if row.run_id != self.run_id || row.plan_digest != self.plan_digest {
            return Err(RecordError::Foreign { entry });
        }
        let mut inner = self.lock();
        if let Some(Recorded { row: before, by }) = inner.rows.get(&entry) {
            if *by == Run::This || before.outcome.is_final() {
                return Err(RecordError::Twice { entry, first: before.outcome, second: row.outcome });
            }
            if row.outcome == Outcome::NotAttempted {
                return Ok(());
            }
        }
        let line = csv::line(&row);
        inner.rows.insert(entry, Recorded { row, by: Run::This });
        Ok(inner.journal()?.append(line)?)
    }

    /// Puts the finished report in place, in the plan's order, gives its rows, and lets go of the lock. Exactly one row
    /// for each of the steps `1..=steps`, or nothing is put in place and the rows so far stay where they are.
    pub fn finish(&self, steps: u64) -> Result<Vec<Row>, RecordError> {
        let mut inner = self.lock();
        let rows = &inner.rows;
        let without = (1..=steps).zip(rows.keys()).find(|(step, entry)| step != *entry).map(|(step, _)| step);
        let count = rows.len() as u64;
        if without.is_some() || count != steps {
            let first = without.unwrap_or(count.min(steps) + 1);
            return Err(RecordError::Unequal { rows: count, steps, first });
        }
        let journal = inner.journal.take().ok_or(RecordError::Closed)?;
        let rows: Vec<Row> = std::mem::take(&mut inner.rows).into_values().map(|recorded| recorded.row).collect();
        journal.finish(std::iter::once(csv::header()).chain(rows.iter().map(csv::line)))?;
        Ok(rows)
    }

    /// Leaves no trace, for a run that turned back before its first write and whose rows nobody needs.
    pub fn discard(&self) -> Result<(), RecordError> {
        let journal = self.lock().journal.take().ok_or(RecordError::Closed)?;
        Ok(journal.discard()?)
    }

    // A thread that panicked had finished its insert or not begun it: the rows are sound either way.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn journal(&mut self) -> Result<&mut Journal, RecordError> {
        self.journal.as_mut().ok_or(RecordError::Closed)
    }
}

fn read(name: &str, text: &[u8]) -> Result<Vec<Row>, RecordError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    csv::read(name, text, Tail::Whole).map_err(RecordError::Unreadable)
}

/// Each entry's last line, counted from 0 at the header.
fn last_lines(rows: &[Row]) -> HashMap<u64, u64> {
    (1..).zip(rows).map(|(line, row)| (row.entry, line)).collect()
}

impl From<RecordError> for LedgerError {
    fn from(error: RecordError) -> Self {
        Self(error.to_string())
    }
}

impl Ledger for Record {
    fn run_id(&self) -> &str {
        &self.run_id
    }

    fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    fn finished(&self, n: u64) -> Option<&Row> {
        self.finished.get(&n)
    }

    fn is_in_doubt(&self, n: u64) -> bool {
        self.all_in_doubt || self.in_doubt.contains(&n)
    }

    fn uploads(&self) -> Vec<(u64, String)> {
        self.uploads.iter().map(|upload| (upload.n, upload.upload_id.clone())).collect()
    }

    fn begin(&self, n: u64) -> Result<(), LedgerError> {
        let noted = self.lock().journal().and_then(|journal| Ok(journal.note_begun(n)?));
        noted.map_err(LedgerError::from)
    }

    fn upload(&self, n: u64, key: &Key, upload_id: &str) -> Result<(), LedgerError> {
        let upload = Upload { n, key: key.clone(), upload_id: upload_id.to_owned() };
        let noted = self.lock().journal().and_then(|journal| Ok(journal.note_upload(&upload)?));
        noted.map_err(LedgerError::from)
    }

    fn upload_over(&self, upload_id: &str) -> Result<(), LedgerError> {
        let noted = self.lock().journal().and_then(|journal| Ok(journal.note_over(upload_id)?));
        noted.map_err(LedgerError::from)
    }

    fn record(&self, row: &Row) -> Result<(), LedgerError> {
        Ok(Self::record(self, row.clone())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    const RUN: &str = "0198-run";

    fn open(folder: &tempfile::TempDir) -> Record {
        let digest = samples::row(1, Outcome::Created).plan_digest;
        Record::open(&folder.path().join("r.csv"), &digest, || RUN.into()).unwrap()
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn rows_recorded_by_many_threads_end_in_the_plans_order() {
        let folder = folder();
        let record = open(&folder);
        std::thread::scope(|threads| {
            for thread in 0..4 {
                let record = &record;
                threads.spawn(move || {
                    for n in (1..=40).rev().filter(|n| n % 4 == thread) {
                        record.record(samples::row(n, Outcome::Created)).unwrap();
                    }
                });
            }
        });
        let partial = std::fs::read(folder.path().join("r.csv.partial")).unwrap();
        assert_eq!(csv::read("partial", partial.as_slice(), Tail::Whole).unwrap().len(), 40);
        let rows = record.finish(40).unwrap();
        let report = std::fs::read(folder.path().join("r.csv")).unwrap();
        assert_eq!(csv::read("report", report.as_slice(), Tail::Whole).unwrap(), rows);
        assert_eq!(rows.iter().map(|row| row.entry).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    }

    #[test]
    fn a_resumed_run_keeps_what_is_final_and_does_the_rest_again() {
        let folder = folder();
        let first = open(&folder);
        for (n, outcome) in (1..).zip(Outcome::ALL) {
            first.record(samples::row(n, outcome)).unwrap();
        }
        first.upload(11, &Key::new("k"), "u").unwrap();
        drop(first);

        let second = open(&folder);
        assert_eq!(second.uploads().len(), 1);
        let entries = |is: &dyn Fn(u64) -> bool| (1..=13).filter(|n| is(*n)).collect::<Vec<_>>();
        assert_eq!(entries(&|n| !second.finished().contains_key(&n)), [11, 12, 13]);
        assert_eq!(entries(&|n| second.is_in_doubt(n)), [12]);
        // 11 failed and is not reached again, 12 was in doubt and is settled, 13 is done.
        second.record(samples::row(11, Outcome::NotAttempted)).unwrap();
        second.record(samples::row(12, Outcome::Replaced)).unwrap();
        second.record(samples::row(13, Outcome::Created)).unwrap();
        let rows = second.finish(13).unwrap();
        let outcomes: Vec<_> = rows[10..].iter().map(|row| row.outcome).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Replaced, Outcome::Created]);

        let third = open(&folder);
        assert!(third.is_resumed());
        assert_eq!(third.finished().len(), 12);
        third.record(samples::row(11, Outcome::Created)).unwrap();
        assert_eq!(third.finish(13).unwrap()[10].outcome, Outcome::Created);
    }

    #[test]
    fn rows_equal_steps_or_there_is_no_report() {
        for (entries, steps, first) in [(vec![1, 2], 3, 3), (vec![2, 3], 3, 1), (vec![1, 3], 3, 2), (vec![1, 2], 1, 2)]
        {
            let folder = folder();
            let record = open(&folder);
            for n in &entries {
                record.record(samples::row(*n, Outcome::Created)).unwrap();
            }
            match record.finish(steps) {
                Err(RecordError::Unequal { rows: 2, steps: of, first: found }) => {
                    assert_eq!((of, found), (steps, first));
                }
                result => panic!("{entries:?} of {steps}: {result:?}"),
            }
            assert!(!folder.path().join("r.csv").exists() && folder.path().join("r.csv.partial").exists());
        }
        let folder = folder();
        assert_eq!(open(&folder).finish(0).unwrap(), []);
    }

    #[test]
    fn a_step_ends_once_and_under_its_own_run() {
        let folder = folder();
        let record = open(&folder);
        record.record(samples::row(1, Outcome::Failed)).unwrap();
        let again = record.record(samples::row(1, Outcome::Created));
        assert!(matches!(again, Err(RecordError::Twice { entry: 1, .. })));
        let foreign = Row { run_id: "other".into(), ..samples::row(2, Outcome::Created) };
        assert!(matches!(record.record(foreign), Err(RecordError::Foreign { entry: 2 })));
        drop(record);
        let record = open(&folder);
        record.record(samples::row(1, Outcome::Created)).unwrap();
        drop(record);
        let again = open(&folder).record(samples::row(1, Outcome::Lost));
        assert!(matches!(again, Err(RecordError::Twice { entry: 1, first: Outcome::Created, .. })));
    }

    #[test]
    fn a_step_is_in_doubt_from_its_begin_to_its_row_and_no_longer() {
        let folder = folder();
        let first = open(&folder);
        assert!(!first.is_resumed());
        for n in [1, 2, 3] {
            first.begin(n).unwrap();
        }
        // 1 ended, 2 was heard of no more, 3 and 4 failed, 4 before it was sent.
        first.record(samples::row(1, Outcome::Created)).unwrap();
        first.record(samples::row(3, Outcome::Failed)).unwrap();
        first.record(samples::row(4, Outcome::Failed)).unwrap();
        drop(first);
        let second = open(&folder);
        assert_eq!((1..=5).filter(|n| second.is_in_doubt(*n)).collect::<Vec<_>>(), [2]);
        // Rows of an attempt before do not speak for this one.
        for n in [2, 3, 4] {
            second.begin(n).unwrap();
        }
        second.record(samples::row(2, Outcome::Failed)).unwrap();
        drop(second);
        let third = open(&folder);
        assert_eq!((1..=5).filter(|n| third.is_in_doubt(*n)).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn a_closed_record_takes_nothing_more() {
        let folder = folder();
        let record = open(&folder);
        record.finish(0).unwrap();
        assert!(matches!(record.record(samples::row(1, Outcome::Created)), Err(RecordError::Closed)));
        assert!(record.begin(1).is_err());
        // The report's lock is free again, though the record is still there.
        open(&folder).discard().unwrap();
    }

    #[test]
    fn keys_that_break_lines_survive_a_crash() {
        let folder = folder();
        let row = Row { key: "a\r\n\"b\",c\n".into(), ..samples::row(1, Outcome::Created) };
        let record = open(&folder);
        record.record(row.clone()).unwrap();
        drop(record);
        assert_eq!(open(&folder).finished().get(&1), Some(&row));
    }

    #[test]
    fn rows_that_cannot_be_read_are_named_and_kept() {
        let folder = folder();
        let record = open(&folder);
        record.record(samples::row(1, Outcome::Created)).unwrap();
        drop(record);
        let path = folder.path().join("r.csv.partial");
        let text = std::fs::read_to_string(&path).unwrap().replace(",created,", ",perhaps,");
        std::fs::write(&path, &text).unwrap();
        let digest = samples::row(1, Outcome::Created).plan_digest;
        let error = Record::open(&folder.path().join("r.csv"), &digest, || RUN.into()).unwrap_err().to_string();
        assert!(error.contains("r.csv.partial:2: row: unknown variant `perhaps`"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn after_a_restart_of_the_machine_every_step_without_a_final_row_is_in_doubt() {
        let folder = folder();
        let first = open(&folder);
        first.begin(1).unwrap();
        first.record(samples::row(1, Outcome::Created)).unwrap();
        drop(first);
        assert!(!open(&folder).is_in_doubt(2), "the same boot");
        // The notes of what came next were not on disk when the power went.
        let notes = folder.path().join("r.csv.journal");
        let text = std::fs::read_to_string(&notes).unwrap();
        let (before, after) = text.split_once("\"boot_id\":\"").unwrap();
        std::fs::write(&notes, format!("{before}\"boot_id\":\"other-{after}")).unwrap();
        let second = open(&folder);
        assert!(second.is_in_doubt(2) && second.finished().contains_key(&1));
    }
}
