//! What the bucket says of a key.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::{Checksum, ETag, Sha256};
use super::entry::Properties;

/// Metadata key (after `x-amz-meta-`) under which every upload states what it pinned, in `Checksum`'s text form.
pub const CLAIM: &str = "noclobber-sha256";
/// Metadata key (after `x-amz-meta-`) under which every upload carries its write id.
pub const WRITE_ID: &str = "noclobber-write-id";

/// A version id as the server gives it. A bucket without versioning gives none; `null` is a version like any other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionId(pub String);

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of an object's encryption; decides whether a plain ETag is an MD5.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// HEAD answered and named none.
    None,
    /// SSE-S3.
    Aes256,
    /// SSE-KMS or DSSE-KMS: the ETag is not an MD5.
    Kms,
    /// SSE-C: the ETag is not an MD5.
    Customer,
    /// A LIST answered; it does not say.
    Unknown,
}

impl Encryption {
    /// Whether a plain ETag of such an object is the MD5 of its content.
    #[must_use]
    pub fn etag_is_md5(&self) -> bool {
        match self {
            Self::None | Self::Aes256 => true,
            Self::Kms | Self::Customer | Self::Unknown => false,
        }
    }
}

/// A SHA-256 that the server itself holds for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeldSha256 {
    Full(Sha256),
    /// SHA-256 of the parts' SHA-256s.
    Composite {
        digest: Sha256,
        parts: u32,
    },
}

/// The checksums that the server itself holds. The CRCs are here only where they are of the full object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HeldChecksums {
    pub sha256: Option<HeldSha256>,
    pub crc64nvme: Option<u64>,
    pub crc32c: Option<u32>,
    pub crc32: Option<u32>,
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Head {
    pub size: u64,
    pub etag: ETag,
    pub version: Option<VersionId>,
    /// As RFC 3339, in UTC, to the second (HTTP dates have no more).
    pub last_modified: Option<String>,
    pub encryption: Encryption,
    pub checksums: HeldChecksums,
    /// Bytes in the first of several parts. HEAD does not tell it: it is here once the object was asked for it.
    pub first_part: Option<u64>,
    /// Content type, user metadata (ours left out) and the like. Tags only where they were asked for.
    pub properties: Properties,
    /// What `x-amz-meta-noclobber-sha256` says. Anybody who can write can forge it.
    pub claim: Option<String>,
    /// What `x-amz-meta-noclobber-write-id` says.
    pub write_id: Option<String>,
}

/// What a copy must carry over beside the properties that a manifest can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Carried {
    /// `x-amz-meta-noclobber-sha256`, as it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The `Expires` header, as it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bucket_key: bool,
    /// DSSE-KMS, which `Sse::Kms` does not tell from SSE-KMS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dsse: bool,
}

impl Carried {
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One look at one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// No object is current: never written, deleted, or under a delete marker.
    Absent,
    Present(Box<Head>),
    /// The server would not say (HEAD 403). A create may still be tried: its condition protects what may be there.
    Unseen,
}

/// What a step keeps of a head: what the reviewer judged and what the precondition names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    pub etag: ETag,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    pub size: u64,
    /// The strongest checksum that the server holds, as text (`sha256:...`, `crc64nvme:...`), for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    pub encryption: Encryption,
}

impl Seen {
    #[must_use]
    pub fn of(head: &Head) -> Self {
        Self {
            etag: head.etag.clone(),
            version: head.version.clone(),
            size: head.size,
            checksum: head.checksums.strongest(),
            last_modified: head.last_modified.clone(),
            encryption: head.encryption.clone(),
        }
    }

    /// Whether `head` is still the object that was reviewed. The version id tells an A-B-A rewrite, where both sides have
    /// one; else the time does, to the second.
    #[must_use]
    pub fn is(&self, head: &Head) -> bool {
        let times_agree = match (&self.last_modified, &head.last_modified) {
            (Some(then), Some(now)) => then == now,
            (None, _) | (_, None) => true,
        };
        let versions_agree = match (&self.version, &head.version) {
            (Some(then), Some(now)) => then == now,
            (None, _) | (_, None) => true,
        };
        self.etag == head.etag && self.size == head.size && versions_agree && times_agree
    }
}

