//! What people see of a manifest that cannot be used: the whole text, for many kinds of mistakes.
#![allow(clippy::format_push_string, clippy::format_collect, reason = "short texts, read by people")]

use proptest::prelude::*;

use super::{EXAMPLE, fields, read, schema};
use crate::model::entry::{Compare, Flaw, Rule};

const GOLDEN: &str = include_str!("flaws.golden");

fn lines(flaws: &[Flaw]) -> String {
    flaws.iter().map(|flaw| format!("{flaw}\n")).collect()
}

fn flaws(text: &str) -> String {
    read("m.yaml", text).map_or_else(|flaws| lines(&flaws), |_| String::new())
}

#[test]
fn every_flaw_is_told_with_its_line_and_in_these_words() {
    let mut blocks = GOLDEN.split("\n=== ");
    let mut actual = blocks.next().unwrap().to_owned();
    for block in blocks {
        let (title, rest) = block.split_once('\n').unwrap();
        let (manifest, _) = rest.split_once("--->\n").unwrap();
        let said = flaws(manifest);
        assert!(!said.is_empty(), "no flaw in: {title}");
        actual.push_str(&format!("\n=== {title}\n{manifest}--->\n{said}"));
    }
    if let Ok(path) = std::env::var("GOLDEN_OUT") {
        std::fs::write(path, &actual).unwrap();
    }
    assert!(actual == GOLDEN, "{actual}");
}

#[test]
fn what_a_file_begins_and_ends_its_lines_with_makes_no_difference() {
    let plain = "version: 1\nbucket: bbb\nentries:\n  - source: a\n    key: 'größe/a'\n    nope: 1\n";
    let said = "m.yaml:6: unknown field nope\n";
    assert_eq!(flaws(plain), said);
    assert_eq!(flaws(&format!("\u{feff}{plain}")), said);
    assert_eq!(flaws(&plain.replace('\n', "\r\n")), said);
    assert_eq!(flaws(plain.trim_end()), said);
    assert_eq!(flaws(&format!("---\n{plain}...\n")), "m.yaml:7: unknown field nope\n");
}

#[test]
fn a_tab_is_named_as_the_cause() {
    assert_eq!(
        flaws("version: 1\nbucket: bbb\nlimits:\n\tcreates: 1\nentries: []\n"),
        "m.yaml:4: this is not YAML: tabs disallowed within this context (block indentation); the line is indented with a tab: use spaces\n"
    );
}

#[test]
fn neither_nesting_nor_aliases_can_blow_a_manifest_up() {
    for open in ["[", "{a: "] {
        let deep = |levels| flaws(&format!("version: 1\nbucket: bbb\nentries: {}\n", open.repeat(levels)));
        assert_eq!(deep(40), "m.yaml:3: nested more than 32 levels deep\n");
        assert!(!deep(100_000).is_empty());
    }
    let indented: String = (0..40).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert_eq!(flaws(&indented), "m.yaml:33: nested more than 32 levels deep\n");
    let mut bomb = "version: 1\na: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let previous = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("b{i}: &a{i} [{previous}]\n"));
    }
    let said = flaws(&bomb);
    assert!(said.ends_with("add up to more than 1000000 values; use a list file\n"), "{said}");
}

#[test]
fn the_example_has_no_flaws() {
    let manifest = read("example.yaml", EXAMPLE).unwrap_or_else(|flaws| panic!("{}", lines(&flaws)));
    assert_eq!(manifest.items.len(), 3);
    assert_eq!(manifest.warnings, Vec::<String>::new());
    // What is commented out has none either.
    let all = EXAMPLE.lines().map(|line| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let is_field = |text: &str| {
            text.split_once(": ").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        };
        match rest.strip_prefix("# ") {
            Some(field) if is_field(field.trim_start_matches("- ")) => format!("{indent}{field}\n"),
            _ => format!("{line}\n"),
        }
    });
    let manifest = read("example.yaml", &all.collect::<String>()).unwrap_or_else(|flaws| panic!("{}", lines(&flaws)));
    assert_eq!(manifest.targets[0].spec.bucket_owner.as_deref(), Some("111122223333"));
    assert_eq!(manifest.items.len(), 4);
}

/// The names of a schema's properties.
fn names(schema: &serde_json::Value) -> Vec<&str> {
    let mut names: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_schema_and_the_shapes_have_the_same_fields() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let defs = &schema["$defs"];
    for (what, schema, shapes) in [
        ("manifest", &schema, fields::MANIFEST),
        ("target", &defs["TargetFields"], fields::TARGET),
        ("entry", &defs["Entry"], fields::ENTRY),
        ("properties", &defs["Properties"], fields::PROPERTIES),
        ("limits", &defs["Limits"], fields::LIMITS),
        ("require", &defs["Require"], fields::REQUIRE),
    ] {
        let mut shapes: Vec<&str> = shapes.iter().map(|field| field.name).collect();
        shapes.sort_unstable();
        assert_eq!(names(schema), shapes, "{what}");
    }
}

#[test]
fn the_words_that_are_allowed_are_those_that_serde_reads() {
    for rule in Rule::ALL {
        let text = format!("version: 1\nbucket: bbb\noverwrite: {rule}\nentries: []\n");
        assert_eq!(flaws(&text), "", "{rule}");
    }
    for words in [
        "addressing: virtual",
        "addressing: path",
        "conditional_writes: required",
        "conditional_writes: check-first",
        "compare: content",
        "compare: content+properties",
        "require: { policy: enforced }",
        "require: { versioning: true, recovery_days: 30 }",
        "defaults: { sse: AES256 }",
        "defaults: { sse: { kms: k } }",
    ] {
        assert_eq!(flaws(&format!("version: 1\nbucket: bbb\n{words}\nentries: []\n")), "", "{words}");
    }
    let text = "version: 1\nbucket: bbb\ncompare: content+properties\nentries: [{source: a, key: a}, {source: a, key: b, compare: content}]\n";
    let compares: Vec<Compare> = read("m.yaml", text).unwrap().items.iter().map(|item| item.compare).collect();
    assert_eq!(compares, [Compare::Properties, Compare::Content]);
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "(?s).{0,200}") {
        let _ = read("m.yaml", &text);
    }

    #[test]
    fn no_yaml_like_text_makes_reading_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "version: 1", "\n", "\n  ", "\n- ", "entries:", "source: ", "key: ", "&a ", "*a", "<<: ", "{", "}", "[", "]", ", ", ": ",
        "? ", "!!str ", "!x ", "\"", "'", "|", ">-", "# ", "{{ date }}", "{%", "metadata: ", "null", "~", "0x1F", "-1", "1e9", "\t",
        "---", "...", "%YAML 1.2\n", "targets: ", "bucket: bbb", "limits: ", "\u{feff}", "\r\n", "é",
    ]), 0..60)) {
        let _ = read("m.yaml", &parts.concat());
    }
}
