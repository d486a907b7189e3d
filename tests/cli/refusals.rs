//! Plans that may not be applied, runs that end early, and what is in somebody else's hands.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::session::Session;
use crate::support;

#[test]
fn limits_and_refusals_end_with_3_and_write_nothing() {
    let mut session = Session::new();
    session.write(
        "tight.yaml",
        &crate::session::MANIFEST.replace("entries:", "limits: { creates: 1, bytes: 3B }\nentries:"),
    );
    session
        .run("plan tight.yaml --date 2026-01-31 --sandbox s -o tight.jsonl")
        .run("apply tight.jsonl --sandbox s")
        .run("apply tight.jsonl --sandbox s --partial");
    session.write("outside.yaml", &crate::session::MANIFEST.replace("entries:", "allow_keys: [\"2026/**\"]\nentries:"));
    session
        .run("check outside.yaml --date 2026-01-31")
        .run("plan outside.yaml --date 2026-01-31 --sandbox s -o outside.jsonl")
        .run("apply outside.jsonl --sandbox s --partial");
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out first");
    session.write("out/a.txt", "other\n");
    session.write("out/b.txt", "other\n");
    session
        .run("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl")
        .run("apply plan.jsonl --sandbox s")
        .run("apply plan.jsonl --sandbox s --expect sha256:0000")
        .run("apply plan.jsonl --sandbox s --partial");
    insta::assert_snapshot!(session.told());
    assert!(!session.path("tight.report.csv").exists(), "a refused plan leaves no report");
}

#[test]
fn what_moved_since_the_plan_ends_with_4_and_partial_goes_on() {
    let mut session = Session::new();
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    session.write("out/a.txt", "changed\n");
    session
        .run("apply plan.jsonl --sandbox s")
        .run("apply plan.jsonl --sandbox s")
        .run("apply plan.jsonl --sandbox s --partial");
    insta::assert_snapshot!(session.told());
}

