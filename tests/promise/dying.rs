//! A store whose process dies: at one request, before it is sent or after it was done, nothing is heard any more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use noclobber::model::bucket::{Aspect, Configuration};
use noclobber::model::digest::ETag;
use noclobber::model::entry::Key;
use noclobber::model::head::{Remote, VersionId};
use noclobber::model::write::{Copy, Expect, LookError, Object, PutError, Written};
use noclobber::store::{
    Access, Body, Buried, CopiedPart, HeldPart, Page, Part, PartTaken, ProbeKey, Probed, Store, UploadId, UploadsMark,
    UploadsPage, Version,
};
use tokio::sync::Notify;

/// At which request the process dies, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    Never,
    Before(u64),
    After(u64),
}

pub struct Dying<S> {
    inner: S,
    death: Death,
    requests: AtomicU64,
    dead: Notify,
    /// Uploads that were begun, and died with the only one who knew of them.
    unnamed: AtomicU64,
}

impl<S: Store> Dying<S> {
    pub fn new(inner: S, death: Death) -> Self {
        Self { inner, death, requests: AtomicU64::new(0), dead: Notify::new(), unnamed: AtomicU64::new(0) }
    }

    /// Waits for the death.
    pub async fn died(&self) {
        self.dead.notified().await;
    }

    // Not every world counts them.
    #[allow(dead_code)]
    pub fn unnamed(&self) -> u64 {
        self.unnamed.load(Ordering::Relaxed)
    }

    async fn die(&self) -> ! {
        self.dead.notify_one();
        std::future::pending().await
    }

    /// One request; gives its answer and whether anybody lives to hear it.
    async fn hear<T>(&self, request: impl Future<Output = T> + Send) -> (T, bool) {
        let nth = self.requests.fetch_add(1, Ordering::Relaxed);
        // A real one takes its time, and others go on meanwhile.
        tokio::task::yield_now().await;
        if self.death == Death::Before(nth) {
            self.die().await;
        }
        (request.await, self.death != Death::After(nth))
    }

    async fn ask<T>(&self, request: impl Future<Output = T> + Send) -> T {
        let (answer, is_heard) = self.hear(request).await;
        if !is_heard {
            self.die().await;
        }
        answer
    }
}

impl<S: Store> Store for Dying<S> {
    async fn access(&self) -> Result<Access, LookError> {
        self.ask(self.inner.access()).await
    }

    async fn head(&self, key: &Key) -> Result<Remote, LookError> {
        self.ask(self.inner.head(key)).await
    }

    async fn head_version(&self, key: &Key, version: &VersionId) -> Result<Remote, LookError> {
        self.ask(self.inner.head_version(key, version)).await
    }

    async fn first_part(&self, key: &Key, etag: &ETag) -> Result<Option<u64>, LookError> {
        self.ask(self.inner.first_part(key, etag)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, LookError> {
        self.ask(self.inner.list(prefix, after)).await
    }

    async fn versions(&self, key: &Key, most: usize) -> Result<Vec<Version>, LookError> {
        self.ask(self.inner.versions(key, most)).await
    }

    async fn tags(&self, key: &Key) -> Result<BTreeMap<String, String>, LookError> {
        self.ask(self.inner.tags(key)).await
    }

    async fn put(
        &self,
        object: &Object,
        body: Body,
        expect: &Expect,
        sent: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Written, PutError> {
        self.ask(self.inner.put(object, body, expect, sent)).await
    }

    async fn create_upload(&self, object: &Object) -> Result<UploadId, PutError> {
        let (answer, is_heard) = self.hear(self.inner.create_upload(object)).await;
        if !is_heard {
            self.unnamed.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
            self.die().await;
        }
        answer
    }

    async fn put_part(&self, object: &Object, upload: &UploadId, part: Part) -> Result<PartTaken, PutError> {
        self.ask(self.inner.put_part(object, upload, part)).await
    }

    async fn list_parts(&self, key: &Key, upload: &UploadId) -> Result<Option<Vec<HeldPart>>, LookError> {
        self.ask(self.inner.list_parts(key, upload)).await
    }

    async fn uploads(&self, prefix: &str, after: Option<&UploadsMark>) -> Result<UploadsPage, LookError> {
        self.ask(self.inner.uploads(prefix, after)).await
    }

    async fn complete(
        &self,
        object: &Object,
        upload: &UploadId,
        parts: &[PartTaken],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        self.ask(self.inner.complete(object, upload, parts, expect)).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<(), LookError> {
        self.ask(self.inner.abort(key, upload)).await
    }

    async fn buried(&self, key: &Key, version: &VersionId) -> Result<Buried, LookError> {
        self.ask(self.inner.buried(key, version)).await
    }

    async fn copy(&self, copy: &Copy, expect: &Expect) -> Result<Written, PutError> {
        self.ask(self.inner.copy(copy, expect)).await
    }

    async fn create_copy(&self, copy: &Copy) -> Result<UploadId, PutError> {
        let (answer, is_heard) = self.hear(self.inner.create_copy(copy)).await;
        if !is_heard {
            self.unnamed.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
            self.die().await;
        }
        answer
    }

    async fn copy_part(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        bytes: RangeInclusive<u64>,
    ) -> Result<CopiedPart, PutError> {
        self.ask(self.inner.copy_part(copy, upload, number, bytes)).await
    }

    async fn complete_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        parts: &[CopiedPart],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        self.ask(self.inner.complete_copy(copy, upload, parts, expect)).await
    }

    async fn delete(&self, key: &Key, etag: &ETag) -> Result<Written, PutError> {
        self.ask(self.inner.delete(key, etag)).await
    }

    async fn probe_checksum(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.ask(self.inner.probe_checksum(probe)).await
    }

    async fn probe_put(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.ask(self.inner.probe_put(probe)).await
    }

    async fn probe_complete(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.ask(self.inner.probe_complete(probe)).await
    }

    async fn remove_probe(&self, probe: &ProbeKey) -> Result<(), LookError> {
        self.ask(self.inner.remove_probe(probe)).await
    }

    async fn bucket(&self, wanted: &[Aspect]) -> Result<Configuration, LookError> {
        self.ask(self.inner.bucket(wanted)).await
    }
}
