//! `verify` and `bucket versions` as a person sees them, in the sandbox.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use noclobber::sandbox::{Options, serve};

use crate::session::Session;

const RUN: &str = "run m.yaml --date 2026-01-31 --sandbox s --quiet --out";
const MANIFEST: &str = "\
version: 1
bucket: a-bucket
overwrite: if-changed
entries:
  - source: \"out/*.txt\"
    key: \"{{ date }}/{{ name }}\"
";

/// Six objects, of which a stranger has overwritten, deleted, rewritten and removed one each.
async fn meddled() -> Session {
    let session = Session::new();
    for name in ["c", "d", "e", "f"] {
        session.write(&format!("out/{name}.txt"), &format!("{name}\n"));
    }
    session.write("m.yaml", MANIFEST);
    session.prepare(&format!("{RUN} one"));
    let version = session.read("one/report.csv").lines().nth(4).unwrap().split(',').nth(22).unwrap().to_owned();
    stranger(&session, async move |client| {
        let put = |key: &str, text: &'static str| {
            client
                .put_object()
                .bucket("a-bucket")
                .key(format!("2026-01-31/{key}"))
                .body(text.as_bytes().to_vec().into())
        };
        put("a.txt", "a stranger's\n").send().await.unwrap();
        client.delete_object().bucket("a-bucket").key("2026-01-31/b.txt").send().await.unwrap();
        put("c.txt", "c\n").send().await.unwrap();
        put("d.txt", "a stranger's\n").send().await.unwrap();
        let delete = client.delete_object().bucket("a-bucket").key("2026-01-31/d.txt").version_id(version);
        delete.send().await.unwrap();
    })
    .await;
    session
}

/// Somebody else at the sandbox's bucket, while no command of ours has it.
async fn stranger(session: &Session, act: impl AsyncFnOnce(Client)) {
    let sandbox = serve(Options::new(session.path("s"))).await.unwrap();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(sandbox.endpoint())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(sandbox.access_key(), sandbox.secret_key(), None, None, "test"))
        .force_path_style(true)
        .build();
    act(Client::from_conf(config)).await;
    sandbox.stop().await;
}

#[tokio::test]
async fn each_form_tells_what_a_stranger_did_and_ends_with_5() {
    let mut session = meddled().await;
    for form in ["", "--format markdown", "--format csv", "--format json -o verify.json", "--json"] {
        session.run(&format!("verify one/report.csv --sandbox s --deep {form}"));
    }
    insta::assert_snapshot!(session.told());
    let json: serde_json::Value = serde_json::from_str(&session.read("verify.json")).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), 6);
    assert_eq!((json["summary"]["intact"].as_u64(), json["summary"]["gone"].as_u64()), (Some(2), Some(1)));
    // A file of ours is made anew, in any form; no other is.
    let output = session.output("verify one/report.csv --sandbox s --format markdown -o verify.json");
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(output.stdout.is_empty() && session.read("verify.json").starts_with("## noclobber verify\n"));
    let report = session.read("one/report.csv");
    let output = session.output("verify one/report.csv --sandbox s --format csv -o one/report.csv");
    assert_eq!((output.status.code(), session.read("one/report.csv")), (Some(64), report));
}

