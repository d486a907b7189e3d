//! Looks at files and bucket, and decides the plan's steps. Writes nothing anywhere.
//!
//! LIST first, where it is cheaper; then the entries go by in chunks, in the manifest's order: stat, the looks that are
//! still needed, only those digests that some rung of the ladder needs, the rule table, the plan's lines. What a LIST has
//! shown is enough to prove absence or sameness; everything else gets a HEAD before it is judged. A chunk that was decided
//! is handed on and forgotten, so that a million entries need little more memory than their names.

mod chunk;
pub mod compose;
mod expand;
pub mod gather;
#[cfg(test)]
mod gathering;
#[cfg(test)]
mod laws;
mod look;
mod part;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;

use crate::flow::cancel::Cancel;
use crate::local::Hashing;
use crate::model::entry::Entry;
use crate::model::event::{Event, Phase, Watch};
use crate::model::step::Step;
use crate::model::target::Target;
use crate::model::write::Cause;
use crate::store::{Access, Store};

use chunk::Work;
pub use look::Discovery;

/// Entries that go by together: more would only spoil the processor's caches.
const CHUNK: usize = 1024;
/// Chunks under way at once: while one hashes, the next looks.
const CHUNKS_AT_ONCE: usize = 4;

/// How to look.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// HEADs under way at once.
    pub looks: usize,
    pub discovery: Discovery,
}

impl Default for Settings {
    fn default() -> Self {
        Self { looks: 64, discovery: Discovery::Auto }
    }
}

/// Some steps, in the manifest's order, and the same as the plan's lines.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    pub steps: Vec<Step>,
    pub lines: Vec<u8>,
}

/// What there is to say beside the steps.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    pub warnings: Vec<String>,
    /// Requests that the looks took.
    pub requests: u64,
}

/// Why there is no plan at all. What is wrong with one entry is that entry's step.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error("target {target}: {cause}")]
    Target { target: String, cause: Cause },
    #[error("interrupted")]
    Interrupted,
    /// The steps could not be handed on.
    #[error(transparent)]
    Lost(#[from] io::Error),
}

