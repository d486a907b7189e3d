//! Carries out a plan, and says honestly what became of each step.
//!
//! Nothing is written that the plan does not name, nothing without a precondition, and nothing before the world was
//! found as it was reviewed and the server was found to honour preconditions. Every step ends in exactly one row.

pub mod check;
pub mod ledger;
pub mod pace;
mod parts;
mod probe;
pub mod record;
mod undo;
mod uploads;
mod write;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::flow::cancel::Cancel;
use crate::guard::Patience;
use crate::model::event::{Event, Phase, Watch};
use crate::model::part::COPY_MAX_BYTES;
use crate::model::row::{Outcome, Row, Tally};
use crate::model::step::{Action, Step, digest_text};
use crate::model::target::Target;
use crate::model::write::Cause;
use crate::plan::file::Plan;
use crate::report::row::blank;
use crate::store::Store;

use check::{Moved, Verdict};
use ledger::{Ledger, LedgerError};
use pace::Gate;
use uploads::Uploads;

/// How a plan is to be applied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder that the steps' sources are relative to.
    pub base: PathBuf,
    /// Files uploaded at once to each target; also the most requests with bodies, fewer while its server is busy.
    pub concurrency: usize,
    /// Memory for the parts of multipart uploads, in bytes, however many files are under way.
    pub pool_bytes: u64,
    /// Parts larger than this are not held: they are read twice, once to be hashed and once to be sent.
    pub part_held_bytes: u64,
    /// What one CopyObject may copy; more than that is copied in parts.
    pub copy_max_bytes: u64,
    /// Go on with what can be done, leaving out refusals, errors and what moved.
    pub partial: bool,
    /// Look at every file and head again before the first write.
    pub preflight: bool,
    /// Send nothing: only find out what an earlier attempt left in doubt.
    pub settle_only: bool,
    pub patience: Patience,
    /// So many times the same failure in a row, and nothing more is started.
    pub failures_max: u32,
}

impl Settings {
    /// The defaults, for sources below `base`.
    #[must_use]
    pub fn new(base: PathBuf) -> Self {
        Self {
            base,
            concurrency: 32,
            pool_bytes: 128 << 20,
            part_held_bytes: 64 << 20,
            copy_max_bytes: COPY_MAX_BYTES,
            partial: false,
            preflight: true,
            settle_only: false,
            patience: Patience::default(),
            failures_max: 20,
        }
    }
}

/// How an apply ended, beside its rows.
#[derive(Debug, Clone)]
pub enum End {
    /// Every step reached the outcome that it could reach.
    Finished,
    /// The plan may not be applied: refusals, errors, limits. Nothing was written, and there are no rows.
    Refused(Vec<String>),
    /// The world moved since the plan; nothing was written.
    Stale(Vec<Moved>),
    /// A server does not honour preconditions; nothing of anybody else's was overwritten.
    ServerIgnoresConditions(String),
    /// Every other request would have failed too (credentials, network), or the same failure came too often.
    Stopped(Cause),
    /// Somebody wished to stop.
    Interrupted,
    /// Rows could not be booked; those that were not are here.
    Ledger(LedgerError, Vec<Row>),
}

/// What an apply did.
#[derive(Debug, Clone)]
pub struct Applied {
    pub end: End,
    pub tally: Tally,
}

/// What every task of a run shares.
pub(crate) struct Run<S, L> {
    pub targets: HashMap<String, (Target, Arc<S>)>,
    pub digest: String,
    pub settings: Settings,
    pub ledger: Arc<L>,
    pub watch: Arc<dyn Watch>,
    pub cancel: Cancel,
    /// One permit a MiB.
    pub pool: Arc<Semaphore>,
    uploads: Uploads,
    /// By target.
    gates: HashMap<String, Gate>,
    state: Mutex<State>,
}