impl Head {
    /// How this object, by what the server says of it, cannot be the one that was planned. A write id alone proves
    /// nothing: an upload carries it from its beginning, and whoever completes it may choose the parts.
    #[must_use]
    pub fn belies(&self, size: u64, planned: &Checksum) -> Option<String> {
        if self.size != size {
            return Some(format!("it has {} bytes, and {size} were reviewed", self.size));
        }
        let in_parts = match planned {
            Checksum::Composite { parts, .. } => Some(*parts),
            Checksum::Full(_) => None,
        };
        let told = match self.checksums.sha256 {
            Some(HeldSha256::Composite { parts, .. }) => Some(parts),
            Some(HeldSha256::Full(_)) | None => self.etag.as_multipart().map(|(_, parts)| parts),
        };
        match (told, in_parts) {
            (Some(told), Some(planned)) if told != planned => {
                Some(format!("it was put together from {told} parts, and {planned} were reviewed"))
            }
            _ if self.checksums.contradict(planned) => {
                Some("by the server's checksum it has other content than was reviewed".to_owned())
            }
            _ => None,
        }
    }
}

impl Head {
    /// How this object, by what the server says of it, cannot be a copy of `earlier`. Composites tell nothing: a copy may
    /// be made of other parts, or of none.
    #[must_use]
    pub fn belies_copy(&self, earlier: &Seen) -> Option<String> {
        if self.size != earlier.size {
            return Some(format!("it has {} bytes, and the version to bring back has {}", self.size, earlier.size));
        }
        let (kind, _) = earlier.checksum.as_deref()?.split_once(':')?;
        let held = self.checksums.full().into_iter().find(|held| held.split(':').next() == Some(kind))?;
        let differs = earlier.checksum.as_deref() != Some(&*held);
        differs.then(|| format!("by the server's {kind} it has other content than the version to bring back"))
    }
}

impl HeldChecksums {
    /// Those of the whole object, as text, the strongest first.
    fn full(&self) -> Vec<String> {
        let sha256 = match self.sha256 {
            Some(HeldSha256::Full(digest)) => Some(format!("sha256:{digest}")),
            Some(HeldSha256::Composite { .. }) | None => None,
        };
        let crcs = [
            self.crc64nvme.map(|crc| format!("crc64nvme:{crc:016x}")),
            self.crc32c.map(|crc| format!("crc32c:{crc:08x}")),
            self.crc32.map(|crc| format!("crc32:{crc:08x}")),
        ];
        std::iter::once(sha256).chain(crcs).flatten().collect()
    }

    /// Whether the server's own SHA-256 says that this is other content. `false` where it holds none of the same kind.
    #[must_use]
    pub fn contradict(&self, checksum: &Checksum) -> bool {
        match (self.sha256, checksum) {
            (Some(HeldSha256::Full(held)), Checksum::Full(pinned)) => held != *pinned,
            (
                Some(HeldSha256::Composite { digest: held, parts: held_parts }),
                Checksum::Composite { digest, parts, .. },
            ) => held_parts == *parts && held != *digest,
            (Some(HeldSha256::Full(_)), Checksum::Composite { .. })
            | (Some(HeldSha256::Composite { .. }), Checksum::Full(_))
            | (None, _) => false,
        }
    }

