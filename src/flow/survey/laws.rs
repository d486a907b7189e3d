//! What must hold of every survey, over worlds made from seeds.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::sample::Index;

use super::{Decided, Discovery, Settings, survey};
use crate::flow::cancel::Cancel;
use crate::local::cache::Mode;
use crate::local::{Cache, Hashing};
use crate::model::entry::{Compare, Entry, Key, Place, Properties, Rule, Terms};
use crate::model::event::{Nobody, Watch};
use crate::model::step::{Action, Proof, Reason, Step};
use crate::model::target::{Addressing, ConditionalWrites, SANDBOX, Target};
use crate::store::memory::Memory;

const FOLDERS: [&str; 4] = ["", "in/a/", "in/b/c/", "größe/ + %2F/"];

/// What is under an entry's key.
#[derive(Debug, Clone, Copy)]
enum There {
    Nothing,
    Deleted,
    TheSame,
    TheSameInParts,
    OfTheSameSize,
    Longer,
}

#[derive(Debug, Clone)]
struct Case {
    folder: usize,
    size: usize,
    there: There,
    rule: Rule,
    compare: Compare,
}

fn case() -> impl Strategy<Value = Case> {
    use There::{Deleted, Longer, Nothing, OfTheSameSize, TheSame, TheSameInParts};
    let there = prop::sample::select(vec![Nothing, Deleted, TheSame, TheSameInParts, OfTheSameSize, Longer]);
    let compare = prop::sample::select(vec![Compare::Content, Compare::Content, Compare::Properties]);
    (0..FOLDERS.len(), 0..300usize, there, prop::sample::select(Rule::ALL.to_vec()), compare)
        .prop_map(|(folder, size, there, rule, compare)| Case { folder, size, there, rule, compare })
}

struct World {
    folder: tempfile::TempDir,
    memory: Memory,
    entries: Vec<Entry>,
}

impl World {
    fn new(cases: &[Case], strangers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new().with_pages_of(7);
        for n in 0..strangers {
            memory.stranger_put(&Key::new(format!("in/a/stranger{n:04}")), "theirs");
        }
        let entry = |(n, case): (usize, &Case)| {
            let content = vec![u8::try_from(n % 251).unwrap(); case.size];
            std::fs::write(folder.path().join(n.to_string()), &content).unwrap();
            let key = Key::new(format!("{}{n}", FOLDERS[case.folder]));
            match case.there {
                There::Nothing => {}
                There::Deleted => {
                    memory.stranger_put(&key, content);
                    memory.stranger_delete(&key);
                }
                There::TheSameInParts if case.size >= 3 => {
                    let (one, other) = content.split_at(case.size / 3);
                    memory.stranger_put_parts(&key, &[one, other]);
                }
                There::TheSame | There::TheSameInParts => drop(memory.stranger_put(&key, content)),
                There::OfTheSameSize => drop(memory.stranger_put(&key, vec![b'x'; case.size])),
                There::Longer => drop(memory.stranger_put(&key, vec![b'x'; case.size + 1])),
            }
            let terms = Terms {
                target: "default".into(),
                rule: case.rule,
                compare: case.compare,
                stage: None,
                properties: Arc::new(Properties::default()),
            };
            Entry {
                place: Place { file: "m.yaml".into(), line: 3 },
                source: n.to_string().into(),
                real: None,
                key,
                terms: Arc::new(terms),
                flaw: None,
            }
        };
        let entries = cases.iter().enumerate().map(entry).collect();
        Self { folder, memory, entries }
    }

    fn path(&self, n: usize) -> std::path::PathBuf {
        self.folder.path().join(n.to_string())
    }

    /// The steps, and the plan's lines of them.
    fn survey(&self, entries: &[Entry], discovery: Discovery, cache: Cache) -> (Vec<Step>, Vec<u8>) {
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
        let targets = HashMap::from([("default".to_owned(), (target, Arc::new(self.memory.clone())))]);
        let watch = Arc::new(Nobody) as Arc<dyn Watch>;
        let hashing = Arc::new(Hashing::new(2, cache).unwrap());
        let settings = Settings { discovery, ..Settings::default() };
        let (mut steps, mut lines) = (Vec::new(), Vec::new());
        let take = |decided: Decided| {
            steps.extend(decided.steps);
            lines.extend(decided.lines);
            Ok(())
        };
        let (cancel, entries) = (Cancel::default(), Arc::new(entries.to_vec()));
        let surveyed = survey(entries, self.folder.path(), &targets, settings, &hashing, &watch, &cancel, take);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(surveyed).unwrap();
        assert_eq!(hashing.cache().trouble(), None);
        (steps, lines)
    }
}

