//! The reference store: what a correct bucket does, versioned, atomic, in memory. No clock: time is a count of writes.

mod rollback;
mod setup;

mod strangers;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use md5::Digest as _;

use crate::model::bucket::{Aspect, Configuration};
use crate::model::digest::{Checksum, ETag, Md5, Sha256};
use crate::model::entry::{Key, Properties, Sse};
use crate::model::head::{Carried, Encryption, Head, HeldChecksums, HeldSha256, Remote, VersionId};
use crate::model::write::{Cause, Copy, Expect, LookError, Object, PutError, Refusal, Written};
use crate::store::{
    Access, Body, Buried, CopiedPart, HeldPart, Listed, OpenUpload, Page, Part, PartContent, PartTaken, ProbeKey,
    Probed, Store, UploadId, UploadsMark, UploadsPage, Version,
};

const PAGE_KEYS: usize = 1000;

/// A bucket in memory. Clones are the same bucket.
#[derive(Debug, Clone)]
pub struct Memory {
    bucket: Arc<Mutex<Bucket>>,
    page_keys: usize,
    honours: bool,
    honours_undo: bool,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Oldest version first. Never empty.
    keys: BTreeMap<Key, Vec<Stored>>,
    uploads: BTreeMap<String, Upload>,
    copies: BTreeMap<String, rollback::Copying>,
    /// Counts writes; makes version ids, upload ids and times.
    writes: u64,
    unseen: bool,
    /// `None` as it is made.
    configuration: Option<Configuration>,
}

#[derive(Debug, Clone)]
struct Stored {
    version: VersionId,
    last_modified: String,
    /// `None` for a delete marker.
    content: Option<Arc<Content>>,
}

#[derive(Debug)]
struct Content {
    bytes: Bytes,
    /// With its first part, which a HEAD leaves out.
    head: Head,
    tags: BTreeMap<String, String>,
    /// What no upload of ours sets.
    carried: Carried,
}

/// An object on its way in: bytes, head, tags, and what no upload of ours sets.
type New = (Bytes, Head, BTreeMap<String, String>, Carried);

#[derive(Debug)]
struct Upload {
    object: Object,
    parts: BTreeMap<u32, (Bytes, PartTaken)>,
}

/// One version of a key as the bucket's owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    pub version: VersionId,
    /// `None` for a delete marker.
    pub bytes: Option<Bytes>,
    pub write_id: Option<String>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { bucket: Arc::default(), page_keys: PAGE_KEYS, honours: true, honours_undo: true }
    }
}

impl Memory {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists `keys` keys a page.
    #[must_use]
    pub fn with_pages_of(mut self, keys: usize) -> Self {
        self.page_keys = keys.max(1);
        self
    }

    /// A server that answers 200 and overwrites, whatever the precondition: what must never be trusted.
    #[must_use]
    pub fn that_ignores_conditions() -> Self {
        Self { honours: false, honours_undo: false, ..Self::default() }
    }

    /// A server that honours conditions on PutObject and CompleteMultipartUpload, and ignores them on CopyObject and
    /// DeleteObject, as most do.
    #[must_use]
    pub fn that_ignores_conditions_of_a_rollback() -> Self {
        Self { honours_undo: false, ..Self::default() }
    }

    /// From now on HEAD answers 403, or does not any more.
    pub fn hide(&self, unseen: bool) {
        self.lock().unseen = unseen;
    }

    /// What a reader gets now.
    #[must_use]
    pub fn content(&self, key: &Key) -> Option<Bytes> {
        self.lock().current(key).map(|content| content.bytes.clone())
    }

    /// All that ever was under a key, oldest first.
    #[must_use]
    pub fn history(&self, key: &Key) -> Vec<Past> {
        let bucket = self.lock();
        let versions = bucket.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let past = |stored: &Stored| Past {
            version: stored.version.clone(),
            bytes: stored.content.as_ref().map(|content| content.bytes.clone()),
            write_id: stored.content.as_ref().and_then(|content| content.head.write_id.clone()),
        };
        versions.iter().map(past).collect()
    }

