//! Every wanted digest of one stream of bytes, each byte seen once: on one thread, on several side by side, or in
//! stretches that are joined afterwards.

use crc_fast::CrcAlgorithm;
use md5::Md5 as Md5Hasher;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefMutIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;
use sha2::{Digest as _, Sha256 as Sha256Hasher};

use crate::model::digest::{Md5, Sha256};
use crate::model::local::{Digests, Wanted};

/// The running digests of one file.
pub(super) struct Hashers {
    sha256: Option<Sha256Hasher>,
    md5: Option<Md5Hasher>,
    split: Splits,
}

impl Hashers {
    pub fn new(wanted: &Wanted) -> Self {
        Self {
            sha256: wanted.sha256.then(Sha256Hasher::new),
            md5: wanted.md5.then(Md5Hasher::new),
            split: Splits::new(wanted),
        }
    }

    pub fn update(&mut self, data: &[u8]) {
        let Self { sha256, md5, split } = self;
        if let Some(hasher) = sha256 {
            hasher.update(data);
        }
        if let Some(hasher) = md5 {
            hasher.update(data);
        }
        split.update(data);
    }

    /// The same, the threads of the current pool sharing the work: a whole file's digest is one thread's, every part is
    /// one thread's, and CRCs go in shares of so many bytes.
    pub fn update_shared(&mut self, data: &[u8], share_bytes: usize) {
        let Self { sha256, md5, split } = self;
        let Splits { crc64nvme, crc32c, crc32, composites, etags } = split;
        rayon::scope(|scope| {
            // The slowest first: what nothing can be beside of should not be last.
            if let Some(hasher) = md5 {
                scope.spawn(|_| hasher.update(data));
            }
            for parts in etags {
                scope.spawn(|_| parts.update_shared(data));
            }
            if let Some(hasher) = sha256 {
                scope.spawn(|_| hasher.update(data));
            }
            for parts in composites {
                scope.spawn(|_| parts.update_shared(data));
            }
            for crc in [crc64nvme, crc32c, crc32].into_iter().flatten() {
                scope.spawn(move |_| crc.update_shared(data, share_bytes));
            }
        });
    }

    pub fn finish(self) -> Digests {
        let Self { sha256, md5, split } = self;
        Digests {
            sha256: sha256.map(|hasher| Sha256(hasher.finalize().into())),
            md5: md5.map(|hasher| Md5(hasher.finalize().into())),
            ..split.finish()
        }
    }
}

/// The digests that can be computed of stretches of a file and joined.
pub(super) struct Splits {
    crc64nvme: Option<Crc>,
    crc32c: Option<Crc>,
    crc32: Option<Crc>,
    composites: Vec<Parts<Sha256Hasher>>,
    etags: Vec<Parts<Md5Hasher>>,
}

impl Splits {
    /// What is wanted of the whole file in one piece is left out.
    pub fn new(wanted: &Wanted) -> Self {
        let Wanted { sha256: _, md5: _, crc64nvme, crc32c, crc32, composite_at, etag_at } = wanted;
        Self {
            crc64nvme: crc64nvme.then(|| Crc::new(CrcAlgorithm::Crc64Nvme)),
            crc32c: crc32c.then(|| Crc::new(CrcAlgorithm::Crc32Iscsi)),
            crc32: crc32.then(|| Crc::new(CrcAlgorithm::Crc32IsoHdlc)),
            composites: composite_at.iter().map(|bytes| Parts::new(*bytes)).collect(),
            etags: etag_at.iter().map(|bytes| Parts::new(*bytes)).collect(),
        }
    }

    pub fn update(&mut self, data: &[u8]) {
        let Self { crc64nvme, crc32c, crc32, composites, etags } = self;
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

    /// Joins the stretch that follows this one. Every part of this one must have ended with it.
    pub fn append(mut self, next: Self) -> Self {
        let Self { crc64nvme, crc32c, crc32, composites, etags } = next;
        let crcs = [(&mut self.crc64nvme, crc64nvme), (&mut self.crc32c, crc32c), (&mut self.crc32, crc32)];
        for (crc, next) in crcs {
            if let (Some(crc), Some(next)) = (crc, next) {
                crc.append(&next);
            }
        }
        for (parts, next) in self.composites.iter_mut().zip(composites) {
            parts.append(next);
        }
        for (parts, next) in self.etags.iter_mut().zip(etags) {
            parts.append(next);
        }
        self
    }

    pub fn finish(self) -> Digests {
        let Self { crc64nvme, crc32c, crc32, composites, etags } = self;
        Digests {
            crc64nvme: crc64nvme.map(|crc| crc.value()),
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
            ..Digests::default()
        }
    }
}

/// crc-fast gives every CRC in 64 bits; the 32-bit ones fill the low half.
#[allow(clippy::cast_possible_truncation)]
fn low_half(crc: &Crc) -> u32 {
    crc.value() as u32
}

/// A CRC that can be joined with that of the bytes that follow.
struct Crc {
    algorithm: CrcAlgorithm,
    /// Of all bytes before the open ones.
    before: u64,
    open: crc_fast::Digest,
    open_bytes: u64,
    bytes: u64,
}

impl Crc {
    fn new(algorithm: CrcAlgorithm) -> Self {
        // No bytes at all have the CRC 0, in each of the three.
        Self { algorithm, before: 0, open: crc_fast::Digest::new(algorithm), open_bytes: 0, bytes: 0 }
    }

