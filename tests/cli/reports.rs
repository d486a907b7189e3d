//! A run's evidence in every form, and what is no evidence of ours.

use std::os::unix::fs::PermissionsExt as _;

use crate::session::{MANIFEST, Session};

const APPLY: &str = "apply plan.jsonl --sandbox s --report report.csv --quiet";

/// One object replaced, one refused, one created and one unchanged; keys that a spreadsheet would run.
fn session() -> Session {
    let session = Session::new();
    session.write("out/c.txt", "c\n");
    session.write("out/d.txt", "d\n");
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out first --quiet");
    session.write("out/a.txt", "other\n");
    session.write("out/b.txt", "changed\n");
    let more = "  - source: out/c.txt\n    key: \"=c,\\\"1\\\"\"\n  - source: out/d.txt\n    key: d.txt\n";
    let manifest = MANIFEST.replace("prefix: \"{{ date }}/\"\n", "").replace("key: ", "key: 2026-01-31/");
    session.write("m.yaml", &(manifest + more));
    let output = session.output("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl --quiet");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let output = session.output(&format!("{APPLY} --partial"));
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    session
}

/// What was told, without the milliseconds that follow a time in a CSV row.
fn told(session: &Session) -> String {
    let told = session.told();
    let mut parts = told.split("[TIME],");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |told, part| format!("{told}[TIME],{}", part.trim_start_matches(|c: char| c.is_ascii_digit())))
}

#[test]
fn a_report_in_every_form_and_level() {
    let mut session = session();
    for form in [
        "",
        "--level problems",
        "--format csv",
        "--format csv --level problems",
        "--format csv --spreadsheet-safe",
        "--format json --level problems",
        "--format html -o report.html",
        // Made anew where it was made before, and nowhere else.
        "--format markdown -o report.html",
    ] {
        session.run(&format!("report report.csv {form}"));
    }
    insta::assert_snapshot!(told(&session));
    let csv = session.output("report report.csv --format csv");
    assert_eq!(String::from_utf8(csv.stdout).unwrap(), session.read("report.csv"));
    assert!(session.read("report.html").starts_with("## noclobber report\n"));
}

#[test]
fn a_report_is_evidence_and_is_never_written_over() {
    let mut session = session();
    let report = session.read("report.csv");
    session.write("notes.txt", "mine\n");
    session.write("copy.csv", &report);
    std::os::unix::fs::symlink("report.csv", session.path("link.csv")).unwrap();
    session
        .run("report report.csv --format csv -o report.csv")
        .run("report report.csv --format csv -o link.csv")
        .run("report report.csv --format csv -o copy.csv")
        .run("report report.csv -o notes.txt")
        .run("report report.csv -o out")
        .run("report report.csv -o no/such/page.md")
        .run("report report.csv --spreadsheet-safe");
    insta::assert_snapshot!(session.told());
    assert_eq!((session.read("report.csv"), session.read("copy.csv")), (report.clone(), report));
    assert_eq!(session.read("notes.txt"), "mine\n");
}

#[test]
fn what_is_no_whole_report_of_one_plan_is_refused_at_its_line() {
    let mut session = session();
    let report = session.read("report.csv");
    let lines: Vec<&str> = report.split_inclusive("\r\n").collect();
    session.write("torn.csv", &report[..report.len() - 40]);
    session.write("gap.csv", &[lines[0], lines[1], lines[3]].concat());
    let digest = lines[3].split(',').nth(2).unwrap();
    let other = lines[3].replace(digest, "sha256:00");
    session.write("two.csv", &[lines[0], lines[1], lines[2], &other].concat());
    session.write("other.csv", "Bucket,Key,Status\r\nb,k,200\r\n");
    session.write("edited.csv", &report.replace(",replaced,", ",perhaps,"));
    let later = report.replacen("write_id\r\n", "write_id,weather\r\n", 1);
    session.write("later.csv", &later);
    session.prepare("report report.csv --format csv --spreadsheet-safe -o safe.csv");
    for name in ["torn", "gap", "two", "other", "edited", "later", "safe"] {
        session.run(&format!("report {name}.csv"));
    }
    insta::assert_snapshot!(session.told());
    assert_eq!(session.told().matches("\nexit 65\n").count(), 7);
}

#[test]
fn of_a_run_that_was_killed_the_rows_so_far_are_shown_and_that_it_is_not_finished() {
    let mut session = session();
    let report = session.read("report.csv");
    let lines: Vec<&str> = report.split_inclusive("\r\n").collect();
    // In the order in which they ended, the last one torn.
    session.write("r.csv.partial", &[lines[0], lines[3], lines[2], &lines[1][..50]].concat());
    session.run("report r.csv.partial").run("report r.csv.partial --format csv");
    insta::assert_snapshot!(told(&session));
}

