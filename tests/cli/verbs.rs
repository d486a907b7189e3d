//! Sessions in which all goes well.

use crate::session::Session;

#[test]
fn plan_show_apply_report_and_the_second_plan_finds_all_unchanged() {
    let mut session = Session::new();
    session
        .run("check m.yaml")
        .run("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl")
        .run("show plan.jsonl")
        .run("apply plan.jsonl --sandbox s --report report.csv")
        .run("report report.csv")
        // All rows are final: it prints them and ends as before.
        .run("apply plan.jsonl --sandbox s --report report.csv")
        .run("plan m.yaml --date 2026-01-31 --sandbox s --detailed-exitcode");
    session.write("out/b.txt", "changed\n");
    session.run("plan m.yaml --date 2026-01-31 --sandbox s --detailed-exitcode");
    insta::assert_snapshot!(session.told());
}

#[test]
fn run_twice_keeps_the_first_runs_evidence() {
    let mut session = Session::new();
    session.run("run m.yaml --date 2026-01-31 --sandbox s --out runs");
    let first = session.read("runs/report.csv");
    session.write("out/b.txt", "changed\n");
    session.run("run m.yaml --date 2026-01-31 --sandbox s --out runs");
    insta::assert_snapshot!(session.told());
    let history: Vec<_> = std::fs::read_dir(session.path("runs/history")).unwrap().collect();
    let [Ok(kept)] = &history[..] else { panic!("one folder a run: {history:?}") };
    assert_eq!(std::fs::read_to_string(kept.path().join("report.csv")).unwrap(), first);
}

#[test]
fn json_is_one_event_a_line_and_quiet_says_only_results() {
    let mut session = Session::new();
    session
        .run("check m.yaml --json")
        .run("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl --quiet")
        .run("apply plan.jsonl --sandbox s --quiet");
    insta::assert_snapshot!(session.told());
    for command in [
        "plan m.yaml --date 2026-01-31 --sandbox s --json",
        "run m.yaml --date 2026-01-31 --sandbox t --out runs --json",
        "show plan.jsonl --json",
        "report plan.report.csv --json",
    ] {
        let output = session.output(command);
        assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        if command.starts_with("report") {
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|e| panic!("{command}: {e}: {text}"));
            continue;
        }
        for line in text.lines() {
            let event: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{command}: {e}: {line}"));
            assert!(event.is_object(), "{command}: {line}");
        }
    }
}

#[test]
fn the_approved_digest_is_accepted() {
    let mut session = Session::new();
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    let plan = session.read("plan.jsonl");
    let footer: serde_json::Value = serde_json::from_str(plan.lines().last().unwrap()).unwrap();
    let digest = footer["digest"].as_str().unwrap();
    let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
    session
        .run(&format!("show plan.jsonl --expect sha256:{digest}"))
        .run(&format!("apply plan.jsonl --sandbox s --expect sha256:{}", digest.to_uppercase()));
    assert!(session.told().contains("exit 0") && session.told().contains("Done: 2 created"), "{}", session.told());
}

#[test]
fn init_writes_a_manifest_that_only_lacks_its_sources() {
    let mut session = Session::new();
    session.run("init new.yaml").run("check new.yaml --date 2026-01-31");
    insta::assert_snapshot!(session.told());
}

#[test]
fn help_names_every_verb_and_exit_code() {
    let mut session = Session::new();
    session.run("--help").run("--version").run("apply --help");
    insta::assert_snapshot!(session.told());
}

#[test]
fn scripts_for_shells_and_man_are_what_those_read() {
    let session = Session::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = session.output(&format!("completions {shell}"));
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let script = session.path(shell);
        std::fs::write(&script, &output.stdout).unwrap();
        match std::process::Command::new(shell).arg("-n").arg(&script).output() {
            Ok(checked) => assert!(checked.status.success(), "{shell} -n: {checked:?}"),
            Err(error) => println!("SKIPPED: {shell} -n: {error}"),
        }
    }
    let page = session.output("man");
    assert!(page.status.success() && page.stdout.starts_with(b".ie"), "{page:?}");
    let schema = session.output("schema manifest");
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["entries"].is_object(), "{schema}");
}

#[test]
fn colour_is_never_in_a_pipe_and_no_color_wins_over_a_terminal() {
    let session = Session::new();
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    for (name, value, coloured) in [("CLICOLOR_FORCE", "1", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)] {
        let mut command = crate::support::noclobber(session.folder.path());
        let output = command.args(["show", "plan.jsonl"]).env(name, value).output().unwrap();
        assert_eq!(output.stdout.contains(&0x1b), coloured, "{name}={value}");
    }
}
