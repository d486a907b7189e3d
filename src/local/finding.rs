//! Globs and literal sources over real folders.
#![allow(clippy::format_push_string, clippy::format_collect, reason = "short texts, read by people")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::find::{Base, Error, Found, Outside};

fn tree(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    dir
}

fn base(dir: &Path) -> Base {
    Base::new(dir, Outside::Refused).unwrap()
}

fn sources(dir: &Path, glob: &str) -> Vec<String> {
    let matches = base(dir).glob(glob).unwrap_or_else(|error| panic!("{glob}: {error}"));
    assert_eq!(matches.unreadable, []);
    matches.found.into_iter().map(|found| found.source).collect()
}

/// Source, real path below the folder, and flaw.
fn shown(dir: &Path, found: &[Found]) -> Vec<String> {
    let real = dir.canonicalize().unwrap();
    let show = |found: &Found| {
        let mut text = found.source.clone();
        if let Some(path) = &found.real {
            text.push_str(&format!(" -> {}", path.strip_prefix(&real).unwrap_or(path).display()));
        }
        if let Some(flaw) = &found.flaw {
            text.push_str(&format!(": {flaw}"));
        }
        text
    };
    found.iter().map(show).collect()
}

#[test]
fn a_glob_matches_by_segments_and_bytewise_in_order() {
    let dir = tree(&[
        "a.csv",
        "b.csv",
        "B.csv",
        "c.txt",
        ".hidden.csv",
        "out/a.csv",
        "out/x/a.csv",
        "out/x/y/b.csv",
        "out/.git/c.csv",
        "out/x/.d.csv",
        "out-2/a.csv",
        "r1/q",
        "r2/q",
        "r10/q",
        "lit{1}.csv",
        "é.csv",
    ]);
    for (glob, expected) in [
        ("*.csv", &["B.csv", "a.csv", "b.csv", "lit{1}.csv", "é.csv"][..]),
        ("[ab].csv", &["a.csv", "b.csv"]),
        ("[!ab].csv", &["B.csv", "é.csv"]),
        ("?.csv", &["B.csv", "a.csv", "b.csv", "é.csv"]),
        ("*", &["B.csv", "a.csv", "b.csv", "c.txt", "lit{1}.csv", "é.csv"]),
        (".*", &[".hidden.csv"]),
        (".h*", &[".hidden.csv"]),
        ("[.]hidden.csv", &[]),
        ("out/*", &["out/a.csv"]),
        ("out/**", &["out/a.csv", "out/x/a.csv", "out/x/y/b.csv"]),
        ("out/**/*.csv", &["out/a.csv", "out/x/a.csv", "out/x/y/b.csv"]),
        ("**/a.csv", &["a.csv", "out-2/a.csv", "out/a.csv", "out/x/a.csv"]),
        ("**/**/b.csv", &["b.csv", "out/x/y/b.csv"]),
        ("out/**/y/*", &["out/x/y/b.csv"]),
        ("out/*/a.csv", &["out/x/a.csv"]),
        ("out/.git/*", &["out/.git/c.csv"]),
        ("out/.*/*", &["out/.git/c.csv"]),
        ("out/**/.*", &["out/x/.d.csv"]),
        ("{a,b,nope}.csv", &["a.csv", "b.csv"]),
        ("{out,out-2}/a.csv", &["out-2/a.csv", "out/a.csv"]),
        ("{out/x/y,r{1,2}}/*", &["out/x/y/b.csv", "r1/q", "r2/q"]),
        ("{a,a,?}.csv", &["B.csv", "a.csv", "b.csv", "é.csv"]),
        ("lit[{]1}.csv", &["lit{1}.csv"]),
        ("lit\\{1\\}*", &["lit{1}.csv"]),
        ("r?/q", &["r1/q", "r2/q"]),
        ("./out//*.csv", &["out/a.csv"]),
        ("out*/a.csv", &["out-2/a.csv", "out/a.csv"]),
        ("A*", &[]),
        ("nope/**", &[]),
        ("a.csv/*", &[]),
    ] {
        assert_eq!(sources(dir.path(), glob), expected, "{glob}");
    }
}

#[test]
fn a_path_is_relative_to_the_fixed_part() {
    let dir = tree(&["out/parts/x/1.csv", "out/parts/2.csv"]);
    let paths = |glob: &str| -> Vec<String> {
        base(dir.path()).glob(glob).unwrap().found.into_iter().map(|found| found.path).collect()
    };
    assert_eq!(paths("out/parts/**/*.csv"), ["2.csv", "x/1.csv"]);
    assert_eq!(paths("out/*/2.csv"), ["parts/2.csv"]);
    assert_eq!(paths("**/1.csv"), ["out/parts/x/1.csv"]);
}

