//! One self-contained HTML page around one long table: searched, filtered, sorted, printed, without any network.
//!
//! Knows nothing of plans or reports; those say what stands on the page. A page that opens a stranger's keys must run none
//! of them: text is text here, the table's rows travel as JSON that no browser runs, and the Content-Security-Policy allows
//! this room's own script and style by their hashes and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use sha2::Digest as _;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A page: what stands above the table whatever the browser can, and the table.
#[derive(Debug)]
pub struct Page<'a> {
    pub title: &'a str,
    /// Stands first, and in print: totals, warnings.
    pub head: Markup,
    /// Stands in for the table's most important rows where no script runs, and in print.
    pub plain: Markup,
    pub table: Table<'a>,
}

/// A long table. Everything in it is text.
#[derive(Debug, Serialize)]
pub struct Table<'a> {
    /// Stands above it.
    #[serde(skip)]
    pub caption: &'a str,
    pub columns: Vec<Column<'a>>,
    pub rows: Vec<Row>,
    /// What the rows' details are called.
    pub labels: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
pub struct Column<'a> {
    pub name: &'a str,
    pub kind: Kind,
}

/// What a column's cells are, and so how they are sorted and picked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Text,
    /// Text in fixed width.
    Code,
    /// Sorted by [`Cell::Number`]'s first part.
    Number,
    /// Few different values: each row wears its value as a badge, and values can be picked.
    Tag,
    /// Few different values that can be picked.
    Choice,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Cell {
    Text(String),
    Number(u64, String),
}

#[derive(Debug, Serialize)]
pub struct Row {
    /// One for each column.
    #[serde(rename = "c")]
    pub cells: Vec<Cell>,
    /// Shown on demand: places in [`Table::labels`], and what they say.
    #[serde(rename = "d")]
    pub details: Vec<(usize, String)>,
    /// Whether [`Page::plain`] shows this row too. In print it is left out of the table.
    #[serde(rename = "p", skip_serializing_if = "std::ops::Not::not")]
    pub is_plain: bool,
}

/// Renders a page.
pub fn render(page: &Page<'_>) -> Result<String, serde_json::Error> {
    let Page { title, head, plain, table } = page;
    let data = embedded(table)?;
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (head)
                    div id="plain" { (plain) }
                    section id="table" hidden aria-labelledby="caption" {
                        h2 id="caption" { (table.caption) }
                        div class="controls" {
                            label class="search" {
                                span { "Search" }
                                input id="search" type="search" autocomplete="off" spellcheck="false"
                                    placeholder="key, source, ETag, note…";
                            }
                            div id="filters" {}
                        }
                        p id="found" role="status" aria-live="polite" {}
                        div class="scroll" {
                            table {
                                thead { tr id="heads" {} }
                                tbody id="rows" {}
                            }
                        }
                        button id="more" type="button" hidden { "Show more" }
                    }
                    noscript { p { "With JavaScript, this page also lists, searches and sorts every row." } }
                }
                script type="application/json" id="data" { (PreEscaped(data)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(markup.into_string())
}

/// JSON that no parser of HTML can take for markup, and no old parser of scripts for a line's end.
fn embedded(table: &Table<'_>) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(table)?;
    let mut safe = String::with_capacity(json.len() + json.len() / 32);
    for c in json.chars() {
        match c {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            c => safe.push(c),
        }
    }
    Ok(safe)
}

/// As a Content-Security-Policy names a script or a style (CSP 3, section 2.3.1).
fn hash(text: &str) -> String {
    BASE64.encode(sha2::Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_hold_nothing_that_ends_a_script_and_come_back_as_they_were() {
        let evil = "</script><script>alert(1)</script><!--\u{2028}\u{2029}&lt;\\u003c\"'";
        let table = Table {
            caption: "c",
            columns: vec![Column { name: evil, kind: Kind::Text }],
            rows: vec![Row { cells: vec![Cell::Text(evil.into())], details: vec![(0, evil.into())], is_plain: false }],
            labels: vec![evil],
        };
        let text = embedded(&table).unwrap();
        assert!(!text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{text}");
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["rows"][0]["c"][0], evil);
        assert_eq!(back["labels"][0], evil);
    }

    #[test]
    fn our_own_script_and_style_cannot_end_their_elements() {
        for (text, end) in [(SCRIPT, "</script"), (SCRIPT, "<!--"), (STYLE, "</style")] {
            assert!(!text.to_ascii_lowercase().contains(end), "{end}");
        }
        // Nothing on the page may be fetched, and no text may be read as markup.
        for banned in ["http:", "https:", "url(", "@import", "innerHTML", "eval(", "document.write"] {
            assert!(!SCRIPT.contains(banned) && !STYLE.contains(banned), "{banned}");
        }
    }
}
