//! Buckets: made on demand, always versioned, all one owner's.

// The table in `ops` calls every operation alike.
#![allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value)]

use s3s::dto::{
    Bucket, BucketVersioningStatus, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketAclInput,
    GetBucketAclOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketLoggingInput, GetBucketLoggingOutput, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput,
    GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, Payer, PutBucketVersioningInput, PutBucketVersioningOutput, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::read::{full_control, owner};
use super::{Service, timestamp};
use crate::sandbox::REGION;
use crate::sandbox::record::Record;

pub(super) fn list(service: &Service, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let prefix = req.input.prefix.unwrap_or_default();
    let inner = service.shelf.lock();
    let named = inner.index.buckets.iter().filter(|(name, _)| name.starts_with(&prefix));
    let buckets = named.map(|(name, bucket)| Bucket {
        name: Some(name.clone()),
        creation_date: Some(timestamp(bucket.at)),
        bucket_region: Some(REGION.to_owned()),
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        owner: Some(owner(&service.owner)),
        ..ListBucketsOutput::default()
    }))
}

/// The gate has made the bucket already. Making one's own bucket again is no error in this region.
pub(super) fn create(_: &Service, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
    if req.input.object_lock_enabled_for_bucket == Some(true) {
        return Err(s3_error!(NotImplemented, "The sandbox does not do Object Lock."));
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{}", req.input.bucket)) }))
}

pub(super) fn delete(service: &Service, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = req.input.bucket;
    let mut inner = service.shelf.lock();
    if inner.index.buckets.get(&bucket).is_some_and(|b| !b.keys.is_empty()) {
        return Err(s3_error!(
            BucketNotEmpty,
            "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
        ));
    }
    inner.commit(Record::BucketGone { bucket })?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub(super) fn head(_: &Service, _: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..HeadBucketOutput::default() }))
}

/// No constraint is this region's name for itself.
pub(super) fn location(
    _: &Service,
    _: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

pub(super) fn versioning(
    _: &Service,
    _: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let status = Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED));
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}

pub(super) fn put_versioning(
    _: &Service,
    req: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let status = req.input.versioning_configuration.status;
    if status.is_some_and(|status| status.as_str() != BucketVersioningStatus::ENABLED) {
        return Err(s3_error!(NotImplemented, "The sandbox's buckets are always versioned."));
    }
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

pub(super) fn acl(service: &Service, _: S3Request<GetBucketAclInput>) -> S3Result<S3Response<GetBucketAclOutput>> {
    let grants = Some(vec![full_control(&service.owner)]);
    Ok(S3Response::new(GetBucketAclOutput { grants, owner: Some(owner(&service.owner)) }))
}

pub(super) fn encryption(
    _: &Service,
    _: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    let rule = ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
            kms_master_key_id: None,
            sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
        }),
        bucket_key_enabled: Some(false),
    };
    Ok(S3Response::new(GetBucketEncryptionOutput {
        server_side_encryption_configuration: Some(ServerSideEncryptionConfiguration { rules: vec![rule] }),
    }))
}

pub(super) fn logging(
    _: &Service,
    _: S3Request<GetBucketLoggingInput>,
) -> S3Result<S3Response<GetBucketLoggingOutput>> {
    Ok(S3Response::new(GetBucketLoggingOutput::default()))
}

pub(super) fn accelerate(
    _: &Service,
    _: S3Request<GetBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
    Ok(S3Response::new(GetBucketAccelerateConfigurationOutput::default()))
}

pub(super) fn notification(
    _: &Service,
    _: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    Ok(S3Response::new(GetBucketNotificationConfigurationOutput::default()))
}

pub(super) fn payment(
    _: &Service,
    _: S3Request<GetBucketRequestPaymentInput>,
) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
    let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer }))
}
