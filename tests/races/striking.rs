//! A store that lets somebody else strike at the worst moment: after every look, right before the request that writes.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use noclobber::flow::apply::record::Record;
use noclobber::flow::apply::{self, Applied, Settings};
use noclobber::flow::cancel::Cancel;
use noclobber::model::bucket::{Aspect, Configuration};
use noclobber::model::digest::ETag;
use noclobber::model::entry::Key;
use noclobber::model::event::Watch;
use noclobber::model::head::{Remote, VersionId};
use noclobber::model::row::Row;
use noclobber::model::step::digest_text;
use noclobber::model::target::Target;
use noclobber::model::write::{Cause, Copy, Expect, LookError, Object, PutError, Written};
use noclobber::plan::file::Plan;
use noclobber::store::s3::{Keys, S3};
use noclobber::store::{
    Access, Body, Buried, CopiedPart, HeldPart, Page, Part, PartTaken, ProbeKey, Probed, Store, UploadId, UploadsMark,
    UploadsPage, Version,
};

use tokio::sync::Notify;

use crate::support::Stranger;
use crate::support::scene::Scene;

/// What somebody else does to a key.
#[derive(Debug, Clone)]
pub enum Strike {
    Put(Vec<u8>),
    Delete,
    /// Once our first write of the key is there, and right before our second.
    DeleteOurs,
    /// Two writes: afterwards the ETag is the one that the plan names again.
    AndBack(Vec<u8>, Vec<u8>),
}

pub struct Striking {
    inner: S3,
    stranger: Stranger,
    strikes: Mutex<HashMap<String, Strike>>,
    script: Script,
    calls: Mutex<BTreeMap<&'static str, usize>>,
    /// Told when a part waits for ever.
    pub stalled: Notify,
}

/// What else happens.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The strikes fall before a key's first part, not before its Complete.
    pub early: bool,
    /// So many parts are sent; the next waits for ever.
    pub stall_after_parts: Option<usize>,
    /// No abort gets an answer.
    pub aborts_fail: bool,
    /// The parts that the server holds are told without their SHA-256.
    pub hide_part_checksums: bool,
}

impl Striking {
    /// A store for the plan's one target.
    pub async fn new(scene: &Scene, target: &Target, strikes: HashMap<String, Strike>, script: Script) -> Arc<Self> {
        let keys =
            Keys::Static { access_key: scene.server.access_key.clone(), secret_key: scene.server.secret_key.clone() };
        let inner = S3::connect(target, keys).await.unwrap();
        let (stranger, strikes) = (scene.stranger.clone(), Mutex::new(strikes));
        Arc::new(Self { inner, stranger, strikes, script, calls: Mutex::default(), stalled: Notify::new() })
    }

    /// How often a kind of request was sent.
    pub fn calls(&self, request: &'static str) -> usize {
        self.calls.lock().unwrap().get(request).copied().unwrap_or(0)
    }

    fn count(&self, request: &'static str) -> usize {
        let mut calls = self.calls.lock().unwrap();
        let count = calls.entry(request).or_default();
        *count += 1;
        *count
    }

    async fn strike(&self, key: &Key) {
        let strike = self.strikes.lock().unwrap().remove(key.as_str());
        match strike {
            None => {}
            Some(Strike::Put(bytes)) => drop(self.stranger.put(key.as_str(), bytes).await),
            Some(Strike::DeleteOurs) => {
                self.strikes.lock().unwrap().insert(key.to_string(), Strike::Delete);
            }
            Some(Strike::Delete) => self.stranger.delete(key.as_str()).await,
            Some(Strike::AndBack(bytes, back)) => {
                self.stranger.put(key.as_str(), bytes).await;
                self.stranger.put(key.as_str(), back).await;
            }
        }
    }
}

/// Applies the scene's `plan.jsonl` in this process, each strike falling once, right before its key's first write.
pub async fn apply_under_strikes(
    scene: &Scene,
    strikes: HashMap<String, Strike>,
    watch: Arc<dyn Watch>,
    settings: impl FnOnce(Settings) -> Settings,
) -> (Applied, Vec<Row>) {
    let plan = scene.plan("plan.jsonl");
    let store = Striking::new(scene, &plan.header.targets[0], strikes, Script::default()).await;
    let (applied, rows) = apply_through(scene, &plan, &store, watch, settings).await;
    let left = store.strikes.lock().unwrap().len();
    assert_eq!(left, 0, "some strikes never fell: {applied:?}");
    (applied, rows)
}

/// Applies a plan in this process, with the report `r.csv`.
pub async fn apply_through(
    scene: &Scene,
    plan: &Plan,
    store: &Arc<Striking>,
    watch: Arc<dyn Watch>,
    settings: impl FnOnce(Settings) -> Settings,
) -> (Applied, Vec<Row>) {
    let digest = digest_text(&plan.footer.digest);
    let fresh = || uuid::Uuid::now_v7().to_string();
    let record = Arc::new(Record::open(&scene.path("r.csv"), &digest, fresh).unwrap());
    let settings = settings(Settings::new(scene.folder().to_owned()));
    let stores = HashMap::from([(plan.header.targets[0].name.clone(), Arc::clone(store))]);
    let applied = apply::apply(plan, stores, Arc::clone(&record), settings, watch, Cancel::default()).await;
    let rows = Arc::into_inner(record).unwrap().finish(plan.footer.counts.steps()).unwrap();
    (applied, rows)
}

