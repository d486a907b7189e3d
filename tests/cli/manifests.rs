//! The example manifests: each is sound, runs, and finds nothing to do the second time.

use crate::session::Session;

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn every_example_manifest_runs_and_is_unchanged_the_second_time() {
    let session = Session::new();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    copy(&examples, &session.path("manifests"));
    let mut found = 0;
    for entry in std::fs::read_dir(&examples).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if std::path::Path::new(&name).extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        found += 1;
        session.prepare(&format!("check manifests/{name} --date 2026-01-31"));
        let run = || session.output(&format!("run manifests/{name} --date 2026-01-31 --sandbox s --out runs/{name}"));
        let (first, second) = (run(), run());
        let last = |output: &std::process::Output| {
            assert!(output.status.success(), "{name}: {output:?}");
            let text = String::from_utf8(output.stdout.clone()).unwrap();
            text.lines().find(|line| line.starts_with("Done: ")).unwrap().to_owned()
        };
        assert!(last(&first).contains(" created, 0 replaced, 0 unchanged, 0 kept, 0 refused"), "{name}: {first:?}");
        assert!(!last(&first).starts_with("Done: 0 created"), "{name}: {first:?}");
        assert!(last(&second).starts_with("Done: 0 created, 0 replaced, "), "{name}: {second:?}");
        assert!(last(&second).ends_with("0 kept, 0 refused (0 B uploaded)"), "{name}: {second:?}");
    }
    assert!(found >= 4, "only {found} examples");
}

#[test]
fn the_quickstart_goes_as_the_readme_says() {
    let mut session = Session::new();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    copy(&examples, &session.path("manifests"));
    session
        .run("run manifests/quickstart.yaml --date 2026-01-31 --sandbox s --out runs")
        .run("run manifests/quickstart.yaml --date 2026-01-31 --sandbox s --out runs");
    insta::assert_snapshot!(session.told());
}
