//! Asks objects of several parts how they were cut, where the usual part sizes have not told same from different.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{StreamExt as _, stream};

use super::SurveyError;
use super::chunk::{Chunk, Work};
use crate::model::entry::Key;
use crate::model::head::{Head, Remote};
use crate::model::local::LocalFile;
use crate::model::write::LookError;
use crate::plan::asks_first_part;
use crate::store::Store;

/// Asks those of a chunk's entries whose object's answer could decide, and gives back the places of the ones that were
/// told: they are to be hashed for what is wanted now. A failure that every question would meet ends the survey.
pub(super) async fn ask_first_parts<S: Store>(
    work: &Arc<Work<S>>,
    chunk: &mut Chunk,
) -> Result<Vec<usize>, SurveyError> {
    let from = chunk.from;
    let asked: Vec<_> = (0..chunk.cases.len())
        .filter_map(|at| {
            let (entry, case) = (&work.entries[from + at], &chunk.cases[at]);
            let (Ok(mark), Some(Ok(Remote::Present(head)))) = (&case.mark, &case.remote) else { return None };
            let (target, store) = work.targets.get(&*entry.terms.target)?;
            let local = LocalFile { stat: mark.stat(), digests: case.digests.clone() };
            let asks = asks_first_part(&local, head, entry.terms.rule, target.trust_metadata);
            asks.then(|| (at, Arc::clone(store), head.clone()))
        })
        .collect();
    let mut answers = stream::iter(asked)
        .take_while(|_| std::future::ready(!work.cancel.is_set()))
        .map(|(at, store, mut head)| async move {
            let _turn = work.looks.acquire().await;
            let answer = first_part(&*store, &work.entries[from + at].key, &mut head).await;
            (at, answer.map(|()| head))
        })
        .buffer_unordered(work.settings.looks.max(1));
    let mut told = Vec::new();
    while let Some((at, answer)) = answers.next().await {
        work.requests.fetch_add(1, Ordering::Relaxed);
        chunk.cases[at].remote = Some(match answer {
            Ok(head) => {
                if head.first_part.is_some() {
                    told.push(at);
                }
                Ok(Remote::Present(head))
            }
            Err(error) if error.stop => {
                let target = work.entries[from + at].terms.target.to_string();
                return Err(SurveyError::Target { target, cause: error.cause });
            }
            // Left as it is, the entry would be judged by what one lost answer happened to leave out.
            Err(error) => Err(format!("the bucket could not be asked for the first part: {error}")),
        });
    }
    told.sort_unstable();
    Ok(told)
}

