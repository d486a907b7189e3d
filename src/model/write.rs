//! A write and its three ends: yes, no, don't know.

use std::fmt;

use super::digest::{Checksum, ETag};
use super::entry::{Key, Properties};
use super::head::{Carried, VersionId};

/// The precondition of a write. There is no third value: an unconditional write cannot be spelled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expect {
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: <etag>`
    Unchanged(ETag),
}

/// Names one logical write: `<run id>-<n>`. Travels in the object's metadata so that a lost answer can be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WriteId(pub String);

impl WriteId {
    #[must_use]
    pub fn new(run_id: &str, n: u64) -> Self {
        Self(format!("{run_id}-{n}"))
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be stored, but for the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: Key,
    pub size: u64,
    pub checksum: Checksum,
    pub properties: std::sync::Arc<Properties>,
    pub write_id: WriteId,
}

/// An earlier version that is to be copied over its own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub key: Key,
    pub version: VersionId,
    /// The version's ETag. The copy asks for it: the version named `null` is not immutable.
    pub etag: ETag,
    pub size: u64,
    pub properties: std::sync::Arc<Properties>,
    pub carried: Carried,
    /// Stands in the new version's metadata in place of the old one's.
    pub write_id: WriteId,
}

/// The server said yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `None` for a delete.
    pub etag: Option<ETag>,
    /// Of a delete: the delete marker's.
    pub version: Option<VersionId>,
    pub request_id: Option<String>,
    pub http_status: u16,
}

/// What a server or the network said when it was not yes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Cause {
    pub http_status: Option<u16>,
    /// S3's error code, or our own word where no answer came: `Timeout`, `Connection`, `SourceChanged`.
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.http_status, self.code.is_empty()) {
            (Some(status), false) => write!(f, "{status} {}: {}", self.code, self.message),
            (Some(status), true) => write!(f, "{status}: {}", self.message),
            (None, false) => write!(f, "{}: {}", self.code, self.message),
            (None, true) => f.write_str(&self.message),
        }
    }
}

/// How a "no" is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 409 ConditionalRequestConflict: another write was in flight. Try again.
    Conflict,
    /// 503 SlowDown, 429: not applied. Slow down and try again.
    Throttled,
    /// The bytes are not those that were reviewed: the server's checksum said so, or ours before the last chunk left.
    SourceChanged,
    /// The local file could not be read.
    Source,
    /// Credentials, clock or signature: every other request would fail too. Start nothing more.
    Stop,
    /// The upload is not known (any more).
    NoSuchUpload,
    /// Any other: it will not get better by itself.
    Failed,
}

/// Why a write is not known to be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The precondition did not hold: 412, or 404 on `If-Match`.
    #[error("{0}")]
    Lost(Cause),
    /// Not applied, and the server (or the local file) says why.
    #[error("{1}")]
    Refused(Refusal, Cause),
    /// It may have been applied: no answer, or one that does not tell.
    #[error("{0}")]
    Unknown(Cause),
    /// It is stored, but by the server's own word it is not what was sent.
    #[error("{0}")]
    Mangled(Cause),
}

impl PutError {
    #[must_use]
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Lost(cause) | Self::Refused(_, cause) | Self::Unknown(cause) | Self::Mangled(cause) => cause,
        }
    }
}

/// Why a look at the bucket gave no answer. Never to be taken for `Absent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct LookError {
    pub cause: Cause,
    /// Whether every other request would fail the same way (credentials, signature, clock).
    pub stop: bool,
}
