//! The bucket, as the rest of the house sees it: one request a call, one honest answer a request.
//!
//! A store sends each request once. It never retries a write, never decides what an answer means for a step, and cannot
//! write without a precondition: [`Expect`] has no value for that. Retrying and settling are `flow::apply`'s, by the
//! rules of `guard`.

pub mod contract;
pub mod flaky;
pub mod memory;
pub mod s3;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::bucket::{Aspect, Configuration};
use crate::model::digest::{ETag, Sha256};
use crate::model::entry::Key;
use crate::model::head::{Carried, Head, Remote, VersionId};
use crate::model::write::{Copy, Expect, LookError, Object, PutError, Written};

/// The bytes of one single-request write.
#[derive(Debug, Clone)]
pub enum Body {
    /// Streamed from disk, hashed as it is sent, its last chunk withheld unless the digest equals the object's checksum.
    File(PathBuf),
    /// Already in memory. The store hashes it once more before it sends it.
    Bytes(bytes::Bytes),
}

/// One part of a multipart upload.
#[derive(Debug, Clone)]
pub struct Part {
    /// Counted from 1.
    pub number: u32,
    pub content: PartContent,
    pub sha256: Sha256,
}

/// The bytes of one part.
#[derive(Debug, Clone)]
pub enum PartContent {
    /// Already in memory, and hashed.
    Bytes(bytes::Bytes),
    /// Streamed from disk: what is too large to be held. Hashed again as it is sent, its last chunk withheld unless the
    /// digest equals the part's.
    File { path: PathBuf, offset: u64, length: u64 },
}

impl PartContent {
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

/// A part that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartTaken {
    pub number: u32,
    pub etag: ETag,
    pub sha256: Sha256,
}

/// A part that the server holds, as ListParts tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPart {
    pub number: u32,
    pub size: u64,
    pub etag: ETag,
    /// `None` where the server does not tell it.
    pub sha256: Option<Sha256>,
}

/// Names one multipart upload at the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(pub String);

/// An upload that was begun, and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    pub key: Key,
    pub upload: UploadId,
    pub initiated: Option<Time>,
}

/// One page of the open uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadsPage {
    pub uploads: Vec<OpenUpload>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<UploadsMark>,
}

/// A place in the list of open uploads, as the server names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsMark {
    pub key: String,
    pub upload: Option<String>,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In the server's order, which need not be bytewise.
    pub objects: Vec<Listed>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<String>,
}

/// An object as LIST tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: Key,
    pub size: u64,
    pub etag: ETag,
    pub last_modified: Option<Time>,
}

/// A moment, to the second. Displayed as RFC 3339, in UTC.
///
/// Listings hold a million of them: the text is made where somebody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Since 1970 began.
    seconds: i64,
}

impl Time {
    /// Whole seconds since 1970 began.
    #[must_use]
    pub fn as_second(self) -> i64 {
        self.seconds
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    /// Takes any RFC 3339 time with its offset.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { seconds: text.parse::<Timestamp>()?.as_second() })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Timestamp::from_second(self.seconds).map_err(|_| fmt::Error)?;
        time.strftime("%Y-%m-%dT%H:%M:%SZ").fmt(f)
    }
}

/// One version of a key, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub id: VersionId,
    /// `None` for a delete marker.
    pub etag: Option<ETag>,
    /// `None` for a delete marker.
    pub size: Option<u64>,
    pub is_latest: bool,
    pub last_modified: Option<String>,
}

/// One version of a key, with all that a copy of it must carry over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Buried {
    /// With its tags.
    There {
        head: Box<Head>,
        carried: Carried,
    },
    /// There, in an archive: nothing can be copied from it before it is restored from this storage class.
    Archived {
        class: String,
    },
    DeleteMarker,
    /// There is no such version (any more).
    Gone,
    /// The server would not say (HEAD 403).
    Unseen,
}

/// A part that the server copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedPart {
    pub number: u32,
    pub etag: ETag,
}

/// What the one HeadBucket up front said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Open,
    /// 403: the role may not list, or it is somebody else's bucket; reads and writes may still be allowed.
    Doubtful(String),
}

