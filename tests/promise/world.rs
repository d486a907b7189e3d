//! One small world: a folder of files, a bucket with strangers' objects, a plan, and the invariants of the promise.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use noclobber::flow::apply::record::Record;
use noclobber::flow::apply::{self, Settings};
use noclobber::flow::cancel::Cancel;
use noclobber::flow::survey::compose::{Draft, Drafted, Room};
use noclobber::flow::survey::gather::{Gathered, Policy};
use noclobber::flow::survey::{self, Decided, survey};
use noclobber::guard::Patience;
use noclobber::local::{Cache, Hashing};
use noclobber::manifest::limits::Limits;
use noclobber::model::entry::{Compare, Entry, Key, Place, Properties, Rule, Terms};
use noclobber::model::event::Nobody;
use noclobber::model::row::{Outcome, Row};
use noclobber::model::step::{Action, Reason, digest_text};
use noclobber::model::target::{Addressing, ConditionalWrites, SANDBOX, Target};
use noclobber::plan::file::{self, Plan};
use noclobber::store::flaky::{Flaky, Rates};
use noclobber::store::memory::Memory;

/// A seeded source of choices (splitmix64).
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

type Bucket = Flaky<Memory>;

pub struct World {
    seed: u64,
    rates: Rates,
    folder: tempfile::TempDir,
    memory: Memory,
    bucket: Bucket,
    entries: Vec<Entry>,
    runs: AtomicU64,
    stranger: bool,
}

impl World {
    /// Three to twelve entries of all rules, over keys that are free, the same, or somebody else's.
    pub fn new(seed: u64, rates: Rates) -> Self {
        let mut dice = Seeded::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new();
        let mut entries = Vec::new();
        for n in 0..3 + dice.below(10) {
            let source = format!("f{n}");
            let content =
                vec![b'a' + u8::try_from(dice.below(26)).unwrap(); usize::try_from(dice.below(2000)).unwrap()];
            std::fs::write(folder.path().join(&source), &content).unwrap();
            let key = Key::new(format!("p/{n}"));
            match dice.below(4) {
                0 => drop(memory.stranger_put(&key, content)),
                1 => drop(memory.stranger_put(&key, format!("somebody's {n}"))),
                2 => {
                    memory.stranger_put(&key, "gone");
                    memory.stranger_delete(&key);
                }
                _ => {}
            }
            entries.push(Entry {
                place: Place { file: "m.yaml".into(), line: u32::try_from(n).unwrap() + 3 },
                source: source.into(),
                real: None,
                key,
                terms: Arc::new(Terms {
                    target: "default".into(),
                    rule: Rule::ALL[usize::try_from(dice.below(4)).unwrap()],
                    compare: Compare::Content,
                    stage: (dice.below(3) > 0).then(|| if n < 5 { "data".into() } else { "index".into() }),
                    properties: Arc::new(Properties::default()),
                }),
                flaw: None,
            });
        }
        let bucket = Flaky::new(memory.clone(), seed, Rates::calm());
        Self { seed, rates, folder, memory, bucket, entries, runs: AtomicU64::new(0), stranger: false }
    }

    fn target() -> Target {
        Target {
            name: "default".into(),
            bucket: "b".into(),
            endpoint: SANDBOX.into(),
            region: "us-east-1".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        }
    }

    /// Plans in calm weather, through a plan file.
    pub async fn plan(&self) -> Plan {
        let calm = Flaky::new(self.memory.clone(), self.seed, Rates::calm());
        let targets = HashMap::from([("default".to_owned(), (Self::target(), Arc::new(calm)))]);
        let settings = survey::Settings::default();
        let watch = Arc::new(Nobody) as Arc<_>;
        let base = self.folder.path();
        let gathered = Gathered {
            base: base.to_owned(),
            entries: Vec::new(),
            targets: Vec::new(),
            stages: vec!["data".into(), "index".into()],
            manifests: Vec::new(),
            parameters: std::collections::BTreeMap::new(),
            policies: vec![Policy { manifest: "m.yaml".into(), limits: Limits::default(), entries: 0..0 }],
            refusals: Vec::new(),
            warnings: Vec::new(),
        };
        let (made_at, room) = ("2026-01-01T00:00:00Z".to_owned(), Room::passing(base));
        let mut draft = Draft::begin(gathered, vec![Self::target()], Vec::new(), "t", made_at, room).unwrap();
        let mut steps = Vec::new();
        let take = |decided: Decided| {
            draft.add(&decided)?;
            steps.extend(decided.steps);
            Ok(())
        };
        let entries = Arc::new(self.entries.clone());
        let hashing = Arc::new(Hashing::new(1, Cache::off()).unwrap());
        let seen = survey(entries, base, &targets, settings, &hashing, &watch, &Cancel::default(), take).await.unwrap();
        let Drafted { header, footer, mut room } = draft.finish(seen.warnings).unwrap();
        let plan = Plan { header, steps, footer };
        let mut bytes = Vec::new();
        room.read_to_end(&mut bytes).unwrap();
        let read = file::read(&bytes[..], "p").unwrap();
        assert_eq!(read, plan, "a plan survives its file");
        plan
    }

