//! A bucket in a sandbox, files to put there, a plan, and the comparison of what was said with what was done.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use noclobber::flow::apply::record::Record;
use noclobber::flow::apply::{self, Applied, End, Settings};
use noclobber::flow::cancel::Cancel;
use noclobber::flow::survey::compose::{Draft, Drafted, Room};
use noclobber::flow::survey::gather::{Gathered, Policy};
use noclobber::flow::survey::{self, Decided, Discovery, survey};
use noclobber::guard::Patience;
use noclobber::local::{Cache, Hashing};
use noclobber::manifest::limits::Limits;
use noclobber::model::entry::{Compare, Entry, Key, Place, Properties, Rule, Terms};
use noclobber::model::event::{Event, Nobody, Watch};
use noclobber::model::head::WRITE_ID;
use noclobber::model::row::{Outcome, Row};
use noclobber::model::step::{Action, Step, digest_text};
use noclobber::model::target::{Addressing, ConditionalWrites, SANDBOX, Target};
use noclobber::plan::file::Plan;
use noclobber::sandbox::{Fault, Kind, Options, Sandbox, serve};
use noclobber::store::Store;
use noclobber::store::s3::{Keys, S3};

use crate::dying::{Death, Dying};
use crate::support::{REGION, Server, Stranger};

pub const BUCKET: &str = "a-bucket";

pub struct World {
    pub sandbox: Sandbox,
    /// Somebody else, who writes whatever is there.
    pub stranger: Stranger,
    pub target: Target,
    /// A second one, where there is one.
    other: Option<Target>,
    pub folder: tempfile::TempDir,
    entries: Vec<Entry>,
    runs: u32,
}

/// What an apply did and said.
pub struct Run {
    pub rows: Vec<Row>,
    pub end: End,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
    /// How many requests the faults hit.
    pub hits: u32,
}

impl Run {
    /// The row of a run that has one.
    pub fn row(&self) -> &Row {
        let [row] = &self.rows[..] else { panic!("one row, not {:#?}", self.rows) };
        row
    }

    pub fn outcomes(&self) -> Vec<&'static str> {
        self.rows.iter().map(|row| row.outcome.name()).collect()
    }
}

/// Keeps warnings and notes.
#[derive(Default)]
struct Heard {
    warnings: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
}

impl Heard {
    /// What was said, warnings first.
    fn take(&self) -> [Vec<String>; 2] {
        [&self.warnings, &self.notes].map(|said| std::mem::take(&mut *said.lock().unwrap()))
    }
}

impl Watch for Heard {
    fn tell(&self, event: Event<'_>) {
        let (to, text) = match event {
            Event::Warning(text) => (&self.warnings, text),
            Event::Note(text) => (&self.notes, text),
            _ => return,
        };
        to.lock().unwrap().push(text.to_owned());
    }
}

/// One version of a key, as the bucket remembers it.
#[derive(Debug)]
struct Past {
    etag: String,
    size: u64,
    write_id: Option<String>,
    is_marker: bool,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = serve(Options::new(folder.path().join("sandbox"))).await.unwrap();
        std::fs::create_dir(folder.path().join("files")).unwrap();
        let server = Server {
            name: "sandbox",
            endpoint: sandbox.endpoint().to_owned(),
            access_key: sandbox.access_key().to_owned(),
            secret_key: sandbox.secret_key().to_owned(),
        };
        let stranger = Stranger { client: server.client(), bucket: BUCKET.to_owned() };
        let target = Target {
            name: "default".into(),
            bucket: BUCKET.into(),
            endpoint: SANDBOX.into(),
            region: REGION.into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        Self { sandbox, stranger, target, other: None, folder, entries: Vec::new(), runs: 0 }
    }

