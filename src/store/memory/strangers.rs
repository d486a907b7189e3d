//! What somebody else does to the bucket, who asks for no preconditions.

use std::collections::BTreeMap;

use bytes::Bytes;
use md5::Digest as _;

use super::{Memory, md5_of};
use crate::model::digest::{ETag, Md5};
use crate::model::entry::{Key, Properties};
use crate::model::head::{Carried, Encryption, Head, HeldChecksums, VersionId};

impl Memory {
    /// Somebody else writes, without any precondition and without a write id.
    pub fn stranger_put(&self, key: &Key, bytes: impl Into<Bytes>) -> ETag {
        let bytes = bytes.into();
        let etag = ETag::new(&md5_of(&bytes).to_string());
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &bytes);
        // S3 adds this one by itself when a writer sends none.
        let held = HeldChecksums { crc64nvme: Some(crc), ..HeldChecksums::default() };
        self.stranger_write(key, bytes, etag.clone(), held, None);
        etag
    }

    /// Somebody else uploads in parts of any size. The object holds no checksum of the whole, as where the parts' own
    /// are combined otherwise.
    pub fn stranger_put_parts(&self, key: &Key, parts: &[&[u8]]) {
        let mut md5s = md5::Md5::new();
        for part in parts {
            md5s.update(md5_of(part).0);
        }
        let etag = ETag::new(&format!("{}-{}", Md5(md5s.finalize().into()), parts.len()));
        let first = parts.first().map(|part| part.len() as u64).filter(|_| parts.len() > 1);
        self.stranger_write(key, parts.concat().into(), etag, HeldChecksums::default(), first);
    }

    fn stranger_write(&self, key: &Key, bytes: Bytes, etag: ETag, checksums: HeldChecksums, first_part: Option<u64>) {
        let head = Head {
            size: bytes.len() as u64,
            etag,
            version: None,
            last_modified: None,
            encryption: Encryption::None,
            checksums,
            first_part,
            properties: Properties::default(),
            claim: None,
            write_id: None,
        };
        self.lock().push(key, Some((bytes, head, BTreeMap::new(), Carried::default())));
    }

    /// Somebody else deletes: a delete marker becomes current.
    pub fn stranger_delete(&self, key: &Key) {
        self.lock().push(key, None);
    }

    /// Somebody else deletes a version for good, or it expires.
    pub fn stranger_forget(&self, key: &Key, version: &VersionId) {
        let mut bucket = self.lock();
        if let Some(versions) = bucket.keys.get_mut(key) {
            versions.retain(|stored| stored.version != *version);
            if versions.is_empty() {
                bucket.keys.remove(key);
            }
        }
    }
}