    /// From now on somebody else writes and deletes under our keys while we do.
    pub fn stranger_strikes_while_we_write(&mut self) {
        self.stranger = true;
    }

    pub fn next_storm(&mut self, salt: u64) {
        let seed = self.seed.wrapping_mul(31).wrapping_add(salt);
        self.bucket = Flaky::new(self.memory.clone(), seed, self.rates);
    }

    pub async fn calm_down(&self) {
        self.bucket.calm_down().await;
    }

    fn report(&self) -> PathBuf {
        self.folder.path().join("report.csv")
    }

    fn settings(&self) -> Settings {
        let patience = Patience { pause: Duration::ZERO, pause_max: Duration::ZERO, ..Patience::default() };
        let concurrency = 1 + usize::try_from(self.seed % 5).unwrap();
        Settings { partial: true, patience, concurrency, ..Settings::new(self.folder.path().to_owned()) }
    }

    /// Applies; `None` where the plan was refused as a whole. The report is read back as its reader would.
    pub async fn apply(&self, plan: &Plan, partial: bool) -> Option<Vec<Row>> {
        let only_refusals = plan.footer.counts.refuse > 0;
        let record = self.record(plan);
        let settings = Settings { partial: partial || only_refusals, ..self.settings() };
        let settings = if partial { settings } else { Settings { partial: only_refusals, ..settings } };
        let stores = HashMap::from([("default".to_owned(), Arc::new(self.bucket.clone()))]);
        let work = apply::apply(plan, stores, Arc::clone(&record), settings, Arc::new(Nobody), Cancel::default());
        let applied = self.beside_the_stranger(work).await;
        let rows = Arc::into_inner(record).unwrap().finish(plan.footer.counts.steps()).unwrap();
        assert_eq!(applied.tally.rows(), rows.len() as u64);
        Some(rows)
    }

    /// Applies, and dies after so many turns of the scheduler: nothing is finished, nothing is said.
    pub async fn apply_and_die(&self, plan: &Plan, turns: u64) {
        let record = self.record(plan);
        let stores = HashMap::from([("default".to_owned(), Arc::new(self.bucket.clone()))]);
        let work = apply::apply(plan, stores, record, self.settings(), Arc::new(Nobody), Cancel::default());
        let mut left = turns;
        let mut work = Box::pin(work);
        std::future::poll_fn(|context| {
            if left == 0 {
                return std::task::Poll::Ready(());
            }
            left -= 1;
            match work.as_mut().poll(context) {
                std::task::Poll::Ready(_) => std::task::Poll::Ready(()),
                std::task::Poll::Pending => std::task::Poll::Pending,
            }
        })
        .await;
        // What is dropped here is aborted where it stood, like a process that is killed.
        drop(work);
        tokio::task::yield_now().await;
    }