/// Surveys entries whose sources are relative to `base`. Every entry's target is in `targets`. `take` is given every step,
/// counted from 1 in the entries' order.
#[allow(clippy::too_many_arguments)]
pub async fn survey<S: Store>(
    entries: Arc<Vec<Entry>>,
    base: &Path,
    targets: &HashMap<String, (Target, Arc<S>)>,
    settings: Settings,
    hashing: &Arc<Hashing>,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
    mut take: impl FnMut(Decided) -> io::Result<()>,
) -> Result<Survey, SurveyError> {
    let mut survey = Survey::default();
    let mut names: Vec<&String> = targets.keys().collect();
    names.sort();
    for name in names {
        let (_, store) = &targets[name];
        survey.requests += 1;
        match store.access().await {
            Ok(Access::Open) => {}
            Ok(Access::Doubtful(why)) => survey.warnings.push(format!("target {name}: {why}")),
            Err(error) => return Err(SurveyError::Target { target: name.clone(), cause: error.cause }),
        }
    }

    let files = entries.iter().filter(|entry| entry.flaw.is_none()).count() as u64;
    watch.tell(Event::Begin { phase: Phase::Looking, files, bytes: 0 });
    let found = || watch.tell(Event::Advance { phase: Phase::Looking, files: 1, bytes: 0 });
    let known = look::look(&entries, targets, settings.discovery, cancel, &mut survey.requests, found).await;
    let work = Arc::new(Work {
        hashing: Arc::clone(hashing),
        base: base.to_owned(),
        known,
        targets: targets.clone(),
        settings,
        watch: Arc::clone(watch),
        cancel: cancel.clone(),
        looks: Semaphore::new(settings.looks.max(1)),
        requests: AtomicU64::new(survey.requests),
        is_hashing: AtomicBool::new(false),
        entries: Arc::clone(&entries),
    });
    let starts = (0..entries.len()).step_by(CHUNK);
    let mut chunks = stream::iter(starts)
        .map(|from| {
            let (work, to) = (Arc::clone(&work), entries.len().min(from + CHUNK));
            // A task of its own, so that every core takes part.
            tokio::spawn(async move { chunk::decide(&work, from..to).await })
        })
        .buffered(CHUNKS_AT_ONCE);
    loop {
        let next = tokio::select! {
            next = chunks.next() => next,
            // Hashing cannot be waited for: it may be at a file of terabytes.
            () = cancel.wished() => return Err(SurveyError::Interrupted),
        };
        match next {
            None => break,
            Some(Ok(decided)) => take(decided?)?,
            Some(Err(death)) => return Err(io::Error::other(death).into()),
        }
    }
    if cancel.is_set() {
        return Err(SurveyError::Interrupted);
    }
    watch.tell(Event::End { phase: Phase::Looking });
    if work.is_hashing.load(Ordering::Relaxed) {
        watch.tell(Event::End { phase: Phase::Hashing });
    }
    survey.requests = work.requests.load(Ordering::Relaxed);
    Ok(survey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Checksum;
    use crate::model::entry::{Compare, Key, Place, Properties, Rule, Terms};
    use crate::model::event::Nobody;
    use crate::model::step::{Action, Reason};
    use crate::model::target::{Addressing, ConditionalWrites, SANDBOX};
    use crate::model::write::{Expect, Object, WriteId};
    use crate::store::Body;
    use crate::store::memory::Memory;
    use sha2::Digest as _;

    fn tagged(retention: &str) -> Arc<Properties> {
        let tags = [("retention".to_owned(), retention.to_owned())].into();
        Arc::new(Properties { tags, ..Properties::default() })
    }

    #[tokio::test]
    async fn other_tags_are_other_properties_where_properties_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "same").unwrap();
        let store = Memory::new();
        let object = Object {
            key: Key::new("k"),
            size: 4,
            checksum: Checksum::Full(crate::model::digest::Sha256(sha2::Sha256::digest("same").into())),
            properties: tagged("7y"),
            write_id: WriteId("r-1".into()),
        };
        let body = Body::Bytes(bytes::Bytes::from_static(b"same"));
        store.put(&object, body, &Expect::Absent, Arc::new(|_| {})).await.unwrap();
        let target = Target {
            name: "default".into(),
            bucket: "b".into(),
            endpoint: SANDBOX.into(),
            region: "r".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        let targets = HashMap::from([("default".to_owned(), (target, Arc::new(store)))]);
        let watch = Arc::new(Nobody) as Arc<dyn Watch>;
        let table = [
            (Compare::Properties, "7y", Rule::IfChanged, Action::Unchanged),
            (Compare::Properties, "1y", Rule::IfChanged, Action::Replace),
            (Compare::Properties, "1y", Rule::Never, Action::Unchanged),
            (Compare::Content, "1y", Rule::IfChanged, Action::Unchanged),
        ];
        for (compare, retention, rule, action) in table {
            let entry = Entry {
                place: Place { file: "m.yaml".into(), line: 3 },
                source: "a".into(),
                real: None,
                key: Key::new("k"),
                terms: Arc::new(Terms {
                    target: "default".into(),
                    rule,
                    compare,
                    stage: None,
                    properties: tagged(retention),
                }),
                flaw: None,
            };
            let (settings, mut steps) = (Settings::default(), Vec::new());
            let take = |decided: Decided| {
                steps.extend(decided.steps);
                Ok(())
            };
            let entries = Arc::new(vec![entry]);
            let hashing = Arc::new(Hashing::new(1, crate::local::Cache::off()).unwrap());
            let cancel = Cancel::default();
            survey(entries, folder.path(), &targets, settings, &hashing, &watch, &cancel, take).await.unwrap();
            let step = &steps[0];
            assert_eq!(step.action, action, "{compare:?} {retention} {rule}: {step:?}");
            assert_eq!(action == Action::Replace, step.reason == Reason::Properties);
        }
    }
}