    fn strongest(&self) -> Option<String> {
        match self.sha256 {
            Some(HeldSha256::Composite { digest, parts }) => {
                Some(format!("sha256-composite:{}-{parts}", digest.to_base64()))
            }
            Some(HeldSha256::Full(_)) | None => self.full().into_iter().next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Sha256 = Sha256([1; 32]);
    const OTHER: Sha256 = Sha256([2; 32]);

    fn head(size: u64, etag: &str, sha256: Option<HeldSha256>) -> Head {
        Head {
            size,
            etag: ETag::new(etag),
            version: None,
            last_modified: None,
            encryption: Encryption::None,
            checksums: HeldChecksums { sha256, ..HeldChecksums::default() },
            first_part: None,
            properties: Properties::default(),
            claim: None,
            write_id: None,
        }
    }

    #[test]
    fn an_object_belies_a_plan_by_its_size_its_parts_or_the_servers_checksum_and_by_nothing_else() {
        let plain = "0123456789abcdef0123456789abcdef";
        let (three, two) = (format!("{plain}-3"), format!("{plain}-2"));
        let full = Checksum::Full(DIGEST);
        let parts = Checksum::Composite { digest: DIGEST, parts: 3, part_bytes: 5 };
        let held = |digest, parts| Some(HeldSha256::Composite { digest, parts });
        for (what, object, planned, belies) in [
            ("nothing is told", head(12, plain, None), &full, false),
            ("its own digest", head(12, plain, Some(HeldSha256::Full(DIGEST))), &full, false),
            ("another digest", head(12, plain, Some(HeldSha256::Full(OTHER))), &full, true),
            ("another size", head(11, plain, None), &full, true),
            ("as many parts", head(12, &three, None), &parts, false),
            ("fewer parts", head(12, &two, None), &parts, true),
            ("its own composite", head(12, &three, held(DIGEST, 3)), &parts, false),
            ("other parts, as many", head(12, &three, held(OTHER, 3)), &parts, true),
            ("fewer parts, by the checksum", head(12, "opaque", held(DIGEST, 2)), &parts, true),
            ("a checksum of another kind", head(12, &three, Some(HeldSha256::Full(OTHER))), &parts, false),
            ("an ETag that tells no parts", head(12, "opaque", None), &parts, false),
        ] {
            assert_eq!(object.belies(12, planned).is_some(), belies, "{what}");
        }
    }

    #[test]
    fn an_object_belies_a_copy_by_its_size_or_a_checksum_of_the_same_kind_and_by_nothing_else() {
        let held = |sha256, crc64nvme| HeldChecksums { sha256, crc64nvme, ..HeldChecksums::default() };
        let seen = |checksums| Seen::of(&Head { checksums, ..head(12, "0123456789abcdef0123456789abcdef-3", None) });
        let (full, composite) = (HeldSha256::Full, |digest, parts| HeldSha256::Composite { digest, parts });
        for (what, earlier, now, belies) in [
            ("nothing is told", held(None, None), held(None, None), false),
            ("its own digest", held(Some(full(DIGEST)), None), held(Some(full(DIGEST)), None), false),
            ("another digest", held(Some(full(DIGEST)), None), held(Some(full(OTHER)), None), true),
            ("another digest, the same CRC", held(Some(full(DIGEST)), Some(1)), held(Some(full(OTHER)), Some(1)), true),
            ("its own CRC beside a new digest", held(None, Some(1)), held(Some(full(OTHER)), Some(1)), false),
            ("another CRC beside a new digest", held(None, Some(1)), held(Some(full(OTHER)), Some(2)), true),
            ("a checksum of another kind", held(Some(full(DIGEST)), None), held(None, Some(1)), false),
            ("other parts", held(Some(composite(DIGEST, 3)), None), held(Some(composite(OTHER, 2)), None), false),
            ("no parts any more", held(Some(composite(DIGEST, 3)), None), held(Some(full(OTHER)), None), false),
        ] {
            let copy = Head { checksums: now, ..head(12, "0123456789abcdef0123456789abcdef", None) };
            assert_eq!(copy.belies_copy(&seen(earlier)).is_some(), belies, "{what}");
            assert!(Head { size: 11, ..copy }.belies_copy(&seen(earlier)).is_some(), "{what}");
        }
    }
}