#[test]
fn a_summary_tells_of_a_run_whatever_became_of_it() {
    let mut session = session();
    session.write("bad.yaml", "version: 1\nbucket: a-bucket\nentries:\n  - source: gone.txt\n    key: a\n");
    session.run("run bad.yaml --sandbox s --out bad");
    let bad = session.read("bad/summary.json");
    session.output(&format!("{APPLY} --partial --summary summary.json"));
    let refused = session.read("summary.json");
    session.write("notes.json", "{}\n");
    session.run(&format!("{APPLY} --summary notes.json"));
    assert_eq!(session.read("notes.json"), "{}\n");
    // A report is never written over, whatever its name.
    let one = session.output("apply plan.jsonl --sandbox s --report one --summary one --metrics one --partial");
    assert_eq!(one.status.code(), Some(5), "{one:?}");
    assert!(session.read("one").starts_with("format,run_id,"), "{one:?}");
    let told = format!("{}\n{bad}\n{refused}", session.told());
    insta::assert_snapshot!(crate::session::redact(&told, session.folder.path()));
}

fn value(metrics: &str, name: &str) -> String {
    let found: Vec<_> = metrics.lines().filter(|line| line.starts_with(name)).collect();
    let [line] = found[..] else { panic!("{name}: {metrics}") };
    line.rsplit_once(' ').unwrap().1.to_owned()
}

#[test]
fn metrics_are_written_however_a_run_ends_and_keep_what_outlives_it() {
    let session = Session::new();
    let metrics = |command: &str, exit: i32, runs: u64| {
        let output = session.output(&format!("{command} --metrics m.prom"));
        assert_eq!(output.status.code(), Some(exit), "{command}: {output:?}");
        let metrics = session.read("m.prom");
        assert_eq!(value(&metrics, "noclobber_last_exit_code{"), exit.to_string(), "{command}");
        assert_eq!(value(&metrics, "noclobber_runs_total{"), runs.to_string(), "{command}");
        assert_eq!(metrics.matches("noclobber_rows{manifest=\"m.yaml\",outcome=").count(), 13, "{command}");
        metrics
    };
    let run = "run m.yaml --date 2026-01-31 --sandbox s --out runs";
    let first = metrics(run, 0, 1);
    assert_eq!(value(&first, "noclobber_rows{manifest=\"m.yaml\",outcome=\"created\"}"), "2");
    assert_eq!(value(&first, "noclobber_uploaded_bytes{"), "4");
    let mode = std::fs::metadata(session.path("m.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let success = value(&first, "noclobber_last_success_timestamp_seconds{");
    assert_eq!(success, value(&first, "noclobber_last_run_timestamp_seconds{"));

    // Refused; no sandbox where its plan needs one; a plan that cannot be read; a manifest that is none.
    session.write("out/a.txt", "other\n");
    metrics(run, 3, 2);
    session.output("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    metrics("apply plan.jsonl --sandbox s", 3, 3);
    metrics("apply plan.jsonl", 64, 4);
    session.write("torn.jsonl", "{\"noclobber_plan\":1");
    metrics("apply torn.jsonl --sandbox s", 65, 5);
    session.write("m.yaml", "version: 1\n");
    let last = metrics(run, 65, 6);
    assert_eq!(value(&last, "noclobber_last_success_timestamp_seconds{"), success);
    assert!(last.lines().filter(|line| line.starts_with("noclobber_rows{")).all(|line| line.ends_with(" 0")));
    let left: Vec<_> = std::fs::read_dir(session.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
}

#[test]
fn metrics_that_cannot_be_written_are_told_and_fail_no_run() {
    let mut session = Session::new();
    session.write("node.prom", "node_up 1\n");
    session.write("damaged.prom", "# Written by noclobber, whole, at the end of each run.\n\u{0}");
    let run = "run m.yaml --date 2026-01-31 --sandbox s --out runs --quiet";
    session
        .run(&format!("{run} --metrics node.prom"))
        .run(&format!("{run} --metrics damaged.prom"))
        .run(&format!("{run} --metrics no/such/m.prom"))
        .run(&format!("{run} --metrics out"));
    insta::assert_snapshot!(session.told());
    assert_eq!(session.read("node.prom"), "node_up 1\n");
    assert_eq!(value(&session.read("damaged.prom"), "noclobber_runs_total{"), "1");
}
