//! Text on its way to a person's eye: nothing in it may move the cursor, turn the reading direction or fake a line.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Makes control, bidi, newline and invisible characters visible: `\n`, `\u{202e}`. A backslash is doubled, so that no
/// text can be taken for another's escaped form.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c == '\\' || is_hidden(c)) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => seen.push_str("\\n"),
            '\r' => seen.push_str("\\r"),
            '\t' => seen.push_str("\\t"),
            '\\' => seen.push_str("\\\\"),
            c if is_hidden(c) => {
                // Writing to a String cannot fail.
                let _ = write!(seen, "\\u{{{:x}}}", u32::from(c));
            }
            c => seen.push(c),
        }
    }
    Cow::Owned(seen)
}

/// Escapes a name, and puts it in quotes where a space could make it look like more than one: no name can fake what
/// stands beside it.
#[must_use]
pub fn name(text: &str) -> Cow<'_, str> {
    let seen = escape(text);
    if seen.is_empty() || seen.contains([' ', '"']) {
        return Cow::Owned(format!("\"{}\"", seen.replace('"', "\\\"")));
    }
    seen
}

/// Text that is nothing but text on a Markdown page, in a table cell or anywhere else: hidden characters shown, markup as
/// entities.
#[must_use]
pub fn markdown(raw: &str) -> String {
    markdown_of(&escape(raw))
}

/// [`markdown`] of a text whose hidden characters are escaped already.
#[must_use]
pub fn markdown_of(shown: &str) -> String {
    let mut safe = String::with_capacity(shown.len() + 16);
    let mut before = ' ';
    for (at, c) in shown.char_indices() {
        let later = &shown[at + c.len_utf8()..];
        match c {
            // The one mark that is common in keys; the short escape keeps the source readable.
            '_' => safe.push_str("\\_"),
            // Two spaces would be shown as one, and one at an end as none: another key.
            ' ' if before == ' ' || later.is_empty() => safe.push_str("&nbsp;"),
            // Bare addresses become links by themselves.
            ':' if later.starts_with("//") => safe.push_str("&#58;"),
            '.' if safe.as_bytes().last_chunk::<3>().is_some_and(|end| end.eq_ignore_ascii_case(b"www")) => {
                safe.push_str("&#46;");
            }
            ' ' | '-' | '.' | '/' | '=' | '+' | ',' | ':' | ';' | '(' | ')' | '%' | '?' => safe.push(c),
            c if c.is_ascii_punctuation() => {
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            c => safe.push(c),
        }
        before = c;
    }
    safe
}

/// Whether a character acts on its neighbours or on the terminal, or shows nothing at all.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}'
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' // fillers and a blank that look like spaces
            | '\u{200b}'..='\u{200f}'   // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}'   // line and paragraph separators, bidi embeddings and overrides
            | '\u{2060}'..='\u{206f}'   // word joiner, bidi isolates
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' // tags
        )
}

/// One word to a POSIX shell. Hidden characters are in it as they are.
#[must_use]
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+,=".contains(c);
    let is_bare = !text.is_empty() && text.chars().all(is_plain);
    if is_bare { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A size for people: `4.2 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// A count for people: `1,204`.
#[must_use]
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_fake_what_stands_beside_it() {
        assert_eq!(name("a/b.csv"), "a/b.csv");
        assert_eq!(name("x.csv  <- safe (4 B)"), "\"x.csv  <- safe (4 B)\"");
        assert_eq!(name("say \"hi\" "), "\"say \\\"hi\\\" \"");
        assert_eq!(name(""), "\"\"");
        assert_eq!(name("a\u{a0}b\u{3164}c\u{2800}"), "a\\u{a0}b\\u{3164}c\\u{2800}");
    }

    #[test]
    fn plain_text_of_any_script_is_left_alone() {
        for text in ["reports/2026/a b.csv", "früh/ночь/夜.csv", "", "a|b`c<d>\"e'"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn nothing_that_acts_on_a_terminal_or_hides_is_left() {
        let text = "a\nb\r\tc\u{1b}[2Jd\u{7f}\u{9b}e\u{202e}f\u{2066}g\u{200b}h\u{2028}i\u{feff}j\u{0}";
        assert_eq!(
            escape(text),
            "a\\nb\\r\\tc\\u{1b}[2Jd\\u{7f}\\u{9b}e\\u{202e}f\\u{2066}g\\u{200b}h\\u{2028}i\\u{feff}j\\u{0}"
        );
    }

    #[test]
    fn two_texts_never_share_an_escaped_form() {
        assert_ne!(escape("a\nb"), escape("a\\nb"));
        assert_ne!(escape("\u{202e}"), escape("\\u{202e}"));
    }

    #[test]
    fn numbers_are_readable() {
        let sizes =
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (4_509_715_661, "4.2 GiB")];
        for (n, text) in sizes {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
        for (n, text) in [(0, "0"), (999, "999"), (1204, "1,204"), (1_000_000, "1,000,000")] {
            assert_eq!(count(n), text);
        }
    }
}
