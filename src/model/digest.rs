//! The digests that pin content: what a plan promises and what a bucket tells.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// Why a digest could not be read from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {text:?}")]
pub struct DigestError {
    kind: &'static str,
    text: String,
}

impl DigestError {
    fn new(kind: &'static str, text: &str) -> Self {
        Self { kind, text: text.to_owned() }
    }
}

/// A SHA-256 digest (FIPS 180-4). Displayed as lowercase hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

/// An MD5 digest (RFC 1321), kept because an S3 ETag often is one. Displayed as lowercase hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Md5(pub [u8; 16]);

impl Sha256 {
    /// The form of the `x-amz-checksum-sha256` header.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64.encode(self.0)
    }

    /// Reads the form of the `x-amz-checksum-sha256` header.
    pub fn from_base64(text: &str) -> Result<Self, DigestError> {
        let bytes = BASE64.decode(text).map_err(|_| DigestError::new("base64 SHA-256", text))?;
        Ok(Self(bytes.try_into().map_err(|_| DigestError::new("base64 SHA-256", text))?))
    }
}

macro_rules! hex_digest {
    ($name:ident, $bytes:literal, $kind:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(const_hex::Buffer::<$bytes>::new().format(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                let mut bytes = [0; $bytes];
                // Longer or prefixed with 0x is no digest of ours.
                if text.len() != 2 * $bytes || const_hex::decode_to_slice(text, &mut bytes).is_err() {
                    return Err(DigestError::new($kind, text));
                }
                Ok(Self(bytes))
            }
        }
    };
}

hex_digest!(Sha256, 32, "SHA-256 in hex");
hex_digest!(Md5, 16, "MD5 in hex");

/// What a plan pins: the content that may be written, and no other.
///
/// Displayed as `sha256:<hex>` for a single PUT and `composite:<base64>-<parts>@<part bytes>` for a multipart upload,
/// where the composite is the SHA-256 of the parts' SHA-256s, as S3 makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    Full(Sha256),
    Composite { digest: Sha256, parts: u32, part_bytes: u64 },
}

impl Checksum {
    /// The whole file's SHA-256, where this is one.
    #[must_use]
    pub fn full(&self) -> Option<Sha256> {
        match self {
            Self::Full(digest) => Some(*digest),
            Self::Composite { .. } => None,
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(digest) => write!(f, "sha256:{digest}"),
            Self::Composite { digest, parts, part_bytes } => {
                write!(f, "composite:{}-{parts}@{part_bytes}", digest.to_base64())
            }
        }
    }
}

impl FromStr for Checksum {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let flaw = || DigestError::new("checksum (sha256:... or composite:...)", text);
        if let Some(digest) = text.strip_prefix("sha256:") {
            return Ok(Self::Full(digest.parse()?));
        }
        let rest = text.strip_prefix("composite:").ok_or_else(flaw)?;
        let (rest, part_bytes) = rest.rsplit_once('@').ok_or_else(flaw)?;
        let (digest, parts) = rest.rsplit_once('-').ok_or_else(flaw)?;
        Ok(Self::Composite {
            digest: Sha256::from_base64(digest)?,
            parts: parts.parse().map_err(|_| flaw())?,
            part_bytes: part_bytes.parse().map_err(|_| flaw())?,
        })
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use serde_as_text;

serde_as_text!(Sha256, Md5, Checksum);

/// An entity tag as S3 gives it, kept without its quotes (RFC 9110, section 8.8.3; S3 sends no weak ones).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Takes an ETag with or without quotes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim_matches('"').to_owned())
    }

    /// Without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With quotes, as the `If-Match` header wants it.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// The MD5 that this tag may be: 32 hex digits and nothing else. Whether it really is one depends on the encryption.
    #[must_use]
    pub fn as_md5(&self) -> Option<Md5> {
        (self.0.len() == 32).then(|| self.0.parse().ok())?
    }

    /// The MD5 of the parts' MD5s and the number of parts, for a tag of the form `<hex>-N`.
    #[must_use]
    pub fn as_multipart(&self) -> Option<(Md5, u32)> {
        let (digest, parts) = self.0.split_once('-')?;
        let parts = parts.parse().ok().filter(|n| (1..=10_000).contains(n))?;
        Some((digest.parse().ok()?, parts))
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_survives_its_text() {
        let full = Checksum::Full(Sha256([7; 32]));
        let composite = Checksum::Composite { digest: Sha256([9; 32]), parts: 13, part_bytes: 16 << 20 };
        for checksum in [full, composite] {
            assert_eq!(checksum.to_string().parse::<Checksum>().as_ref(), Ok(&checksum));
        }
    }

    #[test]
    fn text_that_is_no_checksum_is_refused() {
        for text in ["", "sha256:", "sha256:00", "composite:AAAA-1@1", "md5:00", "composite:x", "7c"] {
            assert!(text.parse::<Checksum>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_etag_tells_md5_from_multipart_from_neither() {
        let md5 = ETag::new("\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert!(md5.as_md5().is_some() && md5.as_multipart().is_none());
        let parts = ETag::new("d41d8cd98f00b204e9800998ecf8427e-3");
        assert!(parts.as_md5().is_none());
        assert_eq!(parts.as_multipart().map(|(_, n)| n), Some(3));
        for odd in ["", "x", "d41d8cd98f00b204e9800998ecf8427e-0", "d41d8cd98f00b204e9800998ecf8427e-x"] {
            assert!(ETag::new(odd).as_md5().is_none() && ETag::new(odd).as_multipart().is_none(), "{odd}");
        }
    }
}
