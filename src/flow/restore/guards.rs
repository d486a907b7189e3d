//! Finds out, before a rollback is reviewed, what will hold each of its writes.
//!
//! A server may honour preconditions on uploads and ignore them on copies and deletes. Where it does, a look just before
//! the write stands in for them: that is no promise, and every step and the plan say so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::flow::probe;
use crate::model::behaviour::Kind;
use crate::model::part::COPY_MAX_BYTES;
use crate::model::row::Guard;
use crate::model::step::{Action, Step};
use crate::model::target::Target;
use crate::model::text::count;
use crate::store::{ProbeKey, Probed, Store};

/// The request that will carry a step's precondition. What one copy does not take is copied in parts.
fn kind(step: &Step) -> Option<Kind> {
    let is_in_parts = step.size().is_some_and(|size| size > COPY_MAX_BYTES);
    match step.action {
        Action::Restore => Some(match (is_in_parts, step.head.is_some()) {
            (false, true) => Kind::CopyIfMatch,
            (false, false) => Kind::CopyIfNoneMatch,
            (true, true) => Kind::CompleteIfMatch,
            (true, false) => Kind::CompleteIfNoneMatch,
        }),
        Action::Delete => Some(Kind::DeleteIfMatch),
        Action::Create | Action::Replace | Action::Unchanged | Action::Keep | Action::Refuse | Action::Error => None,
    }
}

/// Gives each step that writes its guard, and returns what the reviewer must be warned of. Servers other than AWS are
/// asked, each once for each kind of request, by scratch objects whose names have `probe_id` in them; without one nothing
/// is asked, and their steps get no guard.
pub async fn guard<S: Store>(
    steps: &mut [Step],
    targets: &HashMap<String, (Target, Arc<S>)>,
    probe_id: Option<&str>,
) -> Vec<String> {
    let mut asked: BTreeMap<(String, Kind), Vec<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        if let Some(kind) = kind(step) {
            asked.entry((step.target.to_string(), kind)).or_default().push(at);
        }
    }
    let mut warnings = Vec::new();
    for ((name, kind), places) in asked {
        let (Some((target, store)), Some(first)) = (targets.get(&name), places.first()) else { continue };
        let guard = if target.is_aws() {
            Some(Guard::Atomic)
        } else {
            let what = format!("{} on {}", kind.header(), kind.request());
            let who = format!("target {name}: {}", target.endpoint);
            match probe_id {
                None => {
                    let unasked = "was not asked (--no-probe); it is, before the first write";
                    warnings.push(format!("{who}: whether it honours {what} {unasked}"));
                    None
                }
                Some(id) => match probe::ask(&**store, &ProbeKey::new(&steps[*first].key, id), kind).await {
                    Ok(Probed::Honoured) => Some(Guard::Tested),
                    Ok(Probed::Ignored) => {
                        let n = count(places.len() as u64);
                        warnings.push(format!(
                            "{who} ignores {what}: a look just before each of {n} writes stands in for the precondition \
                             (check-first); this is NOT atomic, and who writes in between is overwritten"
                        ));
                        Some(Guard::CheckFirst)
                    }
                    Err(error) => {
                        let later = "it is asked again before the first write";
                        warnings.push(format!("{who}: whether it honours {what} is not known ({error}); {later}"));
                        None
                    }
                },
            }
        };
        for at in places {
            steps[at].guard = guard;
        }
    }
    warnings
}
