//! Heads by HEAD or by LIST, whichever costs less.
//!
//! A LIST page of 1,000 keys costs about as much as 12.5 HEADs (S3's prices: $0.005 against $0.0004 a thousand). Pages
//! are read only while they stay cheaper than asking for each wanted key; when there are too many strangers under the
//! prefix, the rest is asked for by HEAD. The order of the pages is never relied on, so only a listing that was read to
//! its end proves an absence.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::flow::cancel::Cancel;
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

/// What a LIST page costs, in HEADs.
const PAGE_COSTS_HEADS: f64 = 12.5;

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
        if settings.discovery != Discovery::Head && worth_listing(settings.discovery, which.len()) {
            which = by_list(entries, which, &**store, settings.discovery, watch, cancel, requests, &mut looked).await;
        }
        by_head(name, entries, &which, store, settings, watch, cancel, requests, &mut looked).await?;
    }
    Ok(looked)
}

fn worth_listing(discovery: Discovery, keys: usize) -> bool {
    discovery == Discovery::List || keys as f64 > PAGE_COSTS_HEADS
}

/// Lists the keys' common prefix; gives back the entries that are still to be asked for one by one.
#[allow(clippy::too_many_arguments)]
async fn by_list<S: Store>(
    entries: &[Entry],
    which: Vec<usize>,
    store: &S,
    discovery: Discovery,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
    requests: &mut u64,
    looked: &mut Vec<Looked>,
) -> Vec<usize> {
    let prefix = common_prefix(which.iter().map(|at| entries[*at].key.as_str()));
    let mut waiting: HashMap<&Key, usize> = which.iter().map(|at| (&entries[*at].key, *at)).collect();
    let mut found = Vec::new();
    let mut after = None;
    let mut spent = 0.0;
    loop {
        if cancel.is_set() {
            break;
        }
        *requests += 1;
        // A LIST that fails or is forbidden proves nothing; HEAD will say why.
        let Ok(page) = store.list(prefix, after.as_deref()).await else { break };
        spent += PAGE_COSTS_HEADS;
        let before = found.len();
        for listed in page.objects {
            if let Some(at) = waiting.remove(&listed.key) {
                found.push((at, Ok(Remote::Present(Box::new(head_of(listed))))));
            }
        }
        let files = (found.len() - before) as u64;
        watch.tell(Event::Advance { phase: Phase::Looking, files, bytes: 0 });
        if page.next.is_none() {
            // Read to its end: what was not listed is not there.
            let files = waiting.len() as u64;
            watch.tell(Event::Advance { phase: Phase::Looking, files, bytes: 0 });
            looked.extend(waiting.drain().map(|(_, at)| (at, Ok(Remote::Absent))));
            break;
        }
        after = page.next;
        // Each page so far found `found` keys; when the pages cost more than the HEADs that they saved, they are not
        // worth going on with.
        if discovery == Discovery::Auto && spent > found.len() as f64 + PAGE_COSTS_HEADS * 4.0 {
            break;
        }
    }
    looked.extend(found);
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

/// The longest prefix of all keys, cut at a character's boundary.
fn common_prefix<'a>(mut keys: impl Iterator<Item = &'a str>) -> &'a str {
    let Some(mut prefix) = keys.next() else { return "" };
    for key in keys {
        let mut same = prefix.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
        while !prefix.is_char_boundary(same) {
            same -= 1;
        }
        prefix = &prefix[..same];
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_prefix_never_cuts_a_character() {
        assert_eq!(common_prefix([].into_iter()), "");
        assert_eq!(common_prefix(["a/b"].into_iter()), "a/b");
        assert_eq!(common_prefix(["a/b", "a/c"].into_iter()), "a/");
        assert_eq!(common_prefix(["a/é", "a/è"].into_iter()), "a/");
        assert_eq!(common_prefix(["x", "y"].into_iter()), "");
    }
}
