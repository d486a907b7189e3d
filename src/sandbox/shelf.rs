//! Buckets, keys and versions: the log replayed in memory, and the one lock under which everything is decided.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use s3s::{S3Error, S3Result, s3_error};

use super::Error;
use super::disk::{Disk, Log};
use super::record::{Object, Part, Piece, Record, Upload, Version};

#[derive(Debug)]
pub(super) struct Shelf {
    pub disk: Arc<Disk>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub index: Index,
    log: Log,
    disk: Arc<Disk>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub at: u64,
    /// Newest last. Never empty.
    pub keys: BTreeMap<String, Vec<Arc<Version>>>,
    pub uploads: BTreeMap<String, Upload>,
}

/// What a write asks of the key before it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: <etag>`, without quotes.
    Matches(String),
}

impl Condition {
    /// Judges the condition against the current version. A delete marker counts as absent.
    pub fn check(&self, current: Option<&Object>) -> S3Result<()> {
        match (self, current) {
            (Self::None, _) | (Self::Absent, None) => Ok(()),
            (Self::Matches(etag), Some(object)) if *etag == object.etag => Ok(()),
            // S3 answers 404, not 412, when If-Match meets a missing key.
            (Self::Matches(_), None) => Err(no_such_key()),
            (Self::Absent, Some(_)) => Err(precondition_failed("If-None-Match")),
            (Self::Matches(_), Some(_)) => Err(precondition_failed("If-Match")),
        }
    }
}

impl Shelf {
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let mut index = Index::default();
        let (disk, log) = Disk::open(dir, |record| {
            index.apply(record);
        })?;
        disk.sweep(&index.named_blobs())?;
        let inner = Mutex::new(Inner { index, log, disk: Arc::clone(&disk) });
        Ok(Self { disk, inner })
    }

    /// The one lock. Held over a decision and its commit, never over an await.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in a handler cannot leave the index half changed: each change is one call of `apply`.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn ensure_bucket(&self, bucket: &str) -> S3Result<()> {
        let mut inner = self.lock();
        if inner.index.buckets.contains_key(bucket) {
            return Ok(());
        }
        inner.commit(Record::Bucket { bucket: bucket.to_owned(), at: now() })
    }

    /// Writes a version if the condition holds, both under the lock.
    pub fn put(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        condition: &Condition,
        upload: Option<&str>,
    ) -> S3Result<Arc<Version>> {
        let mut inner = self.lock();
        if let Some(id) = upload {
            inner.index.upload(bucket, key, id)?;
        }
        condition.check(inner.index.current(bucket, key).and_then(|v| v.object.as_ref()))?;
        inner.add(bucket, key, Some(object), upload)
    }
}

impl Inner {
    /// Appends to the log, then changes the index, then removes the blobs that nothing names any more.
    pub fn commit(&mut self, record: Record) -> S3Result<()> {
        self.log.append(&record).map_err(S3Error::internal_error)?;
        for blob in self.index.apply(record) {
            self.disk.remove_blob(blob);
        }
        Ok(())
    }

    /// Adds a version; `None` adds a delete marker.
    pub fn add(
        &mut self,
        bucket: &str,
        key: &str,
        object: Option<Object>,
        upload: Option<&str>,
    ) -> S3Result<Arc<Version>> {
        let id = new_id();
        let object = object.map(|object| if object.properties.is_kms() { disguise(object, &id) } else { object });
        let version = Arc::new(Version { id, at: now(), object });
        self.commit(Record::Version {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: Arc::clone(&version),
            upload: upload.map(str::to_owned),
        })?;
        Ok(version)
    }
}

impl Index {
    pub fn current(&self, bucket: &str, key: &str) -> Option<&Arc<Version>> {
        self.buckets.get(bucket)?.keys.get(key)?.last()
    }

    pub fn version(&self, bucket: &str, key: &str, id: &str) -> Option<&Arc<Version>> {
        self.buckets.get(bucket)?.keys.get(key)?.iter().find(|v| v.id == id)
    }

