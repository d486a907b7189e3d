//! Every way in which an entry can change is told, and nothing that did not change is.

use std::sync::Arc;

use super::*;
use crate::model::digest::{Checksum, ETag, Sha256};
use crate::model::entry::{Properties, Rule};
use crate::model::head::VersionId;
use crate::plan::file::Plan;
use crate::plan::samples;

fn changed(old: &Plan, new: &Plan) -> Changed {
    let mut before = Before::new(old.header.clone());
    old.steps.iter().for_each(|step| before.add(step));
    let mut changes = before.against(new.header.clone());
    new.steps.iter().for_each(|step| changes.add(step));
    old.steps.iter().for_each(|step| changes.recall(step));
    changes.finish(&old.footer, &new.footer)
}

fn numbers(changed: &Changed) -> (u64, u64, u64, u64, u64) {
    let Changed { added, gone, action_changed, otherwise_changed, unchanged, .. } = changed;
    (*added, *gone, *action_changed, *otherwise_changed, *unchanged)
}

#[test]
fn a_plan_is_as_before_wherever_its_entries_stand_and_whenever_its_files_were_touched() {
    let old = samples::plan(samples::header(), samples::steps());
    let mut steps = samples::steps();
    steps.reverse();
    for (step, n) in steps.iter_mut().zip(1..) {
        step.n = n;
        step.place.line = 99;
        if let Some(local) = &mut step.local {
            local.mtime = "2026-05-05T05:05:05Z".into();
        }
    }
    let mut header = samples::header();
    // The same place by another name.
    header.made_at = "2026-05-05T05:05:05Z".into();
    header.targets[0].name = "other".into();
    header.targets[0].endpoint.push('/');
    for step in &mut steps {
        step.target = "other".into();
    }
    let found = changed(&old, &samples::plan(header, steps));
    assert!(found.is_nothing(), "{found:#?}");
    assert_eq!(numbers(&found), (0, 0, 0, 0, 6));
}

#[test]
fn every_change_of_an_entry_is_told_with_both_values() {
    type Edit = fn(&mut Step);
    let edits: [(Edit, Kind, &str); 11] = [
        (
            |step| *step = Step { n: step.n, ..samples::step(2, "in/replace.csv", Action::Create) },
            Kind::Action,
            "action: replace -> create",
        ),
        (
            |step| {
                if let Some(local) = &mut step.local {
                    local.checksum = Some(Checksum::Full(Sha256([8; 32])));
                }
            },
            Kind::Other,
            "content: 14 B sha256:0707070707070707070707070707070707070707070707070707070707070707 -> 14 B sha256:0808",
        ),
        (
            |step| {
                if let Some(head) = &mut step.head {
                    head.etag = ETag::new("other");
                }
            },
            Kind::Other,
            "in the bucket: ETag etag2, version v2, 9 bytes -> ETag other, version v2, 9 bytes",
        ),
        (
            |step| {
                if let Some(head) = &mut step.head {
                    head.version = Some(VersionId("v\n".into()));
                }
            },
            Kind::Other,
            "in the bucket: ETag etag2, version v2, 9 bytes -> ETag etag2, version v\\n, 9 bytes",
        ),
        (|step| step.source = "out/other.csv".into(), Kind::Other, "source: out/2.csv -> out/other.csv"),
        (|step| step.real = Some("/etc/passwd".into()), Kind::Other, "source: out/2.csv -> out/2.csv -> /etc/passwd"),
        (|step| step.rule = Rule::Always, Kind::Other, "rule: if-changed -> always"),
        (|step| step.stage = Some("late".into()), Kind::Other, "stage: none -> late"),
        (
            |step| {
                step.properties =
                    Arc::new(Properties { acl: Some("public-read".into()), ..(*step.properties).clone() });
            },
            Kind::Other,
            "properties: none -> acl: public-read",
        ),
        (|step| step.properties = Arc::new(Properties::default()), Kind::Other, "content_type: text/csv -> none"),
        (|step| step.note = Some("other properties: sse".into()), Kind::Other, "note: none -> other properties: sse"),
    ];
    let old = samples::plan(samples::header(), samples::steps());
    for (edit, kind, expected) in edits {
        let mut steps = samples::steps();
        edit(&mut steps[1]);
        let found = changed(&old, &samples::plan(samples::header(), steps));
        let [entry] = found.entries.as_slice() else { panic!("{expected}: {found:#?}") };
        assert_eq!((entry.kind, &*entry.key), (kind, "in/replace.csv"), "{expected}");
        assert!(entry.what.iter().any(|what| what.starts_with(expected)), "{expected}: {:?}", entry.what);
        assert_eq!(found.unchanged, 5);
    }
}

