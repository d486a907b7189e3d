//! Brings an earlier version back, or takes a created object away: what a rollback sends.

use std::ops::RangeInclusive;

use aws_sdk_s3::operation::RequestId as _;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{
    ChecksumMode, CompletedMultipartUpload, CompletedPart, MetadataDirective, ServerSideEncryption, StorageClass,
    TaggingDirective,
};

use super::classify::{self, Answer, Condition, Op};
use super::translate::{self, answer_of};
use super::wait::within;
use super::{S3, unreadable};
use crate::model::digest::ETag;
use crate::model::entry::Key;
use crate::model::head::{Carried, VersionId};
use crate::model::write::{Cause, Copy, Expect, LookError, PutError, Written};
use crate::store::{Buried, CopiedPart, UploadId};

/// Sets on a CopyObject or a CreateMultipartUpload what the version had: two builders with the same methods and no
/// common trait. The `Expires` header travels as it stands there, which need not be a date.
macro_rules! as_it_was {
    ($request:expr, $copy:expr) => {{
        let Copy { properties, carried, .. } = $copy;
        let (mut encryption, kms_key) = translate::encryption_wanted(properties.sse.as_ref());
        if carried.dsse {
            encryption = Some(ServerSideEncryption::AwsKmsDsse);
        }
        $request
            .set_content_type(properties.content_type.clone())
            .set_cache_control(properties.cache_control.clone())
            .set_content_encoding(properties.content_encoding.clone())
            .set_content_disposition(properties.content_disposition.clone())
            .set_content_language(properties.content_language.clone())
            .set_storage_class(properties.storage_class.as_deref().map(Into::into))
            .set_website_redirect_location(carried.website_redirect.clone())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key.filter(|key| !key.is_empty()))
            .set_bucket_key_enabled(carried.bucket_key.then_some(true))
            .set_metadata(Some(translate::metadata_of_copy($copy)))
    }};
}

/// Sends a request with the version's `Expires` header.
macro_rules! send {
    ($request:expr, $copy:expr) => {{
        let expires = $copy.carried.expires.clone();
        Box::pin(
            $request
                .customize()
                .mutate_request(move |request| {
                    if let Some(expires) = &expires {
                        request.headers_mut().insert("expires", expires.clone());
                    }
                })
                .send(),
        )
    }};
}

impl S3 {
    pub(super) async fn buried_version(&self, key: &Key, version: &VersionId) -> Result<Buried, LookError> {
        let output = match self.head_once(key, Some(version), Some(ChecksumMode::Enabled)).await {
            // The role may lack kms:Decrypt, which only the checksums need.
            Err(Answer::Said { status: 403, .. }) => self.head_once(key, Some(version), None).await,
            other => other,
        };
        let output = match output {
            Ok(output) if output.delete_marker() == Some(true) => return Ok(Buried::DeleteMarker),
            Ok(output) => output,
            Err(Answer::Said { status: 405, .. }) => return Ok(Buried::DeleteMarker),
            Err(Answer::Said { status: 403, .. }) => return Ok(Buried::Unseen),
            Err(Answer::Said { status: 404, code, .. }) if code != "NoSuchBucket" => return Ok(Buried::Gone),
            // A HEAD's 400 has no body that says why.
            Err(Answer::Said { status: 400, code, request_id, .. }) => {
                let message =
                    "HEAD of the version was answered with 400: it is encrypted with a customer's key (SSE-C), \
                               or its id is none of this server's"
                        .to_owned();
                return Err(LookError {
                    cause: Cause { http_status: Some(400), code, message, request_id },
                    stop: false,
                });
            }
            Err(answer) => return Err(classify::look_error(answer)),
        };
        if let Some(class) = archived(&output) {
            return Ok(Buried::Archived { class });
        }
        let mut head = translate::head(&output).ok_or_else(|| unreadable("HEAD gave no size or no ETag"))?;
        head.version.get_or_insert_with(|| version.clone());
        let request = self
            .looking
            .get_object_tagging()
            .bucket(&self.bucket)
            .key(key.as_str())
            .version_id(&version.0)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        match request.send().await.map_err(|error| answer_of(&error)) {
            Ok(tags) => {
                head.properties.tags =
                    tags.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
            }
            // A server without tags.
            Err(Answer::Said { status: 501, .. }) => {}
            // Or one that does not find them under a delete marker (ministack): HEAD has just found the version. A copy in
            // one request takes the tags along in any case.
            Err(Answer::Said { status: 404, code, .. }) if code != "NoSuchBucket" => {}
            Err(answer) => {
                let mut error = classify::look_error(answer);
                error.cause.message = format!("reading the tags of version {version}: {}", error.cause.message);
                return Err(error);
            }
        }
        let carried = carried(&output, head.claim.take());
        Ok(Buried::There { head: Box::new(head), carried })
    }

