//! `apply`: exactly what a plan says, or nothing.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::flow::apply::ledger::Ledger as _;
use crate::flow::apply::pace::{self, fed};
use crate::flow::apply::record::{Record, RecordError};
use crate::flow::apply::{self, Applied, End, Settings};
use crate::flow::cancel::Cancel;
use crate::journal::JournalError;
use crate::model::event::{Event, Watch};
use crate::model::exit::Exit;
use crate::model::row::{Outcome, Row, Tally};
use crate::model::step::digest_text;
use crate::model::text::{bytes as size, count};
use crate::plan::file::Plan;
use crate::report::{facts::of_rollback, tally};
use crate::store::s3::Limits;

use super::after::After;
use super::args::{Apply, Global, Writes};
use super::out::Out;
use super::reach::{Reach, Stores};
use super::show::read;
use super::watch::problem;
use super::{Ended, Failure, signal};

/// So many moved or unfinished entries are listed on standard error; all are in the report.
const LISTED: usize = 50;

/// What became of an apply.
pub(super) struct Finished {
    pub exit: Exit,
    pub tally: Tally,
    /// Why it ended before its last step, if it did.
    pub why: Option<String>,
    pub report: PathBuf,
    pub rows: Vec<Row>,
}

pub(super) async fn apply(global: &Global, mut args: Apply, out: Out) -> Ended {
    let after = After::begin(args.summary.take(), args.metrics.take())?;
    let mut plan = None;
    let finished = read_and_carry_out(global, args, &mut plan, out).await;
    after.end(plan.as_ref(), finished, out)
}

/// `plan` is the plan, as soon as it is read.
async fn read_and_carry_out(
    global: &Global,
    args: Apply,
    plan: &mut Option<Plan>,
    out: Out,
) -> Result<Finished, Failure> {
    let plan = &*plan.insert(read(&args.plan, args.expect.as_deref())?);
    let report = args.report.unwrap_or_else(|| beside(&args.plan));
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    let reach = Reach::begin(global).await?.limited(limits(&args.writes));
    let base = args.base.unwrap_or_else(|| PathBuf::from(&plan.header.base));
    let settings = Settings { copy_max_bytes: args.copy_limit, ..settings(base, &args.writes) };
    let watch = out.watch();
    let finished = match reach.connect_all(&plan.header.targets).await {
        Ok(stores) => carry_out(plan, stores, &report, settings, watch, &cancel, out).await,
        Err(failure) => Err(failure),
    };
    reach.end().await;
    finished
}

/// The report's default place: `plan.jsonl` gets `plan.report.csv`.
fn beside(plan: &Path) -> PathBuf {
    let name = plan.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(".zst").unwrap_or(&name);
    plan.with_file_name(format!("{}.report.csv", stem.strip_suffix(".jsonl").unwrap_or(stem)))
}

pub(super) fn settings(base: PathBuf, writes: &Writes) -> Settings {
    let concurrency = usize::from(writes.concurrency);
    Settings {
        concurrency: writes.max_bandwidth.map_or(concurrency, |rate| concurrency.min(fed(rate))),
        pool_bytes: u64::from(writes.memory) << 20,
        partial: writes.partial,
        ..Settings::new(base)
    }
}

/// How fast requests and bytes may go to all targets together.
pub(super) fn limits(writes: &Writes) -> Limits {
    pace::limits(writes.max_bandwidth, writes.max_requests)
}

