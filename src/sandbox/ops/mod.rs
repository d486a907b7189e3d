//! The operations of S3, as the protocol crate calls them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{Extensions, HeaderMap, HeaderValue};
use s3s::dto::{ETag, ETagCondition, Metadata, Timestamp};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::fault::Kind;
use super::record::{Object, Piece, Properties, Version};
use super::shelf::{Condition, Shelf, no_such_key};
use super::sum::{Algorithm, Sum};
use super::wire::Passage;

mod bucket;
mod copy;
mod list;
mod multipart;
mod read;
mod tags;
mod write;

pub(super) struct Service {
    pub shelf: Arc<Shelf>,
    pub owner: String,
}

/// Spells the protocol's trait out of a table. Operations that stream a body let the faults have their way themselves,
/// after the body: a client that is answered while it still sends may lose the answer.
macro_rules! operations {
    (
        answered: { $($name:ident, $input:ident => $output:ident, $act:path;)* }
        copied: { $($cname:ident, $cinput:ident => $coutput:ident, $cact:path;)* }
        streamed: { $($sname:ident, $sinput:ident => $soutput:ident, $sact:path;)* }
        unset: { $($uname:ident, $uinput:ident => $uoutput:ident, $code:literal;)* }
    ) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $(async fn $name(
                &self,
                req: S3Request<s3s::dto::$input>,
            ) -> S3Result<S3Response<s3s::dto::$output>> {
                let passage = passage(&req.extensions);
                passage.slow().await;
                passage.before()?;
                $act(self, req)
            })*
            $(async fn $cname(
                &self,
                req: S3Request<s3s::dto::$cinput>,
            ) -> S3Result<S3Response<s3s::dto::$coutput>> {
                let passage = passage(&req.extensions);
                passage.slow().await;
                passage.before()?;
                $cact(self, req).await
            })*
            $(async fn $sname(
                &self,
                req: S3Request<s3s::dto::$sinput>,
            ) -> S3Result<S3Response<s3s::dto::$soutput>> {
                passage(&req.extensions).slow().await;
                $sact(self, req).await
            })*
            $(async fn $uname(
                &self,
                req: S3Request<s3s::dto::$uinput>,
            ) -> S3Result<S3Response<s3s::dto::$uoutput>> {
                passage(&req.extensions).before()?;
                Err(not_set($code))
            })*
        }
    };
}

