//! Asks a server whether it honours conditions, with the smallest requests that can tell.
//!
//! Many servers ignore `If-Match` and overwrite, answering 200. What they then stored is a probe of ours, nothing else.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use sha2::Digest as _;

use super::S3;
use super::classify::{Condition, Op};
use super::wait::within;
use crate::model::digest::Sha256;
use crate::model::entry::Key;
use crate::model::head::Remote;
use crate::model::write::{LookError, PutError, Refusal};
use crate::store::{Probed, Store as _, UploadId};

/// An ETag that no object has.
const IMPOSSIBLE_ETAG: &str = "\"00000000000000000000000000000000-0\"";
const PROBE_BYTES: &[u8] =
    b"noclobber asks whether this server honours If-Match. It should have refused this object.\n";
const PROBE_LEN: i64 = 89;

impl S3 {
    async fn abort_quietly(&self, key: &Key, upload: &UploadId) {
        // What cannot be aborted now is aborted from the journal later, or by the bucket's own lifecycle rule.
        if let Err(error) = self.abort(key, upload).await {
            tracing::debug!(%key, %error, "the upload could not be aborted");
        }
    }

    async fn probe_upload(&self, key: &Key, upload: &UploadId) -> Result<Probed, PutError> {
        let sha256 = Sha256(sha2::Sha256::digest(PROBE_BYTES).into());
        let request = self
            .writing
            .upload_part()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(&upload.0)
            .part_number(1)
            .checksum_sha256(sha256.to_base64())
            .content_length(PROBE_LEN)
            .body(ByteStream::from_static(PROBE_BYTES))
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let taken = within(Op::Part, Condition::None, Box::pin(request.send())).await?;
        let part = CompletedPart::builder()
            .part_number(1)
            .set_e_tag(taken.e_tag().map(ToOwned::to_owned))
            .checksum_sha256(sha256.to_base64())
            .build();
        let request = self
            .writing
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(&upload.0)
            .multipart_upload(CompletedMultipartUpload::builder().parts(part).build())
            .if_match(IMPOSSIBLE_ETAG)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        match within(Op::Complete, Condition::IfMatch, Box::pin(request.send())).await {
            Ok(_) => Ok(Probed::Ignored),
            Err(PutError::Lost(_)) => Ok(Probed::Honoured),
            Err(error) => Err(error),
        }
    }

    /// A tiny PutObject with an `If-Match` that cannot match.
    pub(super) async fn ask_put(&self, probe: &Key) -> Result<Probed, LookError> {
        let sha256 = Sha256(sha2::Sha256::digest(PROBE_BYTES).into());
        let request = self
            .writing
            .put_object()
            .bucket(&self.bucket)
            .key(probe.as_str())
            .if_match(IMPOSSIBLE_ETAG)
            .checksum_sha256(sha256.to_base64())
            .content_length(PROBE_LEN)
            .body(ByteStream::from_static(PROBE_BYTES))
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        match within(Op::Put, Condition::IfMatch, Box::pin(request.send())).await {
            Ok(_) => Ok(Probed::Ignored),
            Err(PutError::Lost(_)) => Ok(Probed::Honoured),
            Err(error) => Err(unproven(&error)),
        }
    }

    /// A tiny PutObject whose checksum is another one's. Where something is there already, nothing is stored.
    pub(super) async fn ask_checksum(&self, probe: &Key) -> Result<Probed, LookError> {
        let another = Sha256(sha2::Sha256::digest(b"another").into());
        let request = self
            .writing
            .put_object()
            .bucket(&self.bucket)
            .key(probe.as_str())
            .if_none_match("*")
            .checksum_sha256(another.to_base64())
            .content_length(PROBE_LEN)
            .body(ByteStream::from_static(PROBE_BYTES))
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        match within(Op::Put, Condition::IfNoneMatch, Box::pin(request.send())).await {
            Ok(_) => Ok(Probed::Ignored),
            Err(PutError::Refused(Refusal::SourceChanged, _)) => Ok(Probed::Honoured),
            Err(error) => Err(unproven(&error)),
        }
    }

    /// A tiny upload, completed with an `If-Match` that cannot match, and aborted unless it was completed all the same.
    pub(super) async fn ask_complete(&self, probe: &Key) -> Result<Probed, LookError> {
        let request = self
            .writing
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(probe.as_str())
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = within(Op::CreateUpload, Condition::None, Box::pin(request.send()))
            .await
            .map_err(|error| unproven(&error))?;
        let Some(upload) = output.upload_id().map(|id| UploadId(id.to_owned())) else {
            return Err(super::unreadable("the server began an upload but did not name it"));
        };
        let probed = self.probe_upload(probe, &upload).await;
        if probed != Ok(Probed::Ignored) {
            self.abort_quietly(probe, &upload).await;
        }
        probed.map_err(|error| unproven(&error))
    }

    /// Deletes a probe that was stored, with all its versions.
    pub(super) async fn remove(&self, probe: &Key) -> Result<(), LookError> {
        // Where versions are kept, a plain delete would only hide it; where they are kept no more, it leaves a delete
        // marker named `null`, which goes with the second turn.
        for _ in 0..2 {
            let versions = self.versions(probe, 100).await.unwrap_or_default();
            let mut ids: Vec<Option<String>> = versions.into_iter().map(|version| Some(version.id.0)).collect();
            if ids.is_empty() {
                // A delete of nothing would leave a marker too.
                if self.look(probe, None).await? == Remote::Absent {
                    break;
                }
                ids.push(None);
            }
            for id in ids {
                let request = self
                    .writing
                    .delete_object()
                    .bucket(&self.bucket)
                    .key(probe.as_str())
                    .set_version_id(id)
                    .set_expected_bucket_owner(self.owner.clone())
                    .set_request_payer(self.payer.clone());
                self.limits.turn().await;
                super::looked(request.send().await)?;
            }
        }
        Ok(())
    }
}

fn unproven(error: &PutError) -> LookError {
    let stop = matches!(error, PutError::Refused(Refusal::Stop, _));
    LookError { cause: error.cause().clone(), stop }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_length_is_its_length() {
        assert_eq!(i64::try_from(PROBE_BYTES.len()), Ok(PROBE_LEN));
    }
}
