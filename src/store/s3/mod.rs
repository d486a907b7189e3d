//! The bucket over the wire. The one room that knows the AWS SDK.
//!
//! Every write supplies its own SHA-256, so the SDK adds no checksum, no trailer and no chunked encoding; it goes as a
//! plain body with `UNSIGNED-PAYLOAD` (the signature covers the checksum header, and that covers the body).

mod body;
mod bucket;
mod classify;
mod connect;
mod copy;
mod page;
mod place;
mod probe;
mod toll;
mod translate;
mod uploads;
mod wait;

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::RequestId as _;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, EncodingType, RequestPayer,
};
use sha2::Digest as _;

use crate::model::bucket::{Aspect, Configuration};
use crate::model::digest::{Checksum, ETag, Sha256};
use crate::model::entry::Key;
use crate::model::head::{Remote, VersionId};
use crate::model::target::Target;
use crate::model::write::{Cause, Copy, Expect, LookError, Object, PutError, Refusal, Written};
use crate::store::{
    Access, Body, Buried, CopiedPart, HeldPart, Page, Part, PartTaken, ProbeKey, Probed, Store, UploadId, UploadsMark,
    UploadsPage, Version,
};

use body::{Outgoing, Sent};
use classify::{Answer, Condition, Op};
use translate::{SdkFailure, answer_of};
use wait::{watched, within};

pub use connect::{ConnectError, Keys, ResolveError, resolve};
pub use toll::{Limits, Toll};

/// Pages of a version listing that are read for one key, at most.
const VERSION_PAGES_MAX: usize = 10;

/// Sets the properties on a PutObject or a CreateMultipartUpload: two builders with the same methods and no common trait.
macro_rules! with_properties {
    ($request:expr, $object:expr) => {{
        let properties = &$object.properties;
        let (encryption, kms_key) = translate::encryption_wanted(properties.sse.as_ref());
        $request
            .set_content_type(properties.content_type.clone())
            .set_cache_control(properties.cache_control.clone())
            .set_content_encoding(properties.content_encoding.clone())
            .set_content_disposition(properties.content_disposition.clone())
            .set_content_language(properties.content_language.clone())
            .set_storage_class(properties.storage_class.as_deref().map(Into::into))
            .set_acl(properties.acl.as_deref().map(Into::into))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .set_metadata(Some(translate::metadata($object)))
    }};
}

/// A bucket at AWS or at any server that speaks S3. Cheap to clone; all clones share one connection pool.
#[derive(Clone)]
pub struct S3 {
    writing: Client,
    looking: Client,
    bucket: String,
    endpoint: String,
    owner: Option<String>,
    payer: Option<RequestPayer>,
    limits: Limits,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3({} at {})", self.bucket, self.endpoint)
    }
}

impl S3 {
    /// Connects to what the plan says, and to nothing that the environment says. For a sandbox, the target's endpoint
    /// must have been replaced by the URL at which it listens.
    pub async fn connect(target: &Target, keys: Keys) -> Result<Self, ConnectError> {
        let clients = connect::clients(target, keys).await?;
        Ok(Self {
            writing: clients.writing,
            looking: clients.looking,
            bucket: target.bucket.clone(),
            endpoint: target.endpoint.clone(),
            owner: target.owner.clone(),
            payer: target.request_payer.then_some(RequestPayer::Requester),
            limits: Limits::default(),
        })
    }

    /// The same bucket, asked no faster than this: every request counts, those that the SDK repeats too.
    #[must_use]
    pub fn limited(mut self, limits: Limits) -> Self {
        self.looking = limits.counting(&self.looking);
        self.limits = limits;
        self
    }

    async fn look(&self, key: &Key, version: Option<&VersionId>) -> Result<Remote, LookError> {
        let first = self.head_once(key, version, Some(ChecksumMode::Enabled)).await;
        match first {
            // The role may lack kms:Decrypt, which only the checksums need.
            Err(Answer::Said { status: 403, .. }) => seen(self.head_once(key, version, None).await),
            // A delete marker that was asked for by its version.
            Err(Answer::Said { status: 405, .. }) if version.is_some() => Ok(Remote::Absent),
            other => seen(other),
        }
    }

