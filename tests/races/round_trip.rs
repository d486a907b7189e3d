//! There and back: a run overwrites and creates, its rollback brings every byte and property back, and the rollback of
//! that brings what the run wrote. By the commands alone, as a person would give them.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use noclobber::model::row::{Guard, Outcome, Row};
use noclobber::model::step::Action;
use noclobber::sandbox;

use crate::support::scene::{Ran, Scene, count, noise};
use crate::support::{Server, Versioning, server};

/// All that a reader sees of an object, but for its ETag, its date and its write id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    bytes: Vec<u8>,
    texts: BTreeMap<&'static str, String>,
    metadata: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

type State = BTreeMap<String, Seen>;

async fn seen(client: &Client, bucket: &str, key: &str) -> Seen {
    let got = client.get_object().bucket(bucket).key(key).send().await.unwrap();
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let texts = BTreeMap::from([
        ("content type", text(got.content_type())),
        ("cache control", text(got.cache_control())),
        ("content encoding", text(got.content_encoding())),
        ("content disposition", text(got.content_disposition())),
        ("content language", text(got.content_language())),
        ("expires", text(got.expires_string())),
        ("class", text(got.storage_class().map(StorageClass::as_str))),
        ("encryption", text(got.server_side_encryption().map(ServerSideEncryption::as_str))),
    ]);
    let metadata = got.metadata().into_iter().flatten().filter(|(name, _)| *name != "noclobber-write-id");
    let metadata = metadata.map(|(name, value)| (name.clone(), value.clone())).collect();
    let tags = client.get_object_tagging().bucket(bucket).key(key).send().await.unwrap();
    let tags = tags.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
    Seen { bytes: got.body.collect().await.unwrap().to_vec(), texts, metadata, tags }
}

async fn state(scene: &Scene) -> State {
    let mut state = State::new();
    for key in scene.stranger.keys().await {
        state.insert(key.clone(), seen(&scene.stranger.client, &scene.stranger.bucket, &key).await);
    }
    state
}

const PLAIN: &str = "r/plain.csv";
const RICH: &str = "r/rich.csv";
const LARGE: &str = "r/large.bin";
const ODD: &str = "r/odd +%25?versionId=x 'ü' & \"y\".csv";
const EXPIRED: &str = "r/expired.csv";
const MOVED: &str = "r/moved.csv";
const SAME: &str = "r/same.csv";
const NEW: &str = "r/new.csv";
const VANISHED: &str = "r/vanished.csv";
const BEFORE: [&str; 7] = [PLAIN, RICH, LARGE, ODD, EXPIRED, MOVED, SAME];
const AFTER: [&str; 9] = [PLAIN, RICH, LARGE, ODD, EXPIRED, MOVED, SAME, NEW, VANISHED];

/// What stands there before the run: somebody else's, each with other properties.
async fn prepare(scene: &Scene) {
    let stranger = &scene.stranger;
    for key in [PLAIN, ODD, EXPIRED, MOVED, SAME] {
        stranger.put(key, format!("{key}, as it was")).await;
    }
    let put = stranger.client.put_object().bucket(&stranger.bucket).key(RICH).body(b"rich, as it was".to_vec().into());
    let put = put
        .content_type("text/x-special; charset=utf-8")
        .cache_control("max-age=60")
        .content_encoding("identity")
        .content_disposition("attachment; filename=\"r.csv\"")
        .content_language("de")
        .metadata("team", "finance")
        .metadata("note", "a, b")
        .storage_class(StorageClass::StandardIa)
        .customize()
        // Not a date: it must come back as it stands.
        .mutate_request(|request| {
            request.headers_mut().insert("expires", "Thu, 01 Jan 2099 00:00:00 GMT");
        });
    put.send().await.unwrap();
    let tag = |key: &str, value: &str| aws_sdk_s3::types::Tag::builder().key(key).value(value).build().unwrap();
    let tags = aws_sdk_s3::types::Tagging::builder().tag_set(tag("retention", "7y")).tag_set(tag("a b", "c+d=e"));
    let tagging = stranger.client.put_object_tagging().bucket(&stranger.bucket).key(RICH);
    tagging.tagging(tags.build().unwrap()).send().await.unwrap();
    stranger.put(LARGE, noise(1, 12 << 20)).await;
}

fn run(scene: &Scene) -> Vec<Row> {
    let mut list = vec!["source,key\n".to_owned()];
    for (n, key) in AFTER.iter().enumerate() {
        scene.write(&format!("in/{n}.csv"), format!("{key}, as the run wrote it"));
        list.push(format!("in/{n}.csv,\"{}\"\n", key.replace('"', "\"\"")));
    }
    scene.write("list.csv", list.concat());
    let more = "overwrite: always\nallow_unusual_keys: true\ndefaults: {content_type: text/csv, metadata: {by: run}, tags: {by: run}}";
    scene.manifest(more, "  - {list: list.csv}");
    scene.noclobber(&["run", "m.yaml", "--out", "o"]).exits(0);
    scene.report("o/report.csv")
}

