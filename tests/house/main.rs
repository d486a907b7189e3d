//! Holds the rules of the house: who may know whom, who may touch the world, and how a file looks.
//!
//! The rules read text, not types. They are there to catch a slip in review, not to stop somebody who means it. Code
//! that is compiled for tests alone is free.

mod source;

use std::collections::BTreeMap;

/// The floors, ground first. A room may import from the floors below its own, and from itself.
const FLOORS: [&[&str]; 5] = [
    &["model", "page"],
    &["manifest", "plan", "report", "guard", "undo", "audit", "bucket"],
    &["local", "store", "journal"],
    &["flow", "sandbox"],
    &["cli"],
];
const MIND: usize = 1;
const HANDS: usize = 2;

/// What a room of the mind, and the words under it, may not name: disk, net, environment, clock, threads of their own.
const NOT_PURE: [&str; 19] = [
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::os::unix::fs",
    "std::os::unix::net",
    "tokio",
    "futures_util",
    "hyper",
    "rustix",
    "tempfile",
    "walkdir",
    "jiff::Timestamp::now",
];
/// Endings that read a clock, whatever the path before them.
const CLOCKS: [&str; 5] = ["Timestamp::now", "Zoned::now", "SystemTime::now", "Instant::now", "Uuid::now_v7"];
/// Methods of `std::path::Path` that ask the disk.
const DISK_METHODS: [&str; 7] =
    ["exists", "try_exists", "canonicalize", "symlink_metadata", "read_dir", "read_link", "is_symlink"];
/// What only the door may name.
const DOOR: [&str; 11] = [
    "clap",
    "clap_complete",
    "clap_mangen",
    "indicatif",
    "anstream",
    "owo_colors",
    "tracing_subscriber",
    "std::env",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
];
const PRINTS: [&str; 4] = ["print", "println", "eprint", "eprintln"];
const PANICS: [&str; 4] = ["panic", "todo", "unimplemented", "dbg"];

const LINES_AT_MOST: usize = 600;

/// The files of `src`, by path, and their text.
type House = BTreeMap<String, String>;

/// Every broken rule of a house, `path:line: what`.
fn violations(house: &House) -> Vec<String> {
    let test_files = test_files(house);
    let mut found = Vec::new();
    for (path, text) in house {
        let is_test = test_files.iter().any(|t| path == &format!("{t}.rs") || path.starts_with(&format!("{t}/")));
        found.extend(look_of(path, text));
        if !is_test {
            found.extend(rules_of(path, text));
        }
    }
    found
}

/// Files behind `#[cfg(test)] mod name;`, without the ending.
fn test_files(house: &House) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in house {
        let folder = module_of(path).join("/");
        for name in source::test_mods(&source::tokens(text)) {
            found.push(format!("src/{folder}/{name}").replace("//", "/"));
        }
    }
    found
}

/// How a file looks: it opens with what it does, and it fits a reader's head.
fn look_of(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("{path}:1: does not open with what it does (`//!`)"));
    }
    let lines = text.lines().count();
    if lines > LINES_AT_MOST {
        found.push(format!("{path}:{lines}: has {lines} lines, {LINES_AT_MOST} is the most"));
    }
    found
}

fn rules_of(path: &str, text: &str) -> Vec<String> {
    let module = module_of(path);
    let room = module.first().map_or("", String::as_str);
    // `lib.rs` names all rooms and holds nothing; `main.rs` is the door's hinge.
    let is_door = room == "cli" || path == "src/main.rs";
    let is_root = module.is_empty();
    let Some(floor) = floor_of(room).or(is_root.then_some(FLOORS.len() - 1)) else {
        return vec![format!("{path}:1: room `{room}` has no floor; give it one in this test and in DESIGN")];
    };
    let tokens = source::tokens(text);
    let mut found = Vec::new();
    let mut broken = |line: usize, what: String| found.push(format!("{path}:{line}: {what}"));

    for used in source::paths(&tokens) {
        let (line, spelled) = (used.line, used.segments.join("::"));
        if let Some(other) = room_of(&used, &module)
            && !is_root
        {
            if other == "*" {
                broken(line, "imports the whole crate".to_owned());
            } else if let Some(reason) = why_not(room, floor, &other) {
                broken(line, format!("`{room}` knows `{other}`: {reason}"));
            }
        }
        if floor <= MIND {
            if NOT_PURE.iter().any(|p| begins(&spelled, p)) || CLOCKS.iter().any(|c| ends(&spelled, c)) {
                broken(line, format!("`{room}` is pure, and names `{spelled}`"));
            }
            if spelled == "async" || spelled == "await" {
                broken(line, format!("`{room}` is pure, and `{spelled}` is not"));
            }
        }
        if used.segments[0].starts_with("aws_") && !path.starts_with("src/store/s3") {
            broken(line, format!("only store/s3 names the AWS SDK, not `{spelled}`"));
        }
        if !is_door && DOOR.iter().any(|p| begins(&spelled, p)) {
            broken(line, format!("only cli names `{spelled}`"));
        }
    }
    for window in tokens.windows(4).filter(|w| !w[1].in_test) {
        let [before, name, after, last] = [0, 1, 2, 3].map(|i| window[i].text.as_str());
        let line = window[1].line;
        if after == "!" && !is_door && PRINTS.contains(&name) {
            broken(line, format!("only cli prints: `{name}!`"));
        }
        if after == "!" && PANICS.contains(&name) {
            broken(line, format!("`{name}!` outside tests"));
        }
        // Our own `expect` takes no message; the one of `Option` and `Result` does.
        if before == "." && after == "(" && (name == "unwrap" && last == ")" || name == "expect" && last != ")") {
            broken(line, format!("`{name}` outside tests"));
        }
        if before == "." && after == "(" && floor <= MIND && DISK_METHODS.contains(&name) {
            broken(line, format!("`{room}` is pure, and asks the disk: `{name}`"));
        }
    }
    found
}

