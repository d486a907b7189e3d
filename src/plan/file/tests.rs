//! A plan survives its file, and a file that is not what was written is refused.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::digest::{Checksum, ETag};
use crate::model::entry::{Key, Place, Properties, Rule};
use crate::model::head::{Carried, Encryption, Seen, VersionId};
use crate::model::local::Pinned;
use crate::model::row::Guard;
use crate::model::step::{Earlier, Proof, Reason};
use crate::model::target::{Addressing, ConditionalWrites, Target};

fn header() -> Header {
    Header {
        noclobber_plan: PLAN_FORMAT,
        tool: "noclobber 0.0.0".into(),
        made_at: "2026-01-02T03:04:05Z".into(),
        base: "/data".into(),
        parameters: [("date".to_owned(), "2026-01-02".to_owned())].into(),
        manifests: Vec::new(),
        targets: vec![Target {
            name: "default".into(),
            bucket: "reports".into(),
            endpoint: "https://s3.eu-west-1.amazonaws.com".into(),
            region: "eu-west-1".into(),
            addressing: Addressing::Virtual,
            owner: Some("111122223333".into()),
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        }],
        stages: vec!["data".into()],
        undoes: None,
        refusals: Vec::new(),
        warnings: Vec::new(),
    }
}

fn undoing() -> Header {
    Header { undoes: Some("0198-run".into()), ..header() }
}

fn step(n: u64, key: &str, action: Action) -> Step {
    let of_rollback = matches!(action, Action::Restore | Action::Delete);
    let seen = Seen {
        etag: ETag::new("abc"),
        version: Some(VersionId("v1".into())),
        size: 9,
        checksum: None,
        last_modified: Some("2026-01-01T00:00:00Z".into()),
        encryption: Encryption::Aes256,
    };
    Step {
        n,
        place: Place { file: "a.yaml".into(), line: 3 },
        source: "a.csv".into(),
        real: None,
        target: "default".into(),
        key: Key::new(key),
        rule: Rule::Always,
        stage: Some("data".into()),
        action,
        reason: Reason::Differs,
        proof: Some(Proof::Size),
        note: None,
        properties: Arc::new(Properties { content_type: Some("text/csv".into()), ..Properties::default() }),
        local: (!of_rollback).then(|| Pinned {
            size: 7,
            mtime: "2026-01-01T00:00:00Z".into(),
            checksum: Some(Checksum::Full(Sha256([7; 32]))),
        }),
        earlier: (action == Action::Restore).then(|| {
            let seen = Seen { version: Some(VersionId("v0".into())), etag: ETag::new("old-2"), ..seen.clone() };
            let carried = Carried { expires: Some("0".into()), bucket_key: true, ..Carried::default() };
            Box::new(Earlier { seen, carried })
        }),
        head: (action != Action::Create).then_some(seen),
        guard: (action == Action::Delete).then_some(Guard::CheckFirst),
    }
}

fn written(header: &Header, steps: &[Step]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    let (mut counts, mut lines) = (Counts::default(), Vec::new());
    for step in steps {
        counts.add(step);
        line(step, &mut lines);
    }
    writer.lines(&lines).unwrap();
    writer.finish(counts).unwrap().0
}

fn flaw(bytes: &[u8]) -> String {
    read(bytes, "p.jsonl").unwrap_err().to_string()
}

fn plan() -> Vec<u8> {
    written(&header(), &[step(1, "a", Action::Create), step(2, "b", Action::Replace)])
}

/// Signs edited lines off with a right digest, as somebody would who edits on purpose.
fn signed(text: &str) -> Vec<u8> {
    let lines: Vec<&str> = text.lines().collect();
    let body = format!("{}\n", lines[..lines.len() - 1].join("\n"));
    let mut footer: Footer = serde_json::from_str(lines[lines.len() - 1]).unwrap();
    footer.digest = Sha256(sha2::Sha256::digest(body.as_bytes()).into());
    format!("{body}{}\n", serde_json::to_string(&footer).unwrap()).into_bytes()
}

