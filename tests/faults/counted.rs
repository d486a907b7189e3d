//! A store that writes down how much is under way in it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use noclobber::model::bucket::{Aspect, Configuration};
use noclobber::model::digest::ETag;
use noclobber::model::entry::Key;
use noclobber::model::head::{Remote, VersionId};
use noclobber::model::write::{Copy, Expect, LookError, Object, PutError, Written};
use noclobber::store::{
    Access, Body, Buried, CopiedPart, HeldPart, Page, Part, PartTaken, ProbeKey, Probed, Store, UploadId, UploadsMark,
    UploadsPage, Version,
};

/// What becomes of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    Stored,
    /// Taken, held until there were this many bytes of them at once and a while longer, and forgotten.
    Swallowed {
        wanted: u64,
    },
}

#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    parts: Parts,
    after: Option<After>,
    log: Arc<Mutex<Log>>,
}

/// Puts past the first so many answer only when the other store has got so many.
#[derive(Debug, Clone)]
struct After {
    past: usize,
    other: Arc<Mutex<Log>>,
    wanted: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Requests with bodies that were under way when each of them was started, itself included.
    pub starts: Vec<usize>,
    /// Bytes of parts under way, at the most.
    pub bytes_most: u64,
    /// What was waited for did not come.
    pub gave_up: bool,
    under_way: usize,
    bytes: u64,
}

/// One request with a body; ended when it is dropped.
struct Passing(Arc<Mutex<Log>>, u64);

impl Drop for Passing {
    fn drop(&mut self) {
        let mut log = self.0.lock().unwrap();
        log.under_way -= 1;
        log.bytes -= self.1;
    }
}

impl<S> Counted<S> {
    pub fn new(inner: S, parts: Parts) -> Self {
        Self { inner, parts, after: None, log: Arc::default() }
    }

    pub fn answering_after(mut self, past: usize, other: &Self, wanted: usize) -> Self {
        self.after = Some(After { past, other: Arc::clone(&other.log), wanted });
        self
    }

    pub fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }

    fn pass(&self, bytes: u64) -> Passing {
        let mut log = self.log.lock().unwrap();
        log.under_way += 1;
        log.bytes += bytes;
        log.bytes_most = log.bytes_most.max(log.bytes);
        let under_way = log.under_way;
        log.starts.push(under_way);
        Passing(Arc::clone(&self.log), bytes)
    }
}

impl<S: Store> Store for Counted<S> {
    async fn put(
        &self,
        object: &Object,
        body: Body,
        expect: &Expect,
        sent: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Written, PutError> {
        let _passing = self.pass(0);
        // A store in memory answers at once: whoever else may start, starts now.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        if let Some(After { past, other, wanted }) = &self.after
            && self.log.lock().unwrap().starts.len() > *past
        {
            let mut turns = 0;
            while other.lock().unwrap().starts.len() < *wanted && turns < 100_000 {
                turns += 1;
                tokio::task::yield_now().await;
            }
            self.log.lock().unwrap().gave_up |= turns == 100_000;
        }
        self.inner.put(object, body, expect, sent).await
    }

    async fn put_part(&self, object: &Object, upload: &UploadId, part: Part) -> Result<PartTaken, PutError> {
        let _passing = self.pass(part.content.length());
        match self.parts {
            Parts::Stored => self.inner.put_part(object, upload, part).await,
            Parts::Swallowed { wanted } => {
                let mut turns = 0;
                while self.log.lock().unwrap().bytes_most < wanted && turns < 100_000 {
                    turns += 1;
                    tokio::task::yield_now().await;
                }
                // And whoever comes too many, comes now.
                for _ in 0..2_000 {
                    tokio::task::yield_now().await;
                }
                Ok(PartTaken { number: part.number, etag: ETag::new("part"), sha256: part.sha256 })
            }
        }
    }

    async fn complete(
        &self,
        object: &Object,
        upload: &UploadId,
        parts: &[PartTaken],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        match self.parts {
            Parts::Stored => self.inner.complete(object, upload, parts, expect).await,
            Parts::Swallowed { .. } => {
                Ok(Written { etag: Some(ETag::new("whole")), version: None, request_id: None, http_status: 200 })
            }
        }
    }

    async fn access(&self) -> Result<Access, LookError> {
        self.inner.access().await
    }
    async fn head(&self, key: &Key) -> Result<Remote, LookError> {
        self.inner.head(key).await
    }
    async fn head_version(&self, key: &Key, version: &VersionId) -> Result<Remote, LookError> {
        self.inner.head_version(key, version).await
    }
    async fn first_part(&self, key: &Key, etag: &ETag) -> Result<Option<u64>, LookError> {
        self.inner.first_part(key, etag).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, LookError> {
        self.inner.list(prefix, after).await
    }
    async fn versions(&self, key: &Key, most: usize) -> Result<Vec<Version>, LookError> {
        self.inner.versions(key, most).await
    }
    async fn tags(&self, key: &Key) -> Result<BTreeMap<String, String>, LookError> {
        self.inner.tags(key).await
    }
    async fn create_upload(&self, object: &Object) -> Result<UploadId, PutError> {
        self.inner.create_upload(object).await
    }
    async fn list_parts(&self, key: &Key, upload: &UploadId) -> Result<Option<Vec<HeldPart>>, LookError> {
        self.inner.list_parts(key, upload).await
    }
    async fn uploads(&self, prefix: &str, after: Option<&UploadsMark>) -> Result<UploadsPage, LookError> {
        self.inner.uploads(prefix, after).await
    }
    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<(), LookError> {
        self.inner.abort(key, upload).await
    }
    async fn buried(&self, key: &Key, version: &VersionId) -> Result<Buried, LookError> {
        self.inner.buried(key, version).await
    }

    async fn copy(&self, copy: &Copy, expect: &Expect) -> Result<Written, PutError> {
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
        self.inner.complete_copy(copy, upload, parts, expect).await
    }

    async fn delete(&self, key: &Key, etag: &ETag) -> Result<Written, PutError> {
        self.inner.delete(key, etag).await
    }

    async fn probe_checksum(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.inner.probe_checksum(probe).await
    }

    async fn probe_put(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.inner.probe_put(probe).await
    }
    async fn probe_complete(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.inner.probe_complete(probe).await
    }
    async fn remove_probe(&self, probe: &ProbeKey) -> Result<(), LookError> {
        self.inner.remove_probe(probe).await
    }

    async fn bucket(&self, wanted: &[Aspect]) -> Result<Configuration, LookError> {
        self.inner.bucket(wanted).await
    }
}
