//! Proves that a server honours preconditions before it is trusted with one. AWS is taken at its documented word.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::entry::Key;
use crate::model::part::part_bytes;
use crate::model::row::Guard;
use crate::model::step::{Action, Step};
use crate::model::write::{Cause, Expect, LookError, PutError};
use crate::plan::file::Plan;
use crate::store::{ProbeKey, Probed, Store};

use super::ledger::Ledger;
use super::write::{self, body, guard_of, object};
use super::{End, Halt, Run, halt};

const WHY: &str = "nothing is written to a server that ignores preconditions";

/// Asks each target that `writes` go to, once for each kind of request that will carry a precondition; then sends the
/// smallest planned create alone, and again.
pub(super) async fn probe<S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    plan: &Plan,
    writes: &[&Step],
) -> Result<(), Halt> {
    let mut by_target: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in writes {
        by_target.entry(&*step.target).or_default().push(step);
    }
    for (name, steps) in by_target {
        if run.is_over() {
            return Ok(());
        }
        let Some((target, store)) = run.targets.get(name) else { continue };
        match guard_of(target) {
            Guard::Atomic | Guard::CheckFirst => continue,
            Guard::Tested => {}
        }
        let Some(first) = steps.first() else { continue };
        let key = ProbeKey::new(&first.key, run.ledger.run_id());
        let multipart = |step: &Step| step.local.as_ref().is_some_and(|local| part_bytes(local.size).is_some());
        if steps.iter().any(|step| !multipart(step)) {
            judge(run, name, &**store, &key, "PutObject", store.probe_put(&key).await).await?;
        }
        if steps.iter().any(|step| multipart(step)) {
            judge(run, name, &**store, &key, "CompleteMultipartUpload", store.probe_complete(&key).await).await?;
        }
        let smallest = steps
            .iter()
            .filter(|step| step.action == Action::Create && !multipart(step))
            .min_by_key(|step| (stage_of(plan, step), step.local.as_ref().map_or(0, |local| local.size)));
        if let Some(step) = smallest
            && may_go_first(run, plan, step, writes)
        {
            first_create(run, name, step).await?;
        }
    }
    Ok(())
}

/// Whether a step may be sent before all others: only one of the first stage that has anything to write, and only where
/// every stage before that one has succeeded.
fn may_go_first<S: Store, L: Ledger>(run: &Run<S, L>, plan: &Plan, step: &Step, writes: &[&Step]) -> bool {
    let stage = stage_of(plan, step);
    writes.iter().all(|other| stage_of(plan, other) >= stage)
        && plan.steps.iter().filter(|other| stage_of(plan, other) < stage).all(|other| run.is_success(other))
}

/// A stage's place in their order; a step without one belongs to the first.
fn stage_of(plan: &Plan, step: &Step) -> usize {
    let named = step.stage.as_deref();
    named.and_then(|name| plan.header.stages.iter().position(|stage| stage == name)).unwrap_or(0)
}

async fn judge<S: Store, L: Ledger>(
    run: &Run<S, L>,
    name: &str,
    store: &S,
    key: &ProbeKey,
    request: &str,
    probed: Result<Probed, LookError>,
) -> Result<(), Halt> {
    match probed {
        Ok(Probed::Honoured) => Ok(()),
        Ok(Probed::Ignored) => {
            let stray = match store.remove_probe(key).await {
                Ok(()) => format!("the probe's object {:?} was removed again", key.key().as_str()),
                Err(error) => format!(
                    "the probe's object {:?} could not be removed ({error}): remove it by hand",
                    key.key().as_str()
                ),
            };
            Err(ignored(run, name, request, "If-Match on an ETag that nothing has", &stray))
        }
        Err(error) => {
            let cause = Cause {
                message: format!(
                    "target {name}: asking whether {request} honours preconditions: {}",
                    error.cause.message
                ),
                ..error.cause
            };
            Err(halt(End::Stopped(cause), "the server could not be asked whether it honours preconditions"))
        }
    }
}

fn ignored<S: Store, L: Ledger>(run: &Run<S, L>, name: &str, request: &str, what: &str, stray: &str) -> Halt {
    let endpoint = run.targets.get(name).map_or("", |(target, _)| target.endpoint.as_str());
    let text = format!(
        "target {name}: {endpoint} ignores preconditions: {request} with {what} was answered with 200; {stray}. \
         Nothing planned was overwritten. Use a server that honours If-None-Match and If-Match, or accept the race \
         with `conditional_writes: check-first` in this target"
    );
    halt(End::ServerIgnoresConditions(text), WHY)
}

/// Sends the smallest planned create alone, and repeats it with the same bytes: the repetition must meet a 412.
async fn first_create<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, name: &str, step: &Step) -> Result<(), Halt> {
    let doubted = run.ledger.is_in_doubt(step.n);
    let Some(row) = write::write(run, step, doubted).await else { return Ok(()) };
    let stored = row.outcome == crate::model::row::Outcome::Created;
    run.book(&row);
    run.weigh(&row);
    // Whatever else became of it, there is nothing of ours there to repeat it over.
    if !stored {
        return Ok(());
    }
    let (Some((_, store)), Some(object)) = (run.store(step), object(run, step)) else { return Ok(()) };
    let again = || store.put(&object, body(run, step), &Expect::Absent, Arc::new(|_| {}));
    let mut answer = again().await;
    if answer.is_ok() {
        // Somebody may have deleted the first one in between. Then this one meets the second.
        answer = again().await;
    }
    match answer {
        Err(PutError::Lost(_)) => Ok(()),
        Ok(_) => {
            let key: &Key = &step.key;
            let stray = format!("it was {:?}, with the very bytes just created", key.as_str());
            Err(ignored(run, name, "PutObject", "If-None-Match: * over an object", &stray))
        }
        // Neither a yes nor a 412: the server has not shown that it honours the condition.
        Err(PutError::Refused(_, cause) | PutError::Unknown(cause) | PutError::Mangled(cause)) => {
            let cause = Cause {
                message: format!(
                    "target {name}: repeating the first create to see it refused: {}; apply again",
                    cause.message
                ),
                ..cause
            };
            Err(halt(End::Stopped(cause), "the server could not be asked whether it honours preconditions"))
        }
    }
}
