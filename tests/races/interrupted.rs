//! The run ends in the middle: asked to, or killed. The same apply again finishes it, and nothing is written twice.

use std::cell::Cell;

use noclobber::model::row::{Outcome, Row};
use rustix::process::Signal;

use crate::support::scene::{Scene, count, noise};
use crate::support::{Server, Versioning, server};

const FILES: usize = 80;
const LARGE: &str = "in/0-large";

fn ours(n: usize) -> Vec<u8> {
    if n == 0 { noise(99, 64 << 20) } else { noise(n as u64, 3000) }
}

/// One multipart upload that takes a while, and many small files beside it; a few of all are replaces.
async fn planned(server: &Server) -> Scene {
    let scene = Scene::new(server, Versioning::On).await;
    scene.write(LARGE, ours(0));
    for n in 1..FILES {
        scene.write(&format!("in/{n:03}"), ours(n));
        if n % 10 == 0 {
            scene.stranger.put(&format!("{n:03}"), format!("before {n}")).await;
        }
    }
    scene.manifest("overwrite: always", "  - {source: \"in/*\", key: \"{{ name }}\"}");
    scene.plans();
    scene
}

/// An apply that has told so many rows.
fn after_rows(scene: &Scene, rows: usize) -> crate::support::scene::Running {
    let told = Cell::new(0);
    let apply = scene.start(&["apply", "plan.jsonl", "--report", "r.csv", "--json", "--concurrency", "3"]);
    apply.until(|line| {
        told.set(told.get() + usize::from(line.contains(r#""event":"row""#)));
        told.get() == rows
    })
}

/// The same apply again: it finishes, and the bucket and the report agree to the last version.
async fn finishes(scene: &Scene, run_id: Option<&str>) {
    let name = scene.server.name;
    scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]).exits(0);
    let rows = scene.report("r.csv");
    assert_eq!(rows.len(), FILES, "{name}");
    assert_eq!(count(&rows, Outcome::Replaced), (FILES - 1) / 10, "{name}");
    assert_eq!(count(&rows, Outcome::Created), FILES - (FILES - 1) / 10, "{name}");
    for (n, row) in rows.iter().enumerate() {
        // One version with our write id, and that of this run; whatever was there before is still below it.
        scene.hold_to_its_word(row, &ours(n)).await;
        assert!(run_id.is_none_or(|id| id == row.run_id), "{name}: a resumed run keeps its id");
        if row.outcome == Outcome::Replaced {
            let history = scene.stranger.history(&row.key).await;
            let buried: Vec<_> = history.iter().skip(1).map(|past| &*past.bytes).collect();
            assert_eq!(buried, [format!("before {n}").as_bytes()], "{name}: {row:#?}");
        }
    }
    assert_eq!(scene.stranger.open_uploads().await, 0, "{name}: an upload was left open");
}

fn run_id(rows: &[Row]) -> String {
    rows[0].run_id.clone()
}

#[tokio::test]
async fn ctrl_c_finishes_what_is_in_flight_and_the_same_apply_goes_on() {
    for server in ["ministack", "seaweedfs"].into_iter().filter_map(server) {
        let name = server.name;
        let scene = planned(&server).await;
        let ran = after_rows(&scene, 20).signal(Signal::INT).ended().exits(130);
        assert!(ran.stderr.contains("goes on"), "{name}: {}", ran.stderr);
        let rows = scene.report("r.csv");
        assert_eq!(rows.len(), FILES, "{name}: one row an entry");
        let done = count(&rows, Outcome::Created) + count(&rows, Outcome::Replaced);
        assert!(done >= 20, "{name}: {done} done");
        assert_eq!(done + count(&rows, Outcome::NotAttempted), FILES, "{name}: a row that is neither");
        assert!(count(&rows, Outcome::NotAttempted) > 0, "{name}: it was not interrupted");
        assert_eq!(scene.stranger.open_uploads().await, 0, "{name}: an upload was left open");
        for (n, row) in rows.iter().enumerate() {
            scene.hold_to_its_word(row, &ours(n)).await;
        }
        finishes(&scene, Some(&run_id(&rows))).await;
    }
}

#[tokio::test]
async fn what_was_killed_in_the_middle_is_finished_by_the_same_apply_and_nothing_is_written_twice() {
    for server in ["ministack", "seaweedfs"].into_iter().filter_map(server) {
        let scene = planned(&server).await;
        for rows in [1, 30] {
            let ran = after_rows(&scene, rows).signal(Signal::KILL).ended();
            assert_eq!(ran.code, None, "{}: {ran:?}", server.name);
            assert!(!scene.path("r.csv").exists(), "{}: no finished report of an unfinished run", server.name);
        }
        finishes(&scene, None).await;
    }
}

#[tokio::test]
async fn ctrl_c_in_the_middle_of_a_large_file_ends_as_an_interruption() {
    for server in ["ministack", "seaweedfs"].into_iter().filter_map(server) {
        let name = server.name;
        let scene = Scene::new(&server, Versioning::On).await;
        scene.write("in/large", noise(5, 80 << 20));
        scene.manifest("overwrite: never", "  - {source: \"in/large\", key: large}");
        scene.plans();
        let args = ["apply", "plan.jsonl", "--report", "r.csv", "--json", "--max-bandwidth", "4MB"];
        let running = scene.start(&args).until(|line| line.contains("uploading"));
        running.signal(Signal::INT).ended().exits(130).says(&["interrupted"]);
        let rows = scene.report("r.csv");
        assert_eq!(rows[0].outcome, Outcome::NotAttempted, "{name}: {rows:#?}");
        assert_eq!(scene.stranger.open_uploads().await, 0, "{name}: an upload was left open");
    }
}