/// What a run knows of itself.
#[derive(Default)]
struct State {
    /// By step, counted from 0; `None` while there is no row.
    outcomes: Vec<Option<Outcome>>,
    /// Why nothing more may be started.
    stopped: Option<End>,
    /// The last failure's code, and how often it came in a row.
    streak: (String, u32),
}

impl<S: Store, L: Ledger> Run<S, L> {
    pub fn store(&self, step: &Step) -> Option<(&Target, &Arc<S>)> {
        self.targets.get(&*step.target).map(|(target, store)| (target, store))
    }

    pub fn source(&self, step: &Step) -> PathBuf {
        self.settings.base.join(&step.source)
    }

    /// Where requests with bodies to a target wait for their turn.
    pub fn gate(&self, target: &str) -> Option<&Gate> {
        self.gates.get(target)
    }

    /// Whether nothing more may be started.
    pub fn is_over(&self) -> bool {
        self.cancel.is_set() || lock(&self.state).stopped.is_some()
    }

    /// Starts nothing more. The first reason stands.
    pub fn stop(&self, end: End) {
        lock(&self.state).stopped.get_or_insert(end);
    }

    pub fn blank(&self, step: &Step) -> Option<Row> {
        let (target, _) = self.store(step)?;
        Some(blank(self.ledger.run_id(), &self.digest, step, target))
    }

    /// Whether this step has no row yet.
    fn is_open(&self, step: &Step) -> bool {
        lock(&self.state).outcomes.get(index(step.n)).is_some_and(Option::is_none)
    }

    fn outcome(&self, step: &Step) -> Option<Outcome> {
        lock(&self.state).outcomes.get(index(step.n)).copied().flatten()
    }

    /// Whether this step's row counts as done for its stage.
    fn is_success(&self, step: &Step) -> bool {
        lock(&self.state).outcomes.get(index(step.n)).copied().flatten().is_some_and(Outcome::is_success)
    }

    /// Books a row and tells it. A row that cannot be booked is held, and nothing more is started.
    fn book(&self, row: &Row) {
        let booked = self.ledger.record(row);
        let mut state = lock(&self.state);
        if let Some(outcome) = state.outcomes.get_mut(index(row.entry)) {
            debug_assert!(outcome.is_none(), "a second row for entry {}", row.entry);
            *outcome = Some(row.outcome);
        }
        if let Err(error) = booked {
            match &mut state.stopped {
                Some(End::Ledger(_, rows)) => rows.push(row.clone()),
                Some(_) | None => state.stopped = Some(End::Ledger(error, vec![row.clone()])),
            }
        }
        drop(state);
        self.watch.tell(Event::Row(row));
    }

    /// Counts failures: the same one too often in a row, and nothing more is started.
    fn weigh(&self, row: &Row) {
        let mut state = lock(&self.state);
        match row.outcome {
            Outcome::Failed | Outcome::Unknown => {
                if state.streak.0 == row.error_code {
                    state.streak.1 += 1;
                } else {
                    state.streak = (row.error_code.clone(), 1);
                }
                let times = state.streak.1;
                if times >= self.settings.failures_max {
                    state.stopped.get_or_insert(End::Stopped(Cause {
                        http_status: row.http_status,
                        code: row.error_code.clone(),
                        message: format!("the same failure {times} times running: {}", row.message),
                        request_id: None,
                    }));
                }
            }
            Outcome::Created
            | Outcome::Replaced
            | Outcome::Restored
            | Outcome::Deleted
            | Outcome::Unchanged
            | Outcome::Kept
            | Outcome::Refused
            | Outcome::Lost
            | Outcome::Stale
            | Outcome::SourceChanged => state.streak = (String::new(), 0),
            Outcome::NotAttempted => {}
        }
    }
}

/// A step's place in a list: steps count from 1.
fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX).wrapping_sub(1)
}