    pub(super) async fn copy_version(&self, copy: &Copy, expect: &Expect) -> Result<Written, PutError> {
        let request = self.writing.copy_object().bucket(&self.bucket).key(copy.key.as_str());
        let request = as_it_was!(request, copy)
            .copy_source(translate::copy_source(&self.bucket, copy))
            .copy_source_if_match(copy.etag.quoted())
            // The write id is this write's own, and metadata can only be replaced as a whole.
            .metadata_directive(MetadataDirective::Replace)
            .tagging_directive(TaggingDirective::Copy)
            .set_if_none_match((*expect == Expect::Absent).then(|| "*".to_owned()))
            .set_if_match(translate::if_match(expect))
            .set_expected_bucket_owner(self.owner.clone())
            .set_expected_source_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = within(Op::Copy, Condition::of(expect), send!(request, copy)).await?;
        let request_id = output.request_id().map(ToOwned::to_owned);
        match output.copy_object_result().and_then(|result| result.e_tag()) {
            Some(etag) => Ok(Written {
                etag: Some(ETag::new(etag)),
                version: translate::version(output.version_id()),
                request_id,
                http_status: 200,
            }),
            // The SDK takes an answer that says nothing for a success.
            None => Err(garbled("the server answered 200, but named no object", request_id)),
        }
    }

    pub(super) async fn begin_copy(&self, copy: &Copy) -> Result<UploadId, PutError> {
        let request = self.writing.create_multipart_upload().bucket(&self.bucket).key(copy.key.as_str());
        let request = as_it_was!(request, copy)
            .set_tagging(translate::tagging(&copy.properties.tags))
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = within(Op::CreateUpload, Condition::None, send!(request, copy)).await?;
        let request_id = output.request_id().map(ToOwned::to_owned);
        match output.upload_id() {
            Some(id) => Ok(UploadId(id.to_owned())),
            None => Err(garbled("the server began an upload but did not name it", request_id)),
        }
    }

    pub(super) async fn copy_bytes(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        bytes: RangeInclusive<u64>,
    ) -> Result<CopiedPart, PutError> {
        let request = self
            .writing
            .upload_part_copy()
            .bucket(&self.bucket)
            .key(copy.key.as_str())
            .upload_id(&upload.0)
            .part_number(translate::part_number(number)?)
            .copy_source(translate::copy_source(&self.bucket, copy))
            .copy_source_if_match(copy.etag.quoted())
            .copy_source_range(format!("bytes={}-{}", bytes.start(), bytes.end()))
            .set_expected_bucket_owner(self.owner.clone())
            .set_expected_source_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = within(Op::CopyPart, Condition::None, Box::pin(request.send())).await?;
        let Some(etag) = output.copy_part_result().and_then(|result| result.e_tag()) else {
            let request_id = output.request_id().map(ToOwned::to_owned);
            return Err(garbled(&format!("the server copied part {number} but gave no ETag for it"), request_id));
        };
        Ok(CopiedPart { number, etag: ETag::new(etag) })
    }

    pub(super) async fn end_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        parts: &[CopiedPart],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        let mut list = CompletedMultipartUpload::builder();
        for CopiedPart { number, etag } in parts {
            let part = CompletedPart::builder().part_number(translate::part_number(*number)?).e_tag(etag.quoted());
            list = list.parts(part.build());
        }
        let request = self
            .writing
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(copy.key.as_str())
            .upload_id(&upload.0)
            .multipart_upload(list.build())
            .mpu_object_size(translate::length(copy.size)?)
            .set_if_none_match((*expect == Expect::Absent).then(|| "*".to_owned()))
            .set_if_match(translate::if_match(expect))
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = within(Op::Complete, Condition::of(expect), Box::pin(request.send())).await?;
        let request_id = output.request_id().map(ToOwned::to_owned);
        match output.e_tag() {
            Some(etag) => Ok(Written {
                etag: Some(ETag::new(etag)),
                version: translate::version(output.version_id()),
                request_id,
                http_status: 200,
            }),
            None => Err(garbled("the server answered 200, but named no object", request_id)),
        }
    }

    pub(super) async fn delete_current(&self, key: &Key, etag: &ETag) -> Result<Written, PutError> {
        let request = self
            .writing
            .delete_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .if_match(etag.quoted())
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = within(Op::Delete, Condition::IfMatch, Box::pin(request.send())).await?;
        Ok(Written {
            etag: None,
            version: translate::version(output.version_id()),
            request_id: output.request_id().map(ToOwned::to_owned),
            http_status: 204,
        })
    }
}

/// The archive that an object has to be restored from before anybody can read it, if it lies in one.
fn archived(output: &HeadObjectOutput) -> Option<String> {
    // `ongoing-request="false", expiry-date="..."` once a restore is done: a copy can be read until then.
    if output.restore().is_some_and(|restore| restore.contains("ongoing-request=\"false\"")) {
        return None;
    }
    let tier = output.archive_status().map(|status| status.as_str().to_owned());
    let class =
        output.storage_class().filter(|class| matches!(class, StorageClass::Glacier | StorageClass::DeepArchive));
    tier.or_else(|| class.map(|class| class.as_str().to_owned()))
}

fn carried(output: &HeadObjectOutput, claim: Option<String>) -> Carried {
    let own = |text: Option<&str>| text.map(ToOwned::to_owned);
    Carried {
        claim,
        expires: own(output.expires_string()),
        website_redirect: own(output.website_redirect_location()),
        bucket_key: output.bucket_key_enabled() == Some(true),
        dsse: output.server_side_encryption() == Some(&ServerSideEncryption::AwsKmsDsse),
    }
}

fn garbled(message: &str, request_id: Option<String>) -> PutError {
    PutError::Unknown(Cause { http_status: Some(200), code: "Garbled".into(), message: message.to_owned(), request_id })
}
