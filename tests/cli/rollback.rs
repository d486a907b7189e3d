//! The plan of a rollback as a person meets it, and what is no report to roll back. What comes of applying one is
//! tested elsewhere.

use crate::session::Session;

const ALL: &str = "rollback report.csv --sandbox s";

/// A run that created, replaced and left alone; its report is `report.csv`.
fn session() -> Session {
    let session = Session::new();
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out first --quiet");
    session.write("out/b.txt", "changed\n");
    session.write("out/c.txt", "c\n");
    let more = "  - source: out/c.txt\n    key: c.txt\n";
    session.write("m.yaml", &(crate::session::MANIFEST.to_owned() + more));
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out second --quiet");
    session.write("report.csv", &session.read("second/report.csv"));
    session
}

#[test]
fn a_rollback_is_planned_shown_and_compared_like_any_plan() {
    let mut session = session();
    session
        .run(&format!("{ALL} -o back.jsonl"))
        .run(&format!("{ALL} --detailed-exitcode --quiet -o again.jsonl.zst"))
        .run("show again.jsonl.zst --diff back.jsonl")
        .run(&format!("{ALL} --only **/c.txt --no-probe --diff back.jsonl"))
        .run(&format!("{ALL} --only **/a.txt"))
        .run(&format!("{ALL} --json -o back.jsonl"));
    insta::assert_snapshot!(session.told());
    let header = session.read("back.jsonl").lines().next().unwrap().to_owned();
    assert!(header.contains("\"undoes\":\"") && header.contains("\"path\":\"report.csv\""), "{header}");
}

#[test]
fn what_somebody_wrote_since_is_refused_and_said() {
    let mut session = session();
    session.write("out/b.txt", "changed again\n");
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out third --quiet");
    session.run(&format!("{ALL} -o back.jsonl --quiet"));
    insta::assert_snapshot!(session.told());
}

#[test]
fn what_is_no_report_of_one_finished_run_is_refused() {
    let mut session = session();
    let report = session.read("report.csv");
    let lines: Vec<&str> = report.split_inclusive("\r\n").collect();
    let run = lines[1].split(',').nth(1).unwrap();
    session.write("torn.csv", &report[..report.len() - 40]);
    session.write("gap.csv", &[lines[0], lines[1], lines[3]].concat());
    session.write("empty.csv", lines[0]);
    session.write("other.csv", "Bucket,Key,Status\r\nb,k,200\r\n");
    session.write("runs.csv", &[lines[0], lines[1], &lines[2].replace(run, "0198-other"), lines[3]].concat());
    let edited = report.replace(",if-changed,replace,", ",sometimes,replace,").replace("-3\r\n", "-9\r\n");
    session.write("edited.csv", &edited);
    session.write("under-way.csv", &report);
    session.write("under-way.csv.partial", lines[0]);
    session.write("killed.csv.partial", lines[0]);
    for name in ["torn", "gap", "empty", "other", "runs", "edited", "under-way", "killed", "no-such"] {
        session.run(&format!("rollback {name}.csv --sandbox s -o back.jsonl"));
    }
    session.run("rollback killed.csv.partial --sandbox s").run("rollback first/plan.jsonl --sandbox s");
    assert_eq!(session.told().matches("\nexit 65\n").count(), 11);
    insta::assert_snapshot!(session.told());
    assert!(!session.path("back.jsonl").exists());
}

#[test]
fn a_rollback_goes_only_where_the_run_went_and_writes_over_nothing() {
    let mut session = session();
    let report = session.read("report.csv");
    session.write("notes.txt", "mine\n");
    session.write("aws.csv", &report.replace(",sandbox,", ",https://s3.eu-west-1.amazonaws.com,"));
    session.write("odd.csv", &report.replace(",sandbox,", ",ftp://host,"));
    session.write("mixed.csv", &report.replacen(",a-bucket,", ",b-bucket,", 1));
    session
        .run("rollback report.csv")
        .run("rollback aws.csv --sandbox s")
        .run("rollback odd.csv")
        .run("rollback mixed.csv --sandbox s")
        .run(&format!("{ALL} --only nothing/**"))
        .run(&format!("{ALL} --only a[b"))
        .run(&format!("{ALL} -o notes.txt"))
        .run(&format!("{ALL} -o report.csv"))
        .run(&format!("{ALL} -o no/such/back.jsonl"));
    insta::assert_snapshot!(session.told());
    assert_eq!((session.read("notes.txt"), session.read("report.csv")), ("mine\n".to_owned(), report));
}
