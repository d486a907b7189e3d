//! What every request passes before its operation: the key that signed it, the bucket's owner, the faults on schedule.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};

use super::fault::Faults;
use super::shelf::Shelf;
use super::wire::{Counts, Passage};

/// Knows the sandbox's one pair of keys.
pub(super) struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            return Ok(SecretKey::from(self.secret_key.as_str()));
        }
        Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
    }
}

pub(super) struct Gate {
    pub shelf: Arc<Shelf>,
    pub faults: Arc<Faults>,
    pub counts: Arc<Counts>,
    pub owner: String,
    pub require_auth: bool,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name().to_owned();
        self.counts.add(&operation);
        if self.require_auth && cx.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        // Only a signed upload is taken out of its chunks: an unsigned one would be stored with their framing.
        let chunked = cx.headers().get("x-amz-content-sha256").is_some_and(|v| v.as_bytes().starts_with(b"STREAMING-"));
        if chunked && cx.credentials().is_none() {
            return Err(s3_error!(NotImplemented, "The sandbox takes aws-chunked uploads only when they are signed."));
        }
        for header in ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"] {
            if cx.headers().get(header).is_some_and(|expected| expected != self.owner.as_str()) {
                return Err(s3_error!(AccessDenied, "Access Denied"));
            }
        }
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.to_string()), None),
            S3Path::Object { bucket, key } => (Some(bucket.to_string()), Some(key.to_string())),
        };
        if let Some(passage) = cx.extensions_mut().get::<Arc<Passage>>() {
            passage.kinds.get_or_init(|| self.faults.take(&operation, key.as_deref()));
        }
        if let Some(bucket) = bucket {
            self.shelf.ensure_bucket(&bucket)?;
        }
        Ok(())
    }
}
