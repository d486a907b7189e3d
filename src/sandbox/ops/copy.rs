//! CopyObject and UploadPartCopy.

use http::HeaderMap;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, ETagCondition, MetadataDirective,
    ServerSideEncryption, TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::multipart::{part_number, put_part};
use super::read::{Asked, Failing};
use super::{Service, condition, etag, passage, properties, tags, timestamp};
use crate::sandbox::body;
use crate::sandbox::fault::Kind;
use crate::sandbox::record::{Object, Part, Piece, Version};
use crate::sandbox::shelf::{now, precondition_failed};
use crate::sandbox::sum::{Algorithm, fill_sum};

/// CopyObject takes no more; above it, UploadPartCopy.
const MAX_COPY_BYTES: u64 = 5 << 30;

pub(super) async fn copy(service: &Service, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let passage = passage(&req.extensions);
    let input = req.input;
    // The protocol crate's type has no fields for the destination's conditions yet.
    let if_match = header(&req.headers, "if-match")?;
    let if_none_match = header(&req.headers, "if-none-match")?;
    let condition = condition(if_match.as_ref(), if_none_match.as_ref(), &passage)?;
    let (version, source) = source(service, &input.copy_source)?;
    let asked = Asked {
        matches: input.copy_source_if_match.as_ref(),
        none: input.copy_source_if_none_match.as_ref(),
        since: input.copy_source_if_modified_since.as_ref(),
        until: input.copy_source_if_unmodified_since.as_ref(),
    };
    if !passage.has(&Kind::ConditionsIgnored) {
        judge(&asked, &version, &source)?;
    }
    if source.size > MAX_COPY_BYTES {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        ));
    }
    // Checks the request's properties even where the source's are kept.
    let given = properties!(service, input)?;
    let directive = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
    let properties = if directive == Some(MetadataDirective::REPLACE) {
        given
    } else {
        let mut kept = source.properties.clone();
        // These are never copied: they are the destination's own.
        (kept.sse, kept.kms_key, kept.bucket_key) = (given.sse, given.kms_key, given.bucket_key);
        (kept.storage_class, kept.redirect) = (given.storage_class, given.redirect);
        kept
    };
    let directive = input.tagging_directive.as_ref().map(TaggingDirective::as_str);
    let tags = if directive == Some(TaggingDirective::REPLACE) {
        tags::from_header(input.tagging.as_deref())?
    } else {
        source.tags.clone()
    };
    let asked = input.checksum_algorithm.as_ref().map(|a| Algorithm::read(a.as_str())).transpose()?;
    let algorithm = asked.or(source.sum.as_ref().map(|sum| sum.algorithm)).unwrap_or(Algorithm::Crc64nvme);

    let disk = &service.shelf.disk;
    let size = source.size - u64::from(passage.has(&Kind::CopiedShort) && source.size > 0);
    let bytes = body::send(disk, &source, 0..size);
    let received = body::receive(disk, Some(bytes), &[algorithm], None).await?;
    service.strike(&passage, &input.bucket, &input.key)?;
    let (size, md5) = (received.size, received.md5());
    let sum = received.hashed.sum(algorithm).cloned().filter(|_| !passage.has(&Kind::ChecksumsIgnored));
    let blob = received.into_blob(disk)?;
    let mut object = Object {
        size,
        etag: md5,
        pieces: vec![Piece { blob: blob.number, size, sum: None }],
        multipart: false,
        sum,
        properties,
        tags,
    };
    if passage.has(&Kind::KmsEtag) {
        object.properties.sse = Some("aws:kms".to_owned());
    }
    let copied = service.shelf.put(&input.bucket, &input.key, object, &condition, None)?;
    blob.keep();

    let mut result = CopyObjectResult { last_modified: Some(timestamp(copied.at)), ..CopyObjectResult::default() };
    let mut output = CopyObjectOutput {
        copy_source_version_id: Some(version.id.clone()),
        version_id: Some(copied.id.clone()),
        ..CopyObjectOutput::default()
    };
    if let Some(object) = &copied.object {
        result.e_tag = Some(etag(&object.etag));
        result.checksum_type = object.sum.as_ref().map(|sum| sum.kind().to_owned().into());
        fill_sum!(result, &object.sum);
        output.server_side_encryption = object.properties.sse.clone().map(ServerSideEncryption::from);
        output.ssekms_key_id.clone_from(&object.properties.kms_key);
        output.bucket_key_enabled = object.properties.bucket_key;
    }
    output.copy_object_result = Some(result);
    Ok(S3Response::new(output))
}