    /// A HEAD's 403 has no body: wrong keys look like a role that may not list. A LIST's 403 says which.
    async fn known_to_the_server(&self) -> Result<(), LookError> {
        let list = self
            .looking
            .list_objects_v2()
            .bucket(&self.bucket)
            .max_keys(1)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        match looked(list.send().await) {
            Err(mut error) if error.stop => {
                error.cause.message = format!("bucket {} at {}: {}", self.bucket, self.endpoint, error.cause.message);
                Err(error)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn head_once(
        &self,
        key: &Key,
        version: Option<&VersionId>,
        mode: Option<ChecksumMode>,
    ) -> Result<HeadObjectOutput, Answer> {
        self.limits.turn().await;
        let sent = self.looking.head_object().bucket(&self.bucket).key(key.as_str());
        sent.set_version_id(version.map(|version| version.0.clone()))
            .set_checksum_mode(mode)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone())
            .send()
            .await
            .map_err(|error| answer_of(&error))
    }
}

impl Store for S3 {
    async fn access(&self) -> Result<Access, LookError> {
        self.limits.turn().await;
        let answer = self
            .looking
            .head_bucket()
            .bucket(&self.bucket)
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await
            .map_err(|error| answer_of(&error));
        let bucket = &self.bucket;
        match answer {
            Ok(_) => Ok(Access::Open),
            Err(Answer::Said { status: 403, code, .. })
                if code.is_empty() || code == "AccessDenied" || code == "Forbidden" =>
            {
                self.known_to_the_server().await?;
                let owner = self.owner.as_ref().map_or_else(String::new, |owner| {
                    format!(", or the bucket does not belong to account {owner}, as `bucket_owner:` expects")
                });
                Ok(Access::Doubtful(format!(
                    "bucket {bucket}: HeadBucket was refused (403): the role may lack s3:ListBucket{owner}; reads and writes of single objects may still be allowed"
                )))
            }
            Err(Answer::Said { status: 404, code, request_id, .. }) => Err(LookError {
                cause: Cause {
                    http_status: Some(404),
                    code: if code.is_empty() || code == "NotFound" { "NoSuchBucket".into() } else { code },
                    message: format!(
                        "there is no bucket {bucket} at {}: check `bucket:` and `endpoint:`",
                        self.endpoint
                    ),
                    request_id,
                },
                stop: true,
            }),
            Err(Answer::Silent { code, message }) => Err(LookError {
                cause: Cause {
                    code: code.into(),
                    message: format!("{} did not answer: {message}", self.endpoint),
                    ..Cause::default()
                },
                stop: true,
            }),
            Err(answer) => {
                let mut error = classify::look_error(answer);
                error.cause.message = format!("bucket {bucket}: {}", error.cause.message);
                error.stop = true;
                Err(error)
            }
        }
    }

    async fn head(&self, key: &Key) -> Result<Remote, LookError> {
        self.look(key, None).await
    }

    async fn head_version(&self, key: &Key, version: &VersionId) -> Result<Remote, LookError> {
        self.look(key, Some(version)).await
    }

    async fn first_part(&self, key: &Key, etag: &ETag) -> Result<Option<u64>, LookError> {
        let request = self
            .looking
            .head_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .part_number(1)
            .if_match(etag.quoted())
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        match request.send().await.map_err(|error| answer_of(&error)) {
            Ok(output) => Ok(translate::first_part(&output, etag)),
            // Another object by now, none, or a server that knows no parts: it does not tell, and that decides nothing.
            Err(Answer::Said { status: 400 | 404 | 405 | 412 | 416 | 501, .. }) => Ok(None),
            Err(answer) => Err(classify::look_error(answer)),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, LookError> {
        let request = self
            .looking
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_continuation_token(after.map(ToOwned::to_owned))
            // Keys may hold characters that XML cannot.
            .encoding_type(EncodingType::Url)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        let reading = page::Reading::new(after);
        self.limits.turn().await;
        looked(request.customize().interceptor(reading.clone()).send().await)?;
        reading.take().map_err(|why| unreadable(&why))
    }

    async fn versions(&self, key: &Key, most: usize) -> Result<Vec<Version>, LookError> {
        let mut found = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        for _ in 0..VERSION_PAGES_MAX {
            let request = self
                .looking
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(key.as_str())
                .set_key_marker(key_marker.take())
                .set_version_id_marker(version_marker.take())
                .set_expected_bucket_owner(self.owner.clone())
                .set_request_payer(self.payer.clone());
            self.limits.turn().await;
            let output = match request.send().await.map_err(|error| answer_of(&error)) {
                Ok(output) => output,
                // A server without versions.
                Err(Answer::Said { status: 501, .. }) => return Ok(Vec::new()),
                Err(answer) => return Err(classify::look_error(answer)),
            };
            found.extend(translate::versions(&output, key));
            key_marker = output.next_key_marker().map(ToOwned::to_owned);
            version_marker = output.next_version_id_marker().map(ToOwned::to_owned);
            let past = key_marker.as_deref() != Some(key.as_str()) && !found.is_empty();
            if found.len() >= most || past || !output.is_truncated().unwrap_or(false) || key_marker.is_none() {
                break;
            }
        }
        // A bucket that never had versioning shows each object as its own version `null`.
        if let [only] = found.as_slice()
            && only.id.0 == "null"
            && only.is_latest
            && only.etag.is_some()
        {
            found.clear();
        }
        found.truncate(most);
        Ok(found)
    }

    async fn tags(&self, key: &Key) -> Result<BTreeMap<String, String>, LookError> {
        let request = self
            .looking
            .get_object_tagging()
            .bucket(&self.bucket)
            .key(key.as_str())
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = looked(request.send().await)?;
        Ok(output.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
    }

    async fn put(&self, object: &Object, body: Body, expect: &Expect, sent: Sent) -> Result<Written, PutError> {
        let Outgoing { stream, watch } = body::ready(object, body, sent).await?;
        let paid = self.limits.first_frame(object.size).await;
        let request = self.writing.put_object().bucket(&self.bucket).key(object.key.as_str());
        let request = with_properties!(request, object)
            .set_tagging(translate::tagging(&object.properties.tags))
            .set_checksum_sha256(object.checksum.full().map(|digest| digest.to_base64()))
            .content_length(translate::length(object.size)?)
            .set_if_none_match((*expect == Expect::Absent).then(|| "*".to_owned()))
            .set_if_match(translate::if_match(expect))
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone())
            .body(self.limits.shape(stream, &watch, paid));
        self.limits.turn().await;
        let sent = Box::pin(request.send());
        let output = watched(&watch, Op::Put, Condition::of(expect), object.size, sent).await?;
        let stored = output.checksum_sha256().and_then(|text| Sha256::from_base64(text).ok());
        if let (Some(stored), Some(planned)) = (stored, object.checksum.full())
            && stored != planned
        {
            let request_id = output.request_id().map(ToOwned::to_owned);
            return Err(PutError::Mangled(mangled(object, "SHA-256", stored, planned, request_id)));
        }
        Ok(Written {
            etag: output.e_tag().map(ETag::new),
            version: translate::version(output.version_id()),
            request_id: output.request_id().map(ToOwned::to_owned),
            http_status: 200,
        })
    }

    async fn create_upload(&self, object: &Object) -> Result<UploadId, PutError> {
        let request = self.writing.create_multipart_upload().bucket(&self.bucket).key(object.key.as_str());
        let request = with_properties!(request, object)
            .set_tagging(translate::tagging(&object.properties.tags))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_type(ChecksumType::Composite)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = within(Op::CreateUpload, Condition::None, Box::pin(request.send())).await?;
        match output.upload_id() {
            Some(id) => Ok(UploadId(id.to_owned())),
            None => Err(PutError::Unknown(Cause {
                http_status: Some(200),
                code: "Garbled".into(),
                message: "the server began an upload but did not name it".into(),
                request_id: output.request_id().map(ToOwned::to_owned),
            })),
        }
    }

    async fn put_part(&self, object: &Object, upload: &UploadId, part: Part) -> Result<PartTaken, PutError> {
        let Part { number, content, sha256 } = part;
        let size = content.length();
        let Outgoing { stream, watch } = body::part(content, object.size, sha256).await?;
        let paid = self.limits.first_frame(size).await;
        let request = self
            .writing
            .upload_part()
            .bucket(&self.bucket)
            .key(object.key.as_str())
            .upload_id(&upload.0)
            .part_number(translate::part_number(number)?)
            .checksum_sha256(sha256.to_base64())
            .content_length(translate::length(size)?)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone())
            .body(self.limits.shape(stream, &watch, paid));
        self.limits.turn().await;
        let output = watched(&watch, Op::Part, Condition::None, size, Box::pin(request.send())).await?;
        match output.e_tag() {
            Some(etag) => Ok(PartTaken { number, etag: ETag::new(etag), sha256 }),
            None => Err(PutError::Unknown(Cause {
                http_status: Some(200),
                code: "Garbled".into(),
                message: format!("the server took part {number} but gave no ETag for it"),
                request_id: output.request_id().map(ToOwned::to_owned),
            })),
        }
    }

    async fn list_parts(&self, key: &Key, upload: &UploadId) -> Result<Option<Vec<HeldPart>>, LookError> {
        self.held_parts(key, upload).await
    }

    async fn uploads(&self, prefix: &str, after: Option<&UploadsMark>) -> Result<UploadsPage, LookError> {
        self.open_uploads(prefix, after).await
    }

    async fn complete(
        &self,
        object: &Object,
        upload: &UploadId,
        parts: &[PartTaken],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        let composite = composite_of(parts);
        planned_composite(object, composite, parts.len())?;
        let mut list = CompletedMultipartUpload::builder();
        for PartTaken { number, etag, sha256 } in parts {
            let part = CompletedPart::builder()
                .part_number(translate::part_number(*number)?)
                .e_tag(etag.quoted())
                .checksum_sha256(sha256.to_base64());
            list = list.parts(part.build());
        }
        let request = self
            .writing
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(object.key.as_str())
            .upload_id(&upload.0)
            .multipart_upload(list.build())
            .checksum_type(ChecksumType::Composite)
            .mpu_object_size(translate::length(object.size)?)
            .set_if_none_match((*expect == Expect::Absent).then(|| "*".to_owned()))
            .set_if_match(translate::if_match(expect))
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = within(Op::Complete, Condition::of(expect), Box::pin(request.send())).await?;
        // The SDK takes an answer that says nothing for a success.
        let Some(etag) = output.e_tag() else {
            return Err(PutError::Unknown(Cause {
                http_status: Some(200),
                code: "Garbled".into(),
                message: "the server answered 200, but named no object".into(),
                request_id: output.request_id().map(ToOwned::to_owned),
            }));
        };
        if let Some(stored) = translate::composite(output.checksum_sha256(), output.checksum_type())
            && stored != composite
        {
            let request_id = output.request_id().map(ToOwned::to_owned);
            return Err(PutError::Mangled(mangled(object, "composite SHA-256", stored, composite, request_id)));
        }
        Ok(Written {
            etag: Some(ETag::new(etag)),
            version: translate::version(output.version_id()),
            request_id: output.request_id().map(ToOwned::to_owned),
            http_status: 200,
        })
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<(), LookError> {
        self.limits.turn().await;
        let sent = self
            .looking
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(&upload.0)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone())
            .send()
            .await
            .map_err(|error| answer_of(&error));
        match sent {
            Ok(_) => Ok(()),
            Err(Answer::Said { status: 404, code, .. }) if code != "NoSuchBucket" => Ok(()),
            Err(answer) => Err(classify::look_error(answer)),
        }
    }

    async fn buried(&self, key: &Key, version: &VersionId) -> Result<Buried, LookError> {
        self.buried_version(key, version).await
    }

    async fn copy(&self, copy: &Copy, expect: &Expect) -> Result<Written, PutError> {
        self.copy_version(copy, expect).await
    }

    async fn create_copy(&self, copy: &Copy) -> Result<UploadId, PutError> {
        self.begin_copy(copy).await
    }

    async fn copy_part(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        bytes: std::ops::RangeInclusive<u64>,
    ) -> Result<CopiedPart, PutError> {
        self.copy_bytes(copy, upload, number, bytes).await
    }

    async fn complete_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        parts: &[CopiedPart],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        self.end_copy(copy, upload, parts, expect).await
    }

    async fn delete(&self, key: &Key, etag: &ETag) -> Result<Written, PutError> {
        self.delete_current(key, etag).await
    }

    async fn probe_checksum(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.ask_checksum(probe.key()).await
    }

    async fn probe_put(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.ask_put(probe.key()).await
    }

    async fn probe_complete(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.ask_complete(probe.key()).await
    }

    async fn remove_probe(&self, probe: &ProbeKey) -> Result<(), LookError> {
        self.remove(probe.key()).await
    }

    async fn bucket(&self, wanted: &[Aspect]) -> Result<Configuration, LookError> {
        self.configuration(wanted).await
    }
}

fn looked<T, E: SdkFailure>(result: Result<T, E>) -> Result<T, LookError> {
    result.map_err(|error| classify::look_error(error.answer()))
}

fn seen(result: Result<HeadObjectOutput, Answer>) -> Result<Remote, LookError> {
    match result {
        Ok(output) if output.delete_marker() == Some(true) => Ok(Remote::Absent),
        Ok(output) => translate::head(&output)
            .map(|head| Remote::Present(Box::new(head)))
            .ok_or_else(|| unreadable("HEAD gave no size or no ETag")),
        Err(Answer::Said { status: 404, code, .. }) if code != "NoSuchBucket" => Ok(Remote::Absent),
        Err(Answer::Said { status: 403, .. }) => Ok(Remote::Unseen),
        Err(answer) => Err(classify::look_error(answer)),
    }
}

/// By the server's own word it stored something else.
fn mangled(object: &Object, what: &str, stored: Sha256, planned: Sha256, request_id: Option<String>) -> Cause {
    Cause {
        http_status: Some(200),
        code: "ChecksumMismatch".into(),
        message: format!(
            "stored, but the server says that it has other content than was sent ({what} {}, planned {}): look at {} \
             before anybody reads it",
            stored.to_base64(),
            planned.to_base64(),
            object.key
        ),
        request_id,
    }
}

fn unreadable(message: &str) -> LookError {
    LookError { cause: Cause { code: "Garbled".into(), message: message.to_owned(), ..Cause::default() }, stop: false }
}

fn composite_of(parts: &[PartTaken]) -> Sha256 {
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(part.sha256.0);
    }
    Sha256(hash.finalize().into())
}

/// The parts that were sent make up what was planned; or else nothing is put together.
fn planned_composite(object: &Object, sent: Sha256, count: usize) -> Result<(), PutError> {
    match object.checksum {
        Checksum::Composite { digest, parts, .. } if digest == sent && parts as usize == count => Ok(()),
        Checksum::Composite { .. } | Checksum::Full(_) => Err(PutError::Refused(
            Refusal::SourceChanged,
            Cause {
                code: "SourceChanged".into(),
                message: "the parts that were sent are not what was planned; they were not put together. Plan again"
                    .into(),
                ..Cause::default()
            },
        )),
    }
}
