//! The report's page: who must answer for a run finds what was overwritten and what went wrong, and no key finds them.

use std::path::Path;
use std::process::Command;

use noclobber::model::row::{Guard, Outcome, REPORT_FORMAT, Row};
use noclobber::report::csv;
use serde_json::{Value, json};

use crate::{EVIL, browser};

fn outcome(n: u64) -> Outcome {
    match n % 1000 {
        0..=8 => Outcome::Replaced,
        9 => Outcome::Refused,
        10 => Outcome::Lost,
        11 => Outcome::Unknown,
        12..=500 => Outcome::Unchanged,
        _ => Outcome::Created,
    }
}

fn row(n: u64) -> Row {
    let evil = usize::try_from(n - 1).ok().and_then(|at| EVIL.get(at)).map(|key| (*key).to_owned());
    let key = evil.unwrap_or_else(|| format!("reports/2026/01/{:02}/part-{n:06}.parquet", n % 31));
    let outcome = outcome(n);
    let is_write = matches!(outcome, Outcome::Created | Outcome::Replaced);
    let on_write = |text: String| if is_write { text } else { String::new() };
    let target = if n.is_multiple_of(10) { "archive" } else { "reports" };
    Row {
        format: REPORT_FORMAT,
        run_id: "01980a5c-7e10-7cc3-b1a2-3f6f5e0c9d11".into(),
        plan_digest: format!("sha256:{}", "ab".repeat(32)),
        entry: n,
        place: format!("nightly.yaml:{}", n % 90 + 10),
        source: format!("out/{n}.parquet"),
        target: target.into(),
        endpoint: "https://s3.eu-west-1.amazonaws.com".into(),
        region: "eu-west-1".into(),
        owner: "111122223333".into(),
        bucket: format!("{target}-bucket"),
        key,
        rule: "if-changed".into(),
        action: "replace".into(),
        reason: "differs".into(),
        outcome,
        size_bytes: Some(n * 37 % 10_007 * 1000),
        sha256: String::new(),
        checksum: format!("sha256:{}", "cd".repeat(32)),
        etag_before: if outcome == Outcome::Created { String::new() } else { format!("{n:032x}") },
        version_before: if outcome == Outcome::Created { String::new() } else { format!("v{n}") },
        etag_after: on_write(format!("{:032x}", n + 7)),
        version_after: on_write(format!("w{n}")),
        guard: is_write.then_some(Guard::Atomic),
        attempts: u32::from(is_write),
        started_at: on_write("2026-01-31T02:00:05.000Z".into()),
        duration_ms: is_write.then_some(30),
        http_status: (outcome == Outcome::Lost).then_some(412),
        error_code: if outcome == Outcome::Lost { "PreconditionFailed".into() } else { String::new() },
        message: match outcome {
            Outcome::Lost => "somebody else wrote first; theirs is intact".into(),
            Outcome::Unknown => "no answer came, and no version carries its write id".into(),
            _ => String::new(),
        },
        request_id: on_write(format!("request-{n}")),
        write_id: on_write(format!("run-{n}")),
    }
}

/// The page of a report of so many rows, as our binary writes it.
fn page(folder: &Path, rows: u64) -> String {
    let report = folder.join("report.csv");
    let text: String = std::iter::once(csv::header()).chain((1..=rows).map(|n| csv::line(&row(n)))).collect();
    std::fs::write(&report, text).unwrap();
    let html = folder.join("report.html");
    let written = Command::new(env!("CARGO_BIN_EXE_noclobber"))
        .args(["report", "--format", "html", "-o"])
        .args([&html, &report])
        .env_clear()
        .output()
        .unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let page = std::fs::read_to_string(html).unwrap();
    if let Some(kept) = std::env::var_os("NOCLOBBER_KEEP_REPORT") {
        std::fs::write(kept, &page).unwrap();
    }
    page
}

