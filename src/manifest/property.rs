//! What an object's properties may be: S3's limits and lists, and what a header can carry.

use std::collections::BTreeMap;

use super::shape::shown;

/// Storage classes that a PutObject to a general purpose bucket may name.
pub const STORAGE_CLASSES: &[&str] = &[
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "REDUCED_REDUNDANCY",
];

/// The canned ACLs of objects.
pub const ACLS: &[&str] = &[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
];

/// S3 allows 2,048 bytes of names and values.
const METADATA_BYTES: usize = 2048;
/// What our own digest and write id take of them, with some air.
const OWN_METADATA_BYTES: usize = 256;
const TAGS: usize = 10;

/// A header's value: printable ASCII, as S3 gives it back.
pub fn header(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty; to take a default away, write null".to_owned());
    }
    printable(text)
}

fn printable(text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return Some(format!("{} has a control character", shown(text)));
    }
    if !text.is_ascii() {
        return Some(format!("{} is not ASCII, which is all that a header carries safely", shown(text)));
    }
    (text.trim() != text).then(|| format!("{} begins or ends with a space, which headers lose", shown(text)))
}

/// A media type (RFC 9110, section 8.3), or `auto`.
pub fn content_type(text: &str) -> Option<String> {
    if text == "auto" {
        return None;
    }
    header(text).or_else(|| {
        let essence = text.split(';').next().unwrap_or("").trim();
        let fits = essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
        (!fits).then(|| format!("{} is not a media type such as text/csv; auto goes by the file's name", shown(text)))
    })
}

/// A key of KMS: an id, an alias or an ARN.
pub fn kms(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    (!fits).then(|| format!("{} is not a key's id, alias or ARN", shown(text)))
}

/// The name of a metadata entry, without `x-amz-meta-`.
pub fn metadata_name(text: &str) -> Option<String> {
    if !is_token(text) {
        return Some(format!("{} is not a header's name: letters, digits and - are safe", shown(text)));
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Some(format!("S3 keeps names in lower case: write {}", text.to_ascii_lowercase()));
    }
    if let Some(rest) = text.strip_prefix("x-amz-meta-") {
        return Some(format!("x-amz-meta- is put before the name by itself: write {}", shown(rest)));
    }
    text.starts_with("noclobber-").then(|| format!("{text} is noclobber's own: it proves what was written"))
}

/// A metadata value, once rendered.
#[must_use]
pub fn metadata_value(text: &str) -> Option<String> {
    if text.is_empty() { None } else { printable(text) }
}

/// What S3's limit says of all metadata together.
#[must_use]
pub fn metadata_total(metadata: &BTreeMap<String, String>) -> Option<String> {
    let total: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    let most = METADATA_BYTES - OWN_METADATA_BYTES;
    (total > most).then(|| {
        format!(
            "metadata has {total} bytes of names and values; S3 allows {METADATA_BYTES}, of which noclobber needs {OWN_METADATA_BYTES}"
        )
    })
}

pub fn tag_name(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("a tag's name is empty".to_owned());
    }
    if text.chars().count() > 128 {
        return Some(format!("{} is longer than the 128 characters of a tag's name", shown(text)));
    }
    if text.to_ascii_lowercase().starts_with("aws:") {
        return Some(format!("{} begins with aws:, which is Amazon's own", shown(text)));
    }
    tag_characters(text)
}

/// A tag's value, once rendered.
#[must_use]
pub fn tag_value(text: &str) -> Option<String> {
    if text.chars().count() > 256 {
        return Some(format!("{} is longer than the 256 characters of a tag's value", shown(text)));
    }
    tag_characters(text)
}

fn tag_characters(text: &str) -> Option<String> {
    let odd = text.chars().find(|c| !c.is_alphanumeric() && !" +-=._:/@".contains(*c))?;
    let odd = odd.escape_debug();
    Some(format!("{} has {odd}; tags take letters, digits, spaces and + - = . _ : / @", shown(text)))
}

/// What S3's limit says of all tags together.
#[must_use]
pub fn tags_total(tags: &BTreeMap<String, String>) -> Option<String> {
    (tags.len() > TAGS).then(|| format!("{} tags; S3 allows {TAGS} on an object", tags.len()))
}

/// A token by RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A value that may be a template is judged when it is rendered; a plain one at once.
pub fn metadata_text(text: &str) -> Option<String> {
    if super::template::is_plain(text) { metadata_value(text) } else { super::template::syntax(text) }
}

/// As [`metadata_text`], for a tag.
pub fn tag_text(text: &str) -> Option<String> {
    if super::template::is_plain(text) { tag_value(text) } else { super::template::syntax(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_leaves_room_for_our_own() {
        let at = |bytes: usize| BTreeMap::from([("k".to_owned(), "v".repeat(bytes - 1))]);
        assert_eq!(metadata_total(&at(1792)), None);
        assert!(metadata_total(&at(1793)).is_some());
        // The longest that an upload adds: both names, a composite at its longest, and a write id.
        let own = "noclobber-sha256".len()
            + format!("composite:{}-10000@5497558138880", "A".repeat(44)).len()
            + "noclobber-write-id".len()
            + format!("{}-{}", "0".repeat(36), u64::MAX).len();
        assert!(own <= OWN_METADATA_BYTES, "{own}");
    }

    #[test]
    fn tags_are_counted_in_characters() {
        assert_eq!(tag_value(&"ü".repeat(256)), None);
        assert!(tag_value(&"ü".repeat(257)).is_some());
        assert_eq!(tag_name(&"n".repeat(128)), None);
        assert!(tag_name(&"n".repeat(129)).is_some());
        let many = |n: usize| (0..n).map(|i| (i.to_string(), String::new())).collect();
        assert_eq!(tags_total(&many(10)), None);
        assert!(tags_total(&many(11)).is_some());
    }
}