    /// Every key that was ever written.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.lock().keys.keys().cloned().collect()
    }

    /// Uploads that were begun and neither completed nor aborted: what somebody pays for.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        let bucket = self.lock();
        bucket.uploads.len() + bucket.copies.len()
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn condition(&self, bucket: &Bucket, key: &Key, expect: &Expect) -> Result<(), PutError> {
        if !self.honours {
            return Ok(());
        }
        match (expect, bucket.current(key)) {
            (Expect::Absent, None) => Ok(()),
            (Expect::Unchanged(etag), Some(content)) if content.head.etag == *etag => Ok(()),
            (Expect::Unchanged(_), None) => Err(PutError::Lost(cause(404, "NoSuchKey", "the key is not there"))),
            (Expect::Absent | Expect::Unchanged(_), Some(_)) => {
                Err(PutError::Lost(cause(412, "PreconditionFailed", "a precondition did not hold")))
            }
        }
    }

    fn find(&self, key: &Key, version: Option<&VersionId>) -> Remote {
        let bucket = self.lock();
        if bucket.unseen {
            return Remote::Unseen;
        }
        let versions = bucket.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let found = match version {
            None => versions.last(),
            Some(id) => versions.iter().find(|stored| stored.version == *id),
        };
        match found.and_then(|stored| stored.content.as_ref()) {
            None => Remote::Absent,
            Some(content) => Remote::Present(Box::new(Head { first_part: None, ..content.head.clone() })),
        }
    }
}

impl Bucket {
    fn current(&self, key: &Key) -> Option<&Arc<Content>> {
        self.keys.get(key)?.last()?.content.as_ref()
    }

    fn push(&mut self, key: &Key, content: Option<New>) -> VersionId {
        self.writes += 1;
        let version = VersionId(format!("v{:06}", self.writes));
        let last_modified = format!(
            "2026-01-{:02}T{:02}:{:02}:{:02}Z",
            1 + self.writes / 86_400 % 28,
            self.writes / 3600 % 24,
            self.writes / 60 % 60,
            self.writes % 60
        );
        let content = content.map(|(bytes, mut head, tags, carried)| {
            head.version = Some(version.clone());
            head.last_modified = Some(last_modified.clone());
            Arc::new(Content { bytes, head, tags, carried })
        });
        self.keys.entry(key.clone()).or_default().push(Stored { version: version.clone(), last_modified, content });
        version
    }

    fn store(
        &mut self,
        object: &Object,
        bytes: Bytes,
        etag: ETag,
        sha256: HeldSha256,
        first_part: Option<u64>,
    ) -> Written {
        let mut properties = Properties::clone(&object.properties);
        let tags = std::mem::take(&mut properties.tags);
        // HEAD does not tell it.
        properties.acl = None;
        let head = Head {
            size: bytes.len() as u64,
            etag: etag.clone(),
            version: None,
            last_modified: None,
            encryption: encryption_of(&properties),
            checksums: HeldChecksums { sha256: Some(sha256), ..HeldChecksums::default() },
            first_part,
            properties,
            claim: Some(object.checksum.to_string()),
            write_id: Some(object.write_id.to_string()),
        };
        let version = self.push(&object.key, Some((bytes, head, tags, Carried::default())));
        Written { etag: Some(etag), version: Some(version), request_id: None, http_status: 200 }
    }
}

impl Store for Memory {
    async fn access(&self) -> Result<Access, LookError> {
        Ok(Access::Open)
    }

    async fn head(&self, key: &Key) -> Result<Remote, LookError> {
        Ok(self.find(key, None))
    }

    async fn head_version(&self, key: &Key, version: &VersionId) -> Result<Remote, LookError> {
        Ok(self.find(key, Some(version)))
    }

