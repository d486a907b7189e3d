//! What a server does with preconditions and checksums, as far as it was asked.

use super::write::LookError;

/// A request and its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    PutIfNoneMatch,
    PutIfMatch,
    CompleteIfNoneMatch,
    CompleteIfMatch,
    CopyIfNoneMatch,
    CopyIfMatch,
    DeleteIfMatch,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::PutIfNoneMatch,
        Self::PutIfMatch,
        Self::CompleteIfNoneMatch,
        Self::CompleteIfMatch,
        Self::CopyIfNoneMatch,
        Self::CopyIfMatch,
        Self::DeleteIfMatch,
    ];

    /// The request, as S3 names it.
    #[must_use]
    pub fn request(self) -> &'static str {
        match self {
            Self::PutIfNoneMatch | Self::PutIfMatch => "PutObject",
            Self::CompleteIfNoneMatch | Self::CompleteIfMatch => "CompleteMultipartUpload",
            Self::CopyIfNoneMatch | Self::CopyIfMatch => "CopyObject",
            Self::DeleteIfMatch => "DeleteObject",
        }
    }

    /// The header that carries the condition.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Self::PutIfNoneMatch | Self::CompleteIfNoneMatch | Self::CopyIfNoneMatch => "If-None-Match",
            Self::PutIfMatch | Self::CompleteIfMatch | Self::CopyIfMatch | Self::DeleteIfMatch => "If-Match",
        }
    }
}

/// Everything that scratch objects can tell of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// Whether a request whose condition does not hold is refused, in the order of [`Kind::ALL`].
    pub conditions: Vec<(Kind, Result<bool, LookError>)>,
    /// Whether one whose condition holds is let through, in the same order.
    pub permits: Vec<(Kind, Result<bool, LookError>)>,
    /// Whether the ETag of a PUT is the MD5 of its bytes.
    pub etag_is_md5: Result<bool, LookError>,
    /// Whether a checksum that does not fit its bytes is refused.
    pub checksums_verified: Result<bool, LookError>,
    /// Whether HEAD gives back the SHA-256 of a PUT.
    pub checksum_returned: Result<bool, LookError>,
    /// Whether HEAD gives back the composite SHA-256 of an upload in parts.
    pub composite_returned: Result<bool, LookError>,
}