pub(super) async fn copy_part(
    service: &Service,
    req: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let passage = passage(&req.extensions);
    let input = req.input;
    let number = part_number(input.part_number)?;
    let upload_algorithm = service.shelf.lock().index.upload(&input.bucket, &input.key, &input.upload_id)?.algorithm;
    let (version, source) = source(service, &input.copy_source)?;
    let asked = Asked {
        matches: input.copy_source_if_match.as_ref(),
        none: input.copy_source_if_none_match.as_ref(),
        since: input.copy_source_if_modified_since.as_ref(),
        until: input.copy_source_if_unmodified_since.as_ref(),
    };
    if !passage.has(&Kind::ConditionsIgnored) {
        judge(&asked, &version, &source)?;
    }
    let range = match &input.copy_source_range {
        None => 0..source.size,
        Some(text) => {
            let flaw =
                || s3_error!(InvalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last");
            match s3s::dto::Range::parse(text).map_err(|_| flaw())? {
                s3s::dto::Range::Int { first, last: Some(last) } if last < source.size => first..last + 1,
                _ => return Err(flaw()),
            }
        }
    };
    let algorithm = upload_algorithm.unwrap_or(Algorithm::Crc64nvme);
    let disk = &service.shelf.disk;
    let bytes = body::send(disk, &source, range);
    let received = body::receive(disk, Some(bytes), &[algorithm], None).await?;
    let (size, md5) = (received.size, received.md5());
    let sum = received.hashed.sum(algorithm).cloned();
    let blob = received.into_blob(disk)?;
    let at = now();
    let mut result =
        CopyPartResult { e_tag: Some(etag(&md5)), last_modified: Some(timestamp(at)), ..CopyPartResult::default() };
    if upload_algorithm.is_some() {
        fill_sum!(result, &sum);
    }
    let part = Part { piece: Piece { blob: blob.number, size, sum }, md5, at };
    service.strike(&passage, &input.bucket, &input.key)?;
    put_part(service, input.bucket, &input.key, input.upload_id, number, part)?;
    blob.keep();
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: Some(version.id.clone()),
        ..UploadPartCopyOutput::default()
    }))
}

fn source(service: &Service, source: &CopySource) -> S3Result<(std::sync::Arc<Version>, Object)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            let found = service.find(bucket, key, version_id.as_deref());
            found.map_err(|error| match error.code() {
                // S3 answers 400 where the named version of a copy's source is a delete marker.
                s3s::S3ErrorCode::MethodNotAllowed => {
                    s3_error!(
                        InvalidRequest,
                        "The source of a copy request may not specifically refer to a delete marker by version id."
                    )
                }
                _ => error,
            })
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(s3_error!(NotImplemented, "The sandbox has no access points."))
        }
    }
}

fn header(headers: &HeaderMap, name: &str) -> S3Result<Option<ETagCondition>> {
    let flaw = |_| s3_error!(InvalidArgument, "Invalid {name} header");
    headers.get(name).map(|value| ETagCondition::parse_http_header(value.as_bytes())).transpose().map_err(flaw)
}

/// All that fail answer 412, where a read would answer 304 to some.
fn judge(asked: &Asked<'_>, version: &Version, object: &Object) -> S3Result<()> {
    match asked.failing(version, object) {
        None => Ok(()),
        Some(Failing::Changed(name) | Failing::Unchanged(name)) => {
            Err(precondition_failed(&format!("x-amz-copy-source-{name}")))
        }
    }
}
