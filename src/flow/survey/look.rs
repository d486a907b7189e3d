//! Heads by HEAD or by LIST, whichever costs less.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::flow::cancel::Cancel;
use crate::flow::list::{Effort, list};
use crate::model::entry::{Entry, Key, Properties};
use crate::model::event::{Event, Phase, Watch};
use crate::model::head::{Encryption, Head, HeldChecksums, Remote};
use crate::model::target::Target;
use crate::store::{Listed, Store};

use super::{Settings, SurveyError};

/// How heads are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discovery {
    #[default]
    Auto,
    List,
    Head,
}

type Looked = (usize, Result<Remote, String>);

/// Looks at the keys of the entries in `which`. One entry's failed look is that entry's; a failure that every look would
/// meet ends the survey.
pub(super) async fn look<S: Store>(
    entries: &[Entry],
    which: &[usize],
    targets: &HashMap<String, (Target, Arc<S>)>,
    settings: Settings,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
    requests: &mut u64,
) -> Result<Vec<Looked>, SurveyError> {
    let mut by_target: HashMap<&str, Vec<usize>> = HashMap::new();
    for at in which {
        by_target.entry(&*entries[*at].target).or_default().push(*at);
    }
    let mut looked = Vec::with_capacity(which.len());
    for (name, mut which) in by_target {
        let Some((_, store)) = targets.get(name) else { continue };
        let effort = match settings.discovery {
            Discovery::Auto => Some(Effort::WhileCheaper),
            Discovery::List => Some(Effort::ToTheEnd),
            Discovery::Head => None,
        };
        if let Some(effort) = effort {
            which = by_list(entries, which, &**store, effort, watch, cancel, requests, &mut looked).await;
        }
        by_head(name, entries, &which, store, settings, watch, cancel, requests, &mut looked).await?;
    }
    Ok(looked)
}

/// Lists the keys' common prefix; gives back the entries that are still to be asked for one by one.
#[allow(clippy::too_many_arguments)]
async fn by_list<S: Store>(
    entries: &[Entry],
    which: Vec<usize>,
    store: &S,
    effort: Effort,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
    requests: &mut u64,
    looked: &mut Vec<Looked>,
) -> Vec<usize> {
    let mut waiting: HashMap<&Key, usize> = which.iter().map(|at| (&entries[*at].key, *at)).collect();
    let tell = |files| watch.tell(Event::Advance { phase: Phase::Looking, files, bytes: 0 });
    let listing = list(store, &waiting.keys().copied().collect(), effort, cancel, tell).await;
    *requests += listing.requests;
    for listed in listing.found {
        if let Some(at) = waiting.remove(&listed.key) {
            looked.push((at, Ok(Remote::Present(Box::new(head_of(listed))))));
        }
    }
    if listing.is_complete {
        tell(waiting.len() as u64);
        looked.extend(waiting.drain().map(|(_, at)| (at, Ok(Remote::Absent))));
    }
    let mut rest: Vec<usize> = waiting.into_values().collect();
    rest.sort_unstable();
    rest
}

#[allow(clippy::too_many_arguments)]
async fn by_head<S: Store>(
    name: &str,
    entries: &[Entry],
    which: &[usize],
    store: &Arc<S>,
    settings: Settings,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
    requests: &mut u64,
    looked: &mut Vec<Looked>,
) -> Result<(), SurveyError> {
    let mut looks = stream::iter(which.iter().copied())
        .map(|at| {
            let (store, key) = (Arc::clone(store), entries[at].key.clone());
            // A task of its own, so that every core takes part.
            let task = (!cancel.is_set()).then(|| tokio::spawn(async move { store.head(&key).await }));
            async move {
                match task {
                    Some(task) => Some((at, task.await)),
                    None => None,
                }
            }
        })
        .buffer_unordered(settings.looks.max(1));
    while let Some(answer) = looks.next().await {
        let Some((at, answer)) = answer else { return Err(SurveyError::Interrupted) };
        *requests += 1;
        watch.tell(Event::Advance { phase: Phase::Looking, files: 1, bytes: 0 });
        looked.push(match answer {
            Ok(Ok(remote)) => (at, Ok(remote)),
            Ok(Err(error)) if error.stop => {
                return Err(SurveyError::Target { target: name.to_owned(), cause: error.cause });
            }
            Ok(Err(error)) => (at, Err(format!("the bucket could not be asked: {error}"))),
            Err(error) => (at, Err(format!("the look died: {error}"))),
        });
    }
    Ok(())
}

/// What a LIST tells of an object: no encryption, no checksum, no version, no metadata.
fn head_of(listed: Listed) -> Head {
    Head {
        size: listed.size,
        etag: listed.etag,
        version: None,
        last_modified: listed.last_modified,
        encryption: Encryption::Unknown,
        checksums: HeldChecksums::default(),
        properties: Properties::default(),
        claim: None,
        write_id: None,
    }
}
