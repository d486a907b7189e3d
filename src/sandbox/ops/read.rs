//! GetObject, HeadObject and what else tells of one object.

use std::ops::Range;

use http::StatusCode;
use s3s::dto::{
    Checksum, ETagCondition, GetObjectAclInput, GetObjectAclOutput, GetObjectAttributesInput,
    GetObjectAttributesOutput, GetObjectAttributesParts, GetObjectInput, GetObjectOutput, Grant, Grantee,
    HeadObjectInput, HeadObjectOutput, ObjectPart, Owner, Permission, ServerSideEncryption, StorageClass, Timestamp,
    Type,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::{Service, counted, etag, metadata, passage, signed, timestamp};
use crate::sandbox::body;
use crate::sandbox::fault::Kind;
use crate::sandbox::record::{Object, Version};
use crate::sandbox::shelf::precondition_failed;
use crate::sandbox::sum::{Sum, fill_sum};

/// Fills what GET and HEAD tell alike, in two types with the same fields.
macro_rules! describe {
    ($output:ident, $version:expr, $object:expr, $view:expr, $sum:expr) => {{
        let properties = &$object.properties;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.bucket_key_enabled = properties.bucket_key;
        $output.cache_control.clone_from(&properties.cache_control);
        $output.content_disposition.clone_from(&properties.content_disposition);
        $output.content_encoding.clone_from(&properties.content_encoding);
        $output.content_language.clone_from(&properties.content_language);
        $output.content_length = Some(signed($view.range.end - $view.range.start));
        $output.content_range = $view.content_range($object.size);
        $output.content_type.clone_from(&properties.content_type);
        $output.e_tag = Some(etag(&$object.etag));
        $output.expires.clone_from(&properties.expires);
        $output.last_modified = Some(timestamp($version.at));
        $output.metadata = metadata(properties);
        $output.parts_count = $view.parts.map(counted);
        $output.ssekms_key_id.clone_from(&properties.kms_key);
        $output.server_side_encryption = properties.sse.clone().map(ServerSideEncryption::from);
        $output.storage_class = properties.storage_class.clone().map(StorageClass::from);
        $output.version_id = Some($version.id.clone());
        $output.website_redirect_location.clone_from(&properties.redirect);
        let sum: Option<Sum> = $sum;
        $output.checksum_type = sum.as_ref().map(|sum| sum.kind().to_owned().into());
        fill_sum!($output, &sum);
    }};
}

pub(super) fn get(service: &Service, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let passage = passage(&req.extensions);
    let input = req.input;
    let (version, object) = service.find(&input.bucket, &input.key, input.version_id.as_deref())?;
    let asked = Asked {
        matches: input.if_match.as_ref(),
        none: input.if_none_match.as_ref(),
        since: input.if_modified_since.as_ref(),
        until: input.if_unmodified_since.as_ref(),
    };
    asked.check(&version, &object)?;
    let view = View::new(&object, input.range, input.part_number)?;
    let shown = input.checksum_mode.is_some() && !passage.has(&Kind::ChecksumsIgnored);
    let mut output = GetObjectOutput::default();
    describe!(output, version, object, view, shown.then(|| view.sum(&object)).flatten());
    output.tag_count = (!object.tags.is_empty()).then(|| counted(object.tags.len()));
    output.body = Some(body::send(&service.shelf.disk, &object, view.range.clone()));
    Ok(view.answer(output))
}

pub(super) fn head(service: &Service, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let passage = passage(&req.extensions);
    let input = req.input;
    let (version, object) = service.find(&input.bucket, &input.key, input.version_id.as_deref())?;
    let asked = Asked {
        matches: input.if_match.as_ref(),
        none: input.if_none_match.as_ref(),
        since: input.if_modified_since.as_ref(),
        until: input.if_unmodified_since.as_ref(),
    };
    asked.check(&version, &object)?;
    let view = View::new(&object, input.range, input.part_number)?;
    let shown = input.checksum_mode.is_some() && !passage.has(&Kind::ChecksumsIgnored);
    let mut output = HeadObjectOutput::default();
    describe!(output, version, object, view, shown.then(|| view.sum(&object)).flatten());
    Ok(view.answer(output))
}

/// The preconditions of a read, or on the source of a copy.
pub(super) struct Asked<'a> {
    pub matches: Option<&'a ETagCondition>,
    pub none: Option<&'a ETagCondition>,
    pub since: Option<&'a Timestamp>,
    pub until: Option<&'a Timestamp>,
}

/// The precondition that does not hold.
pub(super) enum Failing {
    /// The object is not what the client wants: `If-Match`, `If-Unmodified-Since`.
    Changed(&'static str),
    /// The client has it already: `If-None-Match`, `If-Modified-Since`.
    Unchanged(&'static str),
}

impl Asked<'_> {
    /// In the order of RFC 9110, section 13.2.2.
    pub fn failing(&self, version: &Version, object: &Object) -> Option<Failing> {
        let names = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.value() == object.etag,
        };
        let at = timestamp(version.at);
        let changed = match (self.matches, self.until) {
            (Some(condition), _) => (!names(condition)).then_some("If-Match"),
            (None, Some(until)) => (at > *until).then_some("If-Unmodified-Since"),
            (None, None) => None,
        };
        let unchanged = match (self.none, self.since) {
            (Some(condition), _) => names(condition).then_some("If-None-Match"),
            (None, Some(since)) => (at <= *since).then_some("If-Modified-Since"),
            (None, None) => None,
        };
        changed.map(Failing::Changed).or(unchanged.map(Failing::Unchanged))
    }

