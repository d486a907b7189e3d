//! Manifests on disk, from the text to the entries or to the flaws.
#![allow(clippy::format_push_string, clippy::format_collect, reason = "short texts, read by people")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::date;
use proptest::prelude::*;

use super::gather::{Gathered, Request, gather};
use crate::model::entry::{Entry, Rule, Sse};
use crate::model::target::{PolicyRequired, Require};

struct World(tempfile::TempDir);

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = world.at(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn gather(&self, manifests: &[&str]) -> Result<Gathered, String> {
        self.ask(manifests, |_| {})
    }

    fn ask(&self, manifests: &[&str], change: impl FnOnce(&mut Request)) -> Result<Gathered, String> {
        let mut request = Request {
            manifests: manifests.iter().map(|path| self.at(path)).collect(),
            base: None,
            date: date(2026, 1, 31),
            vars: BTreeMap::from([("REGION".to_owned(), "emea".to_owned())]),
            env: BTreeMap::from([("USER".to_owned(), "jo".to_owned())]),
        };
        change(&mut request);
        gather(&request).map_err(|flaws| {
            let text: String = flaws.iter().map(|flaw| format!("{flaw}\n")).collect();
            self.shorten(&text)
        })
    }

    /// Without the folder's name, which is another in every run.
    fn shorten(&self, text: &str) -> String {
        let (given, real) = (self.0.path(), self.0.path().canonicalize().unwrap());
        text.replace(&format!("{}/", given.display()), "")
            .replace(&format!("{}/", real.display()), "")
            .replace(&*real.to_string_lossy(), "BASE")
    }
}

fn head(rest: &str) -> String {
    format!("version: 1\nbucket: bbb\n{rest}")
}

/// `place source -> target key`
fn walk(world: &World, gathered: &Gathered) -> Vec<String> {
    let show = |entry: &Entry| {
        let Entry { place, source, key, terms, .. } = entry;
        let text = world.shorten(&format!("{place} {source} -> {} {key}", terms.target));
        entry.flaw.as_ref().map_or(text.clone(), |flaw| format!("{text}: {flaw}"))
    };
    gathered.entries.iter().map(show).collect()
}

#[test]
fn entries_come_in_manifest_order_with_everything_resolved() {
    let world = World::new(&[
        (
            "m.yaml",
            &head(
                "name: nightly\nprefix: 'r/{{ date }}/'\nstages: [data, index]\noverwrite: keep\nlimits: { bytes: 1KiB }\nentries:\n\
                 \x20 - source: 'out/**/*.csv'\n    key: '{{ var.REGION }}/{{ dir }}-{{ stem }}.{{ ext }}'\n\
                 \x20 - { source: ok, key: '{{ env.USER }}', stage: index, overwrite: always }\n\
                 \x20 - list: l.csv\n\
                 \x20 - { source: nope, key: n, optional: true }\n",
            ),
        ),
        ("out/b.csv", ""),
        ("out/x/a.csv", ""),
        ("ok", ""),
        ("l.csv", "source,key,stage,overwrite\nok,{{ literal }},index,never\nout/b.csv,*,,\n"),
    ]);
    let gathered = world.gather(&["m.yaml"]).unwrap();
    assert_eq!(
        walk(&world, &gathered),
        [
            "m.yaml:9 out/b.csv -> default r/2026-01-31/emea/-b.csv",
            "m.yaml:9 out/x/a.csv -> default r/2026-01-31/emea/x-a.csv",
            "m.yaml:11 ok -> default r/2026-01-31/jo",
            "l.csv:2 ok -> default r/2026-01-31/{{ literal }}",
            "l.csv:3 out/b.csv -> default r/2026-01-31/*",
        ]
    );
    let of = |f: fn(&Entry) -> String| -> Vec<String> { gathered.entries.iter().map(f).collect() };
    assert_eq!(of(|entry| entry.terms.rule.to_string()), ["keep", "keep", "always", "never", "keep"]);
    let stage = |entry: &Entry| entry.terms.stage.as_deref().unwrap_or("-").to_owned();
    assert_eq!(of(stage), ["data", "data", "index", "index", "data"]);
    assert_eq!(gathered.stages, ["data", "index"]);
    assert_eq!(gathered.base, world.0.path().canonicalize().unwrap());
    assert_eq!(gathered.targets[0].prefix, "r/2026-01-31/");
    assert_eq!(gathered.manifests[0].name.as_deref(), Some("nightly"));
    assert_eq!((gathered.policies[0].limits.bytes, gathered.policies[0].entries.clone()), (Some(1024), 0..5));
    let parameters: Vec<_> = gathered.parameters.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(parameters, ["date=2026-01-31", "var.REGION=emea"]);
    let warnings: Vec<_> = gathered.warnings.iter().map(|warning| world.shorten(warning)).collect();
    assert_eq!(warnings, ["m.yaml:13: nope does not exist in BASE; it is optional"]);
}

