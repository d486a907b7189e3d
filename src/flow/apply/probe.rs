//! Proves that a server honours preconditions before it is trusted with one. AWS is taken at its documented word.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::model::digest::Checksum;
use crate::model::entry::Key;
use crate::model::row::{Guard, Outcome};
use crate::model::step::{Action, Step};
use crate::model::write::{Cause, Expect, LookError, PutError, Refusal};
use crate::store::{ProbeKey, Probed, Store};

use super::ledger::Ledger;
use super::write::{self, body, guard_of, object};
use super::{End, Halt, Run, halt};

const WHY: &str = "nothing is written to a server that ignores preconditions";

/// Asks each target that `writes` go to, once for each kind of request that will carry a precondition.
pub(super) async fn probe<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, writes: &[&Step]) -> Result<(), Halt> {
    for (name, steps) in by_target(writes) {
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
        if steps.iter().any(|step| !is_multipart(step)) {
            let probed = patiently(run, || store.probe_put(&key)).await;
            judge(run, name, &**store, &key, "PutObject", probed).await?;
        }
        if steps.iter().any(|step| is_multipart(step)) {
            let probed = patiently(run, || store.probe_complete(&key)).await;
            judge(run, name, &**store, &key, "CompleteMultipartUpload", probed).await?;
        }
    }
    Ok(())
}

/// Sends a stage's creates alone, the smallest first, until each target has refused one that it had to refuse. A target
/// in `proven` has; nothing is created at once with others where none has.
pub(super) async fn first_creates<'a, S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    of_stage: &[&'a Step],
    proven: &mut HashSet<&'a str>,
) -> Result<(), Halt> {
    for (name, mut steps) in by_target(of_stage) {
        let tested = run.targets.get(name).is_some_and(|(target, _)| guard_of(target) == Guard::Tested);
        if !tested || proven.contains(name) {
            continue;
        }
        steps.retain(|step| step.action == Action::Create && !is_multipart(step));
        steps.sort_by_key(|step| step.local.as_ref().map_or(0, |local| local.size));
        for step in steps {
            if run.is_over() {
                return Ok(());
            }
            if first_create(run, name, step).await? {
                proven.insert(name);
                break;
            }
        }
    }
    Ok(())
}

fn by_target<'a>(steps: &[&'a Step]) -> BTreeMap<&'a str, Vec<&'a Step>> {
    let mut by_target: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in steps {
        by_target.entry(&*step.target).or_default().push(step);
    }
    by_target
}

fn is_multipart(step: &Step) -> bool {
    step.local.as_ref().is_some_and(|local| matches!(local.checksum, Some(Checksum::Composite { .. })))
}

/// Asks again, a few times, where no answer came: a busy server is no reason to end a run.
async fn patiently<S, L, T, F>(run: &Run<S, L>, ask: impl Fn() -> F) -> Result<T, LookError>
where
    S: Store,
    L: Ledger,
    F: Future<Output = Result<T, LookError>>,
{
    let patience = run.settings.patience;
    let mut failures = 0;
    loop {
        match ask().await {
            Err(error) if !error.stop && failures < patience.looks && !run.is_over() => {
                failures += 1;
                run.cancel.pause(patience.pause_before(failures)).await;
            }
            answer => return answer,
        }
    }
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

/// Sends a create alone, and repeats it with the same bytes: the repetition must meet a 412. Whether the server has
/// refused what it had to.
async fn first_create<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, name: &str, step: &Step) -> Result<bool, Halt> {
    let doubted = run.ledger.is_in_doubt(step.n);
    let Some(row) = Box::pin(write::write(run, step, doubted)).await else { return Ok(false) };
    run.book(&row);
    run.weigh(&row);
    match row.outcome {
        Outcome::Created => {}
        // Somebody was there first, and the server refused the first attempt already.
        Outcome::Lost | Outcome::Kept => return Ok(true),
        // There is nothing of ours there to repeat it over: another create has to show it.
        Outcome::Replaced
        | Outcome::Restored
        | Outcome::Deleted
        | Outcome::Unchanged
        | Outcome::Refused
        | Outcome::Stale
        | Outcome::SourceChanged
        | Outcome::Failed
        | Outcome::Unknown
        | Outcome::NotAttempted => return Ok(false),
    }
    let (Some((_, store)), Some(object)) = (run.store(step), object(run, step)) else { return Ok(false) };
    let again = || store.put(&object, body(run, step), &Expect::Absent, Arc::new(|_| {}));
    let patience = run.settings.patience;
    let (mut failures, mut stored) = (0, 0);
    let answer = loop {
        match again().await {
            // Somebody may have deleted the first one in between. Then this one meets the second.
            Ok(_) if stored == 0 => stored += 1,
            // Neither a yes nor a 412: it shows nothing, and may be asked again, the same bytes under the same condition.
            Err(PutError::Unknown(_) | PutError::Refused(Refusal::Throttled | Refusal::Conflict, _))
                if failures < patience.looks && !run.is_over() =>
            {
                failures += 1;
                run.cancel.pause(patience.pause_before(failures)).await;
            }
            answer => break answer,
        }
    };
    match answer {
        Err(PutError::Lost(_)) => Ok(true),
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