impl Store for Striking {
    fn access(&self) -> impl Future<Output = Result<Access, LookError>> + Send {
        self.inner.access()
    }

    fn head(&self, key: &Key) -> impl Future<Output = Result<Remote, LookError>> + Send {
        self.inner.head(key)
    }

    fn head_version(&self, key: &Key, version: &VersionId) -> impl Future<Output = Result<Remote, LookError>> + Send {
        self.inner.head_version(key, version)
    }

    fn first_part(&self, key: &Key, etag: &ETag) -> impl Future<Output = Result<Option<u64>, LookError>> + Send {
        self.inner.first_part(key, etag)
    }

    fn list(&self, prefix: &str, after: Option<&str>) -> impl Future<Output = Result<Page, LookError>> + Send {
        self.inner.list(prefix, after)
    }

    fn versions(&self, key: &Key, most: usize) -> impl Future<Output = Result<Vec<Version>, LookError>> + Send {
        self.inner.versions(key, most)
    }

    fn tags(&self, key: &Key) -> impl Future<Output = Result<BTreeMap<String, String>, LookError>> + Send {
        self.inner.tags(key)
    }

    async fn put(
        &self,
        object: &Object,
        body: Body,
        expect: &Expect,
        sent: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Written, PutError> {
        self.strike(&object.key).await;
        self.inner.put(object, body, expect, sent).await
    }

    async fn create_upload(&self, object: &Object) -> Result<UploadId, PutError> {
        self.count("create_upload");
        self.inner.create_upload(object).await
    }

    async fn put_part(&self, object: &Object, upload: &UploadId, part: Part) -> Result<PartTaken, PutError> {
        if self.script.early {
            self.strike(&object.key).await;
        }
        if self.count("put_part") > self.script.stall_after_parts.unwrap_or(usize::MAX) {
            self.stalled.notify_one();
            std::future::pending::<()>().await;
        }
        self.inner.put_part(object, upload, part).await
    }

    async fn list_parts(&self, key: &Key, upload: &UploadId) -> Result<Option<Vec<HeldPart>>, LookError> {
        let mut parts = self.inner.list_parts(key, upload).await?;
        for part in parts.iter_mut().flatten().filter(|_| self.script.hide_part_checksums) {
            part.sha256 = None;
        }
        Ok(parts)
    }

    fn uploads(
        &self,
        prefix: &str,
        after: Option<&UploadsMark>,
    ) -> impl Future<Output = Result<UploadsPage, LookError>> + Send {
        self.inner.uploads(prefix, after)
    }

    async fn complete(
        &self,
        object: &Object,
        upload: &UploadId,
        parts: &[PartTaken],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        self.count("complete");
        self.strike(&object.key).await;
        self.inner.complete(object, upload, parts, expect).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<(), LookError> {
        if self.script.aborts_fail {
            let cause = Cause { code: "Connection".into(), message: "on purpose".into(), ..Cause::default() };
            return Err(LookError { cause, stop: false });
        }
        self.inner.abort(key, upload).await
    }

    async fn buried(&self, key: &Key, version: &VersionId) -> Result<Buried, LookError> {
        self.inner.buried(key, version).await
    }

    async fn copy(&self, copy: &Copy, expect: &Expect) -> Result<Written, PutError> {
        self.strike(&copy.key).await;
        self.inner.copy(copy, expect).await
    }

    async fn create_copy(&self, copy: &Copy) -> Result<UploadId, PutError> {
        self.inner.create_copy(copy).await
    }

    async fn copy_part(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        bytes: RangeInclusive<u64>,
    ) -> Result<CopiedPart, PutError> {
        self.inner.copy_part(copy, upload, number, bytes).await
    }

    async fn complete_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        parts: &[CopiedPart],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        self.strike(&copy.key).await;
        self.inner.complete_copy(copy, upload, parts, expect).await
    }

    async fn delete(&self, key: &Key, etag: &ETag) -> Result<Written, PutError> {
        self.strike(key).await;
        self.inner.delete(key, etag).await
    }

    async fn probe_checksum(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.inner.probe_checksum(probe).await
    }

    fn probe_put(&self, probe: &ProbeKey) -> impl Future<Output = Result<Probed, LookError>> + Send {
        self.inner.probe_put(probe)
    }

    fn probe_complete(&self, probe: &ProbeKey) -> impl Future<Output = Result<Probed, LookError>> + Send {
        self.inner.probe_complete(probe)
    }

    fn remove_probe(&self, probe: &ProbeKey) -> impl Future<Output = Result<(), LookError>> + Send {
        self.inner.remove_probe(probe)
    }

    fn bucket(&self, wanted: &[Aspect]) -> impl Future<Output = Result<Configuration, LookError>> + Send {
        self.inner.bucket(wanted)
    }
}