#[test]
fn keys_outside_allow_keys_keep_the_plan_from_being_applied_and_are_counted() {
    let rows: String = (0..25).map(|n| format!("ok,b/{n}\n")).collect();
    let world = World::new(&[
        ("m.yaml", &head("allow_keys: ['a/**', 'c']\nprefix: ''\nentries:\n  - list: l.csv\n")),
        ("l.csv", &format!("source,key\n{rows}ok,a/x\nok,c\n")),
        ("ok", ""),
    ]);
    let gathered = world.gather(&["m.yaml"]).unwrap();
    assert_eq!(gathered.entries.len(), 27);
    let refusals: Vec<String> = gathered.refusals.iter().map(|flaw| world.shorten(&flaw.to_string())).collect();
    let named: Vec<String> = (0..10).map(|n| format!("l.csv:{}: b/{n}", n + 2)).collect();
    assert_eq!(
        refusals,
        [format!("m.yaml: 25 keys are outside allow_keys (a/**, c): {}; and 15 more", named.join("; "))]
    );
}

#[test]
fn flaws_of_the_text_of_the_disk_and_of_the_lists_are_told_in_one_run() {
    let world = World::new(&[
        (
            "m.yaml",
            &head(
                "allow_keys: ['a/**']\nbukket: x\nentries:\n\
                 \x20 - { source: nope.csv, key: a/x }\n\
                 \x20 - { source: '*.nope', key: a/x }\n\
                 \x20 - { source: ok, key: 'a/{{ var.REGIO }}' }\n\
                 \x20 - { source: ok, key: 'b/x' }\n\
                 \x20 - { source: ok, key: 'a//x' }\n\
                 \x20 - { source: ok, key: '' }\n\
                 \x20 - { source: /etc/passwd, key: a/p }\n\
                 \x20 - { source: 'a**', key: a/p }\n\
                 \x20 - { source: ok, key: 'a/{{ name }}' }\n\
                 \x20 - list: nope.csv\n\
                 \x20 - { list: l.csv, stage: s }\n\
                 \x20 - list: l.csv\n\
                 \x20 - list: dir\n\
                 \x20 - source: ok\n    key: a/m\n    metadata: { m: '{{ nope }}' }\n    tags: { t: \"{{ 'a;b' }}\" }\n",
            ),
        ),
        ("ok", ""),
        ("dir/x", ""),
        ("l.csv", "source,key,stage,target\nok,a/1,,\nok,c,,\ngone,a/2,x,y\nok,a/x,,,\nok,a/3,,defalt\n"),
    ]);
    let flaws = world.gather(&["m.yaml"]).unwrap_err();
    assert_eq!(
        flaws,
        "\
l.csv:4: gone does not exist in BASE
l.csv:4: stage x is not known: the manifest has no stages
l.csv:4: target y is not one of default
l.csv:5: has 5 columns where the header has 4
l.csv:6: target defalt is not one of default; did you mean default?
m.yaml: 2 keys are outside allow_keys (a/**): m.yaml:9: b/x; l.csv:3: c
m.yaml:4: unknown field bukket; did you mean bucket?
m.yaml:6: nope.csv does not exist in BASE; if that is fine, say optional: true
m.yaml:7: *.nope matches no file; if that is fine, say optional: true
m.yaml:8: key: var.REGIO is not defined in the template \"a/{{ var.REGIO }}\"; give it with --var REGIO=VALUE (given: REGION); did you mean REGION?
m.yaml:10: key a//x has an empty segment (//); if that is meant, say allow_unusual_keys: true
m.yaml:11: the key is empty
m.yaml:12: /etc/passwd lies outside the base folder; if that is meant, say allow_outside_base: true
m.yaml:13: a**: ** must stand alone between slashes
m.yaml:14: key: name is not defined in the template \"a/{{ name }}\"; path, dir, name, stem, ext are there only for the matches of a glob
m.yaml:15: the list nope.csv does not exist; if that is fine, say optional: true
m.yaml:16: stage s is not known: the manifest has no stages
m.yaml:18: the list dir is not a file
m.yaml:21: metadata.m: nope is not defined in the template \"{{ nope }}\"; there are date, var.NAME, env.NAME
m.yaml:22: tags.t: a;b has ;; tags take letters, digits, spaces and + - = . _ : / @
"
    );
}

#[test]
fn a_prefix_that_is_wrong_is_told_of_once_and_not_for_every_key() {
    let world = World::new(&[
        ("m.yaml", &head("prefix: '/{{ date }}'\nentries: [{ source: '*', key: '{{ name }}' }]\n")),
        ("n.yaml", &head("prefix: '{{ path }}'\nentries: [{ source: '*', key: '{{ name }}' }]\n")),
    ]);
    assert_eq!(
        world.gather(&["m.yaml", "n.yaml"]).unwrap_err(),
        "m.yaml:3: prefix: key /2026-01-31k begins with /; if that is meant, say allow_unusual_keys: true\n\
         n.yaml:3: prefix: path is not defined in the template \"{{ path }}\"; path, dir, name, stem, ext are there only for the matches of a glob\n"
    );
}

#[test]
fn one_mistake_over_many_matches_does_not_bury_the_others() {
    let files: Vec<String> = (0..80).map(|i| format!("f/{i:02}")).collect();
    let mut all: Vec<(&str, &str)> = files.iter().map(|file| (file.as_str(), "")).collect();
    let manifest =
        head("entries:\n  - { source: 'f/*', key: '/{{ name }}' }\n  - { source: 'f/*', key: '{{ nope }}' }\n");
    all.push(("m.yaml", &manifest));
    let flaws = World::new(&all).gather(&["m.yaml"]).unwrap_err();
    assert_eq!(flaws.lines().count(), 52, "{flaws}");
    assert!(flaws.contains("m.yaml:4: and 30 more flaws of this entry\n"), "{flaws}");
}

#[test]
fn what_cannot_be_uploaded_is_an_entry_with_a_flaw() {
    let world = World::new(&[
        ("m.yaml", &head("entries:\n  - { source: dir, key: a }\n  - { source: 'links/*', key: '{{ name }}' }\n")),
        ("dir/x", ""),
    ]);
    std::fs::create_dir(world.at("links")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.at("links/b")).unwrap();
    std::os::unix::fs::symlink("../dir/x", world.at("links/x")).unwrap();
    let gathered = world.gather(&["m.yaml"]).unwrap();
    assert_eq!(
        walk(&world, &gathered),
        [
            "m.yaml:4 dir -> default a: is a folder, not a file; a glob such as folder/** takes what is in it",
            "m.yaml:5 links/b -> default b: is a broken symbolic link",
            "m.yaml:5 links/x -> default x",
        ]
    );
    assert_eq!(gathered.entries[2].real.as_deref(), Some("dir/x"));
}

#[test]
fn properties_are_merged_and_equal_ones_are_shared() {
    let world = World::new(&[
        (
            "m.yaml",
            &head(
                "defaults:\n  cache_control: no-cache\n  storage_class: STANDARD_IA\n  sse: { kms: k }\n  metadata: { a: x, b: '{{ date }}' }\n  tags: { t: x }\nentries:\n\
                 \x20 - { source: 'f/*', key: '{{ name }}', metadata: null }\n\
                 \x20 - { source: f/a.csv, key: 1, cache_control: null, sse: AES256, metadata: { a: null, b: y, c: z }, tags: { u: '{{ date }}' } }\n\
                 \x20 - { source: f/a.csv, key: 2, content_type: text/plain; charset=utf-8, tags: null }\n\
                 \x20 - { source: f/a.csv, key: 3, content_type: null }\n",
            )
            .replace("key: 1", "key: k1")
            .replace("key: 2, content_type: text/plain; charset=utf-8", "key: k2, content_type: 'text/plain; charset=utf-8'")
            .replace("key: 3", "key: k3"),
        ),
        ("f/a.csv", ""),
        ("f/b.csv", ""),
        ("f/c.unknown-extension", ""),
        ("f/d.tar.gz", ""),
        ("f/e", ""),
    ]);
    let gathered = world.gather(&["m.yaml"]).unwrap();
    let entries = &gathered.entries;
    let types: Vec<_> =
        entries.iter().map(|entry| entry.terms.properties.content_type.as_deref().unwrap_or("-")).collect();
    assert_eq!(
        types,
        [
            "text/csv",
            "text/csv",
            "application/octet-stream",
            "application/gzip",
            "application/octet-stream",
            "text/csv",
            "text/plain; charset=utf-8",
            "-"
        ]
    );
    assert!(Arc::ptr_eq(&entries[0].terms.properties, &entries[1].terms.properties));
    assert!(Arc::ptr_eq(&entries[2].terms.properties, &entries[4].terms.properties));
    assert!(entries[0].terms.properties.metadata.is_empty());
    let of = |map: &BTreeMap<String, String>| map.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ");
    let merged = &entries[5].terms.properties;
    assert_eq!((of(&merged.metadata), of(&merged.tags)), ("b=y c=z".into(), "t=x u=2026-01-31".into()));
    assert_eq!((&merged.cache_control, &merged.sse), (&None, &Some(Sse::Aes256)));
    let cleared = &entries[6].terms.properties;
    assert_eq!((of(&cleared.metadata), of(&cleared.tags)), ("a=x b=2026-01-31".into(), String::new()));
    assert_eq!((cleared.cache_control.as_deref(), &cleared.sse), (Some("no-cache"), &Some(Sse::Kms("k".into()))));
}

#[test]
fn several_manifests_become_one_under_the_folder_that_holds_them_all() {
    let one = "version: 1\ntargets: { main: { bucket: bbb, prefix: p/ }, same: { bucket: sss } }\nstages: [data, index]\n\
               allow_outside_base: true\nentries:\n  - { source: f, key: f, target: main }\n  - { source: ../two/f, key: g, target: same }\n";
    let two = "version: 1\ntargets: { main: { bucket: ccc }, same: { bucket: sss } }\nentries:\n  - { source: f, key: f, target: main }\n  - { source: f, key: h, target: same }\n";
    let world =
        World::new(&[("jobs/one/a.yaml", one), ("jobs/two/b.yaml", two), ("jobs/one/f", ""), ("jobs/two/f", "")]);
    let gathered = world.gather(&["jobs/one/a.yaml", "jobs/two/b.yaml"]).unwrap();
    assert_eq!(
        walk(&world, &gathered),
        [
            "jobs/one/a.yaml:6 one/f -> a/main p/f",
            "jobs/one/a.yaml:7 two/f -> same g",
            "jobs/two/b.yaml:4 two/f -> b/main f",
            "jobs/two/b.yaml:5 two/f -> same h",
        ]
    );
    assert_eq!(gathered.base, world.at("jobs").canonicalize().unwrap());
    let targets: Vec<_> = gathered.targets.iter().map(|target| format!("{} {}", target.name, target.bucket)).collect();
    assert_eq!(targets, ["a/main bbb", "same sss", "b/main ccc"]);
    let ranges: Vec<_> = gathered.policies.iter().map(|policy| policy.entries.clone()).collect();
    assert_eq!(ranges, [0..2, 2..4]);
    // Whose manifest has no stages joins the first.
    assert_eq!(gathered.entries[3].terms.stage.as_deref(), Some("data"));
}

#[test]
fn of_what_manifests_require_of_one_target_the_strictest_holds() {
    let manifest = |require: &str| head(&format!("{require}entries: [{{ source: f, key: '{}' }}]\n", require.len()));
    let world = World::new(&[
        ("a.yaml", &manifest("require: { recovery_days: 7, policy: enforced }\n")),
        ("b.yaml", &manifest("require: { versioning: true, recovery_days: 30 }\n")),
        ("c.yaml", &manifest("")),
        ("f", ""),
    ]);
    let strictest = Require { versioning: true, recovery_days: Some(30), policy: Some(PolicyRequired::Enforced) };
    for order in [["a.yaml", "b.yaml", "c.yaml"], ["c.yaml", "b.yaml", "a.yaml"]] {
        let targets = world.gather(&order).unwrap().targets;
        let [target] = &targets[..] else { panic!("{targets:#?}") };
        assert_eq!((target.name.as_str(), target.require), ("default", strictest));
    }
    assert!(world.gather(&["c.yaml"]).unwrap().targets[0].require.is_empty());
}

#[test]
fn same_named_targets_of_same_named_manifests_are_still_told_apart() {
    let manifest = |bucket| format!("version: 1\nbucket: {bucket}\nentries: [{{ source: f, key: f }}]\n");
    let world = World::new(&[("1/m.yaml", &manifest("bbb")), ("2/m.yaml", &manifest("ccc")), ("1/f", ""), ("2/f", "")]);
    let gathered = world.gather(&["1/m.yaml", "2/m.yaml"]).unwrap();
    let names: BTreeSet<_> = gathered.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!((gathered.targets.len(), names.len()), (2, 2));
    for entry in &gathered.entries {
        let target = gathered.targets.iter().find(|target| *target.name == *entry.terms.target).unwrap();
        assert_eq!(target.bucket, if &*entry.source == "1/f" { "bbb" } else { "ccc" });
    }
}

#[test]
fn manifests_that_cannot_be_planned_as_one_are_refused() {
    let stages = |stages: &str| head(&format!("stages: [{stages}]\nentries: []\n"));
    let world = World::new(&[("a.yaml", &stages("x, y")), ("b.yaml", &stages("y, x")), ("dir/x", ""), ("d.yaml", "")]);
    std::fs::write(world.at("c.yaml"), b"version: 1\nname: \xff\n").unwrap();
    assert_eq!(
        world.gather(&["a.yaml", "b.yaml", "c.yaml", "d.yaml", "dir", "nope.yaml", "./a.yaml"]).unwrap_err(),
        "\
./a.yaml: is given twice
b.yaml:3: stages must be the same in all manifests: here y, x, but x, y at a.yaml:3
c.yaml:2: is not UTF-8; save the manifest in that encoding
d.yaml:1: is empty; `noclobber init` writes a manifest to begin with
dir: is a folder; name the manifest in it
nope.yaml: does not exist; `noclobber init` writes a manifest to begin with
"
    );
}

#[test]
fn another_base_is_where_sources_and_lists_are() {
    let world = World::new(&[
        ("etc/m.yaml", &head("entries:\n  - { source: f, key: f }\n  - list: l.csv\n")),
        ("data/f", ""),
        ("data/l.csv", "source,key\nf,g\nf,\n"),
    ]);
    assert!(world.gather(&["etc/m.yaml"]).is_err());
    let base = world.at("data");
    let flaws = world.ask(&["etc/m.yaml"], |request| request.base = Some(base.clone())).unwrap_err();
    assert_eq!(flaws, "data/l.csv:3: key: is empty\n");
    let flaws = world.ask(&["etc/m.yaml"], |request| request.base = Some(base.join("nope"))).unwrap_err();
    assert_eq!(flaws, "etc/m.yaml: the base folder data/nope does not exist\n");
}

#[test]
fn the_example_manifests_gather_without_flaws() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let mut seen = Vec::new();
    for file in std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|ext| ext != "yaml") {
            continue;
        }
        let request = Request {
            manifests: vec![file.clone()],
            base: None,
            date: date(2026, 1, 31),
            vars: BTreeMap::new(),
            env: BTreeMap::new(),
        };
        let gathered = gather(&request).unwrap_or_else(|flaws| panic!("{flaws:#?}"));
        assert!(gathered.entries.iter().all(|entry| entry.flaw.is_none()));
        let keys: Vec<_> = gathered.entries.iter().map(|entry| entry.key.as_str().to_owned()).collect();
        seen.push(format!("{}: {}", file.file_name().unwrap().to_string_lossy(), keys.join(" ")));
    }
    seen.sort();
    assert_eq!(
        seen,
        [
            "blast-radius.yaml: pages/one.html pages/three.html pages/two.html index.json",
            "create-only.yaml: reports/2026-01/summary.csv",
            "list.yaml: scans/2026/0001.txt scans/2026/0002.txt scans/2026/with-comma.txt",
            "nightly.yaml: reports/2026/01/31/summary.csv reports/2026/01/31/parts/apac/part-0.csv \
             reports/2026/01/31/parts/emea/part-0.csv reports/2026/01/31/_SUCCESS",
            "quickstart.yaml: 2026-01-31/pages/one.html 2026-01-31/pages/three.html 2026-01-31/pages/two.html \
             2026-01-31/summary.csv 2026-01-31/index.json",
            "require.yaml: handbook/one.html handbook/three.html handbook/two.html",
            "targets.yaml: 2026/accounts.csv 2026/bookings.csv 2026/accounts.csv 2026/bookings.csv",
            "website.yaml: assets/css/site.3f2a.css assets/logo.9c1e.svg about/index.html index.html \
             .well-known/security.txt",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_order_of_entries_does_not_change_what_they_are(order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle()) {
        let files: Vec<String> = (0..12).map(|i| format!("f/{i}.csv")).collect();
        let write = |order: &[usize]| {
            let mut text = head("prefix: p/\nentries:\n");
            for i in order {
                let rule = Rule::ALL[i % 4];
                text.push_str(&format!("  - {{ source: f/{i}.csv, key: 'k{i}', overwrite: {rule}, metadata: {{ m: '{i}' }} }}\n"));
            }
            text
        };
        let (plain, shuffled) = (write(&(0..12).collect::<Vec<_>>()), write(&order));
        let mut all: Vec<(&str, &str)> = files.iter().map(|file| (file.as_str(), "")).collect();
        all.extend([("a.yaml", plain.as_str()), ("b.yaml", shuffled.as_str())]);
        let world = World::new(&all);
        let set = |manifest: &str| -> BTreeSet<String> {
            let entries = world.gather(&[manifest]).unwrap().entries;
            entries.iter().map(|e| format!("{} {} {} {:?}", e.source, e.key, e.terms.rule, e.terms.properties)).collect()
        };
        let (one, other) = (set("a.yaml"), set("b.yaml"));
        prop_assert_eq!(one.len(), 12);
        prop_assert_eq!(one, other);
    }
}