#[test]
fn who_answers_for_a_run_finds_what_was_overwritten_and_no_key_finds_them() {
    let Some(browser) = browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), 25_000);
    let seen = browser::work(&browser, folder.path(), &page, include_str!("report.js"));
    let found: &Value = &seen.found;
    println!("{found:#}");
    assert_eq!(found["error"], Value::Null);
    assert_eq!(found["ran"], Value::Null);
    assert_eq!(found["violations"], json!([]));
    assert!(seen.foreign().is_empty(), "{:?}", seen.foreign());

    assert_eq!(found["all"], "25,000 rows; the first 200 are shown");
    assert_eq!(found["first_outcomes"], json!(["refused", "lost", "unknown", "replaced"]));
    let evil: Vec<String> =
        EVIL.iter().map(|key| key.replace('\u{202e}', "\\u{202e}").replace('\u{200b}', "\\u{200b}")).collect();
    assert_eq!(found["evil"], json!(evil));
    assert_eq!(found["marks"], json!(["\\u{202e}", "\\u{200b}"]));

    // Two commands for each replaced object of the first 10, but none for a key that no command line should hold.
    let commands: Vec<String> = serde_json::from_value(found["commands"].clone()).unwrap();
    assert_eq!(commands.len(), 2 * 9);
    assert!(
        commands[0].starts_with("aws s3api get-object --bucket=reports-bucket --key='evil/<script>"),
        "{commands:?}"
    );
    assert!(commands[1].contains("?versionId=v1'"), "{commands:?}");
    assert_eq!(found["copies"], 2 * 9 + 2);
    let head = found["head"].as_str().unwrap();
    for text in [
        "75 of 25,000 rows need attention",
        "01980a5c-7e10-7cc3-b1a2-3f6f5e0c9d11",
        "sha256:abab",
        "Copy version v4 over the key",
        "somebody else wrote first; theirs is intact",
        "answer 412 PreconditionFailed",
        "Find out who, then plan again",
        "overwrite: if-changed does not allow it (differs)",
        "So far 10 of 75.",
    ] {
        assert!(head.contains(text), "{text}: {head}");
    }
    for text in ["version before", "v12", "ETag before", "s3://reports-bucket/", "sha256:cdcd", "nightly.yaml:22"] {
        assert!(found["details"].as_str().unwrap().contains(text), "{text}: {}", found["details"]);
    }
    let badges = ["refused 25", "lost 25", "unknown 25", "replaced 225", "created 12,475", "unchanged 12,225"];
    assert_eq!(found["badges"], json!(badges));
    assert_eq!(found["replaced"], "225 of 25,000 rows; the first 200 are shown");
    assert_eq!(found["replaced_or_lost"], "250 of 25,000 rows; the first 200 are shown");
    assert_eq!(found["archive"], "2,500 of 25,000 rows; the first 200 are shown");
    let first: Vec<_> = (1..=12).map(|n| n.to_string()).collect();
    assert_eq!(found["by_number"], json!(first));
    assert_eq!(found["from_the_end"], "25,000");
    // 225 replaced and 75 problems stand in full above.
    assert_eq!(found["print_says"], "24,700 of 25,000 rows, beside those above; the first 5,000 are printed");
    let colours: std::collections::BTreeSet<_> =
        found["colours"].as_array().unwrap().iter().map(Value::as_str).collect();
    assert_eq!(colours.len(), 4, "{}", found["colours"]);
}

#[test]
fn without_javascript_what_was_overwritten_and_what_went_wrong_can_be_read() {
    let Some(browser) = browser::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), 5_000);
    let (before, _) = page.rsplit_once("<script>").unwrap();
    let text = browser::dump(&browser, folder.path(), &format!("{before}</body></html>"));
    let (text, _) = text.split_once("<script type=\"application/json\"").unwrap();
    assert_eq!(text.matches("To put it back").count(), 45 - 1);
    assert_eq!(text.matches("Find out who").count(), 5);
    for expected in ["15 of 5,000 rows need attention", "further rows", "section id=\"table\" hidden"] {
        assert!(text.contains(expected), "{expected}");
    }
}
