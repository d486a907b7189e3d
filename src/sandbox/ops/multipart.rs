//! Multipart uploads.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType, CommonPrefix,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part as ListedPart, ServerSideEncryption, StorageClass, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::list::Encoding;
use super::read::owner;
use super::write::Claims;
use super::{Service, condition, counted, etag, passage, properties, signed, tags, timestamp};
use crate::sandbox::body;
use crate::sandbox::fault::Kind;
use crate::sandbox::record::{Object, Part, Piece, Record, Upload};
use crate::sandbox::shelf::{new_id, now};
use crate::sandbox::sum::{Algorithm, Sum, check_form, combine, fill_sum, given_sums, mismatch, multipart_etag};

const MIN_PART_BYTES: u64 = 5 << 20;
const MAX_PARTS: u32 = 10_000;

pub(super) fn create(
    service: &Service,
    req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let passage = passage(&req.extensions);
    let input = req.input;
    let mut properties = properties!(service, input)?;
    if passage.has(&Kind::KmsEtag) {
        properties.sse = Some("aws:kms".to_owned());
    }
    let algorithm = input.checksum_algorithm.as_ref().map(|a| Algorithm::read(a.as_str())).transpose()?;
    let composite = composite(algorithm, input.checksum_type.as_ref().map(ChecksumType::as_str))?;
    let upload = Upload {
        id: new_id(),
        key: input.key.clone(),
        at: now(),
        algorithm,
        composite,
        properties,
        tags: tags::from_header(input.tagging.as_deref())?,
        parts: std::collections::BTreeMap::new(),
    };
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key),
        upload_id: Some(upload.id.clone()),
        checksum_algorithm: algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
        checksum_type: algorithm.map(|_| type_name(composite).to_owned().into()),
        server_side_encryption: upload.properties.sse.clone().map(ServerSideEncryption::from),
        ssekms_key_id: upload.properties.kms_key.clone(),
        bucket_key_enabled: upload.properties.bucket_key,
        ..CreateMultipartUploadOutput::default()
    };
    service.shelf.lock().commit(Record::Upload { bucket: input.bucket, upload: Box::new(upload) })?;
    Ok(S3Response::new(output))
}

/// Which checksum types S3 allows for an algorithm, and which it takes when none is named.
fn composite(algorithm: Option<Algorithm>, asked: Option<&str>) -> S3Result<bool> {
    let (default, allowed): (bool, &[&str]) = match algorithm {
        None | Some(Algorithm::Crc64nvme) => (false, &["FULL_OBJECT"]),
        Some(Algorithm::Crc32 | Algorithm::Crc32c) => (true, &["COMPOSITE", "FULL_OBJECT"]),
        Some(Algorithm::Sha1 | Algorithm::Sha256) => (true, &["COMPOSITE"]),
    };
    match asked {
        None => Ok(default),
        Some(asked) if allowed.contains(&asked) => Ok(asked == "COMPOSITE"),
        Some(asked) => {
            let name = algorithm.map_or("null", Algorithm::name).to_lowercase();
            Err(s3_error!(
                InvalidRequest,
                "The {asked} checksum type cannot be used with the {name} checksum algorithm."
            ))
        }
    }
}

fn type_name(composite: bool) -> &'static str {
    if composite { "COMPOSITE" } else { "FULL_OBJECT" }
}

