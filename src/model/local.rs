//! A local file as it was read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::{Checksum, Md5, Sha256};

/// What the file system says of a file, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub size: u64,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i128,
}

/// The digests that somebody needs of one file; all are computed in one read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// SHA-256 of the whole file.
    pub sha256: bool,
    /// MD5 of the whole file.
    pub md5: bool,
    pub crc64nvme: bool,
    pub crc32c: bool,
    pub crc32: bool,
    /// Part sizes in bytes at which the composite SHA-256 is needed.
    pub composite_at: Vec<u64>,
    /// Part sizes in bytes at which the multipart ETag (MD5 of the parts' MD5s) is needed.
    pub etag_at: Vec<u64>,
}

impl Wanted {
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is still missing beside these.
    #[must_use]
    pub fn without(&self, have: &Digests) -> Self {
        let Self { sha256, md5, crc64nvme, crc32c, crc32, composite_at, etag_at } = self;
        Self {
            sha256: *sha256 && have.sha256.is_none(),
            md5: *md5 && have.md5.is_none(),
            crc64nvme: *crc64nvme && have.crc64nvme.is_none(),
            crc32c: *crc32c && have.crc32c.is_none(),
            crc32: *crc32 && have.crc32.is_none(),
            composite_at: composite_at.iter().copied().filter(|at| !have.composites.contains_key(at)).collect(),
            etag_at: etag_at.iter().copied().filter(|at| !have.etags.contains_key(at)).collect(),
        }
    }
}

/// The digests of one file that were computed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Digests {
    pub sha256: Option<Sha256>,
    pub md5: Option<Md5>,
    pub crc64nvme: Option<u64>,
    pub crc32c: Option<u32>,
    pub crc32: Option<u32>,
    /// Composite SHA-256 by part size in bytes.
    pub composites: BTreeMap<u64, (Sha256, u32)>,
    /// MD5 of the parts' MD5s by part size in bytes.
    pub etags: BTreeMap<u64, (Md5, u32)>,
}

impl Digests {
    /// Takes over what is not here yet. Both must be of one state of one file.
    pub fn add(&mut self, more: Self) {
        let Self { sha256, md5, crc64nvme, crc32c, crc32, composites, etags } = more;
        self.sha256 = self.sha256.or(sha256);
        self.md5 = self.md5.or(md5);
        self.crc64nvme = self.crc64nvme.or(crc64nvme);
        self.crc32c = self.crc32c.or(crc32c);
        self.crc32 = self.crc32.or(crc32);
        self.composites.extend(composites);
        self.etags.extend(etags);
    }

    /// Those that somebody wanted, and no other.
    #[must_use]
    pub fn only(mut self, wanted: &Wanted) -> Self {
        let Wanted { sha256, md5, crc64nvme, crc32c, crc32, composite_at, etag_at } = wanted;
        self.sha256 = self.sha256.filter(|_| *sha256);
        self.md5 = self.md5.filter(|_| *md5);
        self.crc64nvme = self.crc64nvme.filter(|_| *crc64nvme);
        self.crc32c = self.crc32c.filter(|_| *crc32c);
        self.crc32 = self.crc32.filter(|_| *crc32);
        self.composites.retain(|at, _| composite_at.contains(at));
        self.etags.retain(|at, _| etag_at.contains(at));
        self
    }
}

/// A file as the planner judged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    pub stat: Stat,
    pub digests: Digests,
}

impl LocalFile {
    /// What a plan pins of this file: the whole SHA-256, or from 64 MiB the composite at the one part size. `None` where
    /// the digest was not computed.
    #[must_use]
    pub fn pin(&self) -> Option<Checksum> {
        match super::part::part_bytes(self.stat.size) {
            None => self.digests.sha256.map(Checksum::Full),
            Some(part_bytes) => {
                let (digest, parts) = *self.digests.composites.get(&part_bytes)?;
                Some(Checksum::Composite { digest, parts, part_bytes })
            }
        }
    }
}

/// What a step keeps of the local file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    pub size: u64,
    /// RFC 3339 in UTC with nanoseconds.
    pub mtime: String,
    /// Present on every step that would write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}