fn only<'a>(state: &'a State, keys: &[&str]) -> BTreeMap<&'a str, &'a Seen> {
    state.iter().filter(|(key, _)| keys.contains(&key.as_str())).map(|(key, seen)| (key.as_str(), seen)).collect()
}

fn actions(scene: &Scene, plan: &str) -> BTreeMap<String, Action> {
    scene.plan(plan).steps.into_iter().map(|step| (step.key.as_str().to_owned(), step.action)).collect()
}

async fn there_and_back(server: &Server) {
    let name = server.name;
    let scene = Scene::new(server, Versioning::On).await;
    prepare(&scene).await;
    let before = state(&scene).await;
    assert_eq!(before.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), BEFORE.into());
    let rows = run(&scene);
    assert_eq!((count(&rows, Outcome::Replaced), count(&rows, Outcome::Created)), (7, 2), "{name}");
    let after = state(&scene).await;

    // Meanwhile: another writer, a delete, the same bytes again, and a version that expires.
    scene.stranger.put(MOVED, "moved on").await;
    scene.stranger.delete(VANISHED).await;
    scene.stranger.put(SAME, after[SAME].bytes.clone()).await;
    let expired = rows.iter().find(|row| row.key == EXPIRED).unwrap();
    let forget = scene.stranger.client.delete_object().bucket(&scene.stranger.bucket).key(EXPIRED);
    forget.version_id(&expired.version_before).send().await.unwrap();

    scene.noclobber(&["rollback", "o/report.csv", "-o", "undo.jsonl"]).exits(3);
    let planned = actions(&scene, "undo.jsonl");
    for key in [PLAIN, RICH, LARGE, ODD] {
        assert_eq!(planned[key], Action::Restore, "{name}: {key}");
    }
    assert_eq!(planned[NEW], Action::Delete, "{name}");
    for key in [MOVED, EXPIRED, SAME] {
        assert_eq!(planned[key], Action::Refuse, "{name}: {key}");
    }
    assert!(!planned.get(VANISHED).is_some_and(|action| action.writes()), "{name}: {planned:?}");
    let text = scene.noclobber(&["show", "undo.jsonl"]).stdout;
    for key in [MOVED, EXPIRED, SAME] {
        assert!(text.contains(key), "{name}: {key} is not told:\n{text}");
    }

    // Refusals keep the whole from being applied, unless the rest is asked for.
    scene.noclobber(&["apply", "undo.jsonl"]).exits(3);
    assert_eq!(
        only(&state(&scene).await, &[PLAIN, RICH, LARGE, ODD, NEW]),
        only(&after, &[PLAIN, RICH, LARGE, ODD, NEW])
    );
    let apply = |plan: &str, report: &str| -> Ran {
        scene.noclobber(&["apply", plan, "--partial", "--copy-limit", "6MiB", "--report", report])
    };
    apply("undo.jsonl", "undone.csv").exits(5);
    let rows = scene.report("undone.csv");
    assert_eq!((count(&rows, Outcome::Restored), count(&rows, Outcome::Deleted)), (4, 1), "{name}: {rows:#?}");
    for row in rows.iter().filter(|row| matches!(row.outcome, Outcome::Restored | Outcome::Deleted)) {
        // ministack ignores conditions on copies. As the plan saw it the large one is a copy in one request, too.
        let ignored = name == "ministack" && row.outcome == Outcome::Restored;
        assert_eq!(row.guard, Some(if ignored { Guard::CheckFirst } else { Guard::Tested }), "{name}: {row:#?}");
    }
    let now = state(&scene).await;
    let back = [PLAIN, RICH, LARGE, ODD];
    assert_eq!(only(&now, &back), only(&before, &back), "{name}");
    assert_eq!(now[MOVED].bytes, b"moved on", "{name}");
    assert_eq!(only(&now, &[EXPIRED, SAME]), {
        let mut as_written = only(&after, &[EXPIRED, SAME]);
        as_written.insert(SAME, &now[SAME]);
        as_written
    });
    assert!(now[SAME].metadata.is_empty(), "{name}: the stranger's rewrite of the same bytes was touched");
    assert!(!now.contains_key(NEW) && !now.contains_key(VANISHED), "{name}");
    scene.noclobber(&["verify", "undone.csv"]).exits(0);
    assert_eq!(scene.stranger.open_uploads().await, 0, "{name}");

    // And forth again: what the run wrote comes back.
    scene.noclobber(&["rollback", "undone.csv", "-o", "redo.jsonl"]).exits(0);
    let planned = actions(&scene, "redo.jsonl");
    let writes: Vec<_> = planned.values().filter(|action| action.writes()).collect();
    assert_eq!(writes, [&Action::Restore; 5], "{name}: {planned:?}");
    apply("redo.jsonl", "redone.csv").exits(0);
    let again = [PLAIN, RICH, LARGE, ODD, NEW];
    assert_eq!(only(&state(&scene).await, &again), only(&after, &again), "{name}");
    scene.noclobber(&["verify", "redone.csv"]).exits(0);

    // One key alone.
    scene.noclobber(&["rollback", "redone.csv", "--only", "r/pla*", "-o", "one.jsonl"]).exits(0);
    assert_eq!(actions(&scene, "one.jsonl"), BTreeMap::from([(PLAIN.to_owned(), Action::Restore)]), "{name}");
    apply("one.jsonl", "one.csv").exits(0);
    assert_eq!(only(&state(&scene).await, &[PLAIN]), only(&before, &[PLAIN]), "{name}");
}