/// A poisoned lock guards data that is still whole: every holder changes it in one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Applies a plan. `stores` has one store for each target of the plan's header, by name; a plan with a target that is
/// not there is refused.
pub async fn apply<S: Store, L: Ledger>(
    plan: &Plan,
    stores: HashMap<String, Arc<S>>,
    ledger: Arc<L>,
    settings: Settings,
    watch: Arc<dyn Watch>,
    cancel: Cancel,
) -> Applied {
    let refusals = refusals(plan, settings.partial, |name| stores.contains_key(name));
    if !refusals.is_empty() {
        return Applied { end: End::Refused(refusals), tally: Tally::default() };
    }
    let targets: HashMap<_, _> = plan
        .header
        .targets
        .iter()
        .filter_map(|target| Some((target.name.clone(), (target.clone(), Arc::clone(stores.get(&target.name)?)))))
        .collect();
    let pool = Arc::new(Semaphore::new(usize::try_from(settings.pool_bytes >> 20).unwrap_or(64).max(1)));
    let outcomes = plan.steps.iter().map(|step| ledger.finished(step.n).map(|row| row.outcome)).collect();
    let gate = |name: &String| (name.clone(), Gate::new(name.clone(), settings.concurrency));
    let gates = targets.keys().map(gate).collect();
    let run = Arc::new(Run {
        targets,
        digest: digest_text(&plan.footer.digest),
        settings,
        uploads: Uploads::of_earlier(ledger.uploads()),
        ledger,
        watch,
        cancel,
        pool,
        gates,
        state: Mutex::new(State { outcomes, ..State::default() }),
    });
    let walked = walk(&run, plan).await;
    if !run.settings.settle_only {
        Box::pin(uploads::sweep(&run, plan)).await;
    }
    let end = match walked {
        Ok(()) => End::Finished,
        Err(Halt { end, why }) => {
            finish(&run, plan, &why);
            end
        }
    };
    // A row that could not be booked outranks every other end: the evidence is not complete.
    let stopped = lock(&run.state).stopped.take();
    let end = match stopped {
        Some(held @ End::Ledger(..)) => held,
        Some(_) | None => end,
    };
    Applied { end, tally: tally(&run, plan) }
}

/// Why a run ends before its last step, and what the rows that are left say of it.
struct Halt {
    end: End,
    why: String,
}

fn halt(end: End, why: impl Into<String>) -> Halt {
    Halt { end, why: why.into() }
}

fn tally<S, L>(run: &Run<S, L>, plan: &Plan) -> Tally {
    let mut tally = Tally::default();
    for (step, outcome) in plan.steps.iter().zip(&lock(&run.state).outcomes) {
        if let Some(outcome) = outcome {
            tally.add(*outcome, step.local.as_ref().map_or(0, |local| local.size));
        }
    }
    tally
}

/// What forbids the plan as a whole.
fn refusals(plan: &Plan, partial: bool, is_known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut refusals = plan.header.refusals.clone();
    for target in &plan.header.targets {
        if !is_known(&target.name) {
            refusals.push(format!("target {} of the plan cannot be reached from here", target.name));
        }
    }
    let counts = &plan.footer.counts;
    if !partial && counts.refuse > 0 {
        refusals.push(format!("{} refused (--partial applies the rest)", entries(counts.refuse)));
    }
    if !partial && counts.error > 0 {
        refusals.push(format!("{} in error (--partial applies the rest)", entries(counts.error)));
    }
    refusals
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

async fn walk<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, plan: &Plan) -> Result<(), Halt> {
    // An earlier attempt found the world moved and wrote nothing. That is final, unless the rest is asked for now.
    let earlier: Vec<Moved> = plan
        .steps
        .iter()
        .filter_map(|step| run.ledger.finished(step.n))
        .filter(|row| row.outcome == Outcome::Stale)
        .map(Moved::of_row)
        .collect();
    if !earlier.is_empty() && !run.settings.partial {
        return Err(halt(End::Stale(earlier), "other entries are stale"));
    }
    for step in plan.steps.iter().filter(|step| !step.action.writes() && run.is_open(step)) {
        settle_unwritten(run, step);
    }

    let writes: Vec<&Step> = plan.steps.iter().filter(|step| step.action.writes() && run.is_open(step)).collect();
    let in_doubt = Box::pin(preflight(run, plan, &writes)).await?;
    if run.settings.settle_only {
        return Err(halt(End::Finished, "the run was killed before it, and not taken up again"));
    }
    let writes: Vec<&Step> = writes.into_iter().filter(|step| run.is_open(step)).collect();
    if writes.is_empty() {
        // Stages still have their say: an entry that was left out may have spoilt one.
        return stages(run, plan, &in_doubt).await;
    }
    let bytes = writes.iter().filter_map(|step| step.local.as_ref()).map(|local| local.size).sum();
    run.watch.tell(Event::Begin { phase: Phase::Uploading, files: writes.len() as u64, bytes });
    let done = match Box::pin(probe::probe(run, &writes)).await {
        Ok(()) => stages(run, plan, &in_doubt).await,
        Err(halt) => Err(halt),
    };
    run.watch.tell(Event::End { phase: Phase::Uploading });
    done
}