/// Asks for the first part of the object that `head` describes, and keeps the answer there. One request.
pub(super) async fn first_part<S: Store>(store: &S, key: &Key, head: &mut Head) -> Result<(), LookError> {
    // As long as the whole, it is no part of several: a server that ignores the number answers so.
    head.first_part = store.first_part(key, &head.etag).await?.filter(|bytes| *bytes < head.size);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;
    use crate::flow::cancel::Cancel;
    use crate::flow::survey::{Decided, Discovery, Settings, survey};
    use crate::local::{Cache, Hashing};
    use crate::model::entry::{Compare, Entry, Place, Rule, Terms};
    use crate::model::event::{Nobody, Watch};
    use crate::model::step::{Action, Proof, Reason, Step};
    use crate::model::target::{Addressing, ConditionalWrites, SANDBOX, Target};
    use crate::store::flaky::{Flaky, Rates};
    use crate::store::memory::Memory;

    const KIB: usize = 1 << 10;

    /// 256 KiB, no two pieces of which are the same.
    fn bytes() -> Vec<u8> {
        (0..1u32 << 16).flat_map(u32::to_le_bytes).collect()
    }

    /// Plans one file against an object that somebody else uploaded in parts of these sizes.
    async fn surveyed(file: &[u8], object: &[u8], cuts: &[usize], rule: Rule, rates: Rates) -> (Step, u64) {
        surveyed_by(Discovery::Head, file, object, cuts, rule, rates).await
    }

    async fn surveyed_by(
        discovery: Discovery,
        file: &[u8],
        object: &[u8],
        cuts: &[usize],
        rule: Rule,
        rates: Rates,
    ) -> (Step, u64) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), file).unwrap();
        let (memory, key) = (Memory::new(), Key::new("k"));
        let mut rest = object;
        let mut parts = Vec::new();
        for cut in cuts {
            let (part, after) = rest.split_at(*cut);
            parts.push(part);
            rest = after;
        }
        parts.push(rest);
        memory.stranger_put_parts(&key, &parts);
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
        let store = Arc::new(Flaky::new(memory, 1, rates));
        let targets = HashMap::from([("default".to_owned(), (target, store))]);
        let terms = Terms {
            target: "default".into(),
            rule,
            compare: Compare::Content,
            stage: None,
            properties: Arc::default(),
        };
        let entry = Entry {
            place: Place { file: "m.yaml".into(), line: 3 },
            source: "a".into(),
            real: None,
            key,
            terms: Arc::new(terms),
            flaw: None,
        };
        let watch = Arc::new(Nobody) as Arc<dyn Watch>;
        let settings = Settings { discovery, ..Settings::default() };
        let hashing = Arc::new(Hashing::new(1, Cache::off()).unwrap());
        let (entries, cancel) = (Arc::new(vec![entry]), Cancel::default());
        let mut steps = Vec::new();
        let take = |decided: Decided| {
            steps.extend(decided.steps);
            Ok(())
        };
        let seen = survey(entries, folder.path(), &targets, settings, &hashing, &watch, &cancel, take).await.unwrap();
        (steps.remove(0), seen.requests)
    }

    #[tokio::test]
    async fn an_object_is_recognised_at_the_part_size_that_it_tells_and_at_no_other() {
        let (ours, mut theirs) = (bytes(), bytes());
        *theirs.last_mut().unwrap() ^= 1;
        let same = (Action::Unchanged, Reason::Same, Some(Proof::EtagParts));
        let differs = (Action::Refuse, Reason::Differs, Some(Proof::EtagParts));
        let unproven = (Action::Refuse, Reason::Unproven, None);
        let table = [
            ("three equal parts and a rest", &ours, vec![75 * KIB; 3], same),
            ("other content in them", &theirs, vec![75 * KIB; 3], unproven),
            ("two parts", &ours, vec![200 * KIB], same),
            ("other content in two", &theirs, vec![200 * KIB], differs),
            ("the second of two longer", &ours, vec![100 * KIB], unproven),
            ("parts of many sizes", &ours, vec![75 * KIB, 60 * KIB, 90 * KIB], unproven),
        ];
        for (name, object, cuts, expected) in table {
            for discovery in [Discovery::Head, Discovery::List] {
                let (step, _) = surveyed_by(discovery, &ours, object, &cuts, Rule::Never, Rates::calm()).await;
                assert_eq!((step.action, step.reason, step.proof), expected, "{name}, {discovery:?}: {step:?}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_where_the_rule_replaces_anyhow() {
        let (bytes, cuts) = (bytes(), [75 * KIB; 3]);
        let mut requests = BTreeMap::new();
        for rule in [Rule::IfChanged, Rule::Always] {
            let (_, asked) = surveyed(&bytes, &bytes, &cuts, rule, Rates::calm()).await;
            requests.insert(rule.to_string(), asked);
        }
        assert_eq!(requests["if-changed"], requests["always"] + 1, "{requests:?}");
    }

    #[tokio::test]
    async fn a_question_without_an_answer_is_an_error_and_replaces_nothing() {
        let (bytes, cuts) = (bytes(), [75 * KIB; 3]);
        let mut asked_in_vain = 0;
        for rate in [0, 300, 500] {
            let rates = Rates { look_failed: rate, ..Rates::calm() };
            let (step, _) = surveyed(&bytes, &bytes, &cuts, Rule::IfChanged, rates).await;
            assert!(matches!(step.action, Action::Unchanged | Action::Error), "{step:?}");
            asked_in_vain += u32::from(step.note.as_deref().is_some_and(|note| note.contains("first part")));
        }
        assert!(asked_in_vain > 0, "no look for the first part failed");
    }
}
