//! The HTML pages in a real browser: what a reader does with them, and what a key must not do with the reader.
//!
//! A headless Chromium opens the page in a frame of a harness, both served on loopback; the harness works the page and
//! posts what it found. Without Chromium the test says loudly that it skips, and fails under
//! `NOCLOBBER_REQUIRE_SERVERS=1`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

mod browser;
mod report;

use std::path::Path;
use std::process::Command;

use noclobber::model::step::{Action, Counts, Header, Step};
use noclobber::plan::file::{Writer, line};
use serde_json::{Value, json};

const EVIL: [&str; 5] = [
    "evil/<script>window.top.ran = 1</script>",
    "evil/</script><script>window.top.ran = 2</script>",
    "evil/<img src='/stolen' onerror='window.top.ran = 3'>",
    "evil/\u{202e}gpj.exe\u{200b}",
    "evil/\"><svg onload=window.top.ran=4>&lt;b&gt;",
];

fn header() -> Header {
    let target = |name: &str| {
        json!({"name": name, "bucket": format!("{name}-bucket"), "endpoint": "https://s3.eu-west-1.amazonaws.com",
            "region": "eu-west-1", "addressing": "virtual", "owner": "111122223333", "trust_metadata": true,
            "conditional_writes": "required"})
    };
    let header = json!({
        "noclobber_plan": 1, "tool": "noclobber 0.1.0", "made_at": "2026-01-31T02:00:00Z", "base": "/srv/nightly",
        "parameters": {"date": "2026-01-31"},
        "manifests": [{"path": "nightly.yaml", "sha256": "ab".repeat(32)}],
        "targets": [target("reports"), target("archive")], "stages": ["data", "index"],
        "refusals": ["nightly.yaml: 12 replaces; its limit is 10"],
        "warnings": ["keys \"in/A.csv\" and \"in/a.csv\" differ in case alone"],
    });
    serde_json::from_value(header).unwrap()
}

fn step(n: u64, key: &str, action: Action) -> Step {
    let head = json!({"etag": format!("{n:032x}"), "version": format!("v{n}"), "size": 1000 + n, "encryption": "aes256",
        "last_modified": "2026-01-30T02:00:00Z"});
    let (reason, proof, head) = match action {
        Action::Create => ("absent", None, None),
        Action::Unchanged => ("same", Some("sha256"), Some(head)),
        Action::Error | Action::Restore | Action::Delete => ("flaw", None, None),
        Action::Replace | Action::Keep | Action::Refuse => ("differs", Some("size"), Some(head)),
    };
    let step = json!({
        "n": n, "place": format!("nightly.yaml:{}", n % 90 + 10), "source": format!("out/{n}.csv"),
        "target": if n.is_multiple_of(10) { "archive" } else { "reports" }, "key": key,
        "rule": if action == Action::Replace { "if-changed" } else { "never" },
        "stage": if n.is_multiple_of(4) { "index" } else { "data" }, "action": action, "reason": reason, "proof": proof,
        "note": (action == Action::Error).then_some("permission denied: the file could not be read"),
        "properties": {"content_type": "text/csv"},
        "local": {"size": n * 37 % 10_007 * 1000, "mtime": "2026-01-31T01:59:00Z",
            "checksum": action.writes().then(|| format!("sha256:{}", "cd".repeat(32)))},
        "head": head,
    });
    serde_json::from_value(step).unwrap()
}

