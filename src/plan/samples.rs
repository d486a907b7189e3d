//! Plans for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::digest::{Checksum, ETag, Sha256};
use crate::model::entry::{Key, Place, Properties, Rule};
use crate::model::head::{Carried, Encryption, Seen, VersionId};
use crate::model::local::Pinned;
use crate::model::row::Guard;
use crate::model::step::{Action, Counts, Earlier, Footer, Header, ManifestRef, PLAN_FORMAT, Proof, Reason, Step};
use crate::model::target::{Addressing, ConditionalWrites, Target};
use crate::plan::file::Plan;

pub fn header() -> Header {
    Header {
        noclobber_plan: PLAN_FORMAT,
        tool: "noclobber 0.0.0".into(),
        made_at: "2026-01-02T03:04:05Z".into(),
        base: "/data".into(),
        parameters: [("date".to_owned(), "2026-01-02".to_owned())].into(),
        manifests: vec![ManifestRef { path: "nightly.yaml".into(), sha256: Sha256([9; 32]), name: None }],
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
        stages: Vec::new(),
        undoes: None,
        refusals: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A step as the planner would draw it.
pub fn step(n: u64, key: &str, action: Action) -> Step {
    let seen = Seen {
        etag: ETag::new(&format!("etag{n}")),
        version: Some(VersionId(format!("v{n}"))),
        size: 9,
        checksum: Some("crc32:00000001".into()),
        last_modified: Some("2025-12-31T23:59:59Z".into()),
        encryption: Encryption::Aes256,
    };
    let (reason, proof, note) = match action {
        Action::Create => (Reason::Absent, None, None),
        Action::Replace | Action::Refuse | Action::Keep => (Reason::Differs, Some(Proof::Size), None),
        Action::Restore | Action::Delete => (Reason::Undo, None, None),
        Action::Unchanged => (Reason::Same, Some(Proof::Sha256), None),
        Action::Error => (Reason::Flaw, None, Some("out/x.csv: permission denied".to_owned())),
    };
    let pinned = Pinned {
        size: 7 * n,
        mtime: "2026-01-01T00:00:00.000000001Z".into(),
        checksum: action.writes().then_some(Checksum::Full(Sha256([7; 32]))),
    };
    Step {
        n,
        place: Place { file: "nightly.yaml".into(), line: 3 },
        source: format!("out/{n}.csv"),
        real: None,
        target: "default".into(),
        key: Key::new(key),
        rule: if action == Action::Replace { Rule::IfChanged } else { Rule::Never },
        stage: None,
        action,
        reason,
        proof,
        note,
        properties: Arc::new(Properties { content_type: Some("text/csv".into()), ..Properties::default() }),
        local: match action {
            Action::Error | Action::Restore | Action::Delete => None,
            Action::Create | Action::Replace | Action::Refuse | Action::Keep | Action::Unchanged => Some(pinned),
        },
        head: match action {
            Action::Create | Action::Error => None,
            Action::Replace | Action::Restore | Action::Delete | Action::Refuse | Action::Keep | Action::Unchanged => {
                Some(seen.clone())
            }
        },
        earlier: (action == Action::Restore).then(|| {
            let version = Some(VersionId(format!("v{n}-before")));
            let seen = Seen { etag: ETag::new(&format!("etag{n}-before")), version, size: 11, ..seen };
            Box::new(Earlier { seen, carried: Carried::default() })
        }),
        guard: None,
    }
}

/// One step of each action of an upload, in their order.
pub fn steps() -> Vec<Step> {
    let actions = Action::ALL.into_iter().filter(|action| !matches!(action, Action::Restore | Action::Delete));
    (1..).zip(actions).map(|(n, action)| step(n, &format!("in/{}.csv", action.name()), action)).collect()
}

/// The header of a rollback.
pub fn undoing() -> Header {
    let manifest = ManifestRef { path: "report.csv".into(), sha256: Sha256([9; 32]), name: None };
    let parameters = [("only".to_owned(), "in/**".to_owned())].into();
    Header { manifests: vec![manifest], undoes: Some("0198-run".into()), parameters, ..header() }
}

/// What a rollback can come to: deletes, restores over an object and over nothing, one of them without a precondition,
/// and what cannot or need not be undone.
pub fn undo() -> Vec<Step> {
    let note = |step: Step, note: &str| Step { note: Some(note.into()), ..step };
    let refused = |n, key, reason| Step { reason, local: None, proof: None, ..step(n, key, Action::Refuse) };
    let steps = [
        note(step(1, "in/created.csv", Action::Delete), "a delete marker will stand over it; version v1 stays"),
        Step { guard: Some(Guard::Atomic), ..step(2, "in/replaced.csv", Action::Restore) },
        Step { head: None, ..step(3, "in/deleted.csv", Action::Restore) },
        Step { guard: Some(Guard::CheckFirst), ..step(4, "in/unguarded.csv", Action::Restore) },
        note(refused(5, "in/moved.csv", Reason::Moved), "it was written since the run: 9 bytes, ETag e"),
        Step { head: None, ..note(refused(6, "in/gone.csv", Reason::Gone), "the bucket kept no versions") },
        note(
            Step { reason: Reason::Undone, proof: None, local: None, ..step(7, "in/undone.csv", Action::Unchanged) },
            "it is not there any more",
        ),
    ];
    let place = |n| Place { file: "report.csv".into(), line: n };
    (2..).zip(steps).map(|(line, step)| Step { place: place(line), ..step }).collect()
}

pub fn plan(header: Header, steps: Vec<Step>) -> Plan {
    let mut counts = Counts::default();
    for step in &steps {
        counts.add(step);
    }
    Plan { header, steps, footer: Footer { counts, digest: Sha256([0xab; 32]) } }
}

/// Every text of a plan that comes from outside, set to one.
pub fn said_everywhere(text: &str) -> Plan {
    said_in(header(), steps(), text)
}

/// The same of a rollback.
pub fn said_everywhere_of_undo(text: &str) -> Plan {
    said_in(Header { undoes: Some(text.into()), ..undoing() }, undo(), text)
}

fn said_in(mut header: Header, steps: Vec<Step>, text: &str) -> Plan {
    header.made_at = text.into();
    header.base = text.into();
    header.tool = text.into();
    header.parameters = BTreeMap::from([(text.to_owned(), text.to_owned())]);
    header.manifests[0].path = text.into();
    header.refusals = vec![text.into()];
    header.warnings = vec![text.into()];
    header.stages = vec![text.into()];
    header.targets[0].name = text.into();
    header.targets[0].bucket = text.into();
    header.targets[0].endpoint = text.into();
    header.targets[0].region = text.into();
    header.targets[0].owner = Some(text.into());
    let steps = steps.into_iter().map(|mut step| {
        step.place.file = text.into();
        step.source = text.into();
        step.real = Some(text.into());
        step.target = text.into();
        step.key = Key::new(text);
        step.stage = Some(text.into());
        step.note = Some(text.into());
        step.properties = Arc::new(Properties {
            acl: Some(text.into()),
            metadata: [(text.to_owned(), text.to_owned())].into(),
            ..Properties::default()
        });
        let earlier = step.earlier.as_mut().map(|earlier| &mut earlier.seen);
        for seen in step.head.iter_mut().chain(earlier) {
            seen.etag = ETag::new(text);
            seen.version = Some(VersionId(text.into()));
            seen.last_modified = Some(text.into());
            seen.checksum = Some(text.into());
        }
        step
    });
    let steps = steps.collect();
    plan(header, steps)
}
