//! What the folder remembers: the lines of its log.
//!
//! The log is the truth, the index in memory is the log replayed. One line is one change, whole or not there at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::dto::Timestamp;
use serde::{Deserialize, Serialize};

use super::sum::{Algorithm, Sum};

/// One change to the folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub(super) enum Record {
    Bucket {
        bucket: String,
        at: u64,
    },
    BucketGone {
        bucket: String,
    },
    /// A new version; it ends the multipart upload that it came from, so that no crash can leave both or neither.
    Version {
        bucket: String,
        key: String,
        version: Arc<Version>,
        upload: Option<String>,
    },
    VersionGone {
        bucket: String,
        key: String,
        id: String,
    },
    Tags {
        bucket: String,
        key: String,
        id: String,
        tags: BTreeMap<String, String>,
    },
    Upload {
        bucket: String,
        upload: Box<Upload>,
    },
    Part {
        bucket: String,
        upload: String,
        number: u32,
        part: Part,
    },
    UploadGone {
        bucket: String,
        upload: String,
    },
}

/// One version of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Version {
    pub id: String,
    /// Seconds since 1970, as fine as S3 tells it.
    pub at: u64,
    /// `None` is a delete marker.
    pub object: Option<Object>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Object {
    pub size: u64,
    pub etag: String,
    /// One piece for a single PUT, one a part for a multipart upload.
    pub pieces: Vec<Piece>,
    pub multipart: bool,
    pub sum: Option<Sum>,
    pub properties: Properties,
    pub tags: BTreeMap<String, String>,
}

/// Bytes in one blob file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Piece {
    pub blob: u64,
    pub size: u64,
    pub sum: Option<Sum>,
}

/// What a writer says of an object beside its bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Properties {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_disposition: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub expires: Option<Timestamp>,
    pub metadata: BTreeMap<String, String>,
    pub storage_class: Option<String>,
    /// `AES256` unless the writer asked for another: S3 encrypts everything.
    pub sse: Option<String>,
    pub kms_key: Option<String>,
    pub bucket_key: Option<bool>,
    pub redirect: Option<String>,
}

impl Properties {
    /// KMS objects have ETags that are not MD5s.
    pub fn is_kms(&self) -> bool {
        self.sse.as_deref().is_some_and(|sse| sse.starts_with("aws:kms"))
    }
}

/// A multipart upload that is not finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Upload {
    pub id: String,
    pub key: String,
    pub at: u64,
    pub algorithm: Option<Algorithm>,
    pub composite: bool,
    pub properties: Properties,
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub parts: BTreeMap<u32, Part>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    pub piece: Piece,
    pub md5: String,
    pub at: u64,
}