/// A plan of so many steps, its page as our binary prints it.
fn page(folder: &Path, steps: u64) -> String {
    let path = folder.join("plan.jsonl");
    let mut writer = Writer::new(std::fs::File::create(&path).unwrap(), &header()).unwrap();
    let (mut counts, mut lines) = (Counts::default(), Vec::new());
    for n in 1..=steps {
        let action = match n % 1000 {
            1..=8 => Action::Replace,
            9 => Action::Refuse,
            10 => Action::Error,
            11..=60 => Action::Keep,
            61..=500 => Action::Unchanged,
            _ => Action::Create,
        };
        let key = usize::try_from(n - 1)
            .ok()
            .and_then(|at| EVIL.get(at))
            .map_or_else(|| format!("reports/2026/01/{:02}/part-{n:06}.parquet", n % 31), |key| (*key).to_owned());
        let step = step(n, &key, action);
        counts.add(&step);
        lines.clear();
        line(&step, &mut lines);
        writer.lines(&lines).unwrap();
    }
    writer.finish(counts).unwrap();
    let shown = Command::new(env!("CARGO_BIN_EXE_noclobber"))
        .args(["show", "--format", "html"])
        .arg(&path)
        .env_clear()
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn a_reviewer_finds_one_key_of_twenty_thousand_and_no_key_finds_the_reviewer() {
    let Some(browser) = browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), 20_000);
    if let Some(kept) = std::env::var_os("NOCLOBBER_KEEP_PAGE") {
        std::fs::write(kept, &page).unwrap();
    }
    let seen = browser::work(&browser, folder.path(), &page, include_str!("plan.js"));
    let found: &Value = &seen.found;
    println!("{found:#}");
    assert_eq!(found["error"], Value::Null);
    // Nothing that a key says ran, or asked for anything: the server saw what the harness itself needs.
    assert_eq!(found["ran"], Value::Null);
    assert_eq!(found["violations"], json!([]));
    assert!(seen.foreign().is_empty(), "{:?}", seen.foreign());

    assert_eq!(found["all"], "20,000 rows; the first 200 are shown");
    assert_eq!(found["plain_hidden"], true);
    assert_eq!(found["first_actions"], json!(["refuse", "error", "replace"]));
    // Each evil key is text, its hidden characters spelled out.
    let evil: Vec<String> =
        EVIL.iter().map(|key| key.replace('\u{202e}', "\\u{202e}").replace('\u{200b}', "\\u{200b}")).collect();
    assert_eq!(found["evil"], json!(evil));
    assert_eq!(found["marks"], json!(["\\u{202e}", "\\u{200b}"]));

    assert_eq!(found["searched"], json!(["reports/2026/01/07/part-012345.parquet"]));
    assert_eq!(found["searched_says"], "1 of 20,000 rows");
    for text in ["version before", "v12345", "ETag before", "s3://reports-bucket/", "sha256:", "nightly.yaml:"] {
        let is_there = found["details"].as_str().unwrap().contains(text);
        // The row is an unchanged one: it pins no checksum.
        assert_eq!(is_there, text != "sha256:", "{text}: {}", found["details"]);
    }
    assert_eq!(found["folded_again"], true);

    assert_eq!(found["replaces"], "160 of 20,000 rows");
    assert_eq!(found["replaces_of_archive"], "0 of 20,000 rows");
    assert_eq!(found["errors_of_archive"], "20 of 20,000 rows");
    let sizes: Vec<u64> = serde_json::from_value(found["largest"].clone()).unwrap();
    let mut sorted: Vec<u64> = (1..=20_000).map(|n| n * 37 % 10_007 * 1000).collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(sizes, sorted[..200].iter().map(|size| size / 1000).collect::<Vec<_>>());
    assert_eq!(found["aria_sort"], "descending");
    assert_eq!(found["grown"], "20,000 rows; the first 1,200 are shown");
    // In print the problems stand in full, and the other rows as they are filtered, as many as are said.
    assert_eq!(found["print_plain"], true);
    assert_eq!(found["print_says"], "19,800 of 20,000 rows, beside those above; the first 5,000 are printed");
    assert_eq!(found["print_rows"], 5_000);
    assert_eq!(found["after_print_rows"], 200);
}

#[test]
fn without_javascript_the_summary_and_every_problem_can_be_read() {
    let Some(browser) = browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), 1_000);
    // No script of ours, as where a policy forbids them.
    let (before, _) = page.rsplit_once("<script>").unwrap();
    let text = browser::dump(&browser, folder.path(), &format!("{before}</body></html>"));
    for expected in
        ["8 to replace", "its limit is 10", "permission denied", "Buries", "<table>", "section id=\"table\" hidden"]
    {
        assert!(text.contains(expected), "{expected}");
    }
}
