//! Runs and strangers over the reference store, and the plan that undoes the runs.

use bytes::Bytes;
use sha2::Digest as _;

use super::*;
use crate::model::digest::{Checksum, Sha256};
use crate::model::entry::Properties;
use crate::model::event::Nobody;
use crate::model::head::Remote;
use crate::model::head::VersionId;
use crate::model::part::COPY_MAX_BYTES;
use crate::model::row::{Guard, Outcome, REPORT_FORMAT, Row};
use crate::model::step::{Action, Reason};
use crate::model::target::{Addressing, ConditionalWrites};
use crate::model::write::{Expect, Object, WriteId};
use crate::store::memory::Memory;
use crate::store::{Body, ProbeKey};
use crate::undo::rows::{Placed, chosen};

fn target(endpoint: &str) -> Target {
    Target {
        name: "default".into(),
        bucket: "reports".into(),
        endpoint: endpoint.into(),
        region: "us-east-1".into(),
        addressing: Addressing::Path,
        owner: None,
        profile: None,
        role_arn: None,
        request_payer: false,
        trust_metadata: true,
        conditional_writes: ConditionalWrites::Required,
    }
}

/// A bucket, and the rows that a run left.
struct World {
    store: Memory,
    endpoint: &'static str,
    rows: Vec<Placed>,
}

impl World {
    fn new(store: Memory) -> Self {
        Self { store, endpoint: "http://127.0.0.1:9", rows: Vec::new() }
    }

    /// Writes as a run would, and keeps its row.
    async fn write(&mut self, key: &str, bytes: &'static str) -> Key {
        let key = Key::new(key);
        let before = match self.store.head(&key).await.unwrap() {
            Remote::Present(head) => Some(head),
            Remote::Absent | Remote::Unseen => None,
        };
        let n = self.rows.len() as u64 + 1;
        let object = Object {
            key: key.clone(),
            size: bytes.len() as u64,
            checksum: Checksum::Full(Sha256(sha2::Sha256::digest(bytes).into())),
            properties: Arc::new(Properties {
                tags: [("of".to_owned(), bytes.to_owned())].into(),
                ..Properties::default()
            }),
            write_id: WriteId::new("run", n),
        };
        let expect = before.as_ref().map_or(Expect::Absent, |head| Expect::Unchanged(head.etag.clone()));
        let body = Body::Bytes(Bytes::from_static(bytes.as_bytes()));
        let written = self.store.put(&object, body, &expect, Arc::new(|_| {})).await.unwrap();
        let text = |version: Option<&VersionId>| version.map(ToString::to_string).unwrap_or_default();
        let (outcome, action) = match before {
            Some(_) => (Outcome::Replaced, "replace"),
            None => (Outcome::Created, "create"),
        };
        let row = Row {
            format: REPORT_FORMAT,
            run_id: "run".into(),
            plan_digest: String::new(),
            entry: n,
            place: "m.yaml:3".into(),
            source: format!("out/{n}"),
            target: "default".into(),
            endpoint: self.endpoint.into(),
            region: "us-east-1".into(),
            owner: String::new(),
            bucket: "reports".into(),
            key: key.to_string(),
            rule: "always".into(),
            action: action.into(),
            reason: "differs".into(),
            outcome,
            size_bytes: Some(object.size),
            sha256: String::new(),
            checksum: object.checksum.to_string(),
            etag_before: before.as_ref().map(|head| head.etag.to_string()).unwrap_or_default(),
            version_before: text(before.as_ref().and_then(|head| head.version.as_ref())),
            etag_after: written.etag.map(|etag| etag.to_string()).unwrap_or_default(),
            version_after: text(written.version.as_ref()),
            guard: Some(Guard::Tested),
            attempts: 1,
            started_at: format!("2026-07-01T02:00:{n:02}.000Z"),
            duration_ms: Some(1),
            http_status: Some(200),
            error_code: String::new(),
            message: String::new(),
            request_id: String::new(),
            write_id: object.write_id.to_string(),
        };
        self.rows.push((n + 1, row));
        key
    }

    fn stores(&self) -> HashMap<String, (Target, Arc<Memory>)> {
        HashMap::from([("default".to_owned(), (target(self.endpoint), Arc::new(self.store.clone())))])
    }

    async fn drawn(&self) -> Drawn {
        let watch = Arc::new(Nobody) as Arc<dyn Watch>;
        let chosen = chosen(&self.rows, &[]).unwrap();
        draw("r.csv", &chosen, &self.stores(), 4, &watch, &Cancel::default()).await.unwrap()
    }
}

/// Every step as `key action reason`.
fn told(steps: &[Step]) -> Vec<String> {
    steps.iter().map(|step| format!("{} {} {}", step.key, step.action, step.reason)).collect()
}