/// What was decided. What LIST shows is enough to call two things the same, by another proof than HEAD would give.
fn said(steps: &[Step]) -> Vec<(Action, Reason, Option<Proof>)> {
    let proof = |step: &Step| if step.action == Action::Unchanged { None } else { step.proof };
    steps.iter().map(|step| (step.action, step.reason, proof(step))).collect()
}

/// An hour from now: every file is old enough for the cache.
fn later() -> i128 {
    let hour = Duration::from_hours(1);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + hour;
    i128::try_from(since.as_nanos()).unwrap()
}

/// Writes other content of the same length, and sets the time of the last write back to what it was.
fn change_unseen(path: &Path) {
    let before = std::fs::metadata(path).unwrap();
    let changed: Vec<u8> = std::fs::read(path).unwrap().iter().map(|byte| byte ^ 1).collect();
    std::fs::write(path, changed).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().mtime_nsec(), before.mtime_nsec());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn list_and_head_decide_alike(cases in prop::collection::vec(case(), 1..40), strangers in 0..400usize) {
        let world = World::new(&cases, strangers);
        let (by_head, _) = world.survey(&world.entries, Discovery::Head, Cache::off());
        for discovery in [Discovery::List, Discovery::Auto] {
            let (steps, _) = world.survey(&world.entries, discovery, Cache::off());
            prop_assert_eq!(said(&steps), said(&by_head), "{:?}", discovery);
            for (step, head) in steps.iter().zip(&by_head) {
                // What a replace buries must be named, whichever way it was found.
                prop_assert!(step.action != Action::Replace || step.head == head.head);
                prop_assert_eq!(&step.local, &head.local);
            }
        }
    }

    #[test]
    fn a_warm_cache_and_hashing_anew_give_the_same_plan(
        cases in prop::collection::vec(case(), 1..20),
        changed in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let world = World::new(&cases, 0);
        let file = world.folder.path().join("cache/digests.sqlite");
        let open = |mode| Cache::open(&file, mode, later());
        let cold = world.survey(&world.entries, Discovery::Auto, open(Mode::Use));
        let warm = world.survey(&world.entries, Discovery::Auto, open(Mode::Use));
        let without = world.survey(&world.entries, Discovery::Auto, Cache::off());
        prop_assert_eq!(&cold.1, &without.1);
        prop_assert_eq!(&warm.1, &without.1);
        for index in changed {
            change_unseen(&world.path(index.index(cases.len())));
        }
        let warm = world.survey(&world.entries, Discovery::Auto, open(Mode::Use));
        let anew = world.survey(&world.entries, Discovery::Auto, open(Mode::Rehash));
        prop_assert_eq!(&warm.0, &anew.0);
        prop_assert_eq!(&warm.1, &anew.1);
    }

    #[test]
    fn entries_in_another_order_have_the_same_steps(
        cases in prop::collection::vec(case(), 1..30),
        order in prop::collection::vec(any::<u64>(), 30),
    ) {
        let world = World::new(&cases, 20);
        let mut shuffled: Vec<(u64, Entry)> = order.into_iter().zip(world.entries.clone()).collect();
        shuffled.sort_by_key(|(at, _)| *at);
        let shuffled: Vec<Entry> = shuffled.into_iter().map(|(_, entry)| entry).collect();
        let by_key = |entries: &[Entry]| {
            let (mut steps, _) = world.survey(entries, Discovery::Auto, Cache::off());
            prop_assert!(steps.iter().zip(1..).all(|(step, n)| step.n == n));
            steps.sort_by(|one, other| one.key.cmp(&other.key));
            for step in &mut steps {
                step.n = 0;
            }
            Ok(steps)
        };
        prop_assert_eq!(by_key(&shuffled)?, by_key(&world.entries)?);
    }
}

#[test]
fn more_entries_than_a_chunk_keep_their_order_and_numbers() {
    let few = Case { folder: 1, size: 1, there: There::TheSame, rule: Rule::Never, compare: Compare::Content };
    let world = World::new(std::slice::from_ref(&few), 0);
    let entries: Vec<Entry> = (0..2 * super::CHUNK + 17)
        .map(|n| Entry { key: Key::new(format!("in/{n}")), ..world.entries[0].clone() })
        .collect();
    let (steps, lines) = world.survey(&entries, Discovery::Auto, Cache::off());
    assert_eq!(steps.len(), entries.len());
    assert!(steps.iter().zip(&entries).zip(1..).all(|((step, entry), n)| step.n == n && step.key == entry.key));
    assert_eq!(lines.split(|byte| *byte == b'\n').count() - 1, entries.len());
    let first: Step = serde_json::from_slice(lines.split(|byte| *byte == b'\n').nth(super::CHUNK).unwrap()).unwrap();
    assert_eq!(first, steps[super::CHUNK]);
}
