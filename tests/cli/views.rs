//! One plan in every form, and what changed since it was approved.

use crate::session::Session;

/// What a plan of creates, a replace and an unchanged file is made of.
fn session() -> Session {
    let session = Session::new();
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out first --quiet");
    session.write("out/b.txt", "changed\n");
    session.write("out/c.txt", "c\n");
    session.write("out/d|<b>\u{202e}.txt", "d\n");
    session.write(
        "m.yaml",
        "\
version: 1
name: small
bucket: a-bucket
prefix: \"{{ date }}/\"
overwrite: if-changed
stages: [data, index]
entries:
  - source: out/a.txt
    key: a.txt
    stage: data
  - source: out/b.txt
    key: b.txt
    stage: data
  - source: out/c.txt
    key: a.txt.copy
    stage: data
    storage_class: STANDARD_IA
  - source: \"out/d*.txt\"
    key: \"d/{{ name }}\"
    stage: index
",
    );
    // A file's time has as many digits as it needs.
    for name in ["a.txt", "b.txt", "c.txt", "d|<b>\u{202e}.txt"] {
        let file = std::fs::File::options().write(true).open(session.path("out").join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    }
    session
}

#[test]
fn a_plan_in_every_form() {
    let mut session = session();
    let output = session.output("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl --quiet");
    session.note("plan", &output);
    for format in ["text", "markdown", "csv"] {
        session.run(&format!("show plan.jsonl --format {format}"));
    }
    insta::assert_snapshot!(session.told());
}

#[test]
fn html_is_one_file_that_fetches_nothing() {
    let session = session();
    session.output("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl --quiet");
    let output = session.output("show plan.jsonl --format html");
    assert!(output.status.success(), "{output:?}");
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("default-src 'none'; script-src 'sha256-"));
    for word in ["src=", "href=", "@import", "url(", "\u{202e}"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn what_changed_since_a_plan_was_approved() {
    let mut session = Session::new();
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o approved.jsonl");
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out first --quiet");
    session.write("out/b.txt", "changed\n");
    session.write("out/c.txt", "c\n");
    let more = session.read("m.yaml") + "  - source: out/c.txt\n    key: c.txt\n";
    session.write("m.yaml", &more);
    session
        .run("plan m.yaml --date 2026-01-31 --sandbox s -o new.jsonl --diff approved.jsonl --quiet")
        .run("show new.jsonl --diff new.jsonl")
        .run("show approved.jsonl --diff new.jsonl --json")
        .run("show new.jsonl --diff approved.jsonl --format html")
        .run("plan m.yaml --date 2026-01-31 --sandbox s --diff missing.jsonl");
    insta::assert_snapshot!(session.told());
}

#[test]
fn a_plan_that_is_damaged_at_its_end_is_shown_in_no_form() {
    let session = session();
    session.output("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl --quiet");
    let plan = session.read("plan.jsonl").replace("\"replace\":1", "\"replace\":2");
    session.write("bad.jsonl", &plan);
    for form in
        ["", "--all", "--format markdown", "--format html", "--format csv", "--format json", "--diff plan.jsonl"]
    {
        let output = session.output(&format!("show bad.jsonl {form}"));
        assert_eq!(output.status.code(), Some(65), "{form}: {output:?}");
        assert!(output.stdout.is_empty(), "{form}: {output:?}");
    }
}