#[test]
fn any_changed_byte_is_found() {
    let whole = plan();
    assert!(read(&whole[..], "p").is_ok());
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(read(&changed[..], "p").is_err(), "byte {at} of {}", String::from_utf8_lossy(&whole));
    }
}

#[test]
fn a_plan_that_was_cut_short_is_refused_at_every_length() {
    let whole = plan();
    for length in 0..whole.len() {
        assert!(read(&whole[..length], "p").is_err(), "{length} bytes");
    }
}

#[test]
fn a_file_that_is_no_plan_is_told_so() {
    assert_eq!(
        flaw(b"source,key\n"),
        "p.jsonl: not a noclobber plan: its first line is no plan header. Make one with `noclobber plan MANIFEST -o FILE`"
    );
    assert_eq!(
        flaw(b""),
        "p.jsonl: not a noclobber plan: it is empty. Make one with `noclobber plan MANIFEST -o FILE`"
    );
    assert_eq!(
        flaw(b"{\"noclobber_plan\":9}\n"),
        "p.jsonl: plan format 9; this noclobber reads format 1. Plan again with this version"
    );
}

#[test]
fn a_step_that_could_write_more_than_it_says_is_refused_even_with_a_right_digest() {
    let text = String::from_utf8(plan()).unwrap();
    let edits: [(&str, &str, &str); 9] = [
        ("\"etag\":\"abc\"", "\"etag\":\"*\"", "p.jsonl:3: a write whose ETag does not name one object"),
        ("\"key\":\"b\"", "\"key\":\"\"", "p.jsonl:3: a key that S3 cannot have"),
        ("\"action\":\"create\"", "\"action\":\"replace\"", "p.jsonl:2: a replace that does not name what it replaces"),
        ("\"action\":\"replace\"", "\"action\":\"create\"", "p.jsonl:3: a create that names an object to replace"),
        ("\"n\":2", "\"n\":3", "p.jsonl:3: step 3 where step 2 belongs"),
        ("\"key\":\"b\"", "\"key\":\"a\"", "p.jsonl:3: a second write to key \"a\""),
        ("\"target\":\"default\",\"key\":\"b\"", "\"target\":\"x\",\"key\":\"b\"", "target \"x\" is not in the header"),
        (
            "\"rule\":\"always\",\"stage\":\"data\",\"action\":\"replace\"",
            "\"rule\":\"never\",\"stage\":\"data\",\"action\":\"replace\"",
            "p.jsonl:3: a replace under a rule that never replaces",
        ),
        ("\"size\":7,", "\"size\":8,", "p.jsonl:4: the footer's counts are not those of the steps"),
    ];
    for (from, to, expected) in edits {
        assert!(text.contains(from), "{from}");
        let found = flaw(&signed(&text.replacen(from, to, 1)));
        assert!(found.contains(expected), "{from} -> {to}: {found}");
    }
}

#[test]
fn a_plan_without_a_checksum_to_write_is_refused() {
    let mut bare = step(1, "a", Action::Create);
    bare.local = None;
    let found = flaw(&written(&header(), &[bare]));
    assert!(found.starts_with("p.jsonl:2: a write without the checksum of what it writes"), "{found}");
}

