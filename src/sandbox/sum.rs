//! The checksums of S3: computed, compared, combined.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Digest as _;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use serde::{Deserialize, Serialize};

/// The additional checksums that S3 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64nvme,
    Sha1,
    Sha256,
}

pub(super) const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme, Algorithm::Sha1, Algorithm::Sha256];

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub fn read(name: &str) -> S3Result<Self> {
        ALGORITHMS.into_iter().find(|a| a.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported: {name}. The sandbox knows CRC32, CRC32C, CRC64NVME, SHA1 and SHA256.")
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The digest of bytes in memory, in base64.
    pub fn of(self, bytes: &[u8]) -> String {
        match self {
            Self::Crc32 => BASE64.encode(Crc32::checksum(bytes)),
            Self::Crc32c => BASE64.encode(Crc32c::checksum(bytes)),
            Self::Crc64nvme => BASE64.encode(Crc64Nvme::checksum(bytes)),
            Self::Sha1 => BASE64.encode(Sha1::checksum(bytes)),
            Self::Sha256 => BASE64.encode(Sha256::checksum(bytes)),
        }
    }

    fn crc(self) -> Option<crc_fast::CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(crc_fast::CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(crc_fast::CrcAlgorithm::Crc32Iscsi),
            Self::Crc64nvme => Some(crc_fast::CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// A checksum as S3 keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub algorithm: Algorithm,
    /// Base64; a composite ends in `-<parts>`.
    pub value: String,
    pub composite: bool,
}

impl Sum {
    pub fn full(algorithm: Algorithm, value: String) -> Self {
        Self { algorithm, value, composite: false }
    }

    pub fn kind(&self) -> &'static str {
        if self.composite { "COMPOSITE" } else { "FULL_OBJECT" }
    }
}

/// The checksum of a whole, made from its parts' checksums and sizes in order. `None` when a part has none.
pub(super) fn combine(algorithm: Algorithm, composite: bool, parts: &[(Option<&Sum>, u64)]) -> Option<Sum> {
    let mut digests = Vec::with_capacity(parts.len());
    for (sum, size) in parts {
        let sum = sum.filter(|s| s.algorithm == algorithm)?;
        digests.push((BASE64.decode(&sum.value).ok()?, *size));
    }
    if composite {
        let joined: Vec<u8> = digests.iter().flat_map(|(digest, _)| digest).copied().collect();
        return Some(Sum { algorithm, value: format!("{}-{}", algorithm.of(&joined), parts.len()), composite });
    }
    let crc = algorithm.crc()?;
    let mut whole: Option<u64> = None;
    for (digest, size) in &digests {
        let value = digest.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        whole = Some(match whole {
            None => value,
            Some(before) => crc_fast::checksum_combine(crc, before, value, *size),
        });
    }
    let bytes = whole.unwrap_or(0).to_be_bytes();
    Some(Sum::full(algorithm, BASE64.encode(&bytes[8 - algorithm.bytes()..])))
}

/// Hashes a body as it arrives: MD5 always, the others as asked.
pub(super) struct Hasher {
    md5: md5::Md5,
    others: ChecksumHasher,
}

/// What a body hashed to.
#[derive(Debug, Clone)]
pub(super) struct Hashed {
    pub md5: [u8; 16],
    pub sums: Vec<Sum>,
}

impl Hasher {
    pub fn new(algorithms: &[Algorithm]) -> Self {
        let has = |algorithm| algorithms.contains(&algorithm);
        Self {
            md5: md5::Md5::new(),
            others: ChecksumHasher {
                crc32: has(Algorithm::Crc32).then(Crc32::new),
                crc32c: has(Algorithm::Crc32c).then(Crc32c::new),
                sha1: has(Algorithm::Sha1).then(Sha1::new),
                sha256: has(Algorithm::Sha256).then(Sha256::new),
                crc64nvme: has(Algorithm::Crc64nvme).then(Crc64Nvme::new),
            },
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.others.update(bytes);
    }

    pub fn finish(self) -> Hashed {
        let found = self.others.finalize();
        let sums = [
            (Algorithm::Crc32, found.checksum_crc32),
            (Algorithm::Crc32c, found.checksum_crc32c),
            (Algorithm::Crc64nvme, found.checksum_crc64nvme),
            (Algorithm::Sha1, found.checksum_sha1),
            (Algorithm::Sha256, found.checksum_sha256),
        ];
        let sums = sums.into_iter().filter_map(|(a, value)| Some(Sum::full(a, value?))).collect();
        Hashed { md5: self.md5.finalize().into(), sums }
    }
}

impl Hashed {
    pub fn sum(&self, algorithm: Algorithm) -> Option<&Sum> {
        self.sums.iter().find(|s| s.algorithm == algorithm)
    }

    /// Compares with what the client said of its bytes.
    pub fn verify(&self, given: &[(Algorithm, String)], content_md5: Option<&str>) -> S3Result<()> {
        if let Some(text) = content_md5 {
            match BASE64.decode(text) {
                Ok(bytes) if bytes.len() == 16 => {
                    if bytes != self.md5 {
                        return Err(s3_error!(
                            BadDigest,
                            "The Content-MD5 you specified did not match what we received."
                        ));
                    }
                }
                _ => return Err(s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid.")),
            }
        }
        for (algorithm, value) in given {
            check_form(*algorithm, value)?;
            if self.sum(*algorithm).is_none_or(|sum| sum.value != *value) {
                return Err(mismatch(*algorithm));
            }
        }
        Ok(())
    }
}

/// Refuses a value that cannot be a digest of this algorithm.
pub(super) fn check_form(algorithm: Algorithm, value: &str) -> S3Result<()> {
    match BASE64.decode(value) {
        Ok(bytes) if bytes.len() == algorithm.bytes() => Ok(()),
        _ => Err(s3_error!(InvalidRequest, "Value for {} header is invalid.", algorithm.header())),
    }
}

pub(super) fn mismatch(algorithm: Algorithm) -> S3Error {
    let name = algorithm.name();
    S3Error::with_message(
        S3ErrorCode::BadDigest,
        format!("The {name} you specified did not match the calculated checksum."),
    )
}

/// S3's ETag of a multipart object: the MD5 of its parts' MD5s, and their number.
pub(super) fn multipart_etag<'a>(md5s: impl Iterator<Item = &'a str>) -> String {
    let mut whole = md5::Md5::new();
    let mut parts = 0usize;
    for md5 in md5s {
        whole.update(hex::decode(md5).unwrap_or_default());
        parts += 1;
    }
    format!("{}-{parts}", hex::encode(whole.finalize()))
}

/// Puts a checksum into an answer, whose types all have the same five fields and no common trait.
macro_rules! fill_sum {
    ($answer:expr, $sum:expr) => {
        if let Some(sum) = $sum {
            let value = Some(sum.value.clone());
            match sum.algorithm {
                $crate::sandbox::sum::Algorithm::Crc32 => $answer.checksum_crc32 = value,
                $crate::sandbox::sum::Algorithm::Crc32c => $answer.checksum_crc32c = value,
                $crate::sandbox::sum::Algorithm::Crc64nvme => $answer.checksum_crc64nvme = value,
                $crate::sandbox::sum::Algorithm::Sha1 => $answer.checksum_sha1 = value,
                $crate::sandbox::sum::Algorithm::Sha256 => $answer.checksum_sha256 = value,
            }
        }
    };
}
pub(super) use fill_sum;

/// Takes the checksums out of a request.
macro_rules! given_sums {
    ($input:expr) => {{
        use $crate::sandbox::sum::Algorithm;
        let all = [
            (Algorithm::Crc32, $input.checksum_crc32.clone()),
            (Algorithm::Crc32c, $input.checksum_crc32c.clone()),
            (Algorithm::Crc64nvme, $input.checksum_crc64nvme.clone()),
            (Algorithm::Sha1, $input.checksum_sha1.clone()),
            (Algorithm::Sha256, $input.checksum_sha256.clone()),
        ];
        all.into_iter().filter_map(|(a, value)| Some((a, value?))).collect::<Vec<(Algorithm, String)>>()
    }};
}
pub(super) use given_sums;

#[cfg(test)]
mod tests {
    use super::*;

    fn full(algorithm: Algorithm, bytes: &[u8]) -> Sum {
        Sum::full(algorithm, algorithm.of(bytes))
    }

    #[test]
    fn a_crc_combined_from_parts_is_the_crc_of_the_whole() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme] {
            let (a, b, c) = (b"one ".as_slice(), b"two and ".as_slice(), b"three".as_slice());
            let sums = [full(algorithm, a), full(algorithm, b), full(algorithm, c)];
            let parts: Vec<_> = sums.iter().zip([a, b, c]).map(|(s, p)| (Some(s), p.len() as u64)).collect();
            let whole = combine(algorithm, false, &parts).unwrap();
            assert_eq!(whole.value, algorithm.of(&[a, b, c].concat()), "{algorithm:?}");
        }
    }

    #[test]
    fn a_composite_is_the_digest_of_the_parts_digests_and_their_number() {
        let sums = [full(Algorithm::Sha256, b"a"), full(Algorithm::Sha256, b"b")];
        let whole = combine(Algorithm::Sha256, true, &[(Some(&sums[0]), 1), (Some(&sums[1]), 1)]).unwrap();
        let joined = [Sha256::checksum(b"a"), Sha256::checksum(b"b")].concat();
        assert_eq!(whole.value, format!("{}-2", BASE64.encode(Sha256::checksum(&joined))));
    }

    #[test]
    fn a_sha_has_no_full_checksum_of_parts_and_a_part_without_one_has_none_either() {
        let sum = full(Algorithm::Sha256, b"a");
        assert!(combine(Algorithm::Sha256, false, &[(Some(&sum), 1)]).is_none());
        assert!(combine(Algorithm::Sha256, true, &[(Some(&sum), 1), (None, 1)]).is_none());
    }
}
