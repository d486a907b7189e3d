//! Our reading of bucket policies beside others': a server's evaluator, two servers, and a linter.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod agree;
mod live;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The Python of `scripts/servers run`, which has what the servers are made of, and the linter.
fn python() -> Option<OsString> {
    let python = std::env::var_os("NOCLOBBER_PYTHON");
    if python.is_none() {
        let required = std::env::var("NOCLOBBER_REQUIRE_SERVERS").is_ok_and(|v| v != "0" && !v.is_empty());
        assert!(!required, "NOCLOBBER_PYTHON is not set, and NOCLOBBER_REQUIRE_SERVERS is on");
        eprintln!("SKIPPED: NOCLOBBER_PYTHON is not set; run the tests under `scripts/servers run`");
    }
    python
}

/// Runs a script over lines, and gives the lines that it answers.
fn run(python: OsString, script: &str, lines: &[String]) -> Vec<String> {
    let mut command = Command::new(python);
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = lines.join("\n");
    // It answers while it is still being asked.
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_linter_finds_no_fault_with_what_is_drawn_and_finds_one_that_is_planted() {
    use noclobber::bucket::policy::{Partition, Wanted, draw};

    let Some(python) = python() else { return };
    let mut lines = Vec::new();
    for prefix in ["", "reports/", "odd ${x}*?$/ü"] {
        for allow_replace in [false, true] {
            for operators in
                [vec![], vec!["arn:aws:iam::111122223333:role/ops-*", "arn:aws:iam::111122223333:user/bob"]]
            {
                let operators = operators.into_iter().map(str::to_owned).collect();
                let (bucket, prefix) = ("a-bucket".to_owned(), prefix.to_owned());
                let wanted = Wanted { bucket, prefix, partition: Partition::Aws, allow_replace, operators };
                lines.push(draw(&wanted).unwrap().compact());
            }
        }
    }
    // What the linter is there to see: an action that S3 does not have, a condition that the action does not.
    lines.push(lines[0].replace("s3:DeleteObjectVersion", "s3:DeleteObjectsVersions"));
    lines.push(lines[0].replace("s3:ObjectCreationOperation", "s3:ObjectCreatingOperation"));
    let script = "import sys, parliament\nfor line in sys.stdin:\n    \
                  print([f.issue for f in parliament.analyze_policy_string(line).findings])";
    let found = run(python, script, &lines);
    let (drawn, planted) = found.split_at(12);
    assert!(drawn.iter().all(|found| found == "[]"), "{drawn:?}");
    assert!(planted.len() == 2 && planted.iter().all(|found| found != "[]"), "{planted:?}");
}