#[tokio::test]
async fn when_all_is_there_it_ends_with_0_and_few_words() {
    let mut session = Session::new();
    session.write("m.yaml", MANIFEST);
    session.prepare(&format!("{RUN} one"));
    session.write("out/b.txt", "changed\n");
    session.prepare(&format!("{RUN} two"));
    let run = session.read("one/report.csv").lines().nth(1).unwrap().split(',').nth(1).unwrap().to_owned();
    // Of uploads that could not be aborted: the run has finished all the same.
    session.write("two/report.csv.journal", "");
    session
        .run("verify two/report.csv --sandbox s")
        .run(&format!("verify two/report.csv one/report.csv --sandbox s --since {run}"))
        .run("verify one/report.csv --sandbox s --quiet");
    insta::assert_snapshot!(session.told());
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_told_and_ends_with_5() {
    let mut session = meddled().await;
    session.write(
        "faults.json",
        r#"[{"operation": "HeadObject", "key": {"suffix": "a.txt"}, "kind": "forbidden"},
            {"operation": "HeadObject", "key": {"suffix": "e.txt"}, "kind": "forbidden"}]"#,
    );
    session.run("verify one/report.csv --sandbox s --sandbox-faults faults.json");
    session.write("all.json", r#"[{"kind": "permanent-redirect"}]"#);
    session.run("verify one/report.csv --sandbox s --sandbox-faults all.json");
    session.write("keys.json", r#"[{"operation": "HeadObject", "kind": "permanent-redirect"}]"#);
    session.run("verify one/report.csv --sandbox s --sandbox-faults keys.json");
    insta::assert_snapshot!(session.told());
}

#[tokio::test]
async fn what_is_no_whole_report_of_a_finished_run_is_refused_all_of_it() {
    let mut session = meddled().await;
    let report = session.read("one/report.csv");
    let lines: Vec<&str> = report.split_inclusive("\r\n").collect();
    session.write("torn.csv", &report[..report.len() - 40]);
    session.write("gap.csv", &[lines[0], lines[1], lines[3]].concat());
    session.write("empty.csv", lines[0]);
    session.write("other.csv", "Bucket,Key,Status\r\nb,k,200\r\n");
    session.write("moved.csv", &report.replace("2026-01-31/b.txt", "2026-01-31/a.txt"));
    session.write("killed.csv.partial", &report);
    session.write("again.csv", &report);
    session.write("again.csv.partial", lines[0]);
    session.write("copy.csv", &report);
    for given in [
        "torn.csv gap.csv empty.csv other.csv moved.csv",
        "killed.csv.partial",
        "killed.csv",
        "again.csv",
        "no-such.csv",
        "one/report.csv copy.csv",
        "one/report.csv torn.csv moved.csv",
    ] {
        session.run(&format!("verify {given} --sandbox s"));
    }
    insta::assert_snapshot!(session.told());
    assert_eq!(session.told().matches("\nexit 65\n").count(), 7);
}

#[test]
fn verify_and_rollback_refuse_a_report_whose_place_no_target_can_have_in_the_same_words() {
    let session = Session::new();
    session.prepare(&format!("{RUN} one"));
    let report = session.read("one/report.csv");
    let cells: Vec<&str> = report.lines().nth(1).unwrap().split(',').collect();
    let columns: Vec<&str> = report.lines().next().unwrap().split(',').collect();
    let place = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    std::fs::create_dir(session.path("folder.csv")).unwrap();
    let edited = |column: &str, cell: &str| {
        let rows = report.lines().enumerate().map(|(n, line)| {
            let mut cells: Vec<&str> = line.split(',').collect();
            if n > 0 {
                cells[place(column)] = cell;
            }
            cells.join(",") + "\r\n"
        });
        session.write("edited.csv", &rows.collect::<String>());
    };
    edited("region", cells[place("region")]);
    assert_eq!(session.read("edited.csv"), report, "the cells are found");
    let told = |command: &str, file: &str| {
        let output = session.output(&format!("{command} {file} --sandbox s"));
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(65), &b""[..]), "{file}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (column, cell) in [("region", "\"x y\n\""), ("region", "\u{fc}"), ("owner", "abc"), ("bucket", "../x")] {
        edited(column, cell);
        let said = told("verify", "edited.csv");
        assert!(said.contains(&format!("edited.csv: the {column} of target \"default\"")), "{said}");
        assert_eq!(told("rollback", "edited.csv"), said);
    }
    for file in ["folder.csv", "no-such.csv"] {
        let said = told("verify", file);
        assert_eq!(told("rollback", file), said);
        assert_eq!(told("report", file), said);
    }
}

#[tokio::test]
async fn a_wrong_command_line_is_told_before_anything_is_asked() {
    let mut session = meddled().await;
    session.write("notes.txt", "mine\n");
    for command in [
        "verify",
        "verify one/report.csv",
        "verify one/report.csv --sandbox s --since ff",
        "verify one/report.csv --sandbox s --json --format csv",
        "verify one/report.csv --sandbox s -o notes.txt",
        "bucket versions s3://a-bucket --sandbox s",
        "bucket versions a-bucket/key --sandbox s",
        "bucket versions s3://a-bucket/key --sandbox s --most 0",
    ] {
        session.run(command);
    }
    let elsewhere = session.read("one/report.csv").replace(",sandbox,", ",https://s3.eu-west-1.amazonaws.com,");
    session.write("elsewhere.csv", &elsewhere);
    session.run("verify elsewhere.csv --sandbox s");
    insta::assert_snapshot!(session.told());
    assert_eq!(session.told().matches("\nexit 64\n").count(), 9);
}

#[tokio::test]
async fn the_history_of_a_key_names_its_versions_and_writers() {
    let mut session = meddled().await;
    session
        .run("bucket versions s3://a-bucket/2026-01-31/a.txt --sandbox s")
        .run("bucket versions s3://a-bucket/2026-01-31/a.txt --sandbox s --report one/report.csv")
        .run("bucket versions s3://a-bucket/2026-01-31/b.txt --sandbox s --report one/report.csv --json")
        .run("bucket versions s3://a-bucket/2026-01-31/c.txt --sandbox s --most 1")
        .run("bucket versions s3://a-bucket/2026-01-31/none.txt --sandbox s")
        .run("bucket versions s3://a-bucket/2026-01-31/a.txt --sandbox s --report m.yaml");
    insta::assert_snapshot!(session.told());
}

#[test]
fn help_tells_the_states_and_the_exit_codes() {
    let mut session = Session::new();
    session.run("verify --help").run("bucket versions --help");
    insta::assert_snapshot!(session.told());
}