#[test]
fn links_are_followed_and_the_real_path_is_told() {
    let dir = tree(&["data/a.csv", "data/sub/b.csv", "plain.csv"]);
    symlink("data", dir.path().join("current")).unwrap();
    symlink("plain.csv", dir.path().join("link.csv")).unwrap();
    symlink("nowhere", dir.path().join("broken.csv")).unwrap();
    symlink("self.csv", dir.path().join("self.csv")).unwrap();
    let matches = base(dir.path()).glob("current/**/*.csv").unwrap();
    assert_eq!(
        shown(dir.path(), &matches.found),
        ["current/a.csv -> data/a.csv", "current/sub/b.csv -> data/sub/b.csv"]
    );
    let matches = base(dir.path()).glob("*.csv").unwrap();
    assert_eq!(
        shown(dir.path(), &matches.found),
        [
            "broken.csv: is a broken symbolic link",
            "link.csv -> plain.csv",
            "plain.csv",
            "self.csv: is a symbolic link that cannot be followed: too many levels of symbolic links",
        ]
    );
    let base = base(dir.path());
    for (source, expected) in [
        ("link.csv", "link.csv -> plain.csv"),
        ("current/sub/b.csv", "current/sub/b.csv -> data/sub/b.csv"),
        ("data/../plain.csv", "data/../plain.csv"),
        ("broken.csv", "broken.csv: is a broken symbolic link"),
        ("./data//a.csv", "data/a.csv"),
    ] {
        assert_eq!(shown(dir.path(), &[base.literal(source).unwrap()]), [expected]);
    }
}

#[test]
fn sources_are_told_alike_however_they_are_written_and_whoever_asks() {
    let dir = tree(&["data/a.csv", "data/sub/b.csv"]);
    symlink("sub", dir.path().join("data/link")).unwrap();
    let base = base(dir.path());
    let absolute = dir.path().canonicalize().unwrap().join("data/a.csv").display().to_string();
    let ask = || {
        for (source, expected) in [
            ("data/a.csv", "data/a.csv"),
            ("data//./a.csv", "data/a.csv"),
            ("./data/a.csv", "data/a.csv"),
            ("data/../data/a.csv", "data/../data/a.csv"),
            // Up from where the link leads, not from where it stands.
            ("data/link/../a.csv", "data/link/../a.csv"),
            ("data/link/b.csv", "data/link/b.csv -> data/sub/b.csv"),
            (&absolute, &absolute),
        ] {
            assert_eq!(shown(dir.path(), &[base.literal(source).unwrap()]), [expected]);
        }
        for folder in [".", "", "data/..", "data/sub/.", "data/link/"] {
            assert!(base.literal(folder).unwrap().flaw.is_some_and(|flaw| flaw.starts_with("is a folder")), "{folder}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(ask);
        }
    });
}

#[test]
fn a_loop_of_links_ends_and_is_told_of() {
    let dir = tree(&["a/x.csv", "b/y.csv"]);
    symlink("..", dir.path().join("a/up")).unwrap();
    symlink("../b", dir.path().join("a/b")).unwrap();
    symlink("../a", dir.path().join("b/a")).unwrap();
    let matches = base(dir.path()).glob("a/**").unwrap();
    assert_eq!(shown(dir.path(), &matches.found), ["a/b/y.csv -> b/y.csv", "a/up/b/y.csv -> b/y.csv", "a/x.csv"]);
    let mut warnings = matches.warnings;
    warnings.sort();
    let expected = ["a/b/a", "a/up/a", "a/up/b/a"]
        .map(|link| format!("{link} leads back to a folder that it is in; it is not followed again"));
    assert_eq!(warnings, expected);
}

#[test]
fn what_lies_outside_the_base_is_refused_unless_it_is_allowed() {
    let dir = tree(&["base/in.csv", "secret/s.csv", "secret/deep/t.csv"]);
    let inside = dir.path().join("base");
    symlink("../secret", inside.join("out")).unwrap();
    symlink("../secret/s.csv", inside.join("s.csv")).unwrap();
    let absolute = dir.path().canonicalize().unwrap().join("secret/s.csv").display().to_string();

    let refused = Base::new(&inside, Outside::Refused).unwrap();
    for source in ["../secret/s.csv", "x/../../secret/s.csv", &absolute] {
        assert_eq!(refused.literal(source), Err(Error::Outside(source.to_owned())));
    }
    for glob in ["../*/s.csv", "/etc/*", "out/*.csv"] {
        assert!(matches!(refused.glob(glob), Err(Error::Outside(_))), "{glob}");
    }
    for source in ["s.csv", "out/s.csv"] {
        let found = refused.literal(source).unwrap();
        assert!(
            found.flaw.as_deref().is_some_and(|flaw| flaw.starts_with("leads out of the base folder to")),
            "{found:?}"
        );
    }
    // The folder is told of once, and not walked.
    let found = refused.glob("**/*.csv").unwrap().found;
    let flawed: Vec<_> = found.iter().map(|found| (found.source.as_str(), found.flaw.is_some())).collect();
    assert_eq!(flawed, [("in.csv", false), ("out", true), ("s.csv", true)]);

    let allowed = Base::new(&inside, Outside::Allowed).unwrap();
    for source in ["../secret/s.csv", "s.csv", "out/s.csv", &absolute] {
        assert_eq!(allowed.literal(source).unwrap().flaw, None, "{source}");
    }
    assert_eq!(
        shown(dir.path(), &allowed.glob("**/*.csv").unwrap().found),
        ["in.csv", "out/deep/t.csv -> secret/deep/t.csv", "out/s.csv -> secret/s.csv", "s.csv -> secret/s.csv"]
    );
    assert_eq!(
        shown(dir.path(), &allowed.glob("../secret/**").unwrap().found),
        ["../secret/deep/t.csv", "../secret/s.csv"]
    );
}

