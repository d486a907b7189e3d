//! A store that lets somebody else strike at the worst moment: after every look, right before the request that writes.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex};

use noclobber::flow::apply::record::Record;
use noclobber::flow::apply::{self, Applied, Settings};
use noclobber::flow::cancel::Cancel;
use noclobber::model::digest::ETag;
use noclobber::model::entry::Key;
use noclobber::model::event::Watch;
use noclobber::model::head::{Remote, VersionId};
use noclobber::model::row::Row;
use noclobber::model::step::digest_text;
use noclobber::model::write::{Expect, LookError, Object, PutError, Written};
use noclobber::store::s3::{Keys, S3};
use noclobber::store::{
    Access, Body, HeldPart, Page, Part, PartTaken, ProbeKey, Probed, Store, UploadId, UploadsMark, UploadsPage, Version,
};

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
}

impl Striking {
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
    let target = &plan.header.targets[0];
    let keys =
        Keys::Static { access_key: scene.server.access_key.clone(), secret_key: scene.server.secret_key.clone() };
    let inner = S3::connect(target, keys).await.unwrap();
    let store = Arc::new(Striking { inner, stranger: scene.stranger.clone(), strikes: Mutex::new(strikes) });
    let digest = digest_text(&plan.footer.digest);
    let fresh = || uuid::Uuid::now_v7().to_string();
    let record = Arc::new(Record::open(&scene.path("r.csv"), &digest, fresh).unwrap());
    let settings = settings(Settings::new(scene.folder().to_owned()));
    let stores = HashMap::from([(target.name.clone(), Arc::clone(&store))]);
    let applied = apply::apply(&plan, stores, Arc::clone(&record), settings, watch, Cancel::default()).await;
    let left = store.strikes.lock().unwrap().len();
    let rows = Arc::into_inner(record).unwrap().finish(plan.footer.counts.steps()).unwrap();
    assert_eq!(left, 0, "some strikes never fell: {applied:?}");
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

    fn create_upload(&self, object: &Object) -> impl Future<Output = Result<UploadId, PutError>> + Send {
        self.inner.create_upload(object)
    }

    fn put_part(
        &self,
        object: &Object,
        upload: &UploadId,
        part: Part,
    ) -> impl Future<Output = Result<PartTaken, PutError>> + Send {
        self.inner.put_part(object, upload, part)
    }

    fn list_parts(
        &self,
        key: &Key,
        upload: &UploadId,
    ) -> impl Future<Output = Result<Option<Vec<HeldPart>>, LookError>> + Send {
        self.inner.list_parts(key, upload)
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
        self.strike(&object.key).await;
        self.inner.complete(object, upload, parts, expect).await
    }

    fn abort(&self, key: &Key, upload: &UploadId) -> impl Future<Output = Result<(), LookError>> + Send {
        self.inner.abort(key, upload)
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
}