/// A fresh run id: a UUID of version 7, which sorts by time and never comes twice.
fn fresh_run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Opens the report, applies the plan, and puts the report in its place.
pub(super) async fn carry_out(
    plan: &Plan,
    stores: Stores,
    report: &Path,
    settings: Settings,
    watch: Arc<dyn Watch>,
    cancel: &Cancel,
    out: Out,
) -> Result<Finished, Failure> {
    let digest = digest_text(&plan.footer.digest);
    let settle_only = settings.settle_only;
    let record = Record::open(report, &digest, fresh_run_id).map_err(cannot_open)?;
    let record = Arc::new(record);
    let stores = stores.into_iter().map(|(name, (_, store))| (name, store)).collect();
    let told = Arc::new(Told { watch, entries: Mutex::default() });
    let watch = Arc::clone(&told) as Arc<dyn Watch>;
    let Applied { end, tally: done } =
        apply::apply(plan, stores, Arc::clone(&record), settings, watch, cancel.clone()).await;
    let record = Arc::into_inner(record).ok_or_else(|| {
        Failure::new(Exit::Incomplete, "a task still holds the report: a fault of noclobber; please report it")
    })?;
    match end {
        End::Refused(refusals) => {
            if !record.is_resumed() {
                record.discard().map_err(|error| Failure::new(Exit::CouldNotRun, error))?;
            }
            let text = format!("the plan may not be applied, and nothing was written:\n  {}", refusals.join("\n  "));
            Err(Failure::new(Exit::Refused, text))
        }
        End::Ledger(error, rows) => {
            for row in &rows {
                out.error(&format!("not in the report: {}", crate::report::csv::line(row).trim_end()));
            }
            let text = format!("{error}\nNothing more was started. Make room and apply again: it goes on from here");
            Err(Failure { tally: Some(Box::new(done)), ..Failure::new(Exit::Incomplete, text) })
        }
        // Who only settles, and cannot, leaves everything as it was found: the journal is all that is known.
        end if settle_only && !matches!(end, End::Finished) => {
            let why = match end {
                End::Stopped(cause) => cause.to_string(),
                End::Interrupted => return Err(Failure::new(Exit::Interrupted, "interrupted")),
                other => format!("{other:?}"),
            };
            Err(Failure::new(Exit::CouldNotRun, why))
        }
        end => {
            let rows = record.finish(plan.footer.counts.steps()).map_err(|error| {
                Failure::new(
                    Exit::Incomplete,
                    format!("the rows are safe, but the report could not be put in place: {error}"),
                )
            })?;
            let tally = tally(&rows);
            let (exit, why) = exit_of(&end, &tally);
            tell_unfinished(&end, &rows, &told, out);
            Ok(Finished { exit, tally, why, report: report.to_owned(), rows })
        }
    }
}

fn cannot_open(error: RecordError) -> Failure {
    let exit = match &error {
        RecordError::Journal(
            JournalError::OtherPlan { .. }
            | JournalError::NotAReport { .. }
            | JournalError::NotAFile { .. }
            | JournalError::NoFolder { .. },
        ) => Exit::Usage,
        RecordError::Unreadable(_) => Exit::BadInput,
        RecordError::Closed
        | RecordError::Journal(_)
        | RecordError::Twice { .. }
        | RecordError::Foreign { .. }
        | RecordError::Unequal { .. } => Exit::CouldNotRun,
    };
    Failure::new(exit, error)
}

/// How the process ends, from how the apply ended and what its rows say. Conflicts are never hidden behind a 0.
fn exit_of(end: &End, tally: &Tally) -> (Exit, Option<String>) {
    let problems: u64 =
        Outcome::ALL.iter().filter(|outcome| !outcome.is_success()).map(|outcome| tally.of(*outcome)).sum();
    let attempted = tally.written() + tally.lost + tally.failed + tally.unknown + tally.source_changed;
    match end {
        End::Finished if problems == 0 => (Exit::Done, None),
        End::Stale(moved) => {
            let moved =
                if moved.len() == 1 { "1 entry".to_owned() } else { format!("{} entries", count(moved.len() as u64)) };
            let next =
                "Plan again, or apply the rest with --partial (or look at all of it again, with another --report)";
            // An earlier attempt at this plan may have written before the world moved.
            if attempted == 0 {
                (Exit::Stale, Some(format!("stale, nothing written: {moved} moved since the plan. {next}")))
            } else {
                let text = format!("nothing more was written: {moved} moved since an earlier attempt began. {next}");
                (Exit::Incomplete, Some(text))
            }
        }
        End::ServerIgnoresConditions(text) => (Exit::Refused, Some(text.clone())),
        End::Stopped(cause) if attempted == 0 => (Exit::CouldNotRun, Some(cause.to_string())),
        End::Stopped(cause) => (Exit::Incomplete, Some(format!("nothing more was started: {cause}"))),
        End::Interrupted => {
            (Exit::Interrupted, Some("interrupted; the same command again goes on from here".to_owned()))
        }
        // The last two never come here: they have no finished report.
        End::Finished | End::Refused(_) | End::Ledger(..) => {
            let (problems, rows) = (count(problems), count(tally.rows()));
            (Exit::Incomplete, Some(format!("incomplete: {problems} of {rows} entries not done; the report says why")))
        }
    }
}