    fn record(&self, plan: &Plan) -> Arc<Record> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let id = format!("run{}x{run}", self.seed);
        Arc::new(Record::open(&self.report(), &digest_text(&plan.footer.digest), || id).unwrap())
    }

    async fn beside_the_stranger<T>(&self, work: impl Future<Output = T>) -> T {
        if !self.stranger {
            return work.await;
        }
        let mut dice = Seeded::new(self.seed ^ 0x5712_1ce5);
        let stranger = async {
            for strike in 0.. {
                for _ in 0..=dice.below(6) {
                    tokio::task::yield_now().await;
                }
                let at = usize::try_from(dice.below(self.entries.len() as u64)).unwrap();
                let key = &self.entries[at].key;
                if strike > 12 {
                    std::future::pending::<()>().await;
                }
                match dice.below(3) {
                    0 => self.memory.stranger_delete(key),
                    _ => drop(self.memory.stranger_put(key, format!("strike {strike}"))),
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = stranger => unreachable!("the stranger never ends"),
        }
    }

    /// Moves the world under some of the steps that would write, and says under which.
    pub fn stranger_moves_some(&self, plan: &Plan) -> Vec<u64> {
        let mut dice = Seeded::new(self.seed ^ 0x77);
        let mut moved = Vec::new();
        for step in plan.steps.iter().filter(|step| step.action.writes()) {
            match (dice.below(6), step.action) {
                (0, _) => drop(self.memory.stranger_put(&step.key, format!("moved {}", step.n))),
                (1, Action::Replace) => self.memory.stranger_delete(&step.key),
                (2, _) => {
                    let path = self.folder.path().join(&step.source);
                    let mut content = std::fs::read(&path).unwrap();
                    content.push(b'!');
                    std::fs::write(path, content).unwrap();
                }
                _ => continue,
            }
            moved.push(step.n);
        }
        moved
    }

    /// Versions in the bucket that carry a write id of ours.
    pub fn our_versions(&self) -> usize {
        self.memory
            .keys()
            .iter()
            .flat_map(|key| self.memory.history(key))
            .filter(|past| past.write_id.is_some())
            .count()
    }

    /// The invariants, from the bucket's whole history:
    ///
    /// - no object is buried by us but the one that the plan names by its ETag;
    /// - every row that claims a write has one, and every write has a row that claims it or says that it does not know;
    /// - what we stored is what the plan pinned;
    /// - one row a step.
    pub fn hold_the_promise(&self, plan: &Plan, rows: &[Row]) {
        let storm = || format!("faults met: {:#?}", self.bucket.met());
        assert_eq!(rows.len(), plan.steps.len(), "one row a step");
        for (step, row) in plan.steps.iter().zip(rows) {
            let history = self.memory.history(&step.key);
            let ours: Vec<usize> = (0..history.len()).filter(|at| history[*at].write_id.is_some()).collect();
            let case = || format!("step {step:#?}\nrow {row:#?}\nhistory {history:#?}\n{}", storm());
            // A late double of a write of the very bytes that are there meets the very ETag that it names.
            let rewrites = step.reason == Reason::Same;
            assert!(ours.len() <= 1 || rewrites, "one logical write is stored once\n{}", case());
            for at in &ours {
                assert!(step.action.writes(), "a step that writes nothing wrote\n{}", case());
                let id = history[*at].write_id.as_deref().unwrap();
                assert_eq!(id, format!("{}-{}", row.run_id, step.n), "{}", case());
                let before = at.checked_sub(1).and_then(|at| history[at].bytes.as_ref());
                match &step.head {
                    None => assert!(before.is_none(), "a create buried an object\n{}", case()),
                    Some(seen) => {
                        let before = before.unwrap_or_else(|| panic!("a replace created\n{}", case()));
                        let etag = hex_md5(before);
                        assert_eq!(etag, seen.etag.as_str(), "another object was buried\n{}", case());
                    }
                }
                let stored = history[*at].bytes.as_ref().unwrap();
                let pinned = step.local.as_ref().unwrap().checksum.unwrap();
                assert_eq!(sha256(stored), pinned.full().unwrap().to_string(), "not what was reviewed\n{}", case());
            }
            match row.outcome {
                Outcome::Created | Outcome::Replaced => {
                    assert!(!ours.is_empty(), "a row claims a write that did not happen\n{}", case());
                }
                Outcome::Unknown => {}
                Outcome::Unchanged
                | Outcome::Kept
                | Outcome::Refused
                | Outcome::Lost
                | Outcome::Stale
                | Outcome::SourceChanged
                | Outcome::Failed
                | Outcome::NotAttempted => {
                    assert!(ours.is_empty(), "a write happened and its row says {}\n{}", row.outcome, case());
                }
            }
        }
    }
}

fn hex_md5(bytes: &[u8]) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(bytes))
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
