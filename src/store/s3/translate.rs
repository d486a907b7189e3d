//! Between our nouns and the SDK's.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumType, ServerSideEncryption};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::classify::Answer;
use crate::model::digest::{ETag, Sha256};
use crate::model::entry::{Key, Properties, Sse};
use crate::model::head::{CLAIM, Encryption, Head, HeldChecksums, HeldSha256, VersionId, WRITE_ID};
use crate::model::write::{Cause, Copy, Expect, Object, PutError, Refusal};
use crate::store::Version;

/// Any operation's error, so that the waiting can be written once.
pub(super) trait SdkFailure: Send {
    fn answer(&self) -> Answer;
}

impl<E: ProvideErrorMetadata + StdError + Send + Sync + 'static> SdkFailure for SdkError<E, HttpResponse> {
    fn answer(&self) -> Answer {
        answer_of(self)
    }
}

pub(super) fn answer_of<E>(error: &SdkError<E, HttpResponse>) -> Answer
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(said) => {
            let raw = said.raw();
            let code = said.err().code().unwrap_or_default().to_owned();
            let message = match said.err().message() {
                Some(message) => message.to_owned(),
                // The body was no error document of S3's.
                None if code.is_empty() && raw.body().bytes().is_some_and(|body| !body.is_empty()) => chain(error),
                None => String::new(),
            };
            Answer::Said {
                status: raw.status().as_u16(),
                code,
                message,
                request_id: raw.request_id().map(ToOwned::to_owned),
                region: raw.headers().get("x-amz-bucket-region").map(ToOwned::to_owned),
            }
        }
        SdkError::ResponseError(said) => {
            Answer::Garbled { status: said.raw().status().as_u16(), message: chain(error) }
        }
        // Nothing has left before the request is made and signed; without credentials it never is.
        _ if caused_by::<CredentialsError>(error) => {
            Answer::Unsent { code: "NoCredentials", message: format!("no credentials: {}", chain(error)), stop: true }
        }
        SdkError::ConstructionFailure(_) => {
            Answer::Unsent { code: "InvalidRequest", message: chain(error), stop: false }
        }
        SdkError::TimeoutError(_) => Answer::Silent { code: "Timeout", message: chain(error) },
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Answer::Silent { code: "Timeout", message: chain(error) }
        }
        // Also any variant that a newer SDK may add: not known is the one safe reading.
        _ => Answer::Silent { code: "Connection", message: chain(error) },
    }
}

/// An error and what lies behind it, in one line. Without the debug dump that the SDK's own display appends.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // A provider chain lists its members on further lines.
        let line = text.lines().next().unwrap_or_default().trim_end_matches("Attempted:").trim_end_matches(['.', ' ']);
        if words.last().is_none_or(|last| last != line) {
            words.push(line.to_owned());
        }
        next = error.source();
    }
    words.join(": ")
}

fn caused_by<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<T>().is_some() {
            return true;
        }
        next = error.source();
    }
    false
}

pub(super) fn head(output: &HeadObjectOutput) -> Option<Head> {
    let etag = ETag::new(output.e_tag()?);
    let mut metadata = BTreeMap::new();
    let (mut claim, mut write_id) = (None, None);
    for (name, value) in output.metadata().into_iter().flatten() {
        match name.to_ascii_lowercase() {
            name if name == CLAIM => claim = Some(value.clone()),
            name if name == WRITE_ID => write_id = Some(value.clone()),
            name => {
                metadata.insert(name, value.clone());
            }
        }
    }
    let own = |text: Option<&str>| text.map(ToOwned::to_owned);
    let encryption = encryption(output);
    Some(Head {
        size: size(output.content_length())?,
        version: version(output.version_id()),
        last_modified: time(output.last_modified()),
        checksums: checksums(output, &etag),
        first_part: None,
        properties: Properties {
            content_type: own(output.content_type()),
            cache_control: own(output.cache_control()),
            content_encoding: own(output.content_encoding()),
            content_disposition: own(output.content_disposition()),
            content_language: own(output.content_language()),
            storage_class: own(output.storage_class().map(aws_sdk_s3::types::StorageClass::as_str)),
            // HEAD does not tell it.
            acl: None,
            sse: match &encryption {
                Encryption::Aes256 => Some(Sse::Aes256),
                Encryption::Kms => Some(Sse::Kms(output.ssekms_key_id().unwrap_or_default().to_owned())),
                Encryption::None | Encryption::Customer | Encryption::Unknown => None,
            },
            metadata,
            tags: BTreeMap::new(),
        },
        etag,
        encryption,
        claim,
        write_id,
    })
}