/// Remembers whose rows were told as they happened.
struct Told {
    watch: Arc<dyn Watch>,
    entries: Mutex<HashSet<u64>>,
}

impl Told {
    fn has(&self, row: &Row) -> bool {
        // What the plan refused is not told as it is booked: nothing happens there.
        row.outcome != Outcome::Refused
            && self.entries.lock().unwrap_or_else(PoisonError::into_inner).contains(&row.entry)
    }
}

impl Watch for Told {
    fn tell(&self, event: Event<'_>) {
        if let Event::Row(row) = event
            && !row.outcome.is_success()
        {
            self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(row.entry);
        }
        self.watch.tell(event);
    }
}

/// Lists what moved or did not end well and was not told yet: an earlier attempt's rows, and what the plan refused.
fn tell_unfinished(end: &End, rows: &[Row], told: &Told, out: Out) {
    let shown = |row: &&Row| match end {
        End::Stale(_) => row.outcome == Outcome::Stale,
        End::Finished | End::ServerIgnoresConditions(_) | End::Stopped(_) | End::Interrupted => {
            !row.outcome.is_success() && row.outcome != Outcome::NotAttempted
        }
        End::Refused(_) | End::Ledger(..) => false,
    };
    let problems: Vec<&Row> = rows.iter().filter(shown).filter(|row| !told.has(row)).collect();
    for row in problems.iter().take(LISTED) {
        out.note(&problem(row));
    }
    if problems.len() > LISTED {
        out.note(&format!("and {} more; the report has them all", count((problems.len() - LISTED) as u64)));
    }
}

/// The numbers of a plan's last line, in the same order, as they came out; then what did not go as planned.
pub(super) fn totals(tally: &Tally) -> String {
    let of_rollback = of_rollback(tally);
    let mut text = format!(
        "Done: {} created, {} replaced{of_rollback}, {} unchanged, {} kept, {} refused ({} uploaded)",
        count(tally.created),
        count(tally.replaced),
        count(tally.unchanged),
        count(tally.kept),
        count(tally.refused),
        size(tally.bytes)
    );
    let problems = [
        (tally.lost, "lost"),
        (tally.stale, "stale"),
        (tally.source_changed, "source-changed"),
        (tally.failed, "failed"),
        (tally.unknown, "unknown"),
        (tally.not_attempted, "not attempted"),
    ];
    for (n, what) in problems.into_iter().filter(|(n, _)| *n > 0) {
        let _ = write!(text, ", {} {what}", count(n));
    }
    text
}

pub(super) fn conclude(finished: &Finished, out: Out) -> Ended {
    let Finished { exit, tally, why, report, rows: _ } = finished;
    let said = if out.json {
        out.event(&json!({
            "event": "finished",
            "exit": exit.code(),
            "tally": tally,
            "why": why,
            "report": report,
        }))
    } else {
        out.result(&format!("{}\nReport: {}", totals(tally), report.display()))
    };
    // Everything is done and booked: a reader that is gone must not make it look as if nothing had been run.
    if let Err(failure) = said {
        let exit = if *exit == Exit::Done { Exit::Incomplete } else { *exit };
        return Err(Failure::new(exit, format!("{}; the run itself is over, and its report is whole", failure.text)));
    }
    match why {
        Some(why) => Err(Failure::new(*exit, why)),
        None => Ok(*exit),
    }
}