#[test]
fn a_rollbacks_step_that_could_do_more_than_it_says_is_refused() {
    let refused = |step: Step, why: &str| {
        let found = flaw(&written(&undoing(), &[step]));
        assert!(found.starts_with(&format!("p.jsonl:2: {why}")), "{found}");
    };
    let (restore, delete) = (|| step(1, "a", Action::Restore), || step(1, "a", Action::Delete));
    let pinned = step(1, "a", Action::Create).local;
    refused(Step { earlier: None, ..restore() }, "a restore that does not name the version");
    let mut without = restore();
    without.earlier.as_mut().unwrap().seen.version = None;
    refused(without, "a restore that does not name the version");
    let mut any = restore();
    any.earlier.as_mut().unwrap().seen.etag = ETag::new("*");
    refused(any, "a restore that does not name the version");
    refused(Step { local: pinned.clone(), ..restore() }, "a rollback's step with a file");
    refused(Step { local: pinned, ..delete() }, "a rollback's step with a file");
    refused(Step { head: None, ..delete() }, "a delete that does not name what it deletes");
    refused(Step { earlier: restore().earlier, ..delete() }, "a step that names a version to bring back");
    for mut step in [restore(), delete()] {
        step.head.as_mut().unwrap().etag = ETag::new("*");
        refused(step, "a write whose ETag does not name one object");
    }
    let mut itself = restore();
    itself.earlier.as_mut().unwrap().seen.version = itself.head.as_ref().unwrap().version.clone();
    refused(itself, "a restore of the version that is current");
    refused(step(1, "a", Action::Create), "an upload in a rollback");
    refused(step(1, "a", Action::Replace), "an upload in a rollback");
    // Over nothing: what is brought back was deleted.
    read(&written(&undoing(), &[Step { head: None, ..restore() }])[..], "p").unwrap();
}

#[test]
fn no_other_plan_rolls_back_and_no_guard_is_promised_that_will_not_hold() {
    for action in [Action::Restore, Action::Delete] {
        let found = flaw(&written(&header(), &[step(1, "a", action)]));
        assert!(found.starts_with("p.jsonl:2: a rollback's step in a plan that rolls nothing back"), "{found}");
        let atomic = Step { guard: Some(Guard::Atomic), ..step(1, "a", action) };
        read(&written(&undoing(), std::slice::from_ref(&atomic))[..], "p").unwrap();
        let mut elsewhere = undoing();
        elsewhere.targets[0].endpoint = "https://s3.example.com".into();
        let found = flaw(&written(&elsewhere, &[atomic]));
        assert!(found.starts_with("p.jsonl:2: a guard that only AWS gives"), "{found}");
    }
    // It would be an upload without its precondition.
    let unguarded = Step { guard: Some(Guard::CheckFirst), ..step(1, "a", Action::Replace) };
    let found = flaw(&written(&header(), &[unguarded]));
    assert!(found.starts_with("p.jsonl:2: a step with a guard of its own"), "{found}");
}

fn any_step() -> impl Strategy<Value = Step> {
    (any::<u8>(), "\\PC{1,30}", any::<u64>(), prop::option::of("\\PC{0,20}"), prop::sample::select(&Action::ALL[..]))
        .prop_map(|(seed, source, size, note, action)| {
            let mut step = step(1, "k", action);
            step.source = source;
            step.note = note;
            step.proof = (seed % 2 == 0).then_some(Proof::EtagMd5);
            if let Some(local) = &mut step.local {
                local.size = size % (1 << 50);
                local.checksum = Some(if seed % 3 == 0 {
                    Checksum::Full(Sha256([seed; 32]))
                } else {
                    Checksum::Composite { digest: Sha256([seed; 32]), parts: 5, part_bytes: size % 1000 + 1 }
                });
            }
            step
        })
}

proptest! {
    #[test]
    fn a_plan_survives_its_file(steps in prop::collection::vec(any_step(), 0..20), is_rollback: bool) {
        let header = || if is_rollback { undoing() } else { header() };
        let belongs = |action: Action| match action {
            Action::Create | Action::Replace => !is_rollback,
            Action::Restore | Action::Delete => is_rollback,
            Action::Unchanged | Action::Keep | Action::Refuse | Action::Error => true,
        };
        let steps: Vec<Step> = steps
            .into_iter()
            .filter(|step| belongs(step.action))
            .zip(1..)
            .map(|(mut step, n)| {
                step.n = n;
                step.key = Key::new(format!("{n}/\u{202e}<b>\n,\"{}", step.source));
                step
            })
            .collect();
        let bytes = written(&header(), &steps);
        let plan = read(&bytes[..], "p").unwrap();
        prop_assert_eq!(&plan.header, &header());
        prop_assert_eq!(&plan.steps, &steps);
        prop_assert_eq!(plan.footer.counts.steps(), steps.len() as u64);
        prop_assert_eq!(written(&plan.header, &plan.steps), bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes[..], "p");
    }
}