#[test]
fn faults_end_with_the_code_that_they_are_documented_with() {
    let mut session = Session::new();
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    // (the fault, the exit code that it ends with)
    for (n, (fault, exit)) in [
        (r#"{"operation": "PutObject", "kind": "conditions-ignored"}"#, 3),
        (r#"{"operation": "PutObject", "key": {"suffix": "b.txt"}, "kind": "expired-token"}"#, 5),
        (r#"{"operation": "PutObject", "key": {"suffix": "b.txt"}, "kind": "another-writer", "text": "theirs"}"#, 5),
        (r#"{"operation": "PutObject", "kind": "expired-token"}"#, 1),
        (r#"{"operation": "HeadBucket", "kind": "forbidden"}"#, 0),
    ]
    .into_iter()
    .enumerate()
    {
        session.write("faults.json", &format!("[{fault}]"));
        // A sandbox of its own for each, or the last one's objects would be in the way.
        let command = format!("run m.yaml --date 2026-01-31 --sandbox s{n} --sandbox-faults faults.json --out o{n}");
        let output = session.output(&command);
        assert_eq!(output.status.code(), Some(exit), "{fault}: {output:?}");
        session.note(&command, &output);
    }
    insta::assert_snapshot!(session.told());
}

#[test]
fn a_folder_that_another_process_holds_is_not_shared() {
    let mut session = Session::new();
    let holder = Server::start(&session);
    session.run("plan m.yaml --sandbox s").run("plan m.yaml --sandbox out");
    drop(holder);

    std::fs::create_dir(session.path("runs")).unwrap();
    let lock = std::fs::File::create(session.path("runs/.lock")).unwrap();
    lock.try_lock().unwrap();
    session.run("run m.yaml --sandbox t --out runs");
    insta::assert_snapshot!(session.told());
}

#[test]
fn rows_that_find_no_room_on_disk_are_printed_and_the_run_ends_with_5() {
    let session = Session::new();
    many(&session);
    let server = Server::start(&session);
    let exports = &server.exports;
    let endpoint = exports[0].1.clone();
    session.write("many.yaml", &session.read("many.yaml").replace("http://ENDPOINT", &endpoint));
    let noclobber = |arguments: &str, limit: &str| {
        let mut shell = Command::new("sh");
        // A file that may not grow is a full disk without being root; the signal is ignored, as a full disk sends none.
        let script = format!("trap '' XFSZ; {limit} exec {} {arguments}", env!("CARGO_BIN_EXE_noclobber"));
        shell.arg("-c").arg(script).env_clear().env("HOME", session.folder.path()).current_dir(session.folder.path());
        shell.env("AWS_EC2_METADATA_DISABLED", "true").envs(exports.iter().skip(1).cloned()).output().unwrap()
    };
    let planned = noclobber("plan many.yaml -o plan.jsonl", "");
    assert!(planned.status.success(), "{planned:?}");
    let applied = noclobber("apply plan.jsonl --concurrency 1", "ulimit -f 6;");
    let said = String::from_utf8(applied.stderr.clone()).unwrap();
    assert_eq!(applied.status.code(), Some(5), "{said}");
    let held: Vec<&str> = said.lines().filter(|line| line.starts_with("error: not in the report: 1,")).collect();
    assert!(!held.is_empty(), "{said}");
    // With room again, the same command goes on; no row is lost, and no key is written twice.
    let resumed = noclobber("apply plan.jsonl --concurrency 1", "");
    assert!(resumed.status.success(), "{resumed:?}");
    assert!(String::from_utf8_lossy(&resumed.stdout).starts_with("Done: 30 created"), "{resumed:?}");
}

#[test]
fn what_a_broken_run_left_is_settled_by_the_next_one_or_left_as_it_is() {
    let session = Session::new();
    many(&session);
    let server = Server::start(&session);
    session.write("many.yaml", &session.read("many.yaml").replace("http://ENDPOINT", &server.exports[0].1));
    let noclobber = |arguments: &str, limit: &str, secret: Option<&str>| {
        let mut shell = Command::new("sh");
        let script = format!("trap '' XFSZ; {limit} exec {} {arguments}", env!("CARGO_BIN_EXE_noclobber"));
        shell.arg("-c").arg(script).env_clear().env("HOME", session.folder.path()).current_dir(session.folder.path());
        shell.env("AWS_EC2_METADATA_DISABLED", "true").envs(server.exports.iter().skip(1).cloned());
        shell.envs(secret.map(|secret| ("AWS_SECRET_ACCESS_KEY", secret))).output().unwrap()
    };
    let left = || {
        let mut names: Vec<String> = std::fs::read_dir(session.folder.path().join("runs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    std::fs::create_dir(session.folder.path().join("runs")).unwrap();
    assert!(noclobber("plan many.yaml -o runs/plan.jsonl", "", None).status.success());
    let broken = noclobber("apply runs/plan.jsonl --report runs/report.csv --concurrency 1", "ulimit -f 6;", None);
    assert_eq!(broken.status.code(), Some(5), "{broken:?}");
    let before = (left(), session.read("runs/report.csv.partial"), session.read("runs/report.csv.journal"));
    assert!(before.0.contains(&"report.csv.journal".to_owned()), "{before:?}");

    // Nobody can look: nothing is started, nothing is moved, and nothing is called settled.
    let blind = noclobber("run many.yaml --out runs", "", Some("wrong"));
    let said = String::from_utf8_lossy(&blind.stderr).into_owned();
    assert_eq!(blind.status.code(), Some(1), "{said}");
    assert!(said.contains("an earlier run in runs was killed") && said.contains("move runs away"), "{said}");
    let journal = session.read("runs/report.csv.journal");
    assert!(journal.starts_with(&before.2), "{journal}");
    assert!(!left().contains(&"history".to_owned()));

    let next = noclobber("run many.yaml --out runs", "", None);
    assert!(next.status.success(), "{next:?}");
    let history = session.folder.path().join("runs/history");
    let runs: Vec<_> = std::fs::read_dir(history).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 1);
    let settled = std::fs::read_to_string(runs[0].join("report.csv")).unwrap();
    let fresh = session.read("runs/report.csv");
    for n in 0..30 {
        let key = format!(",{n}.txt,");
        let row = |report: &str| report.lines().find(|line| line.contains(&key)).unwrap().to_owned();
        // Stored by the broken run, and its row says so, or stored by the next one; never both, never neither.
        let (then, now) = (row(&settled).contains(",created,"), row(&fresh).contains(",created,"));
        assert!(then != now, "{}\n{}", row(&settled), row(&fresh));
    }
}

/// Thirty small files for a server whose endpoint is filled in later.
fn many(session: &Session) {
    for n in 0..30 {
        session.write(&format!("many/{n}.txt"), "x\n");
    }
    session.write("many.yaml", "version: 1\nbucket: a-bucket\nendpoint: http://ENDPOINT\nentries:\n  - source: \"many/*.txt\"\n    key: \"{{ name }}\"\n");
}

/// The sandbox of another process, killed with the test.
struct Server {
    process: std::process::Child,
    /// What it says that a shell should export.
    exports: Vec<(String, String)>,
}

impl Server {
    /// Returns when it has its folder and its port.
    fn start(session: &Session) -> Self {
        let mut command = support::noclobber(session.folder.path());
        command.args(["sandbox", "--dir", "s"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().take(4).map(Result::unwrap);
        let exports = lines
            .map(|line| {
                let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Self { process, exports }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