/// The bytes in the first of several parts, where this is an answer about that part. A server that ignores the part's
/// number describes the whole object: it counts no parts.
pub(super) fn first_part(output: &HeadObjectOutput, etag: &ETag) -> Option<u64> {
    let count = output.parts_count().and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 1)?;
    if etag.as_multipart().is_some_and(|(_, parts)| parts != count) {
        return None;
    }
    let length = size(output.content_length()).filter(|length| *length > 0)?;
    match output.content_range() {
        None => Some(length),
        // `bytes 0-<last>/<whole>`, RFC 9110, section 14.4.
        Some(range) => {
            let (span, whole) = range.strip_prefix("bytes 0-")?.split_once('/')?;
            let (last, whole): (u64, u64) = (span.parse().ok()?, whole.parse().ok()?);
            (last.checked_add(1) == Some(length) && length < whole).then_some(length)
        }
    }
}

fn encryption(output: &HeadObjectOutput) -> Encryption {
    if output.sse_customer_algorithm().is_some() {
        return Encryption::Customer;
    }
    match output.server_side_encryption() {
        None => Encryption::None,
        Some(ServerSideEncryption::Aes256) => Encryption::Aes256,
        Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse) => Encryption::Kms,
        // A kind that we do not know: then we do not know what the ETag is either.
        Some(_) => Encryption::Unknown,
    }
}

/// Of a multipart object a checksum without its type could be either kind: it is left out.
fn checksums(output: &HeadObjectOutput, etag: &ETag) -> HeldChecksums {
    let parts = etag.as_multipart().map(|(_, parts)| parts);
    let full = match output.checksum_type() {
        Some(ChecksumType::FullObject) => true,
        Some(_) => false,
        None => parts.is_none(),
    };
    let sha256 = output.checksum_sha256().and_then(|text| match text.rsplit_once('-') {
        Some((digest, count)) => {
            Some(HeldSha256::Composite { digest: Sha256::from_base64(digest).ok()?, parts: count.parse().ok()? })
        }
        None if full => Some(HeldSha256::Full(Sha256::from_base64(text).ok()?)),
        None if output.checksum_type() == Some(&ChecksumType::Composite) => {
            Some(HeldSha256::Composite { digest: Sha256::from_base64(text).ok()?, parts: parts? })
        }
        None => None,
    });
    HeldChecksums {
        sha256,
        crc64nvme: bytes(output.checksum_crc64_nvme().filter(|_| full)).map(u64::from_be_bytes),
        crc32c: bytes(output.checksum_crc32_c().filter(|_| full)).map(u32::from_be_bytes),
        crc32: bytes(output.checksum_crc32().filter(|_| full)).map(u32::from_be_bytes),
    }
}

fn bytes<const N: usize>(text: Option<&str>) -> Option<[u8; N]> {
    BASE64.decode(text?).ok()?.try_into().ok()
}

/// The composite that Complete's answer names, where it names one.
pub(super) fn composite(text: Option<&str>, kind: Option<&ChecksumType>) -> Option<Sha256> {
    let text = text?;
    match text.rsplit_once('-') {
        Some((digest, _)) => Sha256::from_base64(digest).ok(),
        None if kind == Some(&ChecksumType::Composite) => Sha256::from_base64(text).ok(),
        None => None,
    }
}

