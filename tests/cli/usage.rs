//! Command lines that cannot be meant: each is told what is wrong with it, and ends with 64.

use crate::session::Session;

#[test]
fn a_wrong_command_line_ends_with_64_and_says_what_is_wrong() {
    let mut session = Session::new();
    for command in [
        "",
        "upload m.yaml",
        "plan",
        "plan m.yaml --overwrite",
        "plan m.yaml --date 31.01.2026",
        "plan m.yaml --var env",
        "plan m.yaml --looks 0",
        "apply",
        "apply plan.jsonl --concurrency 9999",
        "apply plan.jsonl --max-bandwidth 5G",
        "run m.yaml --max-bandwidth 10KiB/s",
        "run m.yaml --max-requests 0",
        "show plan.jsonl --format yaml",
        "completions tcsh",
        "schema plan",
    ] {
        session.run(command);
    }
    insta::assert_snapshot!(session.told());
    assert_eq!(session.told().matches("\nexit 64\n").count(), 15);
}

#[test]
fn a_file_in_the_way_is_left_alone() {
    let mut session = Session::new();
    session.write("notes.txt", "mine\n");
    session
        .run("init m.yaml")
        .run("init no/such/folder.yaml")
        .run("plan m.yaml --date 2026-01-31 --sandbox s -o notes.txt")
        .run("plan m.yaml --date 2026-01-31 --sandbox s -o no/such/plan.jsonl");
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    session
        .run("apply plan.jsonl --sandbox s --report notes.txt")
        .run("apply plan.jsonl --sandbox s --report out")
        .run("apply plan.jsonl --sandbox s --report no/such/report.csv");
    session.prepare("apply plan.jsonl --sandbox s --report report.csv");
    session.prepare("plan m.yaml --date 2026-02-01 --sandbox s -o other.jsonl");
    session.run("apply other.jsonl --sandbox s --report report.csv");
    insta::assert_snapshot!(session.told());
    assert_eq!(session.read("notes.txt"), "mine\n");
}

#[test]
fn a_plan_goes_only_where_it_was_made_for() {
    let mut session = Session::new();
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    session.run("apply plan.jsonl");
    // A plan for elsewhere, as its maker would have written it.
    let elsewhere =
        session.read("plan.jsonl").replace("\"endpoint\":\"sandbox\"", "\"endpoint\":\"https://s3.example.com\"");
    session.write("elsewhere.jsonl", &sealed(&elsewhere));
    session.run("apply elsewhere.jsonl --sandbox s");
    insta::assert_snapshot!(session.told());
}

/// Puts the right digest into a plan's footer.
fn sealed(plan: &str) -> String {
    use sha2::Digest as _;
    let body = plan.trim_end().rsplit_once('\n').unwrap().0;
    let digest = hex::encode(sha2::Sha256::digest(format!("{body}\n")));
    let mut footer: serde_json::Value = serde_json::from_str(plan.lines().last().unwrap()).unwrap();
    let before = footer["digest"].as_str().unwrap();
    let prefix = if before.starts_with("sha256:") { "sha256:" } else { "" };
    let after = plan.lines().last().unwrap().replace(before, &format!("{prefix}{digest}"));
    footer["digest"] = after.clone().into();
    format!("{body}\n{after}\n")
}