pub(super) async fn upload_part(
    service: &Service,
    mut req: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let passage = passage(&req.extensions);
    let trailers = req.trailing_headers.take();
    let mut input = req.input;
    let number = part_number(input.part_number)?;
    let (kept, composite) = {
        let inner = service.shelf.lock();
        let upload = inner.index.upload(&input.bucket, &input.key, &input.upload_id)?;
        (upload.algorithm, upload.composite)
    };
    let named = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
    let claims = Claims::new(given_sums!(input), named, &req.headers)?;
    let chosen = claims.chosen();
    let mut computed = claims.computed();
    computed.push(kept.unwrap_or(Algorithm::Crc64nvme));
    let disk = &service.shelf.disk;
    let received = body::receive(disk, input.body.take(), &computed, input.content_length).await?;
    passage.before()?;
    let unchecked = passage.has(&Kind::ChecksumsIgnored);
    // An upload made without an algorithm takes any: it is compared, and the whole gets the CRC64NVME that S3 adds.
    // One of the whole's kind may also go without, for the CRCs of its parts can be made here.
    if !unchecked && kept.is_some() && chosen != kept && (composite || chosen.is_some()) {
        let name = |algorithm: Option<Algorithm>| algorithm.map_or("null", Algorithm::name).to_lowercase();
        let (expected, actual) = (name(kept), name(chosen));
        return Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
        ));
    }
    claims.verify(&received, trailers.as_ref(), input.content_md5.as_deref(), &passage)?;
    let sum = received.hashed.sum(kept.unwrap_or(Algorithm::Crc64nvme)).cloned().filter(|_| !unchecked);
    let (size, md5) = (received.size, received.md5());
    let blob = received.into_blob(disk)?;
    let mut output = UploadPartOutput { e_tag: Some(etag(&md5)), ..UploadPartOutput::default() };
    if kept.is_some() {
        fill_sum!(output, &sum);
    }
    let part = Part { piece: Piece { blob: blob.number, size, sum }, md5, at: now() };
    put_part(service, input.bucket, &input.key, input.upload_id, number, part)?;
    blob.keep();
    Ok(S3Response::new(output))
}

pub(super) fn part_number(number: i32) -> S3Result<u32> {
    u32::try_from(number)
        .ok()
        .filter(|n| (1..=MAX_PARTS).contains(n))
        .ok_or_else(|| s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
}

pub(super) fn put_part(
    service: &Service,
    bucket: String,
    key: &str,
    upload: String,
    number: u32,
    part: Part,
) -> S3Result<()> {
    let mut inner = service.shelf.lock();
    // It may have been completed or aborted while the body came in.
    inner.index.upload(&bucket, key, &upload)?;
    inner.commit(Record::Part { bucket, upload, number, part })
}

pub(super) fn complete(
    service: &Service,
    req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let passage = passage(&req.extensions);
    let input = req.input;
    let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref(), &passage)?;
    let upload = service.shelf.lock().index.upload(&input.bucket, &input.key, &input.upload_id)?.clone();
    let named = input.multipart_upload.as_ref().and_then(|m| m.parts.as_deref()).unwrap_or_default();
    let unchecked = passage.has(&Kind::ChecksumsIgnored);
    let parts = chosen_parts(&upload, named, unchecked)?;

    let size: u64 = parts.iter().map(|part| part.piece.size).sum();
    if let Some(told) = input.mpu_object_size.filter(|told| u64::try_from(*told) != Ok(size)) {
        let message = "The provided 'x-amz-mp-object-size' header value";
        return Err(s3_error!(InvalidRequest, "{message} {told} does not match what was computed: {size}"));
    }
    let sums: Vec<_> = parts.iter().map(|part| (part.piece.sum.as_ref(), part.piece.size)).collect();
    let algorithm = upload.algorithm.unwrap_or(Algorithm::Crc64nvme);
    let sum = combine(algorithm, upload.composite, &sums).filter(|_| !unchecked);
    if !unchecked {
        let asked = input.checksum_type.as_ref().map(ChecksumType::as_str);
        check_whole(&given_sums!(input), asked, &upload, sum.as_ref())?;
    }

    service.strike(&passage, &input.bucket, &input.key)?;
    let pieces = parts.iter().map(|part| part.piece.clone()).map(|mut piece| {
        // Without an algorithm the CRCs are S3's own business: it tells the whole's and not the parts'.
        piece.sum = piece.sum.filter(|_| upload.algorithm.is_some());
        piece
    });
    let object = Object {
        size,
        etag: multipart_etag(parts.iter().map(|part| part.md5.as_str())),
        pieces: pieces.collect(),
        multipart: true,
        sum,
        properties: upload.properties.clone(),
        tags: upload.tags.clone(),
    };
    let version = service.shelf.put(&input.bucket, &input.key, object, &condition, Some(&upload.id))?;
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        version_id: Some(version.id.clone()),
        server_side_encryption: upload.properties.sse.clone().map(ServerSideEncryption::from),
        ssekms_key_id: upload.properties.kms_key.clone(),
        bucket_key_enabled: upload.properties.bucket_key,
        ..CompleteMultipartUploadOutput::default()
    };
    if let Some(object) = &version.object {
        output.e_tag = Some(etag(&object.etag));
        output.checksum_type = object.sum.as_ref().map(|sum| sum.kind().to_owned().into());
        let mut told = object.sum.clone();
        if let Some(sum) = told.as_mut().filter(|_| passage.has(&Kind::OtherChecksum)) {
            sum.value = format!("{}-{}", sum.algorithm.of(b"other content"), parts.len());
        }
        fill_sum!(output, &told);
    }
    Ok(S3Response::new(output))
}