/// The versions of exactly this key, newest first.
pub(super) fn versions(output: &ListObjectVersionsOutput, key: &Key) -> Vec<Version> {
    let exact = |name: Option<&str>| name == Some(key.as_str());
    let mut found: Vec<(Option<DateTime>, Version)> = Vec::new();
    for version in output.versions().iter().filter(|version| exact(version.key())) {
        let Some(id) = version.version_id() else { continue };
        let version_ = Version {
            id: VersionId(id.to_owned()),
            etag: version.e_tag().map(ETag::new),
            size: size(version.size()),
            is_latest: version.is_latest().unwrap_or(false),
            last_modified: time(version.last_modified()),
        };
        found.push((version.last_modified().copied(), version_));
    }
    for marker in output.delete_markers().iter().filter(|marker| exact(marker.key())) {
        let Some(id) = marker.version_id() else { continue };
        let version = Version {
            id: VersionId(id.to_owned()),
            etag: None,
            size: None,
            is_latest: marker.is_latest().unwrap_or(false),
            last_modified: time(marker.last_modified()),
        };
        found.push((marker.last_modified().copied(), version));
    }
    // The SDK parts the answer's one sequence into two lists; times put it together again. The sort is stable: within
    // one list and one instant the server's order stands.
    found.sort_by(|(a_time, a), (b_time, b)| {
        let nanos = |time: &Option<DateTime>| time.map_or(i128::MIN, |time| time.as_nanos());
        b.is_latest.cmp(&a.is_latest).then(nanos(b_time).cmp(&nanos(a_time)))
    });
    found.into_iter().map(|(_, version)| version).collect()
}