    fn update(&mut self, data: &[u8]) {
        self.open.update(data);
        self.open_bytes += data.len() as u64;
        self.bytes += data.len() as u64;
    }

    fn update_shared(&mut self, data: &[u8], share_bytes: usize) {
        let algorithm = self.algorithm;
        let joined = data
            .par_chunks(share_bytes.max(1))
            .map(|share| {
                let mut crc = Self::new(algorithm);
                crc.update(share);
                crc
            })
            .reduce_with(|mut crc, next| {
                crc.append(&next);
                crc
            });
        if let Some(next) = joined {
            self.append(&next);
        }
    }

    fn append(&mut self, next: &Self) {
        self.before = join(self.algorithm, self.value(), next.value(), next.bytes);
        self.bytes += next.bytes;
        self.open = crc_fast::Digest::new(self.algorithm);
        self.open_bytes = 0;
    }

    fn value(&self) -> u64 {
        join(self.algorithm, self.before, self.open.finalize(), self.open_bytes)
    }
}

fn join(algorithm: CrcAlgorithm, before: u64, after: u64, after_bytes: u64) -> u64 {
    if after_bytes == 0 { before } else { crc_fast::checksum_combine(algorithm, before, after, after_bytes) }
}

/// A digest of the parts' digests, as S3 makes composite checksums and multipart ETags.
struct Parts<D: sha2::Digest> {
    part_bytes: u64,
    /// Bytes that the open part still takes.
    room: u64,
    part: D,
    closed: Vec<sha2::digest::Output<D>>,
}

impl<D: sha2::Digest + Send> Parts<D> {
    fn new(part_bytes: u64) -> Self {
        // A size of 0 would never fill a part.
        let room = part_bytes.max(1);
        Self { part_bytes, room, part: D::new(), closed: Vec::new() }
    }

    fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let take = usize::try_from(self.room).unwrap_or(usize::MAX).min(data.len());
            let (now, later) = data.split_at(take);
            self.part.update(now);
            self.took(now);
            data = later;
        }
    }

    fn update_shared(&mut self, data: &[u8]) {
        let take = usize::try_from(self.room).unwrap_or(usize::MAX).min(data.len());
        let (now, later) = data.split_at(take);
        let part_bytes = usize::try_from(self.part_bytes.max(1)).unwrap_or(usize::MAX);
        // The open part goes on; the others begin here, and the last may stay open.
        let open = std::mem::replace(&mut self.part, D::new());
        let begun = later.chunks(part_bytes).map(|data| (D::new(), data));
        let mut pieces: Vec<(D, &[u8])> = std::iter::once((open, now)).chain(begun).collect();
        pieces.par_iter_mut().with_max_len(1).for_each(|(part, data)| part.update(data));
        for (part, data) in pieces {
            self.part = part;
            self.took(data);
        }
    }

    /// Counts what the open part has taken, and closes it once it is full.
    fn took(&mut self, data: &[u8]) {
        self.room -= data.len() as u64;
        if self.room == 0 {
            self.close();
        }
    }

    fn close(&mut self) {
        let part = std::mem::replace(&mut self.part, D::new());
        self.closed.push(part.finalize());
        self.room = self.part_bytes.max(1);
    }

    fn append(&mut self, next: Self) {
        self.closed.extend(next.closed);
        self.part = next.part;
        self.room = next.room;
    }

    fn finish(mut self) -> (sha2::digest::Output<D>, u32) {
        // An empty file has one, empty part; a file of exactly N parts has no empty one after them.
        if self.room < self.part_bytes.max(1) || self.closed.is_empty() {
            self.close();
        }
        let mut whole = D::new();
        for part in &self.closed {
            whole.update(part);
        }
        (whole.finalize(), u32::try_from(self.closed.len()).unwrap_or(u32::MAX))
    }
}