/// The parts that a Complete names, each as it was uploaded.
fn chosen_parts<'a>(upload: &'a Upload, named: &[CompletedPart], unchecked: bool) -> S3Result<Vec<&'a Part>> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let mut parts = Vec::with_capacity(named.len());
    let mut before = 0;
    for named_part in named {
        let number = part_number(named_part.part_number.unwrap_or(0))?;
        if number <= before {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        before = number;
        let part = upload.parts.get(&number).ok_or_else(invalid_part)?;
        if named_part.e_tag.as_ref().is_none_or(|etag| etag.value() != part.md5) {
            return Err(invalid_part());
        }
        let given = given_sums!(named_part);
        // Without an algorithm the parts' checksums were compared as they came, and not kept.
        let kept = !unchecked && upload.algorithm.is_some();
        if kept && given.iter().any(|(a, value)| part.piece.sum.as_ref() != Some(&Sum::full(*a, value.clone()))) {
            return Err(invalid_part());
        }
        if let Some(algorithm) = upload.algorithm.filter(|_| upload.composite && given.is_empty() && !unchecked) {
            let name = algorithm.name().to_lowercase();
            return Err(s3_error!(
                InvalidRequest,
                "The upload was created using a {name} checksum. The complete request must include the checksum for each part. It was missing for part {number} in the request."
            ));
        }
        parts.push(part);
    }
    if parts.iter().rev().skip(1).any(|part| part.piece.size < MIN_PART_BYTES) {
        return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
    }
    Ok(parts)
}

fn invalid_part() -> S3Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    )
}

/// Compares what a Complete says of the whole object with what the parts make.
fn check_whole(given: &[(Algorithm, String)], asked: Option<&str>, upload: &Upload, sum: Option<&Sum>) -> S3Result<()> {
    let kind = type_name(upload.composite);
    if asked.is_some_and(|asked| asked != kind) {
        return Err(s3_error!(
            InvalidRequest,
            "The upload was created using the {kind} checksum mode. The complete request must use the same checksum mode."
        ));
    }
    for (algorithm, value) in given {
        // Both `digest` and `digest-N` are understood of a composite.
        check_form(*algorithm, value.split_once('-').map_or(value.as_str(), |(digest, _)| digest))?;
        let right = sum.is_some_and(|sum| {
            let digest = sum.value.split_once('-').map_or(sum.value.as_str(), |(digest, _)| digest);
            sum.algorithm == *algorithm && (sum.value == *value || digest == value)
        });
        if !right {
            return Err(mismatch(*algorithm));
        }
    }
    Ok(())
}

