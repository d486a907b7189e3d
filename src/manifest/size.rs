//! Sizes as people write them.

use serde::{Deserialize, Deserializer};

use super::shape::shown;

/// Powers of 1,000 and of 1,024. A bare `G` could be either, so it is neither.
const UNITS: [(&str, u64); 12] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("pb", 1_000_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("pib", 1 << 50),
    ("", 1),
];

/// Reads `500GiB`, `10 MB` or `4096` as bytes. The error says what would do.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let flaw = || format!("{} is not a size; write bytes, or a unit such as 500GiB or 10MB", shown(text));
    let count: u64 = count.parse().map_err(|_| flaw())?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(flaw)?;
    count.checked_mul(*factor).ok_or_else(|| format!("{} is more than fits", shown(text)))
}

/// A size in a manifest: a number of bytes, or text with a unit.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Size {
    Bytes(u64),
    Text(String),
}

/// Reads a size that may be left out.
pub fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    match Option::deserialize(from)? {
        None => Ok(None),
        Some(Size::Bytes(bytes)) => Ok(Some(bytes)),
        Some(Size::Text(text)) => parse(&text).map(Some).map_err(serde::de::Error::custom),
    }
}

/// A size for people: `500 GiB`, `1.5 MiB`, `12 B`.
#[must_use]
pub fn display(bytes: u64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let (mut size, mut unit) = (bytes as f64, units.next().unwrap_or("B"));
    while size >= 1024.0
        && let Some(larger) = units.next()
    {
        size /= 1024.0;
        unit = larger;
    }
    if size.fract() == 0.0 { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_in_either_family_of_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("500GiB", 500 << 30),
            ("10MB", 10_000_000),
            ("10 mb", 10_000_000),
            ("1kib", 1024),
            ("2 TiB", 2 << 40),
            ("7B", 7),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "5G", "-1", "1.5GiB", "5 GiBs", "99999999999999999999", "20000PiB", "1_000", "1,000"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
