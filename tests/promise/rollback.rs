//! The promise of a rollback: a bucket that an earlier run wrote to, a plan that undoes it, made by hand, and the history
//! that must agree with every row.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use noclobber::flow::apply::record::Record;
use noclobber::flow::apply::{self, Settings};
use noclobber::flow::cancel::Cancel;
use noclobber::guard::Patience;
use noclobber::model::entry::Key;
use noclobber::model::event::Nobody;
use noclobber::model::head::{Head, Remote, VersionId};
use noclobber::model::row::{Outcome, Row};
use noclobber::model::step::{Action, Step, digest_text};
use noclobber::model::write::Expect;
use noclobber::plan::file::Plan;
use noclobber::store::contract::object;
use noclobber::store::flaky::{Fault, Flaky, Rates};
use noclobber::store::memory::{Memory, Past};
use noclobber::store::{Body, Buried, Store as _};

use crate::dying::{Death, Dying};
use crate::world::{Seeded, World as Uploading};
use crate::{Ends, each_seed, made};

struct World {
    seed: u64,
    rates: Rates,
    folder: tempfile::TempDir,
    memory: Memory,
    weather: Flaky<Memory>,
    plan: Plan,
    /// What each key's planned state holds; `None` where nothing is.
    planned: Vec<Option<Bytes>>,
    /// What each restore brings back.
    earlier: Vec<Option<Bytes>>,
    runs: AtomicU64,
    unnamed: AtomicU64,
    /// Delete markers of somebody else.
    theirs: Mutex<BTreeSet<VersionId>>,
    stranger: bool,
}

/// So many bytes and more are copied in parts.
const COPY_MAX_BYTES: u64 = 600;

impl World {
    async fn new(seed: u64, rates: Rates) -> Self {
        Self::of(3 + seed % 8, seed, rates).await
    }

    async fn of(steps_wanted: u64, seed: u64, rates: Rates) -> Self {
        let mut dice = Seeded::new(seed);
        let memory = Memory::new();
        let (mut steps, mut planned, mut earlier) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..steps_wanted {
            let key = format!("p/{n}");
            let named = Key::new(key.as_str());
            let noise = dice.next().to_string();
            let early = noise.repeat(usize::try_from(dice.below(80)).unwrap()) + "!";
            // A run created it, replaced what was there, or wrote what was deleted since.
            match (n + dice.below(3)) % 3 {
                0 => {
                    if dice.below(2) == 0 {
                        memory.stranger_put(&named, early.clone());
                        memory.stranger_delete(&named);
                    }
                    steps.push(made::delete(&key, &by_run(&memory, &key, Expect::Absent).await));
                    planned.push(memory.content(&named));
                    earlier.push(None);
                }
                which => {
                    let (part, rest) = early.as_bytes().split_at(early.len() / 2);
                    match dice.below(2) {
                        0 => memory.stranger_put_parts(&named, &[part, rest]),
                        _ => drop(memory.stranger_put(&named, early.clone())),
                    }
                    let first = head(&memory, &key).await;
                    let Ok(Buried::There { head, carried }) =
                        memory.buried(&named, first.version.as_ref().unwrap()).await
                    else {
                        panic!("it is not there");
                    };
                    let now = if which == 1 {
                        Some(by_run(&memory, &key, Expect::Unchanged(first.etag)).await)
                    } else {
                        memory.stranger_delete(&named);
                        None
                    };
                    steps.push(made::restore(&key, now.as_ref(), &head, carried));
                    planned.push(memory.content(&named));
                    earlier.push(Some(early.into()));
                }
            }
        }
        let (plan, _) = made::plan(&Uploading::target(), steps);
        let markers = |key: &Key| memory.history(key).into_iter().filter(|past| past.bytes.is_none());
        let theirs = memory.keys().iter().flat_map(markers).map(|past| past.version).collect();
        let theirs = Mutex::new(theirs);
        let weather = Flaky::new(memory.clone(), seed, Rates::calm());
        let (runs, unnamed, folder) = (AtomicU64::new(0), AtomicU64::new(0), tempfile::tempdir().unwrap());
        Self { seed, rates, folder, memory, weather, plan, planned, earlier, runs, unnamed, theirs, stranger: false }
    }