#[test]
fn every_change_of_a_rollbacks_step_is_told_with_both_values() {
    type Edit = fn(&mut Step);
    let edits: [(Edit, &str); 4] = [
        (
            |step| step.earlier.as_mut().unwrap().seen.version = Some(VersionId("other".into())),
            "brings back: ETag etag2-before, version v2-before, 11 bytes -> ETag etag2-before, version other, 11 bytes",
        ),
        (
            |step| step.earlier.as_mut().unwrap().carried.website_redirect = Some("/x".into()),
            "brings back: ETag etag2-before, version v2-before, 11 bytes -> ETag etag2-before, version v2-before, 11 bytes, \
             with {\"website_redirect\":\"/x\"}",
        ),
        (|step| step.guard = Some(Guard::CheckFirst), "guard: atomic -> check-first"),
        (|step| step.head = None, "in the bucket: ETag etag2, version v2, 9 bytes -> none"),
    ];
    let old = samples::plan(samples::undoing(), samples::undo());
    assert!(changed(&old, &old).is_nothing());
    for (edit, expected) in edits {
        let mut steps = samples::undo();
        edit(&mut steps[1]);
        let found = changed(&old, &samples::plan(samples::undoing(), steps));
        let [entry] = found.entries.as_slice() else { panic!("{expected}: {found:#?}") };
        assert_eq!(entry.what, [expected]);
    }
    let header = Header { undoes: Some("0199-run".into()), ..samples::undoing() };
    let found = changed(&old, &samples::plan(header, samples::undo()));
    assert_eq!(found.plan, ["rolls back run: 0198-run -> 0199-run"]);
    let none = changed(&samples::plan(samples::undoing(), Vec::new()), &old);
    let told: Vec<_> = none.entries.iter().take(2).map(|entry| entry.what[0].as_str()).collect();
    assert_eq!(told, ["delete", "restore <- version v2-before"]);
}

#[test]
fn what_came_and_what_went_is_told_and_another_bucket_is_another_place() {
    let old = samples::plan(samples::header(), samples::steps());
    let mut steps = samples::steps();
    steps.remove(0);
    steps.push(samples::step(7, "in/new.csv", Action::Create));
    for (step, n) in steps.iter_mut().zip(1..) {
        step.n = n;
    }
    let found = changed(&old, &samples::plan(samples::header(), steps));
    assert_eq!(numbers(&found), (1, 1, 0, 0, 5));
    insta::assert_snapshot!(found.text(&|_, text| text.to_owned()));

    let mut header = samples::header();
    header.targets[0].bucket = "elsewhere".into();
    let found = changed(&old, &samples::plan(header, samples::steps()));
    assert_eq!(numbers(&found), (6, 6, 0, 0, 0));
    assert_eq!(found.plan.len(), 2, "{:?}", found.plan);
}

