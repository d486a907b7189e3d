//! Every wanted digest of one stream of bytes, fed once.

use crc_fast::CrcAlgorithm;
use md5::Md5 as Md5Hasher;
use sha2::{Digest as _, Sha256 as Sha256Hasher};

use crate::model::digest::{Md5, Sha256};
use crate::model::local::{Digests, Wanted};

/// The running digests of one file.
pub(super) struct Hashers {
    sha256: Option<Sha256Hasher>,
    md5: Option<Md5Hasher>,
    crc64nvme: Option<crc_fast::Digest>,
    crc32c: Option<crc_fast::Digest>,
    crc32: Option<crc_fast::Digest>,
    composites: Vec<Parts<Sha256Hasher>>,
    etags: Vec<Parts<Md5Hasher>>,
}

impl Hashers {
    pub fn new(wanted: &Wanted) -> Self {
        let Wanted { sha256, md5, crc64nvme, crc32c, crc32, composite_at, etag_at } = wanted;
        Self {
            sha256: sha256.then(Sha256Hasher::new),
            md5: md5.then(Md5Hasher::new),
            crc64nvme: crc64nvme.then(|| crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme)),
            crc32c: crc32c.then(|| crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            crc32: crc32.then(|| crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            composites: composite_at.iter().map(|bytes| Parts::new(*bytes)).collect(),
            etags: etag_at.iter().map(|bytes| Parts::new(*bytes)).collect(),
        }
    }

    pub fn update(&mut self, data: &[u8]) {
        let Self { sha256, md5, crc64nvme, crc32c, crc32, composites, etags } = self;
        if let Some(hasher) = sha256 {
            hasher.update(data);
        }
        if let Some(hasher) = md5 {
            hasher.update(data);
        }
        for crc in [crc64nvme, crc32c, crc32].into_iter().flatten() {
            crc.update(data);
        }
        for parts in composites {
            parts.update(data);
        }
        for parts in etags {
            parts.update(data);
        }
    }

    pub fn finish(self) -> Digests {
        let Self { sha256, md5, crc64nvme, crc32c, crc32, composites, etags } = self;
        Digests {
            sha256: sha256.map(|hasher| Sha256(hasher.finalize().into())),
            md5: md5.map(|hasher| Md5(hasher.finalize().into())),
            crc64nvme: crc64nvme.map(|crc| crc.finalize()),
            crc32c: crc32c.map(|crc| low_half(&crc)),
            crc32: crc32.map(|crc| low_half(&crc)),
            composites: composites
                .into_iter()
                .map(|parts| (parts.part_bytes, parts.finish()))
                .map(|(bytes, (digest, count))| (bytes, (Sha256(digest.into()), count)))
                .collect(),
            etags: etags
                .into_iter()
                .map(|parts| (parts.part_bytes, parts.finish()))
                .map(|(bytes, (digest, count))| (bytes, (Md5(digest.into()), count)))
                .collect(),
        }
    }
}

/// crc-fast gives every CRC in 64 bits; the 32-bit ones fill the low half.
#[allow(clippy::cast_possible_truncation)]
fn low_half(crc: &crc_fast::Digest) -> u32 {
    crc.finalize() as u32
}

/// The SHA-256 of the parts' SHA-256s, from the parts' own.
pub(super) fn composite(parts: &[[u8; 32]]) -> (Sha256, u32) {
    let mut whole = Sha256Hasher::new();
    for part in parts {
        whole.update(part);
    }
    (Sha256(whole.finalize().into()), u32::try_from(parts.len()).unwrap_or(u32::MAX))
}

/// A digest of the parts' digests, as S3 makes composite checksums and multipart ETags.
struct Parts<D> {
    part_bytes: u64,
    /// Bytes that the open part still takes.
    room: u64,
    part: D,
    whole: D,
    closed: u32,
}

impl<D: sha2::Digest> Parts<D> {
    fn new(part_bytes: u64) -> Self {
        // A size of 0 would never fill a part.
        let room = part_bytes.max(1);
        Self { part_bytes, room, part: D::new(), whole: D::new(), closed: 0 }
    }

    fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let take = usize::try_from(self.room).unwrap_or(usize::MAX).min(data.len());
            let (now, later) = data.split_at(take);
            self.part.update(now);
            self.room -= take as u64;
            data = later;
            if self.room == 0 {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        let part = std::mem::replace(&mut self.part, D::new());
        self.whole.update(part.finalize());
        self.closed = self.closed.saturating_add(1);
        self.room = self.part_bytes.max(1);
    }

    fn finish(mut self) -> (sha2::digest::Output<D>, u32) {
        // An empty file has one, empty part; a file of exactly N parts has no empty one after them.
        if self.room < self.part_bytes.max(1) || self.closed == 0 {
            self.close();
        }
        (self.whole.finalize(), self.closed)
    }
}