    /// A file `name` of this content, to be stored under the key `name`.
    pub fn add(&mut self, name: &str, rule: Rule, content: &[u8]) -> &mut Entry {
        std::fs::write(self.file(name), content).unwrap();
        let place = Place { file: "m.yaml".into(), line: u32::try_from(self.entries.len()).unwrap() + 3 };
        self.entries.push(Entry {
            place,
            source: name.into(),
            real: None,
            key: Key::new(name),
            terms: Arc::new(Terms {
                target: "default".into(),
                rule,
                compare: Compare::Content,
                stage: None,
                properties: Arc::new(Properties::default()),
            }),
            flaw: None,
        });
        self.entries.last_mut().unwrap()
    }

    /// Every second entry goes to a bucket of its own, which is a target of this name.
    pub fn send_every_other_to(&mut self, name: &str) {
        self.other = Some(Target { name: name.into(), bucket: "other-bucket".into(), ..self.target.clone() });
        for entry in self.entries.iter_mut().step_by(2) {
            Arc::make_mut(&mut entry.terms).target = name.into();
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    pub fn fault(&self, fault: Fault) {
        self.sandbox.faults().push(fault);
    }

    /// A write of this key, or all, is hit so many times.
    pub fn on_put(&self, key: &str, kind: Kind, times: u32) {
        self.fault(Fault::on("PutObject", kind).key(key).times(times));
    }

    pub async fn s3(&self) -> S3 {
        self.s3_at(self.sandbox.endpoint()).await
    }

    /// The bucket, by another way to the sandbox.
    pub async fn s3_at(&self, endpoint: &str) -> S3 {
        self.connect(&self.target, endpoint).await
    }

    async fn connect(&self, target: &Target, endpoint: &str) -> S3 {
        let target = Target { endpoint: endpoint.to_owned(), ..target.clone() };
        let keys = Keys::Static {
            access_key: self.sandbox.access_key().to_owned(),
            secret_key: self.sandbox.secret_key().to_owned(),
        };
        S3::connect(&target, keys).await.unwrap()
    }

    fn targets(&self) -> Vec<Target> {
        std::iter::once(&self.target).chain(&self.other).cloned().collect()
    }

    pub async fn plan(&self) -> Plan {
        self.plan_by(Discovery::Auto).await
    }

    pub async fn plan_by(&self, discovery: Discovery) -> Plan {
        let mut targets = HashMap::new();
        for target in self.targets() {
            let store = self.connect(&target, self.sandbox.endpoint()).await;
            targets.insert(target.name.clone(), (target, Arc::new(store)));
        }
        let settings = survey::Settings { discovery, ..survey::Settings::default() };
        let watch = Arc::new(Nobody) as Arc<_>;
        let base = self.folder.path().join("files");
        let gathered = Gathered {
            base: base.clone(),
            entries: Vec::new(),
            targets: Vec::new(),
            stages: vec!["data".into(), "index".into()],
            manifests: Vec::new(),
            parameters: BTreeMap::new(),
            policies: vec![Policy { manifest: "m.yaml".into(), limits: Limits::default(), entries: 0..0 }],
            refusals: Vec::new(),
            warnings: Vec::new(),
        };
        let (made_at, room) = ("2026-01-01T00:00:00Z".to_owned(), Room::passing(&base));
        let mut draft = Draft::begin(gathered, self.targets(), Vec::new(), "t", made_at, room).unwrap();
        let mut steps = Vec::new();
        let take = |decided: Decided| {
            draft.add(&decided)?;
            steps.extend(decided.steps);
            Ok(())
        };
        let entries = Arc::new(self.entries.clone());
        let hashing = Arc::new(Hashing::new(1, Cache::off()).unwrap());
        let seen =
            survey(entries, &base, &targets, settings, &hashing, &watch, &Cancel::default(), take).await.unwrap();
        let Drafted { header, footer, .. } = draft.finish(seen.warnings).unwrap();
        Plan { header, steps, footer }
    }

    /// As the tests apply: no pauses, one write at a time.
    pub fn settings(&self) -> Settings {
        let patience = Patience { pause: Duration::ZERO, pause_max: Duration::ZERO, ..Patience::default() };
        Settings { patience, concurrency: 1, ..Settings::new(self.folder.path().join("files")) }
    }

    pub async fn apply(&mut self, plan: &Plan) -> Run {
        let settings = self.settings();
        self.apply_with(plan, settings).await
    }

    /// Applies under the faults, and lifts them afterwards.
    pub async fn apply_with(&mut self, plan: &Plan, settings: Settings) -> Run {
        let store = Arc::new(self.s3().await);
        self.apply_to(store, plan, settings).await
    }

    /// Applies to another store than the sandbox's.
    pub async fn apply_to<S: Store>(&mut self, store: Arc<S>, plan: &Plan, settings: Settings) -> Run {
        self.apply_to_all(HashMap::from([("default".to_owned(), store)]), plan, settings).await
    }

    /// Applies to these stores, by target.
    pub async fn apply_to_all<S: Store>(
        &mut self,
        stores: HashMap<String, Arc<S>>,
        plan: &Plan,
        settings: Settings,
    ) -> Run {
        self.runs += 1;
        self.go_on(stores, plan, settings).await
    }

    /// Applies into the report of the run before, which it goes on with.
    pub async fn resume_with(&mut self, plan: &Plan, settings: Settings) -> Run {
        let stores = HashMap::from([("default".to_owned(), Arc::new(self.s3().await))]);
        self.go_on(stores, plan, settings).await
    }

    async fn go_on<S: Store>(&mut self, stores: HashMap<String, Arc<S>>, plan: &Plan, settings: Settings) -> Run {
        let (path, id) = (self.folder.path().join(format!("{}.csv", self.runs)), format!("run{}", self.runs));
        let record = Arc::new(Record::open(&path, &digest_text(&plan.footer.digest), || id).unwrap());
        let heard = Arc::new(Heard::default());
        let watch = Arc::clone(&heard) as Arc<_>;
        let Applied { end, tally } =
            apply::apply(plan, stores, Arc::clone(&record), settings, watch, Cancel::default()).await;
        let rows = Arc::into_inner(record).unwrap().finish(plan.footer.counts.steps()).unwrap();
        assert_eq!(tally.rows(), rows.len() as u64);
        let hits = self.sandbox.faults().hits();
        self.sandbox.faults().clear();
        let [warnings, notes] = heard.take();
        Run { rows, end, warnings, notes, hits }
    }

    /// One attempt of several at the same report, in whatever weather there is. `None` where the process died.
    pub async fn attempt(&mut self, plan: &Plan, death: Death) -> Option<Run> {
        let path = self.folder.path().join("report.csv");
        let record = Arc::new(Record::open(&path, &digest_text(&plan.footer.digest), || "run".to_owned()).unwrap());
        let store = Arc::new(Dying::new(self.s3().await, death));
        let stores = HashMap::from([("default".to_owned(), Arc::clone(&store))]);
        let heard = Arc::new(Heard::default());
        let settings = Settings { partial: true, concurrency: 2, ..self.settings() };
        let (ledger, watch) = (Arc::clone(&record), Arc::clone(&heard) as Arc<_>);
        let applied = tokio::select! {
            biased;
            () = store.died() => None,
            applied = apply::apply(plan, stores, ledger, settings, watch, Cancel::default()) => Some(applied),
        };
        let Some(Applied { end, .. }) = applied else {
            // What was dropped is aborted where it stood, like a process that is killed.
            let left = Arc::downgrade(&record);
            drop(record);
            while left.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
            return None;
        };
        let rows = Arc::into_inner(record).unwrap().finish(plan.footer.counts.steps()).unwrap();
        let [warnings, notes] = heard.take();
        Some(Run { rows, end, warnings, notes, hits: self.sandbox.faults().hits() })
    }

    /// Plans, lets the fault loose, applies, and compares.
    pub async fn run(&mut self, arm: impl FnOnce(&Self)) -> Run {
        let plan = self.plan().await;
        arm(self);
        let run = self.apply(&plan).await;
        self.hold_the_promise(&plan, &run).await;
        run
    }

    /// A key's versions, oldest first.
    async fn history(&self, key: &str) -> Vec<Past> {
        let client = &self.stranger.client;
        let listed = client.list_object_versions().bucket(BUCKET).prefix(key).send().await.unwrap();
        let mut history = Vec::new();
        for version in listed.versions().iter().filter(|version| version.key() == Some(key)) {
            // Not by HEAD: that may be what is made to fail.
            let head = client.get_object().bucket(BUCKET).key(key).version_id(version.version_id().unwrap());
            let head = head.send().await.unwrap();
            history.push(Past {
                etag: version.e_tag().unwrap().trim_matches('"').to_owned(),
                size: u64::try_from(head.content_length().unwrap()).unwrap(),
                write_id: head.metadata().and_then(|metadata| metadata.get(WRITE_ID)).cloned(),
                is_marker: false,
            });
        }
        history.reverse();
        // A key that was deleted is so now: nobody here writes over a marker.
        let markers = listed.delete_markers().iter().filter(|marker| marker.key() == Some(key)).count();
        history.extend((0..markers).map(|_| Past { etag: String::new(), size: 0, write_id: None, is_marker: true }));
        history
    }

    /// No row claims a write that did not happen, no write lacks a row, nothing is buried but what the plan names, what
    /// is stored is what was reviewed, and no upload is left open but those that a warning names.
    pub async fn hold_the_promise(&self, plan: &Plan, run: &Run) {
        self.hold_the_rows(plan, run).await;
        let open = self.stranger.client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
        for upload in open.uploads() {
            let key = upload.key().unwrap();
            assert!(run.warnings.iter().any(|text| text.contains(key)), "{upload:?} is open, and nobody said so");
        }
    }

    /// The same but for the uploads.
    pub async fn hold_the_rows(&self, plan: &Plan, run: &Run) {
        assert_eq!(run.rows.len(), plan.steps.len(), "one row a step");
        for (step, row) in plan.steps.iter().zip(&run.rows) {
            let history = self.history(step.key.as_str()).await;
            let ours: Vec<usize> = (0..history.len())
                .filter(|at| history[*at].write_id.as_deref().is_some_and(|id| id.starts_with(&row.run_id)))
                .collect();
            let case = format!("\nrow {row:#?}\nhistory {history:#?}");
            assert!(ours.len() <= 1, "one logical write is stored once{case}");
            for at in &ours {
                Self::hold_for(step, row, &history, *at, &case);
            }
            match row.outcome {
                Outcome::Created | Outcome::Replaced => {
                    assert!(!ours.is_empty(), "a row claims a write that did not happen{case}");
                    assert_eq!(row.etag_after, history[ours[0]].etag, "the row names another object{case}");
                    assert!(!row.version_after.is_empty(), "{case}");
                }
                Outcome::Unknown => {}
                Outcome::Restored
                | Outcome::Deleted
                | Outcome::Unchanged
                | Outcome::Kept
                | Outcome::Refused
                | Outcome::Lost
                | Outcome::Stale
                | Outcome::SourceChanged
                | Outcome::Failed
                | Outcome::NotAttempted => assert!(ours.is_empty(), "a write happened{case}"),
            }
        }
    }

    fn hold_for(step: &Step, row: &Row, history: &[Past], at: usize, case: &str) {
        let stored = &history[at];
        assert_eq!(stored.write_id.as_deref(), Some(&*format!("{}-{}", row.run_id, step.n)), "{case}");
        let before = at.checked_sub(1).map(|before| &history[before]).filter(|past| !past.is_marker);
        match (step.action, &step.head) {
            (Action::Create, None) => assert!(before.is_none(), "a create buried an object{case}"),
            (Action::Replace, Some(seen)) => {
                assert_eq!(before.map(|past| past.etag.as_str()), Some(seen.etag.as_str()), "another was buried{case}");
            }
            _ => panic!("a step that writes nothing wrote{case}"),
        }
        assert_eq!(Some(stored.size), step.local.as_ref().map(|local| local.size), "not what was reviewed{case}");
    }
}