operations! {
    answered: {
        get_object, GetObjectInput => GetObjectOutput, read::get;
        head_object, HeadObjectInput => HeadObjectOutput, read::head;
        get_object_attributes, GetObjectAttributesInput => GetObjectAttributesOutput, read::attributes;
        get_object_acl, GetObjectAclInput => GetObjectAclOutput, read::acl;
        put_object_acl, PutObjectAclInput => PutObjectAclOutput, write::put_acl;
        delete_object, DeleteObjectInput => DeleteObjectOutput, write::delete;
        delete_objects, DeleteObjectsInput => DeleteObjectsOutput, write::delete_many;
        get_object_tagging, GetObjectTaggingInput => GetObjectTaggingOutput, tags::get;
        put_object_tagging, PutObjectTaggingInput => PutObjectTaggingOutput, tags::put;
        delete_object_tagging, DeleteObjectTaggingInput => DeleteObjectTaggingOutput, tags::delete;
        create_multipart_upload, CreateMultipartUploadInput => CreateMultipartUploadOutput, multipart::create;
        complete_multipart_upload, CompleteMultipartUploadInput => CompleteMultipartUploadOutput, multipart::complete;
        abort_multipart_upload, AbortMultipartUploadInput => AbortMultipartUploadOutput, multipart::abort;
        list_parts, ListPartsInput => ListPartsOutput, multipart::list_parts;
        list_multipart_uploads, ListMultipartUploadsInput => ListMultipartUploadsOutput, multipart::list;
        list_objects_v2, ListObjectsV2Input => ListObjectsV2Output, list::objects_v2;
        list_objects, ListObjectsInput => ListObjectsOutput, list::objects;
        list_object_versions, ListObjectVersionsInput => ListObjectVersionsOutput, list::versions;
        list_buckets, ListBucketsInput => ListBucketsOutput, bucket::list;
        create_bucket, CreateBucketInput => CreateBucketOutput, bucket::create;
        delete_bucket, DeleteBucketInput => DeleteBucketOutput, bucket::delete;
        head_bucket, HeadBucketInput => HeadBucketOutput, bucket::head;
        get_bucket_location, GetBucketLocationInput => GetBucketLocationOutput, bucket::location;
        get_bucket_versioning, GetBucketVersioningInput => GetBucketVersioningOutput, bucket::versioning;
        put_bucket_versioning, PutBucketVersioningInput => PutBucketVersioningOutput, bucket::put_versioning;
        get_bucket_acl, GetBucketAclInput => GetBucketAclOutput, bucket::acl;
        get_bucket_encryption, GetBucketEncryptionInput => GetBucketEncryptionOutput, bucket::encryption;
        get_bucket_logging, GetBucketLoggingInput => GetBucketLoggingOutput, bucket::logging;
        get_bucket_accelerate_configuration, GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput, bucket::accelerate;
        get_bucket_notification_configuration, GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, bucket::notification;
        get_bucket_request_payment, GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput, bucket::payment;
    }
    copied: {
        copy_object, CopyObjectInput => CopyObjectOutput, copy::copy;
        upload_part_copy, UploadPartCopyInput => UploadPartCopyOutput, copy::copy_part;
    }
    streamed: {
        put_object, PutObjectInput => PutObjectOutput, write::put;
        upload_part, UploadPartInput => UploadPartOutput, multipart::upload_part;
    }
    unset: {
        get_bucket_cors, GetBucketCorsInput => GetBucketCorsOutput, "NoSuchCORSConfiguration";
        get_bucket_lifecycle_configuration, GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput, "NoSuchLifecycleConfiguration";
        get_bucket_ownership_controls, GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput, "OwnershipControlsNotFoundError";
        get_bucket_policy, GetBucketPolicyInput => GetBucketPolicyOutput, "NoSuchBucketPolicy";
        get_bucket_policy_status, GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput, "NoSuchBucketPolicy";
        get_bucket_replication, GetBucketReplicationInput => GetBucketReplicationOutput, "ReplicationConfigurationNotFoundError";
        get_bucket_tagging, GetBucketTaggingInput => GetBucketTaggingOutput, "NoSuchTagSet";
        get_bucket_website, GetBucketWebsiteInput => GetBucketWebsiteOutput, "NoSuchWebsiteConfiguration";
        get_object_legal_hold, GetObjectLegalHoldInput => GetObjectLegalHoldOutput, "NoSuchObjectLockConfiguration";
        get_object_lock_configuration, GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput, "ObjectLockConfigurationNotFoundError";
        get_object_retention, GetObjectRetentionInput => GetObjectRetentionOutput, "NoSuchObjectLockConfiguration";
        get_public_access_block, GetPublicAccessBlockInput => GetPublicAccessBlockOutput, "NoSuchPublicAccessBlockConfiguration";
    }
}

fn not_set(code: &'static str) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or_else(|| S3ErrorCode::Custom(code.into()));
    let mut error = S3Error::with_message(code, "The sandbox keeps no such configuration.");
    error.set_status_code(http::StatusCode::NOT_FOUND);
    error
}

impl Passage {
    async fn slow(&self) {
        for kind in self.kinds() {
            if let Kind::SlowBody { ms } = kind {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
            }
        }
    }

    fn has(&self, wanted: &Kind) -> bool {
        self.kinds().contains(wanted)
    }
}

fn passage(extensions: &Extensions) -> Arc<Passage> {
    extensions.get::<Arc<Passage>>().cloned().unwrap_or_default()
}

impl Service {
    /// Lets the scripted other writer write, just before this request is decided.
    fn strike(&self, passage: &Passage, bucket: &str, key: &str) -> S3Result<()> {
        for kind in passage.kinds() {
            let Kind::AnotherWriter { text } = kind else { continue };
            let sum = Sum::full(Algorithm::Crc64nvme, Algorithm::Crc64nvme.of(text.as_bytes()));
            let mut blob = self.shelf.disk.new_blob().map_err(S3Error::internal_error)?;
            std::io::Write::write_all(&mut blob.file, text.as_bytes()).map_err(S3Error::internal_error)?;
            let size = text.len() as u64;
            let object = Object {
                size,
                etag: hex::encode(<md5::Md5 as md5::Digest>::digest(text)),
                pieces: vec![Piece { blob: blob.number, size, sum: None }],
                multipart: false,
                sum: Some(sum),
                properties: Properties { sse: Some("AES256".to_owned()), ..Properties::default() },
                tags: BTreeMap::new(),
            };
            self.shelf.put(bucket, key, object, &Condition::None, None)?;
            blob.keep();
        }
        Ok(())
    }