    /// The upload of this id, if it is for this key.
    pub fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<&Upload> {
        let upload = self.buckets.get(bucket).and_then(|b| b.uploads.get(id)).filter(|u| u.key == key);
        upload.ok_or_else(no_such_upload)
    }

    /// Makes one change, and returns the blobs that nothing names any more.
    fn apply(&mut self, record: Record) -> Vec<u64> {
        match record {
            Record::Bucket { bucket, at } => {
                self.buckets.entry(bucket).or_default().at = at;
                Vec::new()
            }
            Record::BucketGone { bucket } => {
                let gone = self.buckets.remove(&bucket).unwrap_or_default();
                gone.uploads.into_values().flat_map(upload_blobs).collect()
            }
            Record::Version { bucket, key, version, upload } => {
                let bucket = self.buckets.entry(bucket).or_default();
                let mut freed: Vec<u64> =
                    upload.and_then(|id| bucket.uploads.remove(&id)).map(upload_blobs).unwrap_or_default();
                freed.retain(|blob| !pieces(&version).iter().any(|piece| piece.blob == *blob));
                bucket.keys.entry(key).or_default().push(version);
                freed
            }
            Record::VersionGone { bucket, key, id } => {
                let Some(bucket) = self.buckets.get_mut(&bucket) else { return Vec::new() };
                let Some(versions) = bucket.keys.get_mut(&key) else { return Vec::new() };
                let mut freed = Vec::new();
                versions.retain(|version| {
                    let gone = version.id == id;
                    if gone {
                        freed.extend(pieces(version).iter().map(|piece| piece.blob));
                    }
                    !gone
                });
                if versions.is_empty() {
                    bucket.keys.remove(&key);
                }
                freed
            }
            Record::Tags { bucket, key, id, tags } => {
                let versions = self.buckets.get_mut(&bucket).and_then(|b| b.keys.get_mut(&key));
                if let Some(version) = versions.into_iter().flatten().find(|v| v.id == id)
                    && let Some(object) = &mut Arc::make_mut(version).object
                {
                    object.tags = tags;
                }
                Vec::new()
            }
            Record::Upload { bucket, upload } => {
                self.buckets.entry(bucket).or_default().uploads.insert(upload.id.clone(), *upload);
                Vec::new()
            }
            Record::Part { bucket, upload, number, part } => {
                let upload = self.buckets.get_mut(&bucket).and_then(|b| b.uploads.get_mut(&upload));
                let before: Option<Part> = upload.and_then(|upload| upload.parts.insert(number, part));
                before.map(|part| part.piece.blob).into_iter().collect()
            }
            Record::UploadGone { bucket, upload } => {
                let gone = self.buckets.get_mut(&bucket).and_then(|b| b.uploads.remove(&upload));
                gone.map(upload_blobs).unwrap_or_default()
            }
        }
    }

    fn named_blobs(&self) -> HashSet<u64> {
        let mut named = HashSet::new();
        for bucket in self.buckets.values() {
            named.extend(bucket.keys.values().flatten().flat_map(|v| pieces(v)).map(|piece| piece.blob));
            named.extend(bucket.uploads.values().flat_map(|u| u.parts.values()).map(|part| part.piece.blob));
        }
        named
    }
}

fn pieces(version: &Version) -> &[Piece] {
    version.object.as_ref().map_or(&[], |object| &object.pieces)
}

fn upload_blobs(upload: Upload) -> Vec<u64> {
    upload.parts.into_values().map(|part| part.piece.blob).collect()
}

/// Gives a KMS object the kind of ETag that S3 gives it: as long as an MD5, and none.
fn disguise(mut object: Object, id: &str) -> Object {
    use md5::Digest as _;
    let tail = object.etag.find('-').map(|at| object.etag[at..].to_owned()).unwrap_or_default();
    let digest = md5::Md5::digest(format!("{}{id}", object.etag));
    object.etag = format!("{}{tail}", hex::encode(digest));
    object
}

pub(super) fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

pub(super) fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )
}

pub(super) fn precondition_failed(condition: &str) -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold: {condition}.")
}
