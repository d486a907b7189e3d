//! Proves that a server honours preconditions before it is trusted with one. AWS is taken at its documented word.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::flow::probe::{Kind, ask};
use crate::model::digest::Checksum;
use crate::model::entry::Key;
use crate::model::row::{Guard, Outcome};
use crate::model::step::{Action, Step};
use crate::model::write::{Cause, Expect, LookError, PutError, Refusal};
use crate::store::{ProbeKey, Probed, Store};

use super::ledger::Ledger;
use super::write::{self, body, guard_of, object};
use super::{End, Halt, Run, halt};

/// A kind of request that carries a precondition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Request {
    Put,
    Complete,
    CopyOver,
    /// Where nothing is.
    CopyAnew,
    Delete,
}

impl Request {
    fn name(self) -> &'static str {
        match self {
            Self::Put => "PutObject",
            Self::Complete => "CompleteMultipartUpload",
            Self::CopyOver | Self::CopyAnew => "CopyObject",
            Self::Delete => "DeleteObject",
        }
    }

    /// The condition that could not hold.
    fn condition(self) -> &'static str {
        match self {
            Self::Put | Self::Complete | Self::CopyOver | Self::Delete => "If-Match on an ETag that nothing has",
            Self::CopyAnew => "If-None-Match: * over an object",
        }
    }

    /// The status of an answer that it should not have got.
    fn yes(self) -> u16 {
        match self {
            Self::Put | Self::Complete | Self::CopyOver | Self::CopyAnew => 200,
            Self::Delete => 204,
        }
    }

    /// Whether only a rollback sends it.
    fn undoes(self) -> bool {
        match self {
            Self::Put | Self::Complete => false,
            Self::CopyOver | Self::CopyAnew | Self::Delete => true,
        }
    }
}

/// The request that writes a step.
fn request<S, L>(run: &Run<S, L>, step: &Step) -> Option<Request> {
    match step.action {
        Action::Create | Action::Replace if is_multipart(step) => Some(Request::Complete),
        Action::Create | Action::Replace => Some(Request::Put),
        Action::Restore if step.size().is_some_and(|size| size > run.settings.copy_max_bytes) => {
            Some(Request::Complete)
        }
        Action::Restore if step.head.is_none() => Some(Request::CopyAnew),
        Action::Restore => Some(Request::CopyOver),
        Action::Delete => Some(Request::Delete),
        Action::Unchanged | Action::Keep | Action::Refuse | Action::Error => None,
    }
}

const WHY: &str = "nothing is written to a server that ignores preconditions";

/// Asks each target that `writes` go to, once for each kind of request that will carry a precondition.
pub(super) async fn probe<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, writes: &[&Step]) -> Result<(), Halt> {
    for (name, steps) in by_target(writes) {
        if run.is_over() {
            return Ok(());
        }
        let Some((target, store)) = run.targets.get(name) else { continue };
        let asked = steps.iter().filter(|step| guard_of(step, target) == Guard::Tested);
        let requests: BTreeSet<Request> = asked.filter_map(|step| request(run, step)).collect();
        let Some(first) = steps.first() else { continue };
        let key = ProbeKey::new(&first.key, run.ledger.run_id());
        for request in requests {
            let probed = match request {
                Request::Put => patiently(run, || store.probe_put(&key)).await,
                Request::Complete => patiently(run, || store.probe_complete(&key)).await,
                Request::CopyOver => patiently(run, || Box::pin(ask(&**store, &key, Kind::CopyIfMatch))).await,
                Request::CopyAnew => patiently(run, || Box::pin(ask(&**store, &key, Kind::CopyIfNoneMatch))).await,
                Request::Delete => patiently(run, || Box::pin(ask(&**store, &key, Kind::DeleteIfMatch))).await,
            };
            judge(run, name, &**store, &key, request, probed).await?;
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
        let Some((target, _)) = run.targets.get(name).filter(|_| !proven.contains(name)) else { continue };
        let tested = |step: &Step| guard_of(step, target) == Guard::Tested;
        steps.retain(|step| step.action == Action::Create && !is_multipart(step) && tested(step));
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
    request: Request,
    probed: Result<Probed, LookError>,
) -> Result<(), Halt> {
    match probed {
        Ok(Probed::Honoured) => Ok(()),
        // The scratch object is gone already.
        Ok(Probed::Ignored) if request.undoes() => Err(ignored(run, name, request, request.condition(), None)),
        Ok(Probed::Ignored) => {
            let stray = match store.remove_probe(key).await {
                Ok(()) => format!("the probe's object {:?} was removed again", key.key().as_str()),
                Err(error) => format!(
                    "the probe's object {:?} could not be removed ({error}): remove it by hand",
                    key.key().as_str()
                ),
            };
            Err(ignored(run, name, request, request.condition(), Some(&stray)))
        }
        Err(error) => {
            let cause = Cause {
                message: format!(
                    "target {name}: asking whether {} honours preconditions: {}",
                    request.name(),
                    error.cause.message
                ),
                ..error.cause
            };
            Err(halt(End::Stopped(cause), "the server could not be asked whether it honours preconditions"))
        }
    }
}

fn ignored<S: Store, L: Ledger>(
    run: &Run<S, L>,
    name: &str,
    request: Request,
    what: &str,
    stray: Option<&str>,
) -> Halt {
    let endpoint = run.targets.get(name).map_or("", |(target, _)| target.endpoint.as_str());
    let stray = stray.map(|stray| format!("; {stray}")).unwrap_or_default();
    let what = format!("{} with {what} was answered with {}{stray}", request.name(), request.yes());
    let advice = if request.undoes() {
        "Nothing was undone. Plan the rollback again: it asks the same, and guards these steps by a look before each \
         (check-first)"
    } else {
        "Nothing planned was overwritten. Use a server that honours If-None-Match and If-Match, or accept the race with \
         `conditional_writes: check-first` in this target"
    };
    let text = format!("target {name}: {endpoint} ignores preconditions: {what}. {advice}");
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
            Err(ignored(run, name, Request::Put, "If-None-Match: * over an object", Some(&stray)))
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
