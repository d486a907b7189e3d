//! What strangers do to a bucket after a run.

use aws_sdk_s3::types::MetadataDirective;

use crate::scenes::{both, run, states, stored, verified};
use crate::support::Versioning;
use crate::support::scene::Scene;

const REPORT: &str = "one/report.csv";

async fn forget(scene: &Scene, key: &str, version: &str) {
    let delete = scene.stranger.client.delete_object().bucket(&scene.stranger.bucket).key(key).version_id(version);
    delete.send().await.unwrap();
}

/// Copies an object over itself, its metadata with it.
async fn copy_over_itself(scene: &Scene, key: &str) {
    let bucket = &scene.stranger.bucket;
    let head = scene.stranger.head(key).await.unwrap();
    let copy = scene.stranger.client.copy_object().bucket(bucket).key(key).copy_source(format!("{bucket}/{key}"));
    let copy = copy.metadata_directive(MetadataDirective::Replace).set_metadata(head.metadata().cloned());
    copy.send().await.unwrap();
}

#[tokio::test]
async fn where_versions_are_kept_each_deed_is_named_with_the_way_back() {
    for server in both() {
        let (scene, rows) = stored(&server, Versioning::On, 40).await;
        assert!(verified(&scene, &[REPORT], 0).is_empty(), "{}", server.name);
        let stranger = &scene.stranger;
        stranger.put("in/001", "a stranger's").await;
        stranger.delete("in/002").await;
        stranger.put("in/003", "text 3").await;
        stranger.put("in/004", "a stranger's").await;
        forget(&scene, "in/004", &rows[4].version_after).await;
        stranger.delete("in/005").await;
        forget(&scene, "in/005", &rows[5].version_after).await;
        copy_over_itself(&scene, "in/006").await;

        let told = verified(&scene, &[REPORT, "--deep"], 5);
        let expected = [
            ("in/001", "overwritten"),
            ("in/002", "deleted"),
            ("in/003", "overwritten"),
            ("in/004", "gone"),
            ("in/005", "gone"),
            ("in/006", "overwritten"),
        ];
        assert_eq!(states(&told), expected, "{}", server.name);
        for (key, row) in [("in/001", 1), ("in/002", 2), ("in/003", 3), ("in/006", 6)] {
            let (said, row) = (&told[key], &rows[row]);
            let back = (said.of("recoverable"), said.of("recoverable_version"));
            assert_eq!(back, ("yes", &*row.version_after), "{}: {said:?}", server.name);
            // That is what it is for: the version is the run's own bytes.
            let get = stranger.client.get_object().bucket(&stranger.bucket).key(key).version_id(back.1);
            let bytes = get.send().await.unwrap().body.collect().await.unwrap().to_vec();
            assert_eq!(bytes.len() as u64, row.size_bytes.unwrap(), "{}", server.name);
        }
        for key in ["in/004", "in/005"] {
            assert_eq!(told[key].of("recoverable"), "no", "{}", server.name);
        }
        let same = ["in/001", "in/003", "in/006"].map(|key| told[key].of("same_bytes"));
        assert_eq!(same, ["false", "true", "true"], "{}", server.name);
        assert!(told["in/003"].of("message").contains("by a stranger"), "{:?}", told["in/003"]);
        assert!(told["in/006"].of("message").contains("as a copy does"), "{:?}", told["in/006"]);
        assert!(!told["in/002"].of("delete_marker").is_empty(), "{}", server.name);
        let now = stranger.head("in/001").await.unwrap();
        assert_eq!(told["in/001"].of("now_version"), now.version_id().unwrap(), "{}", server.name);
        // By listings all but what was written anew with the same bytes within one second is found too.
        let told = verified(&scene, &[REPORT], 5);
        for found in expected.iter().filter(|(key, _)| !matches!(*key, "in/003" | "in/006")) {
            assert!(states(&told).contains(found), "{}: {found:?}", server.name);
        }
    }
}

#[tokio::test]
async fn where_no_versions_are_kept_write_id_and_time_tell_the_same_bytes_apart() {
    for server in both() {
        let (scene, _) = stored(&server, Versioning::Off, 40).await;
        assert!(verified(&scene, &[REPORT], 0).is_empty(), "{}", server.name);
        let stranger = &scene.stranger;
        stranger.put("in/001", "a stranger's").await;
        stranger.delete("in/002").await;
        stranger.put("in/003", "text 3").await;
        let told = verified(&scene, &[REPORT, "--deep"], 5);
        let expected = [("in/001", "overwritten"), ("in/002", "deleted"), ("in/003", "overwritten")];
        assert_eq!(states(&told), expected, "{}", server.name);
        assert!(told.values().all(|row| row.of("recoverable") == "no"), "{}: {told:?}", server.name);
        assert_eq!(told["in/003"].of("same_bytes"), "true", "{}", server.name);
    }
}

#[tokio::test]
async fn what_a_listing_shows_at_another_time_than_the_rows_is_asked_for_its_version() {
    for server in both() {
        let (scene, rows) = stored(&server, Versioning::On, 40).await;
        // A row of long ago, to the second: no object of now can be within it.
        let report = std::fs::read_to_string(scene.path(REPORT)).unwrap();
        let aged = report.replace(&rows[3].started_at, "2020-01-01T00:00:00.000Z");
        assert_ne!(aged, report);
        scene.write("aged.csv", aged);
        assert!(
            verified(&scene, &["aged.csv"], 0).is_empty(),
            "{}: the version is the row's all the same",
            server.name
        );
        scene.stranger.put("in/003", "text 3").await;
        let told = verified(&scene, &["aged.csv"], 5);
        assert_eq!(states(&told), [("in/003", "overwritten")], "{}", server.name);
        assert_eq!(told["in/003"].of("same_bytes"), "true", "{}", server.name);
    }
}

#[tokio::test]
async fn a_chain_of_runs_holds_until_a_stranger_writes_in_between() {
    for server in both() {
        let (scene, first) = stored(&server, Versioning::On, 5).await;
        for n in [1, 2, 3] {
            scene.write(&format!("in/{n:03}"), format!("new {n}"));
        }
        scene.stranger.put("in/002", "a stranger's").await;
        let strangers = scene.stranger.head("in/002").await.unwrap().version_id().unwrap().to_owned();
        scene.stranger.delete("in/003").await;
        let second = run(&scene, "two");
        scene.write("in/004", "newer 4");
        run(&scene, "three");
        let reports = ["one/report.csv", "two/report.csv", "three/report.csv"];

        let told = verified(&scene, &[&reports[..], &["--since", &first[0].run_id]].concat(), 5);
        let expected =
            [("in/001", "superseded"), ("in/002", "overwritten"), ("in/003", "deleted"), ("in/004", "superseded")];
        assert_eq!(states(&told), expected, "{}", server.name);
        assert!(told["in/002"].of("message").contains(&strangers), "{}: {:?}", server.name, told["in/002"]);
        assert_eq!(told["in/002"].of("recoverable_version"), first[2].version_after, "{}", server.name);
        assert_eq!(told["in/001"].of("later_run_id"), second[0].run_id, "{}", server.name);
        // From the second run on nobody meddled.
        let told = verified(&scene, &[&reports[..], &["--since", &second[0].run_id]].concat(), 0);
        assert_eq!(states(&told), [("in/004", "superseded")], "{}", server.name);
        // By itself the first report knows of no later run, but of whose write id is there.
        let told = verified(&scene, &reports[..1], 5);
        assert_eq!(states(&told).len(), 4, "{}", server.name);
        assert_eq!(told["in/001"].of("now_run_id"), second[0].run_id, "{}", server.name);
    }
}