    async fn first_part(&self, key: &Key, etag: &ETag) -> Result<Option<u64>, LookError> {
        let bucket = self.lock();
        let asked = bucket.current(key).filter(|content| !bucket.unseen && content.head.etag == *etag);
        Ok(asked.and_then(|content| content.head.first_part))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, LookError> {
        let bucket = self.lock();
        let rest = bucket
            .keys
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        let mut page = Page::default();
        for (key, versions) in rest {
            let Some(content) = versions.last().and_then(|stored| stored.content.as_ref()) else { continue };
            if page.objects.len() == self.page_keys {
                page.next = page.objects.last().map(|listed| listed.key.to_string());
                break;
            }
            page.objects.push(Listed {
                key: key.clone(),
                size: content.head.size,
                etag: content.head.etag.clone(),
                last_modified: content.head.last_modified.as_ref().and_then(|time| time.parse().ok()),
            });
        }
        Ok(page)
    }

    async fn versions(&self, key: &Key, most: usize) -> Result<Vec<Version>, LookError> {
        let bucket = self.lock();
        let versions = bucket.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let told = |(age, stored): (usize, &Stored)| Version {
            id: stored.version.clone(),
            etag: stored.content.as_ref().map(|content| content.head.etag.clone()),
            size: stored.content.as_ref().map(|content| content.head.size),
            is_latest: age == 0,
            last_modified: Some(stored.last_modified.clone()),
        };
        Ok(versions.iter().rev().enumerate().map(told).take(most).collect())
    }

    async fn tags(&self, key: &Key) -> Result<BTreeMap<String, String>, LookError> {
        match self.lock().current(key) {
            Some(content) => Ok(content.tags.clone()),
            None => Err(LookError { cause: cause(404, "NoSuchKey", "the key is not there"), stop: false }),
        }
    }

    async fn put(
        &self,
        object: &Object,
        body: Body,
        expect: &Expect,
        sent: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Written, PutError> {
        let bytes = match body {
            Body::Bytes(bytes) => bytes,
            Body::File(path) => std::fs::read(&path)
                .map_err(|error| {
                    let message = format!("{}: {error}", path.display());
                    PutError::Refused(Refusal::Source, Cause { code: "Source".into(), message, ..Cause::default() })
                })?
                .into(),
        };
        let digest = sha256_of(&bytes);
        if bytes.len() as u64 != object.size || object.checksum.full() != Some(digest) {
            return Err(changed("the source is not what was planned any more"));
        }
        sent(object.size);
        let mut bucket = self.lock();
        self.condition(&bucket, &object.key, expect)?;
        let etag = ETag::new(&md5_of(&bytes).to_string());
        Ok(bucket.store(object, bytes, etag, HeldSha256::Full(digest), None))
    }

    async fn create_upload(&self, object: &Object) -> Result<UploadId, PutError> {
        let mut bucket = self.lock();
        bucket.writes += 1;
        let id = format!("u{:06}", bucket.writes);
        bucket.uploads.insert(id.clone(), Upload { object: object.clone(), parts: BTreeMap::new() });
        Ok(UploadId(id))
    }

    async fn put_part(&self, object: &Object, upload: &UploadId, part: Part) -> Result<PartTaken, PutError> {
        let Part { number, content, sha256 } = part;
        let bytes = match content {
            PartContent::Bytes(bytes) => bytes,
            PartContent::File { path, offset, length } => piece(&path, offset, length).map_err(|error| {
                let message = format!("{}: {error}", path.display());
                PutError::Refused(Refusal::Source, Cause { code: "Source".into(), message, ..Cause::default() })
            })?,
        };
        if sha256_of(&bytes) != sha256 {
            return Err(changed("the part's checksum is not that of its bytes"));
        }
        let mut bucket = self.lock();
        let begun = bucket.uploads.get_mut(&upload.0).filter(|begun| begun.object.key == object.key);
        let Some(begun) = begun else {
            return Err(PutError::Refused(Refusal::NoSuchUpload, cause(404, "NoSuchUpload", "no such upload")));
        };
        let taken = PartTaken { number, etag: ETag::new(&md5_of(&bytes).to_string()), sha256 };
        begun.parts.insert(number, (bytes, taken.clone()));
        Ok(taken)
    }

    async fn list_parts(&self, key: &Key, upload: &UploadId) -> Result<Option<Vec<HeldPart>>, LookError> {
        let bucket = self.lock();
        let begun = bucket.uploads.get(&upload.0).filter(|begun| begun.object.key == *key);
        let held = |(bytes, taken): &(Bytes, PartTaken)| HeldPart {
            number: taken.number,
            size: bytes.len() as u64,
            etag: taken.etag.clone(),
            sha256: Some(taken.sha256),
        };
        Ok(begun.map(|begun| begun.parts.values().map(held).collect()))
    }

    async fn uploads(&self, prefix: &str, after: Option<&UploadsMark>) -> Result<UploadsPage, LookError> {
        let bucket = self.lock();
        let mut uploads: Vec<OpenUpload> = bucket
            .uploads
            .iter()
            .map(|(id, begun)| OpenUpload {
                key: begun.object.key.clone(),
                upload: UploadId(id.clone()),
                initiated: None,
            })
            .filter(|open| open.key.as_str().starts_with(prefix))
            .filter(|open| {
                after.is_none_or(|mark| {
                    (open.key.as_str(), Some(open.upload.0.as_str())) > (mark.key.as_str(), mark.upload.as_deref())
                })
            })
            .collect();
        uploads.sort_by(|a, b| (&a.key, &a.upload).cmp(&(&b.key, &b.upload)));
        let more = uploads.len() > self.page_keys;
        uploads.truncate(self.page_keys);
        let last = uploads.last().filter(|_| more);
        let next = last.map(|open| UploadsMark { key: open.key.to_string(), upload: Some(open.upload.0.clone()) });
        Ok(UploadsPage { uploads, next })
    }

    async fn complete(
        &self,
        object: &Object,
        upload: &UploadId,
        parts: &[PartTaken],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        let mut bucket = self.lock();
        let begun = bucket.uploads.get(&upload.0).filter(|begun| begun.object.key == object.key);
        let Some(begun) = begun else {
            // As over the wire: a Complete that landed before answers the same.
            return Err(PutError::Unknown(cause(404, "NoSuchUpload", "no such upload")));
        };
        let (mut bytes, mut composite, mut etags) = (Vec::new(), sha2::Sha256::new(), md5::Md5::new());
        let mut before = 0;
        for part in parts {
            match begun.parts.get(&part.number) {
                Some((content, taken)) if taken == part && part.number > before => {
                    bytes.extend_from_slice(content);
                    composite.update(part.sha256.0);
                    etags.update(md5_of(content).0);
                }
                _ => return Err(PutError::Refused(Refusal::Failed, cause(400, "InvalidPart", "no such part"))),
            }
            before = part.number;
        }
        let composite = Sha256(composite.finalize().into());
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let planned = matches!(object.checksum, Checksum::Composite { digest, parts, .. } if digest == composite && parts == count);
        if !planned || bytes.len() as u64 != object.size {
            return Err(changed("the parts are not what was planned"));
        }
        self.condition(&bucket, &object.key, expect)?;
        let first = parts.first().and_then(|part| begun.parts.get(&part.number));
        let first_part = first.map(|(content, _)| content.len() as u64).filter(|_| count > 1);
        let as_begun = begun.object.clone();
        bucket.uploads.remove(&upload.0);
        let etag = ETag::new(&format!("{}-{count}", Md5(etags.finalize().into())));
        let held = HeldSha256::Composite { digest: composite, parts: count };
        Ok(bucket.store(&as_begun, bytes.into(), etag, held, first_part))
    }

    async fn abort(&self, _key: &Key, upload: &UploadId) -> Result<(), LookError> {
        let mut bucket = self.lock();
        bucket.uploads.remove(&upload.0);
        bucket.copies.remove(&upload.0);
        Ok(())
    }

    async fn buried(&self, key: &Key, version: &VersionId) -> Result<Buried, LookError> {
        Ok(self.past(key, version))
    }

    async fn copy(&self, copy: &Copy, expect: &Expect) -> Result<Written, PutError> {
        self.copied(copy, expect)
    }

    async fn create_copy(&self, copy: &Copy) -> Result<UploadId, PutError> {
        Ok(self.copying(copy))
    }

    async fn copy_part(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        bytes: RangeInclusive<u64>,
    ) -> Result<CopiedPart, PutError> {
        self.part_copied(copy, upload, number, bytes)
    }

    async fn complete_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        parts: &[CopiedPart],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        self.copy_completed(copy, upload, parts, expect)
    }

    async fn delete(&self, key: &Key, etag: &ETag) -> Result<Written, PutError> {
        self.deleted(key, etag)
    }

    async fn probe_checksum(&self, _probe: &ProbeKey) -> Result<Probed, LookError> {
        Ok(Probed::Honoured)
    }

    async fn probe_put(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        if self.honours {
            return Ok(Probed::Honoured);
        }
        self.stranger_put(probe.key(), Bytes::from_static(b"probe"));
        Ok(Probed::Ignored)
    }

    async fn probe_complete(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.probe_put(probe).await
    }

    async fn remove_probe(&self, probe: &ProbeKey) -> Result<(), LookError> {
        self.lock().keys.remove(probe.key());
        Ok(())
    }

    async fn bucket(&self, wanted: &[Aspect]) -> Result<Configuration, LookError> {
        Ok(self.configuration(wanted))
    }
}

fn encryption_of(properties: &Properties) -> Encryption {
    match properties.sse {
        None => Encryption::None,
        Some(Sse::Aes256) => Encryption::Aes256,
        Some(Sse::Kms(_)) => Encryption::Kms,
    }
}

fn piece(path: &std::path::Path, offset: u64, length: u64) -> std::io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    std::fs::File::open(path)?.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}