/// A bucket. Every method is one request (or one page of requests), sent once.
pub trait Store: Send + Sync + 'static {
    /// HeadBucket. An error says what to do: no such bucket, wrong region, no credentials, wrong owner.
    fn access(&self) -> impl Future<Output = Result<Access, LookError>> + Send;

    /// HeadObject, with the checksums where the role may see them. 404 is `Absent`, 403 is `Unseen`; anything else
    /// that is not an answer is an error.
    fn head(&self, key: &Key) -> impl Future<Output = Result<Remote, LookError>> + Send;

    /// HeadObject of one version. A delete marker is `Absent`.
    fn head_version(&self, key: &Key, version: &VersionId) -> impl Future<Output = Result<Remote, LookError>> + Send;

    /// HeadObject with `partNumber=1`: the bytes of the first of several parts of the object that has this ETag. `None`
    /// where it was not made of parts, where the server does not tell, and where another object is there by now.
    fn first_part(&self, key: &Key, etag: &ETag) -> impl Future<Output = Result<Option<u64>, LookError>> + Send;

    /// ListObjectsV2, one page. `after` is the `next` of the page before.
    fn list(&self, prefix: &str, after: Option<&str>) -> impl Future<Output = Result<Page, LookError>> + Send;

    /// ListObjectVersions of exactly this key, newest first, at most `most` of them. Empty where nothing is versioned.
    fn versions(&self, key: &Key, most: usize) -> impl Future<Output = Result<Vec<Version>, LookError>> + Send;

    /// GetObjectTagging.
    fn tags(
        &self,
        key: &Key,
    ) -> impl Future<Output = Result<std::collections::BTreeMap<String, String>, LookError>> + Send;

    /// PutObject with its precondition. `sent` is told how many bytes went into the socket, as they go.
    fn put(
        &self,
        object: &Object,
        body: Body,
        expect: &Expect,
        sent: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> impl Future<Output = Result<Written, PutError>> + Send;

    /// CreateMultipartUpload, SHA256 and COMPOSITE, with all of the object's properties.
    fn create_upload(&self, object: &Object) -> impl Future<Output = Result<UploadId, PutError>> + Send;

    /// UploadPart with its supplied SHA-256.
    fn put_part(
        &self,
        object: &Object,
        upload: &UploadId,
        part: Part,
    ) -> impl Future<Output = Result<PartTaken, PutError>> + Send;

    /// ListParts, all pages, in order of their numbers. `None` where there is no such upload (any more).
    fn list_parts(
        &self,
        key: &Key,
        upload: &UploadId,
    ) -> impl Future<Output = Result<Option<Vec<HeldPart>>, LookError>> + Send;

    /// ListMultipartUploads, one page: every upload under the prefix that is open, anybody's.
    fn uploads(
        &self,
        prefix: &str,
        after: Option<&UploadsMark>,
    ) -> impl Future<Output = Result<UploadsPage, LookError>> + Send;

    /// CompleteMultipartUpload with its precondition, each part's checksum and the object's size. `Mangled`
    /// when the answer's composite is not the object's.
    fn complete(
        &self,
        object: &Object,
        upload: &UploadId,
        parts: &[PartTaken],
        expect: &Expect,
    ) -> impl Future<Output = Result<Written, PutError>> + Send;

    /// AbortMultipartUpload. An upload that is not there any more is fine.
    fn abort(&self, key: &Key, upload: &UploadId) -> impl Future<Output = Result<(), LookError>> + Send;

    /// HeadObject and GetObjectTagging of one version.
    fn buried(&self, key: &Key, version: &VersionId) -> impl Future<Output = Result<Buried, LookError>> + Send;

    /// CopyObject of an earlier version over its own key, with its precondition on what is there now, and one on what
    /// is copied. Carries over everything that [`struct@Copy`] names; the version's own tags are copied by the server.
    fn copy(&self, copy: &Copy, expect: &Expect) -> impl Future<Output = Result<Written, PutError>> + Send;

    /// CreateMultipartUpload for a copy that CopyObject will not take, with all that [`struct@Copy`] names, tags too.
    fn create_copy(&self, copy: &Copy) -> impl Future<Output = Result<UploadId, PutError>> + Send;

    /// UploadPartCopy of the bytes `first..=last` of the version, if it still has its ETag.
    fn copy_part(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        bytes: std::ops::RangeInclusive<u64>,
    ) -> impl Future<Output = Result<CopiedPart, PutError>> + Send;

    /// CompleteMultipartUpload of copied parts, with its precondition and the object's size.
    fn complete_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        parts: &[CopiedPart],
        expect: &Expect,
    ) -> impl Future<Output = Result<Written, PutError>> + Send;

    /// DeleteObject with `If-Match`, never of a version: where versions are kept, a delete marker becomes current.
    fn delete(&self, key: &Key, etag: &ETag) -> impl Future<Output = Result<Written, PutError>> + Send;

    /// Asks whether a checksum that does not fit its bytes is refused: a tiny PUT with one, to a probe key.
    fn probe_checksum(&self, probe: &ProbeKey) -> impl Future<Output = Result<Probed, LookError>> + Send;

    /// Asks whether conditions on PutObject are honoured: a tiny PUT to a probe key with `If-Match` on an impossible ETag.
    fn probe_put(&self, probe: &ProbeKey) -> impl Future<Output = Result<Probed, LookError>> + Send;

    /// Asks the same of CompleteMultipartUpload.
    fn probe_complete(&self, probe: &ProbeKey) -> impl Future<Output = Result<Probed, LookError>> + Send;

    /// Removes what a server that ignores conditions stored under a probe key.
    fn remove_probe(&self, probe: &ProbeKey) -> impl Future<Output = Result<(), LookError>> + Send;

    /// How the bucket is set up, a request an aspect. What was not told of one is said there; an error is one that every
    /// request would meet: no such bucket, no credentials.
    fn bucket(&self, wanted: &[Aspect]) -> impl Future<Output = Result<Configuration, LookError>> + Send;
}

/// A key made by us for the probe, `<first key>.noclobber-probe-<run id>`: the only kind that this crate ever deletes outside a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeKey(Key);

impl ProbeKey {
    /// S3's limit on keys holds: a long first key is cut (at a character's boundary).
    #[must_use]
    pub fn new(first: &Key, run_id: &str) -> Self {
        let tail = format!(".noclobber-probe-{run_id}");
        let mut cut = first.as_str().len().min(1024usize.saturating_sub(tail.len()));
        while !first.as_str().is_char_boundary(cut) {
            cut -= 1;
        }
        Self(Key::new(format!("{}{tail}", &first.as_str()[..cut])))
    }

    #[must_use]
    pub fn key(&self) -> &Key {
        &self.0
    }
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// 404 or 412: nothing was stored.
    Honoured,
    /// 200: the server stored what it had to refuse.
    Ignored,
}