#[tokio::test]
async fn a_rollback_brings_back_every_byte_and_property_on_ministack() {
    if let Some(server) = server("ministack") {
        there_and_back(&server).await;
    }
}

#[tokio::test]
async fn a_rollback_brings_back_every_byte_and_property_on_seaweedfs() {
    if let Some(server) = server("seaweedfs") {
        there_and_back(&server).await;
    }
}

// The sandbox serves while our binary is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_brings_back_every_byte_and_property_on_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox::serve(sandbox::Options::new(folder.path())).await.unwrap();
    let server = Server {
        name: "sandbox",
        endpoint: sandbox.endpoint().to_owned(),
        access_key: sandbox.access_key().to_owned(),
        secret_key: sandbox.secret_key().to_owned(),
    };
    there_and_back(&server).await;
    sandbox.stop().await;
}

/// Where no version tells two writes of the same bytes apart, their times do: an older plan is stale, and a new one
/// refuses. Nothing could bring back what a delete takes there.
#[tokio::test]
async fn the_same_bytes_by_a_stranger_are_theirs_where_nothing_is_versioned() {
    for server in ["ministack", "seaweedfs"].into_iter().filter_map(server) {
        let (name, scene) = (server.name, Scene::new(&server, Versioning::Off).await);
        scene.write("in/a.csv", b"the same bytes");
        scene.manifest("", "  - {source: in/a.csv, key: a.csv}");
        scene.noclobber(&["run", "m.yaml", "--out", "o"]).exits(0);
        scene.noclobber(&["rollback", "o/report.csv", "-o", "undo.jsonl"]).exits(0);
        assert_eq!(actions(&scene, "undo.jsonl")["a.csv"], Action::Delete, "{name}");
        let planned = scene.stranger.head("a.csv").await.unwrap();
        // Servers tell times to the second: until the next one, nobody could see a difference.
        loop {
            scene.stranger.delete("a.csv").await;
            scene.stranger.put("a.csv", b"the same bytes".to_vec()).await;
            let now = scene.stranger.head("a.csv").await.unwrap();
            if now.last_modified() != planned.last_modified() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        scene.noclobber(&["apply", "undo.jsonl"]).exits(4);
        assert_eq!(count(&scene.report("undo.report.csv"), Outcome::Stale), 1, "{name}");
        scene.noclobber(&["rollback", "o/report.csv", "-o", "again.jsonl"]).exits(3);
        assert_eq!(actions(&scene, "again.jsonl")["a.csv"], Action::Refuse, "{name}");
        assert_eq!(scene.stranger.get("a.csv").await.as_deref(), Some(&b"the same bytes"[..]), "{name}");
    }
}

/// A scratch object goes with everything that it leaves behind, delete markers too, also where versioning was suspended.
#[tokio::test]
async fn scratch_objects_leave_nothing_where_versioning_is_suspended() {
    // SeaweedFS keeps the marker named `null`, whatever is deleted by that name.
    if let Some(server) = server("ministack") {
        let (name, scene) = (server.name, Scene::new(&server, Versioning::On).await);
        let (client, bucket) = (&scene.stranger.client, &scene.stranger.bucket);
        let suspended = aws_sdk_s3::types::VersioningConfiguration::builder()
            .status(aws_sdk_s3::types::BucketVersioningStatus::Suspended)
            .build();
        client.put_bucket_versioning().bucket(bucket).versioning_configuration(suspended).send().await.unwrap();
        let place = format!("s3://{bucket}");
        let endpoint = &server.endpoint;
        scene.noclobber(&["bucket", "check", &place, "--endpoint", endpoint, "--probe", "scratch/"]);
        let left = client.list_object_versions().bucket(bucket).send().await.unwrap();
        assert_eq!((left.versions().len(), left.delete_markers().len()), (0, 0), "{name}: {left:?}");
    }
}