/// The outcome of a step that writes nothing.
fn settle_unwritten<S: Store, L: Ledger>(run: &Run<S, L>, step: &Step) {
    let Some(mut row) = run.blank(step) else { return };
    row.outcome = match step.action {
        Action::Unchanged => Outcome::Unchanged,
        Action::Keep => Outcome::Kept,
        Action::Refuse => Outcome::Refused,
        Action::Error => Outcome::Failed,
        Action::Create | Action::Replace | Action::Restore | Action::Delete => return,
    };
    run.book(&row);
}

/// Looks at everything again, where that is asked for or an earlier attempt may have left something in doubt. Gives
/// back the steps whose write must be looked for before it is sent.
async fn preflight<S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    plan: &Plan,
    writes: &[&Step],
) -> Result<HashSet<u64>, Halt> {
    let mut in_doubt = HashSet::new();
    if !run.settings.preflight && !run.ledger.is_resumed() {
        return Ok(in_doubt);
    }
    if run.settings.settle_only {
        // Nobody will go on with them; and what is aborted cannot be completed behind our back while we look. What
        // cannot be aborted stays in the journal.
        Box::pin(uploads::sweep(run, plan)).await;
    }
    let doubtful: Vec<&Step> = writes.iter().copied().filter(|step| run.ledger.is_in_doubt(step.n)).collect();
    let writes = if run.settings.settle_only { &doubtful } else { writes };
    let mut moved = Vec::new();
    for (step, verdict) in check::check(run, plan, writes).await? {
        match verdict {
            Verdict::Ready => {}
            Verdict::InDoubt if run.settings.settle_only => {
                if let Some(mut row) = run.blank(step) {
                    row.outcome = Outcome::Unknown;
                    "the run was killed while it was written; since then the key has been found as it was planned"
                        .clone_into(&mut row.message);
                    run.book(&row);
                }
            }
            Verdict::InDoubt => {
                in_doubt.insert(step.n);
            }
            Verdict::Ended(row) => run.book(&row),
            Verdict::Moved(how) => {
                if let Some(mut row) = run.blank(step) {
                    row.outcome = Outcome::Stale;
                    row.message = how.to_string();
                    run.book(&row);
                    moved.push(Moved::of_row(&row));
                }
            }
        }
    }
    if moved.is_empty() || run.settings.partial {
        return Ok(in_doubt);
    }
    Err(halt(End::Stale(moved), "other entries are stale"))
}