#[test]
fn another_order_of_stages_other_terms_and_a_parameter_that_went_are_told() {
    use crate::model::target::ConditionalWrites;
    type Edit = fn(&mut Header, &mut Vec<Step>);
    let lax = |header: &mut Header| {
        let target = Target {
            name: "lax".into(),
            conditional_writes: ConditionalWrites::CheckFirst,
            ..header.targets[0].clone()
        };
        header.targets.push(target);
    };
    let edits: [(Edit, &str); 5] = [
        (|header, _| header.stages.reverse(), "stages: data, then index -> index, then data"),
        (|header, _| header.targets[0].profile = Some("p2".into()), "profile p2"),
        (|header, _| header.targets[0].request_payer = true, "requester pays"),
        (|header, _| drop(header.parameters.remove("date")), "date: 2026-01-02 -> none"),
        (|_, steps| steps[1].target = "lax".into(), "check-first: NOT atomic"),
    ];
    let mut header = samples::header();
    header.stages = vec!["data".into(), "index".into()];
    header.parameters.insert("date".into(), "2026-01-02".into());
    lax(&mut header);
    let old = samples::plan(header.clone(), samples::steps());
    assert!(changed(&old, &old).is_nothing(), "a plan differs from itself");
    for (edit, expected) in edits {
        let (mut header, mut steps) = (header.clone(), samples::steps());
        edit(&mut header, &mut steps);
        let found = changed(&old, &samples::plan(header, steps));
        assert!(found.text(&|_, text| text.to_owned()).contains(expected), "{expected}: {found:#?}");
    }
}

#[test]
fn tags_that_read_alike_are_not_taken_for_each_other() {
    let tagged = |key: &str, value: &str| {
        let mut steps = samples::steps();
        let tags = [(key.to_owned(), value.to_owned())].into();
        steps[1].properties = Arc::new(Properties { tags, ..(*steps[1].properties).clone() });
        samples::plan(samples::header(), steps)
    };
    let found = changed(&tagged("a=b", "c"), &tagged("a", "b=c"));
    let [entry] = found.entries.as_slice() else { panic!("{found:#?}") };
    assert_eq!(entry.what, ["properties: tags: \"a=b\"=c -> tags: a=\"b=c\""]);
}

#[test]
fn what_changed_for_all_is_told_once() {
    let old = samples::plan(samples::header(), samples::steps());
    let mut header = samples::header();
    header.base = "/other".into();
    header.targets[0].owner = None;
    header.refusals.push("too many".into());
    header.parameters.insert("date".into(), "2026-01-03".into());
    let found = changed(&old, &samples::plan(header, samples::steps()));
    assert_eq!(
        found.plan,
        [
            "sources below: /data -> /other",
            "date: 2026-01-02 -> 2026-01-03",
            "target default: owner 111122223333, region eu-west-1, addressed by host -> owner anybody, region eu-west-1, addressed by host",
            "refused now: too many"
        ]
    );
    assert_eq!(numbers(&found), (0, 0, 0, 0, 6));
}

#[test]
fn more_changes_than_are_told_are_all_counted() {
    let steps = |from: u64, etag: &str| {
        let step = |n: u64| {
            let mut step = samples::step(n, &format!("in/{}", n + from), Action::Replace);
            if let Some(head) = &mut step.head {
                head.etag = ETag::new(etag);
            }
            step
        };
        samples::plan(samples::header(), (1..=30_000).map(step).collect())
    };
    let most = CHANGES_MAX as u64;
    let found = changed(&steps(0, "a"), &steps(15_000, "b"));
    assert_eq!(numbers(&found), (15_000, 15_000, 0, 15_000, 0));
    let told = |kind: Kind| found.entries.iter().filter(|entry| entry.kind == kind).count() as u64;
    assert_eq!((told(Kind::Added), told(Kind::Gone), told(Kind::Other)), (most, most, most));
    let text = found.text(&|_, text| text.to_owned());
    assert_eq!(text.matches("\n    and 5,000 more\n").count(), 3);
}

#[test]
fn a_fingerprint_is_small() {
    assert!(size_of::<Fingerprint>() <= 72, "{}", size_of::<Fingerprint>());
}
