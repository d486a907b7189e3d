//! One small world: a folder of files, a bucket with strangers' objects, a plan, and the invariants of the promise.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use noclobber::flow::apply::record::Record;
use noclobber::flow::apply::{self, Settings};
use noclobber::flow::cancel::Cancel;
use noclobber::flow::survey::compose::{Draft, Drafted, Room};
use noclobber::flow::survey::gather::{Gathered, Policy};
use noclobber::flow::survey::{self, Decided, survey};
use noclobber::guard::Patience;
use noclobber::local::{Cache, Hashing};
use noclobber::manifest::limits::Limits;
use noclobber::model::digest::{Checksum, Sha256};
use noclobber::model::entry::{Compare, Entry, Key, Place, Properties, Rule, Terms};
use noclobber::model::event::Nobody;
use noclobber::model::row::{Outcome, Row};
use noclobber::model::step::{Action, Step, digest_text};
use noclobber::model::target::{Addressing, ConditionalWrites, SANDBOX, Target};
use noclobber::plan::file::{self, Plan};
use noclobber::store::flaky::{Fault, Flaky, Rates};
use noclobber::store::memory::Memory;
use sha2::Digest as _;

use crate::dying::{Death, Dying};

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

/// The process dies at a request, of which the weather has made what it wants.
type Bucket = Dying<Flaky<Memory>>;

pub struct World {
    seed: u64,
    rates: Rates,
    folder: tempfile::TempDir,
    memory: Memory,
    weather: Flaky<Memory>,
    entries: Vec<Entry>,
    /// What was reviewed, by entry.
    contents: Vec<Vec<u8>>,
    /// What was there when the plan was made.
    before: HashMap<Key, Option<Bytes>>,
    runs: AtomicU64,
    /// Uploads that were begun, and whose answer did not come.
    unnamed: AtomicU64,
    stranger: bool,
}

impl World {
    /// Three to twelve entries of all rules, over keys that are free, the same, or somebody else's.
    pub fn new(seed: u64, rates: Rates) -> Self {
        Self::of(3 + seed % 10, seed, rates)
    }