/// Why a room may not know another; `None` where it may. Names that are no room (macros, re-exports) are free.
fn why_not(room: &str, floor: usize, other: &str) -> Option<&'static str> {
    let below = floor_of(other)?;
    match () {
        () if other == room => None,
        () if below > floor => Some("imports point down"),
        () if below == floor => Some("rooms on one floor do not know each other"),
        () if floor == HANDS && below == MIND => Some("mind and hands meet in flow alone"),
        () => None,
    }
}

/// The room that a path leads to, when it leads through the crate's root.
fn room_of(used: &source::Path, module: &[String]) -> Option<String> {
    let segments = &used.segments;
    if segments[0] == "crate" || segments[0] == "noclobber" {
        return segments.get(1).cloned();
    }
    let from_self = usize::from(segments[0] == "self");
    let ups = segments[from_self..].iter().take_while(|s| *s == "super").count();
    if ups == 0 || ups != module.len() + used.inline_mods {
        return None;
    }
    segments.get(from_self + ups).cloned()
}

/// `src/store/s3/put.rs` is `[store, s3, put]`; the crate's roots are `[]`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let parts = inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
    parts.map(str::to_owned).collect()
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn begins(path: &str, with: &str) -> bool {
    path == with || path.strip_prefix(with).is_some_and(|rest| rest.starts_with("::"))
}