/// Runs the stages in order; a stage starts only when all before it fully succeeded. A step without a stage belongs to
/// the first.
async fn stages<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, plan: &Plan, in_doubt: &HashSet<u64>) -> Result<(), Halt> {
    let order: Vec<Option<&str>> = if plan.header.stages.is_empty() {
        vec![None]
    } else {
        plan.header.stages.iter().map(|stage| Some(stage.as_str())).collect()
    };
    let first = order.first().copied().flatten();
    let last = order.len() - 1;
    let mut proven = HashSet::new();
    for (at, stage) in order.into_iter().enumerate() {
        let of_stage: Vec<&Step> = plan.steps.iter().filter(|step| step.stage.as_deref().or(first) == stage).collect();
        let open: Vec<&Step> = of_stage.iter().copied().filter(|step| run.is_open(step)).collect();
        probe::first_creates(run, &open, &mut proven).await?;
        let steps: Vec<Step> = open.into_iter().filter(|step| run.is_open(step)).cloned().collect();
        write_all(run, steps, in_doubt).await;
        let stopped = lock(&run.state).stopped.clone();
        if let Some(end) = stopped {
            return Err(halt(end, "the run was stopped before it"));
        }
        // What was under way turned back, and says so in a row of its own.
        let is_left = |step: &Step| run.is_open(step) || run.outcome(step) == Some(Outcome::NotAttempted);
        let is_over_early = at < last && !of_stage.iter().all(|step| run.is_success(step));
        if run.cancel.is_set() && (is_over_early || of_stage.iter().any(|step| is_left(step))) {
            return Err(halt(End::Interrupted, "the run was interrupted before it"));
        }
        if at < last && !of_stage.iter().all(|step| run.is_success(step)) {
            let why = format!("stage {} did not fully succeed", stage.unwrap_or_default());
            return Err(halt(End::Finished, why));
        }
    }
    Ok(())
}

/// Writes steps, each target's by itself: a slow bucket does not hold up another.
async fn write_all<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, steps: Vec<Step>, in_doubt: &HashSet<u64>) {
    let mut by_target: HashMap<Arc<str>, Vec<Step>> = HashMap::new();
    for step in steps {
        by_target.entry(Arc::clone(&step.target)).or_default().push(step);
    }
    join_all(by_target.into_values().map(|steps| write_to_one(run, steps, in_doubt))).await;
}

/// Writes steps of one target, up to `concurrency` at once.
async fn write_to_one<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, steps: Vec<Step>, in_doubt: &HashSet<u64>) {
    let mut under_way: JoinSet<Option<Row>> = JoinSet::new();
    let mut steps_by_task = HashMap::new();
    let mut steps = steps.into_iter();
    loop {
        while under_way.len() < run.settings.concurrency.max(1) && !run.is_over() {
            let Some(step) = steps.next() else { break };
            let doubted = in_doubt.contains(&step.n);
            let (task_run, task_step) = (Arc::clone(run), step.clone());
            // Boxed: a task is moved several times before it is first polled, and a write holds a whole request.
            let task = under_way.spawn(Box::pin(async move { write::write(&task_run, &task_step, doubted).await }));
            steps_by_task.insert(task.id(), step);
        }
        let row = match under_way.join_next_with_id().await {
            None => return,
            Some(Ok((task, row))) => {
                steps_by_task.remove(&task);
                row
            }
            // The task died with its write under way: nobody can tell what became of it.
            Some(Err(error)) => steps_by_task.remove(&error.id()).and_then(|step| run.blank(&step)).map(|mut row| {
                row.outcome = Outcome::Unknown;
                "Internal".clone_into(&mut row.error_code);
                row.message = format!("the write's task died: {error}");
                row
            }),
        };
        // `None`: the run was over before the write was sent.
        if let Some(row) = row {
            run.book(&row);
            run.weigh(&row);
        }
    }
}

/// Every step that has no row yet was not attempted, or by an earlier attempt that did not learn what became of it.
fn finish<S: Store, L: Ledger>(run: &Run<S, L>, plan: &Plan, why: &str) {
    for step in plan.steps.iter().filter(|step| run.is_open(step)) {
        if let Some(mut row) = run.blank(step) {
            why.clone_into(&mut row.message);
            if run.ledger.is_in_doubt(step.n) {
                row.outcome = Outcome::Unknown;
                row.message = format!("an earlier attempt may have stored it, and nobody has looked since: {why}");
            }
            run.book(&row);
        }
    }
}
