//! What a rollback asks of the reference store: copies of earlier versions, and deletes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use md5::Digest as _;

use super::{Bucket, Content, Memory, cause, encryption_of, md5_of, sha256_of};
use crate::model::digest::{ETag, Md5};
use crate::model::entry::{Key, Properties};
use crate::model::head::{Carried, Head, HeldChecksums, HeldSha256, VersionId};
use crate::model::write::{Copy, Expect, PutError, Refusal, Written};
use crate::store::{Buried, CopiedPart, UploadId};

#[derive(Debug)]
pub(super) struct Copying {
    copy: Copy,
    parts: BTreeMap<u32, (Bytes, ETag)>,
}

impl Memory {
    fn condition_of_undo(&self, bucket: &Bucket, key: &Key, expect: &Expect) -> Result<(), PutError> {
        if self.honours_undo { self.condition(bucket, key, expect) } else { Ok(()) }
    }

    pub(super) fn past(&self, key: &Key, version: &VersionId) -> Buried {
        let bucket = self.lock();
        if bucket.unseen {
            return Buried::Unseen;
        }
        let versions = bucket.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        match versions.iter().find(|stored| stored.version == *version).map(|stored| &stored.content) {
            None => Buried::Gone,
            Some(None) => Buried::DeleteMarker,
            Some(Some(content)) => {
                let mut head = Head { first_part: None, ..content.head.clone() };
                head.properties.tags.clone_from(&content.tags);
                let carried = Carried { claim: head.claim.take(), ..content.carried.clone() };
                Buried::There { head: Box::new(head), carried }
            }
        }
    }

    pub(super) fn copied(&self, copy: &Copy, expect: &Expect) -> Result<Written, PutError> {
        let mut bucket = self.lock();
        let content = source(&bucket, copy)?;
        self.condition_of_undo(&bucket, &copy.key, expect)?;
        let etag = ETag::new(&md5_of(&content.bytes).to_string());
        Ok(store_copy(&mut bucket, copy, content.bytes.clone(), etag, None))
    }

    pub(super) fn copying(&self, copy: &Copy) -> UploadId {
        let mut bucket = self.lock();
        bucket.writes += 1;
        let id = format!("u{:06}", bucket.writes);
        bucket.copies.insert(id.clone(), Copying { copy: copy.clone(), parts: BTreeMap::new() });
        UploadId(id)
    }

    pub(super) fn part_copied(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        bytes: RangeInclusive<u64>,
    ) -> Result<CopiedPart, PutError> {
        let mut bucket = self.lock();
        let content = source(&bucket, copy)?;
        let Some(begun) = bucket.copies.get_mut(&upload.0) else {
            return Err(PutError::Refused(Refusal::NoSuchUpload, cause(404, "NoSuchUpload", "no such upload")));
        };
        let range = usize::try_from(*bytes.start()).unwrap_or(usize::MAX)
            ..usize::try_from(*bytes.end()).unwrap_or(usize::MAX).saturating_add(1);
        if range.is_empty() || range.end > content.bytes.len() {
            return Err(PutError::Refused(Refusal::Failed, cause(400, "InvalidArgument", "no such range")));
        }
        let bytes = content.bytes.slice(range);
        let etag = ETag::new(&md5_of(&bytes).to_string());
        begun.parts.insert(number, (bytes, etag.clone()));
        Ok(CopiedPart { number, etag })
    }

    pub(super) fn copy_completed(
        &self,
        copy: &Copy,
        upload: &UploadId,
        parts: &[CopiedPart],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        let mut bucket = self.lock();
        let Some(begun) = bucket.copies.get(&upload.0) else {
            return Err(PutError::Unknown(cause(404, "NoSuchUpload", "no such upload")));
        };
        let (mut bytes, mut etags) = (Vec::new(), md5::Md5::new());
        for part in parts {
            match begun.parts.get(&part.number) {
                Some((content, etag)) if *etag == part.etag => {
                    bytes.extend_from_slice(content);
                    etags.update(md5_of(content).0);
                }
                Some(_) | None => {
                    return Err(PutError::Refused(Refusal::Failed, cause(400, "InvalidPart", "no such part")));
                }
            }
        }
        if bytes.len() as u64 != copy.size {
            return Err(PutError::Refused(Refusal::Failed, cause(400, "InvalidRequest", "another size")));
        }
        // CompleteMultipartUpload, whatever its parts were made of.
        self.condition(&bucket, &copy.key, expect)?;
        let first = begun.parts.values().next().map(|(content, _)| content.len() as u64).filter(|_| parts.len() > 1);
        let as_begun = begun.copy.clone();
        bucket.copies.remove(&upload.0);
        let etag = ETag::new(&format!("{}-{}", Md5(etags.finalize().into()), parts.len()));
        Ok(store_copy(&mut bucket, &as_begun, bytes.into(), etag, first))
    }

    pub(super) fn deleted(&self, key: &Key, etag: &ETag) -> Result<Written, PutError> {
        let mut bucket = self.lock();
        self.condition_of_undo(&bucket, key, &Expect::Unchanged(etag.clone()))?;
        let version = Some(bucket.push(key, None));
        Ok(Written { etag: None, version, request_id: None, http_status: 204 })
    }
}

/// The bytes of a version that a copy names.
fn source(bucket: &Bucket, copy: &Copy) -> Result<Arc<Content>, PutError> {
    let no = |status, code, message| Err(PutError::Refused(Refusal::Failed, cause(status, code, message)));
    let versions = bucket.keys.get(&copy.key).map(Vec::as_slice).unwrap_or_default();
    match versions.iter().find(|stored| stored.version == copy.version).map(|stored| &stored.content) {
        None => no(404, "NoSuchVersion", "the version is not there"),
        Some(None) => no(400, "InvalidRequest", "a delete marker cannot be copied"),
        Some(Some(content)) if content.head.etag != copy.etag => {
            Err(PutError::Lost(cause(412, "PreconditionFailed", "the source is another one")))
        }
        Some(Some(content)) => Ok(Arc::clone(content)),
    }
}

/// Stores bytes as a copy is to be.
fn store_copy(bucket: &mut Bucket, copy: &Copy, bytes: Bytes, etag: ETag, first_part: Option<u64>) -> Written {
    let mut properties = Properties::clone(&copy.properties);
    let tags = std::mem::take(&mut properties.tags);
    let full = first_part.is_none().then(|| HeldSha256::Full(sha256_of(&bytes)));
    let head = Head {
        size: bytes.len() as u64,
        etag: etag.clone(),
        version: None,
        last_modified: None,
        encryption: encryption_of(&properties),
        checksums: HeldChecksums { sha256: full, ..HeldChecksums::default() },
        first_part,
        properties,
        claim: copy.carried.claim.clone(),
        write_id: Some(copy.write_id.to_string()),
    };
    let carried = Carried { claim: None, ..copy.carried.clone() };
    let version = bucket.push(&copy.key, Some((bytes, head, tags, carried)));
    Written { etag: Some(etag), version: Some(version), request_id: None, http_status: 200 }
}