pub(super) fn abort(
    service: &Service,
    req: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = req.input;
    let mut inner = service.shelf.lock();
    inner.index.upload(&input.bucket, &input.key, &input.upload_id)?;
    inner.commit(Record::UploadGone { bucket: input.bucket, upload: input.upload_id })?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(super) fn list_parts(service: &Service, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = req.input;
    let inner = service.shelf.lock();
    let upload = inner.index.upload(&input.bucket, &input.key, &input.upload_id)?;
    let marker = u32::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(0);
    let most = usize::try_from(input.max_parts.unwrap_or(1000)).unwrap_or(1000).min(1000);
    let mut parts = Vec::new();
    let mut next = marker;
    for (number, part) in upload.parts.range(marker.saturating_add(1)..).take(most) {
        next = *number;
        let mut listed = ListedPart {
            part_number: i32::try_from(*number).ok(),
            e_tag: Some(etag(&part.md5)),
            size: Some(signed(part.piece.size)),
            last_modified: Some(timestamp(part.at)),
            ..ListedPart::default()
        };
        if upload.algorithm.is_some() {
            fill_sum!(listed, &part.piece.sum);
        }
        parts.push(listed);
    }
    let more = upload.parts.range(next.saturating_add(1)..).next().is_some();
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        checksum_algorithm: upload.algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
        checksum_type: upload.algorithm.map(|_| type_name(upload.composite).to_owned().into()),
        is_truncated: Some(more),
        max_parts: Some(counted(most)),
        next_part_number_marker: i32::try_from(next).ok(),
        part_number_marker: i32::try_from(marker).ok(),
        parts: Some(parts),
        owner: Some(owner(&service.owner)),
        storage_class: Some(class(upload)),
        ..ListPartsOutput::default()
    }))
}

fn class(upload: &Upload) -> StorageClass {
    StorageClass::from(upload.properties.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned()))
}

pub(super) fn list(
    service: &Service,
    req: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = req.input;
    let encoding = Encoding::read(input.encoding_type.as_ref())?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|d| !d.is_empty());
    let most = usize::try_from(input.max_uploads.unwrap_or(1000)).unwrap_or(1000).min(1000);
    let key_marker = input.key_marker.clone().unwrap_or_default();
    let id_marker = input.upload_id_marker.clone().filter(|_| !key_marker.is_empty()).unwrap_or_default();

    let inner = service.shelf.lock();
    let bucket = inner.index.buckets.get(&input.bucket);
    let mut found: Vec<&Upload> = bucket.into_iter().flat_map(|b| b.uploads.values()).collect();
    // Upload ids are made in order of time, which is S3's order within a key.
    found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
    let (mut uploads, mut prefixes) = (Vec::new(), Vec::<String>::new());
    let mut last = None;
    let mut truncated = false;
    for upload in found {
        let passed = match upload.key.as_str().cmp(key_marker.as_str()) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => !key_marker.is_empty() && (id_marker.is_empty() || upload.id <= id_marker),
            std::cmp::Ordering::Greater => false,
        };
        let Some(rest) = upload.key.strip_prefix(&prefix).filter(|_| !passed) else { continue };
        let common = delimiter.as_deref().and_then(|d| Some(&upload.key[..prefix.len() + rest.find(d)? + d.len()]));
        if common.is_some_and(|common| prefixes.last().is_some_and(|p| p == common) || key_marker.starts_with(common)) {
            continue;
        }
        if uploads.len() + prefixes.len() == most {
            truncated = true;
            break;
        }
        if let Some(common) = common {
            prefixes.push(common.to_owned());
            last = Some((common.to_owned(), None));
            continue;
        }
        uploads.push(MultipartUpload {
            key: Some(encoding.encode(&upload.key)),
            upload_id: Some(upload.id.clone()),
            initiated: Some(timestamp(upload.at)),
            checksum_algorithm: upload.algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
            checksum_type: upload.algorithm.map(|_| type_name(upload.composite).to_owned().into()),
            owner: Some(owner(&service.owner)),
            storage_class: Some(class(upload)),
            initiator: None,
        });
        last = Some((upload.key.clone(), Some(upload.id.clone())));
    }
    let (next_key, next_id) = last.filter(|_| truncated).unzip();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: Some(
            prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encoding.encode(prefix)) }).collect(),
        ),
        delimiter: input.delimiter,
        encoding_type: input.encoding_type,
        is_truncated: Some(truncated),
        key_marker: Some(encoding.encode(&key_marker)),
        max_uploads: Some(counted(most)),
        next_key_marker: next_key.map(|key| encoding.encode(&key)),
        next_upload_id_marker: next_id.flatten(),
        prefix: Some(encoding.encode(&prefix)),
        upload_id_marker: Some(id_marker),
        uploads: Some(uploads),
        ..ListMultipartUploadsOutput::default()
    }))
}
