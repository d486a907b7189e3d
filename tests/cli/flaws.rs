//! Files that are not what they should be: every flaw is told, with its place, and the end is 65.

use std::os::unix::fs::symlink;

use crate::session::{MANIFEST, Session};

#[test]
fn every_flaw_of_a_manifest_is_told_with_its_line() {
    let mut session = Session::new();
    session.write(
        "bad.yaml",
        "version: 1\nbucket: Not_A_Bucket\nbucket_owner: 12\nprefx: x/\noverwrite: sometimes\nentries:\n  - source: out/a.txt\n    key: \"{{ dat }}/a\"\n  - source: out/nothing.txt\n    key: b\n  - source: \"out/*.parquet\"\n    key: \"{{ name }}\"\n  - source: out/a.txt\n    key: ../a\n  - source: out/b.txt\n    key: same\n  - source: out/a.txt\n    key: same\n    key: twice\n",
    );
    session.write("half.yaml", "version: 1\nbucket: b\nentries:\n  - source: [out/a.txt\n");
    session.write(
        "keys.yaml",
        "version: 1\nbucket: a-bucket\nallow_keys: [\"reports/**\"]\nentries:\n  - source: out/a.txt\n    key: reports/../a\n  - source: out/b.txt\n    key: reports//b\n  - source: out/b.txt\n    key: elsewhere/b\n  - source: out/b.txt\n    key: reports/same\n  - source: out/a.txt\n    key: reports/same\n",
    );
    session.write("text.yaml", "just some text\n");
    session.write("empty.yaml", "");
    session.write("later.yaml", "version: 2\nbucket: b\nentries: []\n");
    session
        .run("check bad.yaml --date 2026-01-31")
        .run("check keys.yaml")
        .run("check half.yaml")
        .run("check text.yaml")
        .run("check empty.yaml")
        .run("check later.yaml")
        .run("check missing.yaml")
        .run("check out");
    insta::assert_snapshot!(session.told());
    assert_eq!(session.told().matches("\nexit 65\n").count(), 8);
}

#[test]
fn what_is_no_file_is_never_replaced_by_a_plan() {
    use std::os::unix::fs::FileTypeExt as _;
    let mut session = Session::new();
    let pipe = session.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    // It has no first line, and to wait for one would be to wait for ever.
    session.run("plan m.yaml --date 2026-01-31 --sandbox s -o pipe");
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(session.told().contains("exit 64"), "{}", session.told());
}

#[test]
fn a_list_that_names_no_file_is_a_flaw_unless_it_may_be_empty() {
    let mut session = Session::new();
    session.write("l.csv", "source,key\n");
    session.write("l.yaml", "version: 1\nbucket: a-bucket\nentries:\n  - list: l.csv\n");
    session.write("o.yaml", "version: 1\nbucket: a-bucket\nentries:\n  - list: l.csv\n    optional: true\n");
    session.run("check l.yaml").run("check o.yaml");
    let told = session.told();
    assert!(told.contains("l.yaml:4: the list l.csv names no file; if that is fine, say optional: true"), "{told}");
    assert!(told.contains("Sound: 0 entries for 1 target"), "{told}");
}

#[test]
fn keys_that_meet_are_refused_whichever_manifest_they_come_from() {
    let mut session = Session::new();
    session.write("a.yaml", MANIFEST);
    session.write("twice.yaml", &MANIFEST.replace("key: b.txt", "key: a.txt"));
    session
        .run("check m.yaml a.yaml --date 2026-01-31")
        .run("plan m.yaml a.yaml --date 2026-01-31 --sandbox s")
        .run("plan twice.yaml --date 2026-01-31 --sandbox s");
    insta::assert_snapshot!(session.told());
}

#[test]
fn a_source_that_cannot_be_read_is_told() {
    let mut session = Session::new();
    std::fs::remove_file(session.path("out/a.txt")).unwrap();
    session.run("plan m.yaml --date 2026-01-31 --sandbox s");
    symlink("nowhere", session.path("out/a.txt")).unwrap();
    session.run("plan m.yaml --date 2026-01-31 --sandbox s");
    std::fs::remove_file(session.path("out/a.txt")).unwrap();
    std::fs::create_dir(session.path("out/a.txt")).unwrap();
    session.run("plan m.yaml --date 2026-01-31 --sandbox s");
    std::fs::remove_dir(session.path("out/a.txt")).unwrap();
    symlink("/etc/hostname", session.path("out/a.txt")).unwrap();
    session.run("plan m.yaml --date 2026-01-31 --sandbox s");
    std::fs::remove_file(session.path("out/a.txt")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        session.path("out/a.txt"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    session.run("plan m.yaml --date 2026-01-31 --sandbox s").run("plan m.yaml --base no/such/folder --sandbox s");
    insta::assert_snapshot!(session.told());
}

#[test]
fn a_plan_file_that_is_not_whole_is_not_believed() {
    let mut session = Session::new();
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    let plan = session.read("plan.jsonl");
    let lines: Vec<&str> = plan.lines().collect();
    session.write("cut.jsonl", &lines[..lines.len() - 1].join("\n"));
    session.write("footless.jsonl", &(lines[..lines.len() - 1].join("\n") + "\n"));
    session.write("torn.jsonl", &plan[..plan.len() / 2]);
    session.write("edited.jsonl", &plan.replace("31/a.txt", "31/c.txt"));
    session.write("later.jsonl", &plan.replacen("\"noclobber_plan\":1", "\"noclobber_plan\":2", 1));
    session.write("empty.jsonl", "");
    session.write("not.jsonl.zst", &plan);
    session
        .run("apply missing.jsonl --sandbox s")
        .run("apply cut.jsonl --sandbox s")
        .run("apply footless.jsonl --sandbox s")
        .run("apply torn.jsonl --sandbox s")
        .run("apply edited.jsonl --sandbox s")
        .run("apply later.jsonl --sandbox s")
        .run("apply empty.jsonl --sandbox s")
        .run("apply not.jsonl.zst --sandbox s")
        .run("apply m.yaml --sandbox s")
        .run("show out");
    insta::assert_snapshot!(session.told());
}

#[test]
fn a_report_that_is_none_is_not_rendered() {
    let mut session = Session::new();
    session.prepare("plan m.yaml --date 2026-01-31 --sandbox s -o plan.jsonl");
    session.prepare("apply plan.jsonl --sandbox s --report report.csv");
    let report = session.read("report.csv");
    session.write("torn.csv", &report[..report.len() - 40]);
    session.run("report m.yaml").run("report missing.csv").run("report torn.csv");
    insta::assert_snapshot!(session.told());
}
