//! PutObject and DeleteObject: receive, then decide and commit in one step.

use http::HeaderMap;
use s3s::dto::{
    ChecksumAlgorithm, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, Error, PutObjectAclInput, PutObjectAclOutput, PutObjectInput, PutObjectOutput, ServerSideEncryption,
    Timestamp,
};
use s3s::{S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use super::{Service, condition, etag, passage, properties, signed, tags, timestamp};
use crate::sandbox::body::{self, Received};
use crate::sandbox::fault::Kind;
use crate::sandbox::record::{Object, Piece, Record, Version};
use crate::sandbox::shelf::{Inner, no_such_key, precondition_failed};
use crate::sandbox::sum::{ALGORITHMS, Algorithm, Sum, fill_sum, given_sums};
use crate::sandbox::wire::Passage;

pub(super) async fn put(
    service: &Service,
    mut req: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let passage = passage(&req.extensions);
    let trailers = req.trailing_headers.take();
    let mut input = req.input;
    if input.write_offset_bytes.is_some() {
        return Err(s3_error!(NotImplemented, "Appending is for directory buckets."));
    }
    let properties = properties!(service, input)?;
    let tags = tags::from_header(input.tagging.as_deref())?;
    let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
    let claims = Claims::new(given_sums!(input), algorithm, &req.headers)?;

    let disk = &service.shelf.disk;
    let received = body::receive(disk, input.body.take(), &claims.computed(), input.content_length).await?;
    passage.before()?;
    let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref(), &passage)?;
    let sum = claims.verify(&received, trailers.as_ref(), input.content_md5.as_deref(), &passage)?;

    service.strike(&passage, &input.bucket, &input.key)?;
    let (size, md5) = (received.size, received.md5());
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
    let version = service.shelf.put(&input.bucket, &input.key, object, &condition, None)?;
    blob.keep();
    Ok(S3Response::new(answer(&version)))
}

fn answer(version: &Version) -> PutObjectOutput {
    let mut output = PutObjectOutput { version_id: Some(version.id.clone()), ..PutObjectOutput::default() };
    if let Some(object) = &version.object {
        output.e_tag = Some(etag(&object.etag));
        output.server_side_encryption = object.properties.sse.clone().map(ServerSideEncryption::from);
        output.ssekms_key_id.clone_from(&object.properties.kms_key);
        output.bucket_key_enabled = object.properties.bucket_key;
        output.checksum_type = object.sum.as_ref().map(|sum| sum.kind().to_owned().into());
        fill_sum!(output, &object.sum);
    }
    output
}

/// What a client says of a body: in headers before it, or in trailers after it.
#[derive(Debug)]
pub(super) struct Claims {
    pub given: Vec<(Algorithm, String)>,
    promised: Vec<Algorithm>,
}

impl Claims {
    pub fn new(given: Vec<(Algorithm, String)>, named: Option<&str>, headers: &HeaderMap) -> S3Result<Self> {
        let mut promised = Vec::new();
        for trailer in headers.get_all("x-amz-trailer").iter().filter_map(|v| v.to_str().ok()) {
            let split = trailer.split(',').map(str::trim);
            promised.extend(split.filter_map(|n| ALGORITHMS.into_iter().find(|a| a.header().eq_ignore_ascii_case(n))));
        }
        if given.len() + promised.len() > 1 {
            let message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(s3_error!(InvalidRequest, "{message}"));
        }
        if let Some(name) = named.filter(|_| given.is_empty() && promised.is_empty()) {
            promised.push(Algorithm::read(name)?);
        }
        Ok(Self { given, promised })
    }

    /// The algorithm that the client chose, if it did.
    pub fn chosen(&self) -> Option<Algorithm> {
        self.given.first().map(|(algorithm, _)| *algorithm).or(self.promised.first().copied())
    }

    /// S3 adds a CRC64NVME where the client sent nothing.
    pub fn computed(&self) -> Vec<Algorithm> {
        vec![self.chosen().unwrap_or(Algorithm::Crc64nvme)]
    }

    /// Compares the claims with the body, and returns the checksum to keep.
    pub fn verify(
        mut self,
        received: &Received,
        trailers: Option<&TrailingHeaders>,
        content_md5: Option<&str>,
        passage: &Passage,
    ) -> S3Result<Option<Sum>> {
        if passage.has(&Kind::ChecksumsIgnored) {
            return Ok(None);
        }
        let kept = self.chosen().unwrap_or(Algorithm::Crc64nvme);
        let value = trailers.and_then(|t| t.read(|map| map.get(kept.header())?.to_str().ok().map(str::to_owned)));
        if let Some(value) = value.flatten() {
            self.given.push((kept, value));
        }
        received.hashed.verify(&self.given, content_md5)?;
        Ok(received.hashed.sum(kept).cloned())
    }
}