#[test]
fn a_name_beside_the_base_that_begins_like_it_lies_outside() {
    let dir = tree(&["base/in.csv", "base-2/s.csv"]);
    symlink("../base-2/s.csv", dir.path().join("base/s.csv")).unwrap();
    let base = Base::new(&dir.path().join("base"), Outside::Refused).unwrap();
    assert!(base.literal("s.csv").unwrap().flaw.is_some());
    assert!(base.literal("../base-2/s.csv").is_err());
}

#[test]
fn only_files_can_be_uploaded_and_nothing_is_opened_to_find_out() {
    let dir = tree(&["d/a", "e/a"]);
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("d/pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("d/socket")).unwrap();
    let matches = base(dir.path()).glob("d/*").unwrap();
    let expected = ["d/a", "d/pipe: is a named pipe, not a file", "d/socket: is a socket, not a file"];
    assert_eq!(shown(dir.path(), &matches.found), expected);
    let base = base(dir.path());
    let flaw = |base: &Base, source: &str| base.literal(source).unwrap().flaw;
    assert_eq!(flaw(&base, "d/pipe").as_deref(), Some("is a named pipe, not a file"));
    let folder = "is a folder, not a file; a glob such as folder/** takes what is in it";
    assert_eq!(flaw(&base, "d").as_deref(), Some(folder));
    assert_eq!(flaw(&base, "d/").as_deref(), Some(folder));
    assert!(flaw(&base, ".").is_some());
    for missing in ["nope", "nope/a", "d/a/b"] {
        assert!(matches!(base.literal(missing), Err(Error::Missing { .. })), "{missing}");
    }
    let everywhere = Base::new(dir.path(), Outside::Allowed).unwrap();
    assert_eq!(flaw(&everywhere, "/dev/null").as_deref(), Some("is a device, not a file"));
}

#[test]
fn what_may_not_be_read_is_told_of_and_never_passed_over() {
    let dir = tree(&["open/a", "shut/a"]);
    fs::set_permissions(dir.path().join("open/a"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o000)).unwrap();
    let matches = base(dir.path()).glob("*/a").unwrap();
    let is_root = fs::read(dir.path().join("open/a")).is_ok();
    // To root nothing is shut; then both are found.
    if is_root {
        assert_eq!(shown(dir.path(), &matches.found), ["open/a", "shut/a"]);
    } else {
        assert_eq!(shown(dir.path(), &matches.found), ["open/a: cannot be read: permission denied"]);
        assert_eq!(matches.unreadable.len(), 1);
    }
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_name_that_is_not_utf8_is_a_flaw_of_its_own() {
    let dir = tree(&["d/a.csv"]);
    fs::write(dir.path().join("d").join(OsStr::from_bytes(b"b\xff.csv")), "").unwrap();
    fs::create_dir(dir.path().join(OsStr::from_bytes(b"\xfe"))).unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"\xfe")).join("c.csv"), "").unwrap();
    let matches = base(dir.path()).glob("*/*.csv").unwrap();
    assert_eq!(
        shown(dir.path(), &matches.found),
        [
            "d/a.csv",
            "d/b\u{fffd}.csv: the name is not UTF-8: d/b\\xff.csv",
            "\u{fffd}/c.csv: the name is not UTF-8: \\xfe/c.csv"
        ]
    );
}

#[test]
fn only_folders_in_which_something_can_match_are_entered() {
    // An unreadable folder would be told of if it were entered, so this cannot be seen by root; a loop can.
    let dir = tree(&["a/x.csv", "other/y.csv"]);
    symlink("..", dir.path().join("other/up")).unwrap();
    let matches = base(dir.path()).glob("a/**").unwrap();
    assert_eq!((matches.found.len(), matches.warnings.len()), (1, 0));
    let matches = base(dir.path()).glob("{a,b}/*.csv").unwrap();
    assert_eq!((matches.found.len(), matches.warnings.len()), (1, 0));
}