fn ends(path: &str, with: &str) -> bool {
    path == with || path.strip_suffix(with).is_some_and(|rest| rest.ends_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_house() -> House {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut house = House::new();
        let mut folders = vec![root.join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    house.insert(name, std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        house
    }

    fn broken_by(path: &str, body: &str) -> Vec<String> {
        violations(&House::from([(path.to_owned(), format!("//! Says what it does.\n{body}"))]))
    }

    #[test]
    fn the_house_breaks_none_of_its_rules() {
        let house = read_house();
        for room in ["model", "manifest", "plan", "store", "flow", "cli"] {
            assert!(house.keys().any(|path| path.starts_with(&format!("src/{room}"))), "{room} was not read");
        }
        let found = violations(&house);
        assert!(found.is_empty(), "{} broken rules:\n{}", found.len(), found.join("\n"));
    }

    #[test]
    fn every_planted_violation_is_caught_at_its_line() {
        let planted = [
            ("src/model/key.rs", "use crate::plan::diff;", "imports point down"),
            ("src/plan/diff.rs", "use crate::report;", "rooms on one floor"),
            ("src/plan/diff.rs", "use crate::{model::head, report::csv};", "rooms on one floor"),
            ("src/plan/diff.rs", "fn f() { crate::store::look() }", "imports point down"),
            ("src/plan/diff.rs", "use super::super::flow;", "imports point down"),
            ("src/plan/mod.rs", "use super::report;", "rooms on one floor"),
            ("src/plan/mod.rs", "mod inner { use super::super::report; }", "rooms on one floor"),
            ("src/plan/mod.rs", "use crate::*;", "imports the whole crate"),
            ("src/plan/mod.rs", "pub(in crate::report) fn f() {}", "rooms on one floor"),
            ("src/store/s3.rs", "use crate::plan;", "meet in flow alone"),
            ("src/store/s3.rs", "use crate::local;", "rooms on one floor"),
            ("src/flow/apply/mod.rs", "use crate::sandbox;", "rooms on one floor"),
            ("src/sandbox/mod.rs", "use crate::cli::args;", "imports point down"),
            ("src/attic/mod.rs", "", "has no floor"),
            ("src/plan/file.rs", "use std::fs;", "is pure"),
            ("src/plan/file.rs", "use std::net::{IpAddr, TcpStream};", "is pure"),
            ("src/plan/file.rs", "use std::{io::Read, fs::File};", "is pure"),
            ("src/plan/file.rs", "use std::{\n    time::{Duration, Instant},\n};", "is pure"),
            ("src/guard/mod.rs", "fn f() { jiff::Zoned::now(); }", "is pure"),
            ("src/guard/mod.rs", "use std::time; fn f() { time::SystemTime::now(); }", "is pure"),
            ("src/guard/mod.rs", "async fn f() {}", "is pure"),
            ("src/report/csv.rs", "use tokio::io::AsyncWrite;", "is pure"),
            ("src/manifest/mod.rs", "fn f(p: &std::path::Path) -> bool { p.exists() }", "asks the disk"),
            ("src/flow/mod.rs", "use aws_sdk_s3::Client;", "AWS SDK"),
            ("src/store/mod.rs", "fn f(e: aws_smithy_types::Blob) {}", "AWS SDK"),
            ("src/flow/mod.rs", "use clap::Parser;", "only cli names"),
            ("src/local/mod.rs", "fn f() { std::env::var(\"HOME\"); }", "only cli names"),
            ("src/report/mod.rs", "fn f() { println!(\"x\"); }", "only cli prints"),
            ("src/report/mod.rs", "fn f() { std::io::stdout(); }", "only cli names"),
            ("src/local/mod.rs", "fn f() { g().unwrap(); }", "outside tests"),
            ("src/local/mod.rs", "fn f() { g().expect(\"x\"); }", "outside tests"),
            ("src/cli/mod.rs", "fn f() { panic!(\"x\") }", "outside tests"),
            ("src/cli/mod.rs", "fn f() { todo!() }", "outside tests"),
            ("src/cli/mod.rs", "#[cfg(test)]\nuse a::{b};\nfn f() { g().unwrap() }", "outside tests"),
            ("src/cli/mod.rs", "#[cfg(not(test))]\nfn f() { g().unwrap() }", "outside tests"),
        ];
        for (path, body, expected) in planted {
            let found = broken_by(path, body);
            assert!(found.iter().any(|f| f.contains(expected)), "missed in {path}: {body}\nfound: {found:?}");
        }
        assert!(broken_by("src/plan/a.rs", "\n\n/* a\nb */ use crate::cli;")[0].starts_with("src/plan/a.rs:5: "));
    }

    #[test]
    fn what_is_allowed_is_not_called_broken() {
        let allowed = [
            ("src/plan/diff.rs", "// use crate::cli;\n/* std::fs /* nested */ tokio */ /// panic!()\nfn f() {}"),
            ("src/plan/diff.rs", "const A: &str = \"crate::cli \\\" std::fs\"; const B: &str = r#\"tokio::\"x\"#;"),
            ("src/plan/diff.rs", "fn f<'a>(c: char, x: &'a str) -> bool { c == '\"' || c == '\\'' }"),
            ("src/plan/diff.rs", "use crate::{model::{head::{self, Head}, entry as e}, plan::draw};"),
            (
                "src/plan/diff.rs",
                "use super::draw; use std::io::{self, Write}; use std::{net::IpAddr, time::Duration};",
            ),
            ("src/plan/diff.rs", "fn f(step: Step) { step.expect(); x.unwrap_or(1); }"),
            (
                "src/plan/diff.rs",
                "#[cfg(test)]\nmod tests { use crate::report; fn f() { std::fs::read(p).unwrap(); } }",
            ),
            ("src/plan/diff.rs", "#[test]\n#[ignore]\nfn f() -> [u8; 3] { g().unwrap() }"),
            ("src/store/s3/put.rs", "use aws_sdk_s3::Client; use crate::{model::entry, store::Store};"),
            ("src/flow/apply/mod.rs", "use crate::{flow, guard, journal, local, model, plan, report, store};"),
            ("src/cli/run.rs", "fn f() { println!(\"x\"); std::env::args(); } use clap::Parser; use crate::sandbox;"),
            ("src/main.rs", "fn main() { noclobber::cli::main() }"),
            ("src/lib.rs", "pub mod cli; pub mod model;"),
        ];
        for (path, body) in allowed {
            let found = broken_by(path, body);
            assert!(found.is_empty(), "{path}: {body}\nfound: {found:?}");
        }
    }

    #[test]
    fn a_file_behind_a_test_module_is_free_and_its_neighbour_is_not() {
        let house = House::from([
            ("src/plan/mod.rs".to_owned(), "//! A.\n#[cfg(test)]\nmod laws;\nmod draw;".to_owned()),
            ("src/plan/laws.rs".to_owned(), "//! B.\nuse crate::report;".to_owned()),
            ("src/plan/draw.rs".to_owned(), "//! C.\nuse crate::report;".to_owned()),
        ]);
        assert_eq!(
            violations(&house),
            ["src/plan/draw.rs:2: `plan` knows `report`: rooms on one floor do not know each other"]
        );
    }

    #[test]
    fn a_file_must_open_with_what_it_does_and_fit_a_head() {
        let house = House::from([("src/plan/mod.rs".to_owned(), "use a;\n".repeat(601))]);
        assert_eq!(violations(&house).len(), 2);
    }
}
