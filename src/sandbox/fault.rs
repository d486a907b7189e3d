//! Answers that no calm server gives, on a schedule: for tests of what a client makes of them.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use s3s::{S3Error, S3ErrorCode, s3_error};
use serde::{Deserialize, Serialize};

use super::Error;

/// A scripted misbehaviour. In a file it is one object of a JSON array:
/// `{"operation": "PutObject", "key": {"exact": "a.csv"}, "times": 1, "kind": "lost-after-commit"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// An operation by its S3 name, such as `PutObject`; `None` is any.
    #[serde(default)]
    pub operation: Option<String>,
    #[serde(default)]
    pub key: Option<Keys>,
    /// Lets this many matching requests pass before the first that is hit.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it hits; 0 is all of them.
    #[serde(default)]
    pub times: u32,
    #[serde(flatten)]
    pub kind: Kind,
}

/// The keys that a fault is for. Requests without a key never match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    Exact(String),
    Suffix(String),
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// The request is done, and the connection closed without an answer.
    LostAfterCommit,
    /// The connection is closed without an answer, and nothing was done.
    LostBeforeCommit,
    /// 409 ConditionalRequestConflict; nothing done.
    Conflict,
    /// 503 SlowDown; nothing done.
    SlowDown,
    /// 429 TooManyRequests; nothing done.
    TooManyRequests,
    /// 500 InternalError; nothing done.
    ErrorBeforeCommit,
    /// 500 InternalError, though the request was done.
    ErrorAfterCommit,
    /// 200 with an InternalError in the body; nothing done.
    ErrorBodyBeforeCommit,
    /// 200 with an InternalError in the body, though the request was done.
    ErrorBodyAfterCommit,
    /// Waits before it reads the request's body.
    SlowBody { ms: u64 },
    /// Waits before it answers.
    SlowAnswer { ms: u64 },
    /// Preconditions are not looked at.
    ConditionsIgnored,
    /// 403 AccessDenied; nothing done. On HeadObject it is what a role without s3:ListBucket sees.
    Forbidden,
    /// The object is stored as under SSE-KMS, with an ETag that is not an MD5.
    KmsEtag,
    /// Checksums are neither compared nor kept.
    ChecksumsIgnored,
    /// 400 ExpiredToken; nothing done.
    ExpiredToken,
    /// 301 PermanentRedirect; nothing done.
    PermanentRedirect,
    /// 400 RequestTimeout; nothing done.
    RequestTimeout,
    /// 400 BadDigest, as if the body had been damaged on its way; nothing done.
    BadDigest,
    /// A CompleteMultipartUpload is done, but its answer names a checksum that its parts do not make.
    OtherChecksum,
    /// A CopyObject copies all but the last byte.
    CopiedShort,
    /// 404 NoSuchUpload, though the request was done.
    NoSuchUploadAfterCommit,
    /// Another writer writes this text to the same key, just before this request is decided.
    AnotherWriter { text: String },
}

impl Fault {
    /// A fault that hits each request of an operation (`None`: of all), until limited.
    #[must_use]
    pub fn on(operation: &str, kind: Kind) -> Self {
        Self { operation: Some(operation.to_owned()), key: None, skip: 0, times: 0, kind }
    }

    /// Limits the fault to one hit.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.times = 1;
        self
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(Keys::Exact(key.into()));
        self
    }

    fn matches(&self, operation: &str, key: Option<&str>) -> bool {
        self.operation.as_deref().is_none_or(|wanted| wanted == operation)
            && match (&self.key, key) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(Keys::Exact(wanted)), Some(key)) => wanted == key,
                (Some(Keys::Suffix(wanted)), Some(key)) => key.ends_with(wanted.as_str()),
            }
    }
}

/// The faults of a sandbox. All that match a request hit it, in the order in which they were pushed.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Mutex<Vec<Armed>>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    seen: u32,
    hits: u32,
}

impl Faults {
    pub fn push(&self, fault: Fault) {
        self.armed().push(Armed { fault, seen: 0, hits: 0 });
    }

    pub fn clear(&self) {
        self.armed().clear();
    }

    /// How many requests were hit, one count a fault.
    #[must_use]
    pub fn hits(&self) -> u32 {
        self.armed().iter().map(|armed| armed.hits).sum()
    }

    /// Reads faults from a JSON array.
    pub fn load(&self, path: &Path) -> Result<(), Error> {
        let text = std::fs::read(path).map_err(|source| Error::Folder { path: path.to_owned(), source })?;
        let faults: Vec<Fault> =
            serde_json::from_slice(&text).map_err(|source| Error::Faults { path: path.to_owned(), source })?;
        for fault in faults {
            self.push(fault);
        }
        Ok(())
    }

