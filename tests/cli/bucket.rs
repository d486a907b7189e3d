//! `bucket uploads`, in the sandbox: what an apply that could not abort its upload leaves behind.

use crate::session::Session;

const AT: &str = "bucket uploads --sandbox s s3://a-bucket";

/// An apply that failed, and could not abort what it had begun.
fn left_behind() -> Session {
    let session = Session::new();
    std::fs::File::create(session.path("out/b.txt")).unwrap().set_len((64 << 20) + 1).unwrap();
    let fault = |operation: &str| {
        format!(r#"{{"operation": "{operation}", "key": {{"suffix": "b.txt"}}, "kind": "forbidden"}}"#)
    };
    let faults = ["CompleteMultipartUpload", "AbortMultipartUpload"].map(fault).join(",");
    session.write("faults.json", &format!("[{faults}]"));
    session.output("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    let output = session.output("apply plan.jsonl --report r.csv --sandbox s --sandbox-faults faults.json");
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(session.path("r.csv.journal").exists(), "nobody would know of the upload");
    session
}

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn what_an_apply_could_not_abort_is_named_and_aborted_by_its_journal() {
    let session = left_behind();
    let output = session.output(&format!("{AT}/2026 --journal r.csv --json"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = stdout(&output);
    let events: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [upload, all] = &events[..] else { panic!("{said}") };
    assert_eq!((upload["event"].as_str(), upload["key"].as_str()), (Some("upload"), Some("2026-01-31/b.txt")));
    assert!(upload["run_id"].is_string() && upload["initiated"].is_string(), "{said}");
    assert_eq!((&upload["aborted"], &upload["error"]), (&false.into(), &serde_json::Value::Null), "{said}");
    assert_eq!((all["open"].as_u64(), all["ours"].as_u64(), all["aborted"].as_u64()), (Some(1), Some(1), Some(0)));

    // Elsewhere is nothing.
    assert!(
        stdout(&session.output(&format!("{AT}/2027 --journal r.csv"))).starts_with("0 open under s3://a-bucket/2027")
    );

    // What is refused again stays, and is told.
    let output = session.output(&format!("{AT} --journal r.csv --abort --sandbox-faults faults.json"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("NOT aborted") && stdout(&output).contains("; 0 aborted"), "{output:?}");

    let output = session.output(&format!("{AT} --journal r.csv --abort"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).ends_with("1 open under s3://a-bucket/: 1 ours, 0 foreign; 1 aborted\n"), "{output:?}");
    assert!(stdout(&session.output(AT)).starts_with("0 open"));
}

#[test]
fn what_is_asked_of_a_bucket_is_checked_before_anything_is_done() {
    let mut session = Session::new();
    for command in [
        "bucket",
        "bucket uploads a-bucket",
        "bucket uploads s3://A_Bucket",
        "bucket uploads s3://a-bucket --abort",
        "bucket uploads s3://a-bucket --foreign",
        "bucket uploads s3://a-bucket --endpoint localhost:9000",
        "bucket uploads s3://a-bucket --bucket-owner 12",
        "bucket uploads s3://a-bucket --journal no-such.csv",
    ] {
        session.run(command);
    }
    insta::assert_snapshot!(session.told());
    assert_eq!(session.told().matches("\nexit 64\n").count(), 8);
}

#[test]
fn help_tells_whose_uploads_are_ours() {
    let mut session = Session::new();
    session.run("bucket uploads --help");
    insta::assert_snapshot!(session.told());
}