    fn check(&self, version: &Version, object: &Object) -> S3Result<()> {
        match self.failing(version, object) {
            None => Ok(()),
            Some(Failing::Changed(name)) => Err(precondition_failed(name)),
            Some(Failing::Unchanged(_)) => Err(s3_error!(NotModified, "Not Modified")),
        }
    }
}

/// The bytes of an object that are asked for.
struct View {
    range: Range<u64>,
    partial: bool,
    /// How many parts the object has, told when one of a multipart object's was asked for.
    parts: Option<usize>,
    part: Option<usize>,
}

impl View {
    fn new(object: &Object, range: Option<s3s::dto::Range>, part: Option<i32>) -> S3Result<Self> {
        match (range, part) {
            (None, None) => Ok(Self { range: 0..object.size, partial: false, parts: None, part: None }),
            (Some(_), Some(_)) => {
                Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"))
            }
            (Some(range), None) => {
                let range = range
                    .check(object.size)
                    .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
                Ok(Self { range, partial: true, parts: None, part: None })
            }
            (None, Some(number)) => {
                let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
                let Some((index, piece)) = index.and_then(|i| Some((i, object.pieces.get(i)?))) else {
                    let code = S3ErrorCode::Custom("InvalidPartNumber".into());
                    let mut error = S3Error::with_message(code, "The requested partnumber is not satisfiable");
                    error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
                    return Err(error);
                };
                let start: u64 = object.pieces.iter().take(index).map(|p| p.size).sum();
                let parts = object.multipart.then_some(object.pieces.len());
                Ok(Self { range: start..start + piece.size, partial: true, parts, part: Some(index) })
            }
        }
    }

    /// The checksum that covers exactly what is shown, as far as S3 tells it.
    fn sum(&self, object: &Object) -> Option<Sum> {
        match self.part {
            Some(index) if object.multipart => object.pieces.get(index).and_then(|piece| piece.sum.clone()),
            None if self.partial => None,
            Some(_) | None => object.sum.clone(),
        }
    }

    fn content_range(&self, size: u64) -> Option<String> {
        let last = self.range.end.checked_sub(1)?;
        self.partial.then(|| format!("bytes {}-{last}/{size}", self.range.start))
    }

    fn answer<T>(&self, output: T) -> S3Response<T> {
        if self.partial {
            S3Response::with_status(output, StatusCode::PARTIAL_CONTENT)
        } else {
            S3Response::new(output)
        }
    }
}

pub(super) fn attributes(
    service: &Service,
    req: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = req.input;
    let (version, object) = service.find(&input.bucket, &input.key, input.version_id.as_deref())?;
    let wants = |name: &str| input.object_attributes.iter().any(|a| a.as_str() == name);
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(timestamp(version.at)),
        version_id: Some(version.id.clone()),
        ..GetObjectAttributesOutput::default()
    };
    if wants("ETag") {
        output.e_tag = Some(etag(&object.etag));
    }
    if wants("ObjectSize") {
        output.object_size = Some(signed(object.size));
    }
    if wants("StorageClass") {
        let class = object.properties.storage_class.clone();
        output.storage_class = Some(StorageClass::from(class.unwrap_or_else(|| "STANDARD".to_owned())));
    }
    if let Some(sum) = object.sum.as_ref().filter(|_| wants("Checksum")) {
        let mut checksum = Checksum { checksum_type: Some(sum.kind().to_owned().into()), ..Checksum::default() };
        fill_sum!(checksum, Some(sum));
        output.checksum = Some(checksum);
    }
    if wants("ObjectParts") && object.multipart {
        output.object_parts = Some(parts(&object, input.part_number_marker, input.max_parts));
    }
    Ok(S3Response::new(output))
}

fn parts(object: &Object, marker: Option<i32>, most: Option<i32>) -> GetObjectAttributesParts {
    let marker = usize::try_from(marker.unwrap_or(0)).unwrap_or(0);
    let most = usize::try_from(most.unwrap_or(1000)).unwrap_or(1000).min(1000);
    let mut shown = Vec::new();
    // S3 lists the parts only of objects whose parts have checksums.
    if object.pieces.iter().all(|piece| piece.sum.is_some()) {
        for (index, piece) in object.pieces.iter().enumerate().skip(marker).take(most) {
            let mut part = ObjectPart {
                part_number: Some(counted(index + 1)),
                size: Some(signed(piece.size)),
                ..ObjectPart::default()
            };
            fill_sum!(part, &piece.sum);
            shown.push(part);
        }
    }
    let last = marker + shown.len();
    GetObjectAttributesParts {
        is_truncated: Some(!shown.is_empty() && last < object.pieces.len()),
        max_parts: Some(counted(most)),
        next_part_number_marker: Some(counted(last)),
        part_number_marker: Some(counted(marker)),
        parts: Some(shown),
        total_parts_count: Some(counted(object.pieces.len())),
    }
}

pub(super) fn acl(service: &Service, req: S3Request<GetObjectAclInput>) -> S3Result<S3Response<GetObjectAclOutput>> {
    let input = req.input;
    service.find(&input.bucket, &input.key, input.version_id.as_deref())?;
    Ok(S3Response::new(GetObjectAclOutput {
        grants: Some(vec![full_control(&service.owner)]),
        owner: Some(owner(&service.owner)),
        ..GetObjectAclOutput::default()
    }))
}

pub(super) fn owner(id: &str) -> Owner {
    Owner { display_name: None, id: Some(id.to_owned()) }
}

pub(super) fn full_control(id: &str) -> Grant {
    Grant {
        grantee: Some(Grantee {
            display_name: None,
            email_address: None,
            id: Some(id.to_owned()),
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        }),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }
}