/// RFC 3339, in UTC, to the second.
pub(super) fn time(time: Option<&DateTime>) -> Option<String> {
    let time = jiff::Timestamp::from_second(time?.secs()).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

pub(super) fn size(bytes: Option<i64>) -> Option<u64> {
    bytes.and_then(|bytes| u64::try_from(bytes).ok())
}

pub(super) fn version(id: Option<&str>) -> Option<VersionId> {
    id.filter(|id| !id.is_empty()).map(|id| VersionId(id.to_owned()))
}

pub(super) fn if_match(expect: &Expect) -> Option<String> {
    match expect {
        Expect::Absent => None,
        Expect::Unchanged(etag) => Some(etag.quoted()),
    }
}

pub(super) fn metadata(object: &Object) -> HashMap<String, String> {
    let mut metadata: HashMap<String, String> =
        object.properties.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    metadata.insert(CLAIM.to_owned(), object.checksum.to_string());
    metadata.insert(WRITE_ID.to_owned(), object.write_id.to_string());
    metadata
}

/// What stood in the version's metadata, but for its write id.
pub(super) fn metadata_of_copy(copy: &Copy) -> HashMap<String, String> {
    let mut metadata: HashMap<String, String> =
        copy.properties.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(claim) = &copy.carried.claim {
        metadata.insert(CLAIM.to_owned(), claim.clone());
    }
    metadata.insert(WRITE_ID.to_owned(), copy.write_id.to_string());
    metadata
}

pub(super) fn encryption_wanted(sse: Option<&Sse>) -> (Option<ServerSideEncryption>, Option<String>) {
    match sse {
        None => (None, None),
        Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
        Some(Sse::Kms(key)) => (Some(ServerSideEncryption::AwsKms), Some(key.clone())),
    }
}

/// The `x-amz-tagging` header: a query string.
pub(super) fn tagging(tags: &BTreeMap<String, String>) -> Option<String> {
    let pairs: Vec<String> = tags.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

/// The `x-amz-copy-source` header: `<bucket>/<key>?versionId=<id>`, percent-encoded but for the key's slashes.
pub(super) fn copy_source(bucket: &str, copy: &Copy) -> String {
    let key: Vec<String> = copy.key.as_str().split('/').map(encoded).collect();
    format!("{}/{}?versionId={}", encoded(bucket), key.join("/"), encoded(&copy.version.0))
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    out
}

/// A key of a listing, decoded where the server says that it encoded it (as a form does: `+` is a space).
pub(super) fn key(text: &str, encoded: bool) -> String {
    if !encoded {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let mut byte = [0];
                if hex::decode_to_slice([*high, *low], &mut byte).is_ok() {
                    bytes.push(byte[0]);
                    rest = after;
                } else {
                    bytes.push(b'%');
                }
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(other),
        }
    }
    // Not UTF-8 after all: then it was not encoded in the first place.
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

pub(super) fn length(bytes: u64) -> Result<i64, PutError> {
    i64::try_from(bytes).map_err(|_| impossible(format!("{bytes} bytes are more than S3 can hold")))
}

pub(super) fn part_number(number: u32) -> Result<i32, PutError> {
    i32::try_from(number).map_err(|_| impossible(format!("there is no part {number}")))
}

fn impossible(message: String) -> PutError {
    PutError::Refused(Refusal::Failed, Cause { code: "InvalidRequest".into(), message, ..Cause::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(output: aws_sdk_s3::operation::head_object::builders::HeadObjectOutputBuilder) -> HeldChecksums {
        head(&output.content_length(1).build()).unwrap().checksums
    }

    #[test]
    fn a_composite_is_never_taken_for_a_full_checksum() {
        let digest = Sha256([7; 32]);
        let (plain, suffixed) = (digest.to_base64(), format!("{}-3", digest.to_base64()));
        let one = HeadObjectOutput::builder().e_tag("\"d41d8cd98f00b204e9800998ecf8427e\"");
        let many = HeadObjectOutput::builder().e_tag("\"d41d8cd98f00b204e9800998ecf8427e-3\"");
        let composite = Some(HeldSha256::Composite { digest, parts: 3 });
        assert_eq!(held(one.clone().checksum_sha256(&plain)).sha256, Some(HeldSha256::Full(digest)));
        assert_eq!(held(many.clone().checksum_sha256(&suffixed)).sha256, composite);
        assert_eq!(held(many.clone().checksum_sha256(&plain).checksum_type(ChecksumType::Composite)).sha256, composite);
        assert_eq!(held(many.clone().checksum_sha256(&plain)).sha256, None);
        assert_eq!(held(many.clone().checksum_crc32("AAAAAQ==")).crc32, None);
        assert_eq!(held(one.checksum_crc32("AAAAAQ==")).crc32, Some(1));
        let full = many.checksum_crc64_nvme("AAAAAAAAAAI=").checksum_type(ChecksumType::FullObject);
        assert_eq!(held(full).crc64nvme, Some(2));
    }

    #[test]
    fn the_whole_object_is_never_taken_for_its_first_part() {
        let etag = ETag::new("d41d8cd98f00b204e9800998ecf8427e-3");
        let part = HeadObjectOutput::builder().content_length(5).parts_count(3);
        let told = |output: aws_sdk_s3::operation::head_object::builders::HeadObjectOutputBuilder| {
            first_part(&output.build(), &etag)
        };
        assert_eq!(told(part.clone()), Some(5));
        assert_eq!(told(part.clone().content_range("bytes 0-4/12")), Some(5));
        assert_eq!(told(HeadObjectOutput::builder().content_length(12)), None);
        assert_eq!(told(HeadObjectOutput::builder().content_length(5).content_range("bytes 0-4/12")), None);
        assert_eq!(told(part.clone().parts_count(1)), None);
        assert_eq!(told(part.clone().parts_count(2)), None);
        assert_eq!(told(part.clone().content_length(0)), None);
        for range in ["bytes 0-4/5", "bytes 0-11/12", "bytes 5-9/12", "bytes 0-4/*", "0-4"] {
            assert_eq!(told(part.clone().content_range(range)), None, "{range}");
        }
        assert_eq!(first_part(&part.build(), &ETag::new("opaque")), Some(5));
    }

    #[test]
    fn our_own_metadata_is_kept_apart_from_theirs() {
        let output = HeadObjectOutput::builder()
            .content_length(0)
            .e_tag("x")
            .metadata("team", "finance")
            .metadata("Noclobber-Write-Id", "run-1")
            .metadata("noclobber-sha256", "sha256:00")
            .build();
        let head = head(&output).unwrap();
        assert_eq!(head.properties.metadata, BTreeMap::from([("team".into(), "finance".into())]));
        assert_eq!((head.write_id.as_deref(), head.claim.as_deref()), (Some("run-1"), Some("sha256:00")));
    }

    #[test]
    fn listed_keys_come_back_as_they_were() {
        assert_eq!(key("a%2Fb+c%2Bd%C3%A9", true), "a/b c+dé");
        assert_eq!(key("a%2Fb+c", false), "a%2Fb+c");
        assert_eq!(key("100%", true), "100%");
        assert_eq!(key("%ff", true), "%ff");
    }

    #[test]
    fn tags_travel_as_a_query_string() {
        let tags = BTreeMap::from([("a b".to_owned(), "x&y=z".to_owned()), ("k".to_owned(), String::new())]);
        assert_eq!(tagging(&tags).as_deref(), Some("a%20b=x%26y%3Dz&k="));
        assert_eq!(tagging(&BTreeMap::new()), None);
    }
}