    /// The version asked for, or the current one, with the errors that S3 has for those that are not objects.
    fn find(&self, bucket: &str, key: &str, id: Option<&str>) -> S3Result<(Arc<Version>, Object)> {
        let inner = self.shelf.lock();
        let version = match id {
            None => inner.index.current(bucket, key).ok_or_else(no_such_key)?,
            Some(id) => inner.index.version(bucket, key, id).ok_or_else(no_such_version)?,
        };
        match &version.object {
            Some(object) => Ok((Arc::clone(version), object.clone())),
            None => Err(delete_marker(&version.id, id.is_some())),
        }
    }
}

fn no_such_version() -> S3Error {
    s3_error!(NoSuchVersion, "The specified version does not exist.")
}

fn delete_marker(id: &str, by_version: bool) -> S3Error {
    let mut error = if by_version {
        s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.")
    } else {
        no_such_key()
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-amz-version-id", id);
    }
    if by_version {
        headers.insert("allow", HeaderValue::from_static("DELETE"));
    }
    // The error's own headers replace those of its XML body.
    headers.insert("content-type", HeaderValue::from_static("application/xml"));
    error.set_headers(headers);
    error
}

/// Reads the two preconditions of a write.
fn condition(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    passage: &Passage,
) -> S3Result<Condition> {
    if passage.has(&Kind::ConditionsIgnored) {
        return Ok(Condition::None);
    }
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Matches(etag.value().to_owned())),
        (Some(ETagCondition::Any), None) | (_, Some(_)) => {
            Err(s3_error!(NotImplemented, "A header you provided implies functionality that is not implemented"))
        }
    }
}

fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

fn timestamp(seconds: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// S3's sizes and counts are signed on the wire.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn counted(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn metadata(properties: &Properties) -> Option<Metadata> {
    let map: Metadata = properties.metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    (!map.is_empty()).then_some(map)
}

/// Takes an object's properties out of a request, whose types have the same fields and no common trait.
macro_rules! properties {
    ($service:expr, $input:expr) => {
        $crate::sandbox::ops::settle(
            $service,
            $crate::sandbox::record::Properties {
                content_type: $input.content_type.clone().filter(|t| !t.is_empty()),
                cache_control: $input.cache_control.clone(),
                content_disposition: $input.content_disposition.clone(),
                content_encoding: $input.content_encoding.clone(),
                content_language: $input.content_language.clone(),
                expires: $input.expires.clone(),
                metadata: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
                storage_class: $input.storage_class.as_ref().map(|c| c.as_str().to_owned()),
                sse: $input.server_side_encryption.as_ref().map(|s| s.as_str().to_owned()),
                kms_key: $input.ssekms_key_id.clone(),
                bucket_key: $input.bucket_key_enabled,
                redirect: $input.website_redirect_location.clone(),
            },
            $input.sse_customer_algorithm.is_some(),
            $input.object_lock_mode.is_some() || $input.object_lock_legal_hold_status.is_some(),
        )
    };
}
use properties;

const METADATA_BYTES: usize = 2048;

/// Checks the properties and adds what S3 adds.
fn settle(service: &Service, mut properties: Properties, own_key: bool, locked: bool) -> S3Result<Properties> {
    if own_key {
        return Err(s3_error!(NotImplemented, "The sandbox does not do SSE-C."));
    }
    if locked {
        return Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"));
    }
    let bytes: usize = properties.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > METADATA_BYTES {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    properties.content_type.get_or_insert_with(|| "binary/octet-stream".to_owned());
    properties.sse.get_or_insert_with(|| "AES256".to_owned());
    if properties.storage_class.as_deref() == Some("STANDARD") {
        properties.storage_class = None;
    }
    // The SDKs name the framing of the upload here; it is not the object's.
    properties.content_encoding = properties.content_encoding.take().and_then(|encoding| {
        let kept: Vec<&str> =
            encoding.split(',').map(str::trim).filter(|e| !e.is_empty() && *e != "aws-chunked").collect();
        (!kept.is_empty()).then(|| kept.join(","))
    });
    if properties.is_kms() {
        properties
            .kms_key
            .get_or_insert_with(|| format!("arn:aws:kms:{}:{}:key/sandbox", super::REGION, service.owner));
    }
    Ok(properties)
}