pub(super) fn delete(service: &Service, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let passage = passage(&req.extensions);
    let input = req.input;
    service.strike(&passage, &input.bucket, &input.key)?;
    let asked = Asked {
        etag: input.if_match.as_ref(),
        at: input.if_match_last_modified_time.as_ref(),
        size: input.if_match_size,
    };
    let ignored = Asked::default();
    let asked = if passage.has(&Kind::ConditionsIgnored) { &ignored } else { &asked };
    let mut inner = service.shelf.lock();
    let gone = remove(&mut inner, &input.bucket, &input.key, input.version_id.as_deref(), asked)?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: gone.marker.then_some(true),
        version_id: gone.id,
        ..DeleteObjectOutput::default()
    }))
}

pub(super) fn delete_many(
    service: &Service,
    req: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = req.input;
    if input.delete.objects.len() > 1000 {
        return Err(s3_error!(MalformedXML, "A delete names at most 1000 objects."));
    }
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for named in input.delete.objects {
        let matches = named.e_tag.clone().map(ETagCondition::ETag);
        let asked = Asked { etag: matches.as_ref(), at: named.last_modified_time.as_ref(), size: named.size };
        let mut inner = service.shelf.lock();
        match remove(&mut inner, &input.bucket, &named.key, named.version_id.as_deref(), &asked) {
            Ok(gone) => deleted.push(DeletedObject {
                key: Some(named.key),
                version_id: named.version_id.clone(),
                delete_marker: gone.marker.then_some(true),
                delete_marker_version_id: gone.id.filter(|_| gone.marker),
            }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(named.key),
                message: error.message().map(str::to_owned),
                version_id: named.version_id,
            }),
        }
    }
    if input.delete.quiet == Some(true) {
        deleted.clear();
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

/// The preconditions of a delete.
#[derive(Default)]
struct Asked<'a> {
    etag: Option<&'a ETagCondition>,
    at: Option<&'a Timestamp>,
    size: Option<i64>,
}

impl Asked<'_> {
    fn check(&self, version: Option<&Version>) -> S3Result<()> {
        let asks = self.etag.is_some() || self.at.is_some() || self.size.is_some();
        let Some(version) = version.filter(|_| asks) else {
            return if asks { Err(no_such_key()) } else { Ok(()) };
        };
        let Some(object) = &version.object else {
            return Err(precondition_failed("If-Match"));
        };
        let etag = match self.etag {
            Some(ETagCondition::ETag(wanted)) => wanted.value() == object.etag,
            Some(ETagCondition::Any) | None => true,
        };
        let at = self.at.is_none_or(|at| *at == timestamp(version.at));
        let size = self.size.is_none_or(|size| size == signed(object.size));
        if etag && at && size { Ok(()) } else { Err(precondition_failed("If-Match")) }
    }
}

struct Gone {
    id: Option<String>,
    marker: bool,
}

/// Adds a delete marker, or removes the one version that is named.
fn remove(inner: &mut Inner, bucket: &str, key: &str, id: Option<&str>, asked: &Asked<'_>) -> S3Result<Gone> {
    let current = inner.index.current(bucket, key).cloned();
    let Some(id) = id else {
        asked.check(current.as_deref())?;
        let marker = inner.add(bucket, key, None, None)?;
        return Ok(Gone { id: Some(marker.id.clone()), marker: true });
    };
    let Some(version) = inner.index.version(bucket, key, id).cloned() else {
        // Deleting what is not there is no error to S3, unless something was asked of it.
        asked.check(None)?;
        return Ok(Gone { id: Some(id.to_owned()), marker: false });
    };
    asked.check(Some(version.as_ref()))?;
    inner.commit(Record::VersionGone { bucket: bucket.to_owned(), key: key.to_owned(), id: id.to_owned() })?;
    Ok(Gone { id: Some(id.to_owned()), marker: version.object.is_none() })
}

/// ACLs are accepted and not kept: everything belongs to one owner.
pub(super) fn put_acl(
    service: &Service,
    req: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let input = req.input;
    service.find(&input.bucket, &input.key, input.version_id.as_deref())?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