fn md5_of(bytes: &[u8]) -> Md5 {
    Md5(md5::Md5::digest(bytes).into())
}

fn sha256_of(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn changed(message: &str) -> PutError {
    PutError::Refused(
        Refusal::SourceChanged,
        Cause { code: "SourceChanged".into(), message: message.to_owned(), ..Cause::default() },
    )
}

fn cause(status: u16, code: &str, message: &str) -> Cause {
    Cause { http_status: Some(status), code: code.to_owned(), message: message.to_owned(), request_id: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deleted_key_counts_as_absent_and_keeps_its_history() {
        let (bucket, key) = (Memory::new(), Key::new("a"));
        bucket.stranger_put(&key, "one");
        bucket.stranger_delete(&key);
        assert_eq!(bucket.head(&key).await, Ok(Remote::Absent));
        assert_eq!(bucket.list("", None).await.unwrap().objects, []);
        let versions = bucket.versions(&key, 9).await.unwrap();
        assert!(versions[0].etag.is_none() && versions[0].is_latest && versions[1].etag.is_some());
        assert!(matches!(bucket.head_version(&key, &versions[1].id).await, Ok(Remote::Present(_))));
        assert_eq!(bucket.history(&key)[0].bytes.as_deref(), Some(&b"one"[..]));
    }
}