#[tokio::test]
async fn what_the_run_wrote_is_undone_last_first_and_what_others_wrote_is_left() {
    let mut world = World::new(Memory::new());
    for key in ["b", "d", "e"] {
        world.store.stranger_put(&Key::new(key), format!("{key}, before"));
    }
    for key in ["a", "b", "c", "d", "e"] {
        world.write(key, "of the run").await;
    }
    world.store.stranger_put(&Key::new("c"), "of somebody else");
    world.store.stranger_delete(&Key::new("d"));
    let expired = VersionId(world.rows[4].1.version_before.clone());
    world.store.stranger_forget(&Key::new("e"), &expired);
    let drawn = world.drawn().await;
    assert_eq!(
        told(&drawn.steps),
        ["e refuse gone", "d refuse moved", "c refuse moved", "b restore undo", "a delete undo"]
    );
    let restore = &drawn.steps[3];
    let earlier = restore.earlier.as_ref().unwrap();
    assert_eq!(earlier.seen.version.as_ref().unwrap().0, world.rows[1].1.version_before);
    assert_eq!(restore.head.as_ref().unwrap().etag.as_str(), world.rows[1].1.etag_after);
    assert_eq!((restore.place.to_string(), &*restore.source), ("r.csv:3".to_owned(), "out/2"));
    // HeadBucket, five HEADs, and HEAD and tags of two versions.
    assert_eq!(drawn.requests, 10);

    let report = ManifestRef { path: "r.csv".into(), sha256: Sha256([1; 32]), name: None };
    let of = Of { report, run_id: "run", only: &["**".to_owned()], base: "/reports" };
    let header = header(of, vec![target(world.endpoint)], Vec::new(), "t", "2026-07-01T03:00:00Z".into());
    let room = Room::passing(&std::env::temp_dir());
    let Drafted { header, footer, mut room } = write(header, &drawn.steps, room).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut room, &mut bytes).unwrap();
    let plan = file::read(bytes.as_slice(), "p").unwrap();
    assert_eq!((plan.header, plan.steps, plan.footer), (header, drawn.steps, footer));
    assert_eq!((footer.counts.restore, footer.counts.delete, footer.counts.refuse), (1, 1, 3));
}

#[tokio::test]
async fn a_restore_brings_the_versions_own_tags_back() {
    let mut world = World::new(Memory::new());
    world.write("k", "first").await;
    world.write("k", "second").await;
    world.rows.remove(0);
    let drawn = world.drawn().await;
    assert_eq!(told(&drawn.steps), ["k restore undo"]);
    assert_eq!(drawn.steps[0].properties.tags["of"], "first");
}

#[tokio::test]
async fn what_may_not_be_seen_is_an_error_and_never_absent() {
    let mut world = World::new(Memory::new());
    world.write("k", "of the run").await;
    world.store.hide(true);
    assert_eq!(told(&world.drawn().await.steps), ["k error unseen"]);
}

#[tokio::test]
async fn a_server_is_asked_for_each_kind_of_request_and_no_guard_is_claimed_that_it_did_not_show() {
    let world = |store| async {
        let mut world = World::new(store);
        world.store.stranger_put(&Key::new("b"), "before");
        world.write("a", "of the run").await;
        world.write("b", "of the run").await;
        world
    };
    let guards = |steps: &[Step]| steps.iter().map(|step| step.guard).collect::<Vec<_>>();

    let honest = world(Memory::new()).await;
    let mut steps = honest.drawn().await.steps;
    let before = honest.store.keys();
    assert_eq!(guard(&mut steps, &honest.stores(), Some("id")).await, Vec::<String>::new());
    assert_eq!(guards(&steps), [Some(Guard::Tested); 2]);
    assert_eq!(honest.store.keys(), before, "a scratch object is still there");

    let careless = world(Memory::that_ignores_conditions_of_a_rollback()).await;
    let mut steps = careless.drawn().await.steps;
    let warnings = guard(&mut steps, &careless.stores(), Some("id")).await;
    assert_eq!(guards(&steps), [Some(Guard::CheckFirst); 2]);
    let [copies, deletes] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(copies.contains("ignores If-Match on CopyObject") && copies.contains("NOT atomic"), "{copies}");
    assert!(deletes.contains("ignores If-Match on DeleteObject"), "{deletes}");

    // A copy above CopyObject's limit is held by CompleteMultipartUpload's condition, which this server honours.
    steps[0].earlier.as_mut().unwrap().seen.size = COPY_MAX_BYTES + 1;
    assert_eq!(guard(&mut steps, &careless.stores(), Some("id")).await.len(), 1);
    assert_eq!(guards(&steps), [Some(Guard::Tested), Some(Guard::CheckFirst)]);
    steps[0].earlier.as_mut().unwrap().seen.size = COPY_MAX_BYTES;
    guard(&mut steps, &careless.stores(), Some("id")).await;
    assert_eq!(guards(&steps), [Some(Guard::CheckFirst); 2]);

    // Nobody asked: nothing is claimed, and nothing stored.
    let history = honest.store.history(&Key::new("a")).len();
    let warnings = guard(&mut steps, &honest.stores(), None).await;
    assert_eq!(guards(&steps), [None; 2]);
    assert!(warnings.len() == 2 && warnings[0].contains("--no-probe"), "{warnings:?}");
    assert_eq!((honest.store.keys(), honest.store.history(&Key::new("a")).len()), (before, history));
}

#[tokio::test]
async fn aws_is_taken_at_its_word_and_stores_no_scratch_object() {
    let mut world = World { endpoint: "https://s3.us-east-1.amazonaws.com", ..World::new(Memory::new()) };
    world.write("a", "of the run").await;
    let mut steps = world.drawn().await.steps;
    world.store.hide(true);
    assert_eq!(guard(&mut steps, &world.stores(), Some("id")).await, Vec::<String>::new());
    assert_eq!(steps[0].guard, Some(Guard::Atomic));
}

#[tokio::test]
async fn a_server_that_does_not_say_leaves_its_steps_without_a_guard() {
    let mut world = World::new(Memory::new());
    world.write("a", "of the run").await;
    let mut steps = world.drawn().await.steps;
    // The probe's key is taken: what is there is somebody else's.
    world.store.stranger_put(ProbeKey::new(&Key::new("a"), "id").key(), "mine");
    let warnings = guard(&mut steps, &world.stores(), Some("id")).await;
    assert_eq!(steps[0].guard, None);
    assert!(warnings[0].contains("is not known") && warnings[0].contains("asked again"), "{warnings:?}");
    assert_eq!((steps[0].action, steps[0].reason), (Action::Delete, Reason::Undo));
}
