//! The world moves between the plan and the apply.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, FileTimes};

use noclobber::model::row::{Outcome, Row};

use crate::support::scene::{Scene, count, noise};
use crate::support::{Server, Versioning, guarded_servers, server};

const FILES: usize = 24;

fn key(n: usize) -> String {
    format!("p/{n:02}")
}

/// Half of the keys are taken by objects that the plan will name, half are free.
async fn planned(server: &Server) -> Scene {
    let scene = Scene::new(server, Versioning::On).await;
    for n in 0..FILES {
        scene.write(&format!("in/{n:02}"), noise(n as u64, 500 + 37 * n));
        if n % 2 == 0 {
            scene.stranger.put(&key(n), format!("before {n}")).await;
        }
    }
    scene.manifest("overwrite: if-changed", "  - {source: \"in/*\", key: \"p/{{ name }}\"}");
    let counts = scene.plans().footer.counts;
    assert_eq!((counts.create, counts.replace), (FILES as u64 / 2, FILES as u64 / 2));
    scene
}

/// Somebody else replaces, deletes, creates, and puts the very same bytes back. Gives what each of those keys now holds.
async fn strike(scene: &Scene) -> BTreeMap<String, Option<Vec<u8>>> {
    let stranger = &scene.stranger;
    let mut struck = BTreeMap::new();
    for n in [0, 10, 20] {
        stranger.put(&key(n), noise(7_000 + n as u64, 300)).await;
        struck.insert(key(n), Some(noise(7_000 + n as u64, 300)));
    }
    for n in [2, 12] {
        stranger.delete(&key(n)).await;
        struck.insert(key(n), None);
    }
    for n in [1, 11, 23] {
        stranger.put(&key(n), format!("a stranger's {n}")).await;
        struck.insert(key(n), Some(format!("a stranger's {n}").into_bytes()));
    }
    // The ETag is the reviewed one again; only the version id tells.
    stranger.put(&key(4), b"something else for a while".to_vec()).await;
    stranger.put(&key(4), b"before 4".to_vec()).await;
    struck.insert(key(4), Some(b"before 4".to_vec()));
    struck
}

fn keys_of(rows: &[Row], outcome: Outcome) -> BTreeSet<String> {
    rows.iter().filter(|row| row.outcome == outcome).map(|row| row.key.clone()).collect()
}

#[tokio::test]
async fn a_world_that_moved_since_the_plan_stops_the_apply_and_partial_writes_the_rest() {
    for server in guarded_servers() {
        let scene = planned(&server).await;
        let struck = strike(&scene).await;
        let moved: BTreeSet<String> = struck.keys().cloned().collect();
        let before = scene.objects().await;

        let ran = scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]).exits(4);
        for key in &moved {
            assert!(ran.stderr.contains(key.as_str()), "{}: {key} is not named:\n{}", server.name, ran.stderr);
        }
        assert!(scene.objects().await == before, "{}: something was written", server.name);
        let rows = scene.report("r.csv");
        assert_eq!(rows.len(), FILES, "{}: one row an entry", server.name);
        assert_eq!(keys_of(&rows, Outcome::Stale), moved, "{}", server.name);
        assert_eq!(count(&rows, Outcome::NotAttempted), FILES - moved.len(), "{}", server.name);

        scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv", "--partial"]).exits(5);
        let rows = scene.report("r.csv");
        assert_eq!(keys_of(&rows, Outcome::Stale), moved, "{}", server.name);
        assert_eq!(count(&rows, Outcome::Created) + count(&rows, Outcome::Replaced), FILES - moved.len());
        let after = scene.objects().await;
        for (n, row) in rows.iter().enumerate() {
            let ours = noise(n as u64, 500 + 37 * n);
            scene.hold_to_its_word(row, &ours).await;
            let there = struck.get(&row.key).cloned().unwrap_or(Some(ours));
            assert!(after.get(&row.key) == there.as_ref(), "{}: {}", server.name, row.key);
        }
    }
}

#[tokio::test]
async fn a_file_that_changed_since_the_plan_is_never_stored_whatever_its_size_and_time_say() {
    for server in guarded_servers() {
        let scene = Scene::new(&server, Versioning::Off).await;
        for name in ["other-size", "other-time", "forged", "gone", "same-bytes", "left-alone"] {
            scene.write(&format!("in/{name}"), noise(1, 2_000_000));
        }
        scene.manifest("", "  - {source: \"in/*\", key: \"{{ name }}\"}");
        scene.plans();

        scene.write("in/other-size", noise(1, 2_000_001));
        scene.write("in/other-time", noise(2, 2_000_000));
        let forged = scene.path("in/forged");
        let modified = std::fs::metadata(&forged).unwrap().modified().unwrap();
        scene.write("in/forged", noise(3, 2_000_000));
        File::options().write(true).open(&forged).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
        std::fs::remove_file(scene.path("in/gone")).unwrap();
        scene.write("in/same-bytes", noise(1, 2_000_000));

        // What the preflight can see stops the whole apply.
        let ran = scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]).exits(4);
        let stale = ["gone", "other-size", "other-time"];
        ran.says(&stale);
        assert_eq!(scene.stranger.keys().await, [""; 0], "{}", server.name);

        // What it cannot see is met by the digest of the body.
        scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv", "--partial"]).exits(5);
        let rows = scene.report("r.csv");
        assert_eq!(keys_of(&rows, Outcome::Stale), stale.map(String::from).into());
        assert_eq!(keys_of(&rows, Outcome::SourceChanged), ["forged".to_owned()].into());
        assert_eq!(scene.stranger.keys().await, ["left-alone", "same-bytes"], "{}", server.name);
        for row in &rows {
            scene.hold_to_its_word(row, &noise(1, 2_000_000)).await;
        }
    }
}

/// Where no version tells, the time does, to the second.
#[tokio::test]
async fn the_same_bytes_written_again_since_the_plan_make_a_replace_stale() {
    for server in ["ministack", "seaweedfs"].into_iter().filter_map(server) {
        let scene = Scene::new(&server, Versioning::Off).await;
        scene.stranger.put("a.csv", b"theirs".to_vec()).await;
        scene.write("a.csv", b"ours");
        scene.manifest("overwrite: always", "  - {source: a.csv, key: a.csv}");
        scene.plans();
        let planned = scene.stranger.head("a.csv").await.unwrap();
        // Servers tell times to the second: until the next one, nobody could see a difference.
        loop {
            scene.stranger.put("a.csv", b"theirs".to_vec()).await;
            let now = scene.stranger.head("a.csv").await.unwrap();
            if now.last_modified() != planned.last_modified() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]).exits(4);
        assert_eq!(count(&scene.report("r.csv"), Outcome::Stale), 1, "{}", server.name);
        assert_eq!(scene.stranger.get("a.csv").await.as_deref(), Some(&b"theirs"[..]), "{}", server.name);
    }
}