    /// Matches and counts in one step, so that racing requests cannot share a hit.
    pub(super) fn take(&self, operation: &str, key: Option<&str>) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for armed in self.armed().iter_mut() {
            if !armed.fault.matches(operation, key) {
                continue;
            }
            armed.seen = armed.seen.saturating_add(1);
            if armed.seen > armed.fault.skip && (armed.fault.times == 0 || armed.hits < armed.fault.times) {
                armed.hits = armed.hits.saturating_add(1);
                kinds.push(armed.fault.kind.clone());
            }
        }
        kinds
    }

    fn armed(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a request or of its answer.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The connection is closed without an answer.
    Lost,
    Answer(Box<S3Error>),
}

impl Kind {
    /// What happens instead of the request.
    pub(super) fn before(&self) -> Option<Verdict> {
        let error = match self {
            Self::LostBeforeCommit => return Some(Verdict::Lost),
            Self::Conflict => s3_error!(
                ConditionalRequestConflict,
                "The conditional request cannot succeed due to a conflicting operation against this resource."
            ),
            Self::SlowDown => s3_error!(SlowDown, "Please reduce your request rate."),
            Self::TooManyRequests => {
                let code = S3ErrorCode::Custom("TooManyRequests".into());
                let mut error = S3Error::with_message(code, "Please reduce your request rate.");
                error.set_status_code(http::StatusCode::TOO_MANY_REQUESTS);
                error
            }
            Self::ErrorBeforeCommit => internal_error(),
            Self::ErrorBodyBeforeCommit => with_status_ok(internal_error()),
            Self::Forbidden => s3_error!(AccessDenied, "Access Denied"),
            Self::BadDigest => {
                s3_error!(BadDigest, "The SHA256 you specified did not match the calculated checksum.")
            }
            Self::ExpiredToken => s3_error!(ExpiredToken, "The provided token has expired."),
            Self::PermanentRedirect => s3_error!(
                PermanentRedirect,
                "The bucket you are attempting to access must be addressed using the specified endpoint."
            ),
            Self::RequestTimeout => s3_error!(
                RequestTimeout,
                "Your socket connection to the server was not read from or written to within the timeout period."
            ),
            Self::LostAfterCommit
            | Self::ErrorAfterCommit
            | Self::ErrorBodyAfterCommit
            | Self::SlowBody { .. }
            | Self::SlowAnswer { .. }
            | Self::ConditionsIgnored
            | Self::KmsEtag
            | Self::ChecksumsIgnored
            | Self::OtherChecksum
            | Self::CopiedShort
            | Self::NoSuchUploadAfterCommit
            | Self::AnotherWriter { .. } => return None,
        };
        Some(Verdict::Answer(Box::new(error)))
    }

    /// What happens instead of the answer.
    pub(super) fn after(&self) -> Option<Verdict> {
        match self {
            Self::LostAfterCommit => Some(Verdict::Lost),
            Self::ErrorAfterCommit => Some(Verdict::Answer(Box::new(internal_error()))),
            Self::ErrorBodyAfterCommit => Some(Verdict::Answer(Box::new(with_status_ok(internal_error())))),
            Self::NoSuchUploadAfterCommit => Some(Verdict::Answer(Box::new(super::shelf::no_such_upload()))),
            Self::LostBeforeCommit
            | Self::Conflict
            | Self::SlowDown
            | Self::TooManyRequests
            | Self::ErrorBeforeCommit
            | Self::ErrorBodyBeforeCommit
            | Self::SlowBody { .. }
            | Self::SlowAnswer { .. }
            | Self::ConditionsIgnored
            | Self::Forbidden
            | Self::KmsEtag
            | Self::ChecksumsIgnored
            | Self::BadDigest
            | Self::OtherChecksum
            | Self::CopiedShort
            | Self::ExpiredToken
            | Self::PermanentRedirect
            | Self::RequestTimeout
            | Self::AnotherWriter { .. } => None,
        }
    }
}

fn internal_error() -> S3Error {
    s3_error!(InternalError, "We encountered an internal error. Please try again.")
}

fn with_status_ok(mut error: S3Error) -> S3Error {
    error.set_status_code(http::StatusCode::OK);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_as_often_as_it_says_and_only_what_it_matches() {
        let faults = Faults::default();
        faults.push(Fault { skip: 1, ..Fault::on("PutObject", Kind::SlowDown).times(2).key("a") });
        assert!(faults.take("GetObject", Some("a")).is_empty());
        assert!(faults.take("PutObject", Some("b")).is_empty());
        assert!(faults.take("PutObject", None).is_empty());
        let hits: Vec<bool> = (0..4).map(|_| !faults.take("PutObject", Some("a")).is_empty()).collect();
        assert_eq!(hits, [false, true, true, false]);
        assert_eq!(faults.hits(), 2);
    }

    #[test]
    fn a_fault_reads_from_the_json_that_the_docs_show() {
        let text = r#"{"operation": "PutObject", "key": {"exact": "a.csv"}, "times": 1, "kind": "lost-after-commit"}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault, Fault::on("PutObject", Kind::LostAfterCommit).once().key("a.csv"));
        let text = r#"{"key": {"suffix": ".csv"}, "kind": "slow-answer", "ms": 20}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.kind, Kind::SlowAnswer { ms: 20 });
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "no-such-kind"}"#).is_err());
    }
}
