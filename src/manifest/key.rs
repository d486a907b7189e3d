//! Which keys are fit to be written, and which belong to a manifest.

use unicode_normalization::{UnicodeNormalization as _, is_nfc_quick};

use super::shape::shown;
use crate::model::glob::Glob;

/// S3's limit on a key, prefix and all, in bytes of UTF-8.
const LONGEST: usize = 1024;

/// What is wrong with a full key (prefix and all), if anything. `unusual` lets everything pass that S3 can hold.
#[must_use]
pub fn flaw(key: &str, unusual: bool) -> Option<String> {
    if key.is_empty() {
        return Some("the key is empty".to_owned());
    }
    if key.len() > LONGEST {
        return Some(format!("key {} has {} bytes; S3 allows {LONGEST}, the prefix included", shown(key), key.len()));
    }
    if unusual || is_plain(key) {
        return None;
    }
    let why = if key.chars().any(char::is_control) {
        "has a control character"
    } else if key.starts_with('/') {
        "begins with /"
    } else if key.contains("//") {
        "has an empty segment (//)"
    } else if key.ends_with('/') {
        "ends with /, as only a folder's marker does"
    } else if key.contains('\\') {
        "has a backslash"
    } else if key.split('/').any(|segment| segment == "." || segment == "..") {
        "has a segment . or .., which many clients drop"
    } else {
        return None;
    };
    Some(format!("key {} {why}; if that is meant, say allow_unusual_keys: true", shown(key)))
}

/// Whether a key is of the kind that nearly all are, seen in one pass. What is not may still be fit.
fn is_plain(key: &str) -> bool {
    let mut before = b'/';
    for byte in key.bytes() {
        match byte {
            b'/' | b'.' if before == b'/' => return false,
            b'\\' | 0..b' ' | 0x7f.. => return false,
            _ => before = byte,
        }
    }
    before != b'/'
}

/// The globs of `allow_keys`. Empty allows all.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    written: Vec<String>,
    globs: Vec<Glob>,
}

impl Allowed {
    /// Takes globs that [`glob_flaw`] lets pass; any other is left out, and so allows less.
    #[must_use]
    pub fn new(written: Vec<String>) -> Self {
        let globs = written.iter().filter_map(|glob| Glob::of_keys(glob).ok()).collect();
        Self { written, globs }
    }

    /// Whether a full key (prefix and all) may be written.
    #[must_use]
    pub fn allows(&self, key: &str) -> bool {
        self.written.is_empty() || self.globs.iter().any(|glob| glob.is_match(key))
    }

    /// As the manifest has them.
    #[must_use]
    pub fn written(&self) -> &[String] {
        &self.written
    }
}

/// What is wrong with a glob of `allow_keys`, if anything.
#[must_use]
pub fn glob_flaw(glob: &str) -> Option<String> {
    if glob.is_empty() {
        return Some("an empty glob matches nothing".to_owned());
    }
    Glob::of_keys(glob).err().map(|error| error.to_string())
}

/// Two keys that fold to one are taken for the same by people, and by some file systems.
#[must_use]
pub fn folded(key: &str) -> std::borrow::Cow<'_, str> {
    if key.is_ascii() && !key.bytes().any(|b| b.is_ascii_uppercase()) {
        return key.into();
    }
    let lower = key.to_lowercase();
    if is_nfc_quick(lower.chars()) == unicode_normalization::IsNormalized::Yes {
        return lower.into();
    }
    lower.nfc().collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusual_key_passes_only_where_it_is_allowed_and_s3_can_hold_it() {
        let long = "k".repeat(1025);
        // key, usual, possible
        let table = [
            ("a", true, true),
            ("reports/2026/a b+c=d.csv", true, true),
            ("größe/\u{1f980}.csv", true, true),
            ("...", true, true),
            ("a/.hidden", true, true),
            (&long[..1024], true, true),
            ("", false, false),
            (&long, false, false),
            ("/a", false, true),
            ("a//b", false, true),
            ("a/", false, true),
            ("/", false, true),
            ("a\\b", false, true),
            ("a/../b", false, true),
            ("./a", false, true),
            ("..", false, true),
            ("a/.", false, true),
            ("a\nb", false, true),
            ("a\u{7f}", false, true),
            ("a\u{85}", false, true),
            ("\0", false, true),
        ];
        for (key, usual, possible) in table {
            assert_eq!(flaw(key, false).is_none(), usual, "{key:?}: {:?}", flaw(key, false));
            assert_eq!(flaw(key, true).is_none(), possible, "{key:?}: {:?}", flaw(key, true));
        }
    }

    #[test]
    fn a_length_is_counted_in_bytes_and_not_in_characters() {
        assert!(flaw(&"ü".repeat(512), false).is_none());
        assert!(flaw(&"ü".repeat(513), false).is_some());
    }

    #[test]
    fn a_key_outside_the_allowed_globs_is_not_allowed() {
        let allowed = Allowed::new(vec!["reports/*".to_owned(), "logs/**".to_owned()]);
        assert!(allowed.allows("logs/a/b"));
        assert!(!allowed.allows("reports/a/b"));
        assert!(Allowed::default().allows("anything"));
        // One that is not a glob allows nothing, rather than everything.
        assert!(!Allowed::new(vec!["[a".to_owned()]).allows("a"));
    }

    #[test]
    fn folding_hides_case_and_normalisation_and_nothing_else() {
        assert_eq!(folded("Report.CSV"), folded("report.csv"));
        assert_eq!(folded("caf\u{e9}"), folded("cafe\u{301}"));
        assert_ne!(folded("cafe"), folded("caf\u{e9}"));
    }
}