    fn next_storm(&mut self, salt: u64) {
        self.count_unnamed();
        let seed = self.seed.wrapping_mul(31).wrapping_add(salt);
        self.weather = Flaky::new(self.memory.clone(), seed, self.rates);
    }

    fn count_unnamed(&self) {
        let is_unnamed = |fault| matches!(fault, Fault::AnswerLost | Fault::ErrorAfter);
        let met = self.weather.met();
        let creates = ["create_copy", "create_upload"];
        let unnamed = met.iter().filter(|met| creates.contains(&met.request) && is_unnamed(met.fault)).count();
        self.unnamed.fetch_add(unnamed as u64, Ordering::Relaxed);
    }

    async fn apply(&self, death: Death) -> Option<Vec<Row>> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let id = format!("run{}x{run}", self.seed);
        let report = self.folder.path().join("report.csv");
        let record = Arc::new(Record::open(&report, &digest_text(&self.plan.footer.digest), || id).unwrap());
        let patience = Patience { pause: Duration::ZERO, pause_max: Duration::ZERO, ..Patience::default() };
        let settings = Settings {
            partial: true,
            patience,
            concurrency: 1 + usize::try_from(self.seed % 5).unwrap(),
            copy_max_bytes: COPY_MAX_BYTES,
            // There are no files, and nothing may look for them.
            ..Settings::new("/nowhere".into())
        };
        let bucket = Arc::new(Dying::new(self.weather.clone(), death));
        let stores = HashMap::from([("default".to_owned(), Arc::clone(&bucket))]);
        let (ledger, watch) = (Arc::clone(&record), Arc::new(Nobody));
        let work = apply::apply(&self.plan, stores, ledger, settings, watch, Cancel::default());
        let applied = tokio::select! {
            biased;
            () = bucket.died() => None,
            applied = self.beside_the_stranger(work) => Some(applied),
        };
        self.unnamed.fetch_add(bucket.unnamed(), Ordering::Relaxed);
        let Some(applied) = applied else {
            // What was dropped is aborted where it stood, like a process that is killed.
            let left = Arc::downgrade(&record);
            drop(record);
            while left.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
            return None;
        };
        let rows = Arc::into_inner(record).unwrap().finish(self.plan.footer.counts.steps()).unwrap();
        assert_eq!(applied.tally.rows(), rows.len() as u64);
        self.hold_the_promise(&rows);
        Some(rows)
    }

    async fn beside_the_stranger<T>(&self, work: impl Future<Output = T>) -> T {
        if !self.stranger {
            return work.await;
        }
        let mut dice = Seeded::new(self.seed ^ 0x5712_1ce5);
        let stranger = async {
            for strike in 0.. {
                for _ in 0..=dice.below(8) {
                    tokio::task::yield_now().await;
                }
                if strike > 12 {
                    std::future::pending::<()>().await;
                }
                let at = usize::try_from(dice.below(self.plan.steps.len() as u64)).unwrap();
                let step = &self.plan.steps[at];
                match dice.below(6) {
                    0 | 1 => {
                        self.memory.stranger_delete(&step.key);
                        let marker = self.memory.history(&step.key).pop().unwrap().version;
                        self.theirs.lock().unwrap().insert(marker);
                    }
                    // The very bytes that the plan saw, or those that it brings back.
                    2 => drop(self.planned[at].clone().map(|bytes| self.memory.stranger_put(&step.key, bytes))),
                    3 => drop(self.earlier[at].clone().map(|bytes| self.memory.stranger_put(&step.key, bytes))),
                    4 => {
                        let earlier = step.earlier.as_ref().and_then(|earlier| earlier.seen.version.as_ref());
                        if let Some(version) = earlier {
                            self.memory.stranger_forget(&step.key, version);
                        }
                    }
                    _ => drop(self.memory.stranger_put(&step.key, format!("strike {strike}"))),
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = stranger => unreachable!("the stranger never ends"),
        }
    }

    /// Applies in calm weather until nothing is left to do. Where nobody else wrote, all is undone then.
    async fn come_to_an_end(&mut self) {
        self.weather.calm_down().await;
        self.count_unnamed();
        self.weather = Flaky::new(self.memory.clone(), self.seed, Rates::calm());
        let rows = self.apply(Death::Never).await.expect("nobody died");
        let (open, unnamed) = (self.memory.open_uploads() as u64, self.unnamed.load(Ordering::Relaxed));
        assert!(open <= unnamed, "{open} uploads are open, and of {unnamed} alone nobody was told");
        if self.stranger {
            return;
        }
        for (at, (step, row)) in self.plan.steps.iter().zip(&rows).enumerate() {
            let history = self.memory.history(&step.key);
            let done = if step.action == Action::Delete { Outcome::Deleted } else { Outcome::Restored };
            assert_eq!(row.outcome, done, "{step:#?}\n{row:#?}\n{history:#?}");
            assert_eq!(self.memory.content(&step.key), self.earlier[at], "{row:#?}\n{history:#?}");
            let ours = history.iter().filter(|past| is_by(past, row)).count();
            assert_eq!(ours, usize::from(step.action == Action::Restore), "{row:#?}\n{history:#?}");
        }
    }

    /// The invariants, from the bucket's whole history:
    ///
    /// - nothing of ours stands on anything but what the plan saw, byte for byte, copy and marker alike;
    /// - a copy is what was to be brought back, and carries the write id of its step;
    /// - a row that claims a copy or a marker names one of ours, or one that stands where ours would;
    /// - a row that claims none has none;
    /// - no version is ever lost but by somebody else's hand.
    fn hold_the_promise(&self, rows: &[Row]) {
        assert_eq!(rows.len(), self.plan.steps.len(), "one row a step");
        for (at, (step, row)) in self.plan.steps.iter().zip(rows).enumerate() {
            let history = self.memory.history(&step.key);
            let met = || format!("faults met: {:#?}", self.weather.met());
            let case = || format!("step {step:#?}\nrow {row:#?}\nhistory {history:#?}\n{}", met());
            let theirs = self.theirs.lock().unwrap();
            let is_ours = |past: &Past| match past.bytes {
                None => !theirs.contains(&past.version),
                Some(_) => is_by(past, row),
            };
            let ours: Vec<usize> = (0..history.len()).filter(|at| is_ours(&history[*at])).collect();
            for ours in &ours {
                let below = ours.checked_sub(1).and_then(|below| history[below].bytes.clone());
                assert_eq!(below, self.planned[at], "not over what was reviewed\n{}", case());
                match &history[*ours].bytes {
                    None => assert_eq!(step.action, Action::Delete, "a marker\n{}", case()),
                    bytes => {
                        assert_eq!(step.action, Action::Restore, "a copy\n{}", case());
                        assert_eq!(*bytes, self.earlier[at], "something else was brought back\n{}", case());
                        let id = format!("{}-{}", row.run_id, step.n);
                        assert_eq!(history[*ours].write_id.as_deref(), Some(&*id), "{}", case());
                    }
                }
            }
            match row.outcome {
                Outcome::Restored => {
                    let named: Vec<_> = ours.iter().filter(|at| history[**at].version.0 == row.version_after).collect();
                    assert_eq!(named.len(), 1, "a row claims a copy that is not there\n{}", case());
                    assert_eq!(row.write_id, format!("{}-{}", row.run_id, step.n), "{}", case());
                }
                Outcome::Deleted => {
                    // A marker has no write id: where the answer was lost, somebody else's in its place is the same.
                    let marker = history.iter().position(|past| past.version.0 == row.version_after).unwrap();
                    assert_eq!(history[marker].bytes, None, "{}", case());
                    assert_eq!(history[marker - 1].bytes, self.planned[at], "{}", case());
                    assert_eq!((&*row.etag_after, &*row.write_id), ("", ""), "{}", case());
                }
                Outcome::Unknown => {}
                Outcome::Lost | Outcome::Stale => {
                    assert!(self.stranger, "lost to nobody\n{}", case());
                    assert!(ours.is_empty(), "it was done, and its row says {}\n{}", row.outcome, case());
                }
                Outcome::Failed | Outcome::NotAttempted => {
                    assert!(ours.is_empty(), "it was done, and its row says {}\n{}", row.outcome, case());
                }
                Outcome::Created
                | Outcome::Replaced
                | Outcome::Unchanged
                | Outcome::Kept
                | Outcome::Refused
                | Outcome::SourceChanged => panic!("no outcome of a rollback\n{}", case()),
            }
            holds_what_was_there(step, &history);
        }
    }
}

fn holds_what_was_there(step: &Step, history: &[Past]) {
    let planned = step.head.as_ref().and_then(|seen| seen.version.as_ref());
    let is_kept = |id: &VersionId| history.iter().any(|past| past.version == *id);
    assert!(planned.is_none_or(is_kept), "the planned version is gone: {history:#?}");
}

fn is_by(past: &Past, row: &Row) -> bool {
    past.write_id.as_deref().is_some_and(|id| id.starts_with(&row.run_id))
}

async fn head(memory: &Memory, key: &str) -> Head {
    match memory.head(&Key::new(key)).await {
        Ok(Remote::Present(head)) => *head,
        other => panic!("{other:?}"),
    }
}

/// What the run wrote that is undone here.
async fn by_run(memory: &Memory, key: &str, expect: Expect) -> Head {
    let bytes = format!("the run's {key}");
    let object = object(key, bytes.as_bytes(), "an-earlier-run-1");
    memory.put(&object, Body::Bytes(bytes.into()), &expect, Arc::new(|_| ())).await.unwrap();
    head(memory, key).await
}

#[test]
fn a_calm_rollback_undoes_all_and_a_second_apply_nothing_more() {
    each_seed("calm rollback", |seed| {
        Box::pin(async move {
            let mut world = World::new(seed, Rates::calm()).await;
            world.apply(Death::Never).await.unwrap();
            let keys = world.memory.keys();
            let of_keys = |world: &World| keys.iter().map(|key| world.memory.history(key)).collect::<Vec<_>>();
            let before = of_keys(&world);
            world.come_to_an_end().await;
            assert_eq!(of_keys(&world), before);
            assert_eq!(world.memory.keys().len(), world.plan.steps.len(), "a scratch object is left");
        })
    });
}

#[test]
fn a_storm_and_a_stranger_cannot_make_a_rollbacks_row_lie() {
    let ends = Arc::new(Ends::default());
    let of_seeds = Arc::clone(&ends);
    each_seed("stormy rollback", |seed| {
        let ends = Arc::clone(&of_seeds);
        Box::pin(async move {
            let mut world = World::new(seed, Rates::stormy()).await;
            world.stranger = seed % 4 > 0;
            for again in 0..4 {
                world.next_storm(again);
                ends.note(&world.apply(Death::Never).await.unwrap());
            }
            world.come_to_an_end().await;
        })
    });
    ends.have(&["restored", "deleted", "lost", "stale", "failed", "unknown", "not-attempted"]);
}

#[test]
fn a_rollback_that_dies_at_any_request_is_finished_by_the_next() {
    each_seed("dying rollback", |seed| {
        Box::pin(async move {
            let mut world = World::new(seed, Rates::stormy()).await;
            world.stranger = seed % 4 > 0;
            let mut dice = Seeded::new(seed ^ 0xdead);
            for _ in 0..3 {
                let nth = dice.below(60);
                let death = if dice.below(2) == 0 { Death::Before(nth) } else { Death::After(nth) };
                world.apply(death).await;
                // Requests that were under way may still land.
                world.next_storm(dice.next());
            }
            world.come_to_an_end().await;
        })
    });
}

#[test]
fn each_request_of_a_small_rollback_may_be_its_last() {
    let mut actions = BTreeMap::new();
    let mut deaths = 0;
    for seed in 0..12 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        deaths += runtime.block_on(async {
            for nth in 0.. {
                let mut lives = 0;
                for death in [Death::Before(nth), Death::After(nth)] {
                    let rates = if seed % 2 == 0 { Rates::calm() } else { Rates::stormy() };
                    let mut world = World::of(2, seed, rates).await;
                    for step in &world.plan.steps {
                        *actions.entry((step.action.name(), step.head.is_some())).or_insert(0) += 1;
                    }
                    world.next_storm(0);
                    lives += u32::from(world.apply(death).await.is_some());
                    world.come_to_an_end().await;
                }
                if lives == 2 {
                    return 2 * nth;
                }
            }
            0
        });
    }
    assert!(deaths > 100 && actions.len() == 3, "{deaths} deaths, {actions:?}");
}