    pub fn of(entries_wanted: u64, seed: u64, rates: Rates) -> Self {
        let mut dice = Seeded::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new();
        let mut entries = Vec::new();
        let mut contents = Vec::new();
        for n in 0..entries_wanted {
            let source = format!("f{n}");
            // No two places alike, so that parts in the wrong order are other bytes.
            let first = dice.next();
            let byte = |at: u64| Seeded::new(first.wrapping_add(at / 16)).below(256);
            let content: Vec<u8> = (0..dice.below(2000)).map(|at| u8::try_from(byte(at)).unwrap()).collect();
            contents.push(content.clone());
            std::fs::write(folder.path().join(&source), &content).unwrap();
            let key = Key::new(format!("p/{n}"));
            match dice.below(5) {
                0 => drop(memory.stranger_put(&key, content)),
                1 if content.len() > 2 => memory.stranger_put_parts(&key, &[&content[..2], &content[2..]]),
                1 | 3 => drop(memory.stranger_put(&key, format!("somebody's {n}"))),
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
        let before = entries.iter().map(|entry: &Entry| (entry.key.clone(), memory.content(&entry.key))).collect();
        let weather = Flaky::new(memory.clone(), seed, Rates::calm());
        let (runs, unnamed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { seed, rates, folder, memory, weather, entries, contents, before, runs, unnamed, stranger: false }
    }

    pub fn has_stranger(&self) -> bool {
        self.stranger
    }

    /// Half of the files go in parts, of some hundred bytes each: the plan's own word for how, and nobody else's.
    fn in_parts(&self, step: &mut Step) {
        let at = usize::try_from(step.n - 1).unwrap();
        let content = &self.contents[at];
        let mut dice = Seeded::new(self.seed ^ step.n << 20);
        if content.len() < 2 || dice.below(2) == 0 {
            return;
        }
        let Some(pinned) = step.local.as_mut().filter(|pinned| pinned.checksum.is_some()) else { return };
        let part_bytes = 1 + dice.below(content.len() as u64 - 1);
        let part_bytes = part_bytes.max(content.len() as u64 / 6 + 1);
        let mut composite = sha2::Sha256::new();
        let parts = content.chunks(usize::try_from(part_bytes).unwrap());
        let count = u32::try_from(parts.len()).unwrap();
        parts.for_each(|part| composite.update(sha2::Sha256::digest(part)));
        let digest = Sha256(composite.finalize().into());
        pinned.checksum = Some(Checksum::Composite { digest, parts: count, part_bytes });
    }

    pub fn target() -> Target {
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
        let take = |mut decided: Decided| {
            decided.steps.iter_mut().for_each(|step| self.in_parts(step));
            decided.lines.clear();
            for step in &decided.steps {
                serde_json::to_writer(&mut decided.lines, step).unwrap();
                decided.lines.push(b'\n');
            }
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
        self.count_unnamed();
        let seed = self.seed.wrapping_mul(31).wrapping_add(salt);
        self.weather = Flaky::new(self.memory.clone(), seed, self.rates);
    }

    /// Lets what is late land, and nothing fail from now on.
    pub async fn calm_down(&mut self) {
        self.weather.calm_down().await;
        self.count_unnamed();
        self.weather = Flaky::new(self.memory.clone(), self.seed, Rates::calm());
    }

    fn count_unnamed(&self) {
        let is_unnamed = |fault| matches!(fault, Fault::AnswerLost | Fault::ErrorAfter);
        let met = self.weather.met();
        let unnamed = met.iter().filter(|met| met.request == "create_upload" && is_unnamed(met.fault)).count();
        self.unnamed.fetch_add(unnamed as u64, Ordering::Relaxed);
    }

    fn report(&self) -> PathBuf {
        self.folder.path().join("report.csv")
    }

    fn settings(&self) -> Settings {
        let patience = Patience { pause: Duration::ZERO, pause_max: Duration::ZERO, ..Patience::default() };
        let concurrency = 1 + usize::try_from(self.seed % 5).unwrap();
        Settings { partial: true, patience, concurrency, ..Settings::new(self.folder.path().to_owned()) }
    }

    /// Applies. The report is read back as its reader would.
    pub async fn apply(&self, plan: &Plan, partial: bool) -> Vec<Row> {
        let only_refusals = plan.footer.counts.refuse > 0;
        let settings = Settings { partial: partial || only_refusals, ..self.settings() };
        self.live(plan, settings, Death::Never).await.expect("nobody died")
    }

    /// Applies, and dies at a request: nothing is finished, nothing is said. The rows of one who lived on.
    pub async fn apply_and_die(&self, plan: &Plan, death: Death) -> Option<Vec<Row>> {
        self.live(plan, self.settings(), death).await
    }

    async fn live(&self, plan: &Plan, settings: Settings, death: Death) -> Option<Vec<Row>> {
        let record = self.record(plan);
        let bucket = Arc::new(Bucket::new(self.weather.clone(), death));
        let stores = HashMap::from([("default".to_owned(), Arc::clone(&bucket))]);
        let (ledger, watch) = (Arc::clone(&record), Arc::new(Nobody));
        let work = apply::apply(plan, stores, ledger, settings, watch, Cancel::default());
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
        let rows = Arc::into_inner(record).unwrap().finish(plan.footer.counts.steps()).unwrap();
        assert_eq!(applied.tally.rows(), rows.len() as u64);
        Some(rows)
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
                match dice.below(6) {
                    0 | 1 => self.memory.stranger_delete(key),
                    // The very bytes that the plan saw, or those that it reviewed.
                    2 => drop(self.before[key].clone().map(|bytes| self.memory.stranger_put(key, bytes))),
                    3 => drop(self.memory.stranger_put(key, self.contents[at].clone())),
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
    /// - nothing is buried by us but what the plan saw, byte for byte. So a write is stored twice only where the world
    ///   was again as planned: `If-None-Match` and `If-Match` see no history;
    /// - every row that claims a write has one, and every write has a row that claims it or says that it does not know;
    /// - what we stored is what was reviewed;
    /// - nothing is lost to nobody;
    /// - one row a step.
    pub fn hold_the_promise(&self, plan: &Plan, rows: &[Row]) {
        let storm = || format!("faults met: {:#?}", self.weather.met());
        assert_eq!(rows.len(), plan.steps.len(), "one row a step");
        for ((step, row), content) in plan.steps.iter().zip(rows).zip(&self.contents) {
            let history = self.memory.history(&step.key);
            let ours: Vec<usize> = (0..history.len()).filter(|at| history[*at].write_id.is_some()).collect();
            let case = || format!("step {step:#?}\nrow {row:#?}\nhistory {history:#?}\n{}", storm());
            for at in &ours {
                assert!(step.action.writes(), "a step that writes nothing wrote\n{}", case());
                let id = history[*at].write_id.as_deref().unwrap();
                assert_eq!(id, format!("{}-{}", row.run_id, step.n), "{}", case());
                let before = at.checked_sub(1).and_then(|at| history[at].bytes.as_ref());
                let seen = step.head.as_ref().and_then(|_| self.before[&step.key].as_ref());
                assert_eq!(before, seen, "another object was buried\n{}", case());
                assert_eq!(history[*at].bytes.as_ref().unwrap(), content, "not what was reviewed\n{}", case());
            }
            match row.outcome {
                Outcome::Created | Outcome::Replaced => {
                    let is_named = |at: &usize| history[*at].version.0 == row.version_after;
                    assert!(ours.iter().any(is_named), "a row claims a write that did not happen\n{}", case());
                }
                Outcome::Unknown => {}
                Outcome::Lost | Outcome::Stale => {
                    assert!(self.stranger || self.is_moved(), "lost to nobody\n{}", case());
                    assert!(ours.is_empty(), "a write happened and its row says {}\n{}", row.outcome, case());
                }
                Outcome::Restored
                | Outcome::Deleted
                | Outcome::Unchanged
                | Outcome::Kept
                | Outcome::Refused
                | Outcome::SourceChanged
                | Outcome::Failed
                | Outcome::NotAttempted => {
                    assert!(ours.is_empty(), "a write happened and its row says {}\n{}", row.outcome, case());
                }
            }
        }
    }

    /// A second plan has nothing to write but what the rows did not claim, what somebody else has written since, and
    /// what may always be written.
    pub async fn hold_the_next_plan(&self, plan: &Plan, rows: &[Row]) {
        let next = self.plan().await;
        for ((step, row), was) in next.steps.iter().zip(rows).zip(&plan.steps) {
            let is_done = matches!(row.outcome, Outcome::Created | Outcome::Replaced);
            let history = self.memory.history(&step.key);
            let is_there = history.last().is_some_and(|past| past.write_id.is_some());
            if is_done && is_there {
                let again = step.rule.name() == "always";
                assert!(again || !step.action.writes(), "{step:#?}\nwas {was:#?}\nrow {row:#?}");
            }
        }
    }

    /// No upload is left open but those of which nobody was told.
    pub fn hold_the_uploads(&self) {
        let (open, unnamed) = (self.memory.open_uploads() as u64, self.unnamed.load(Ordering::Relaxed));
        assert!(open <= unnamed, "{open} uploads are open, and of {unnamed} alone nobody was told");
    }

    /// Whether anything but us wrote since the plan.
    fn is_moved(&self) -> bool {
        let is_moved = |entry: &Entry| self.memory.content(&entry.key) != self.before[&entry.key];
        self.entries.iter().any(is_moved)
            || self.contents.iter().zip(&self.entries).any(|(content, entry)| {
                std::fs::read(self.folder.path().join(&*entry.source)).is_ok_and(|bytes| bytes != *content)
            })
    }
}
