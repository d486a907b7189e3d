//! The file changes while it is sent.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use noclobber::model::event::{Event, Phase, Watch};
use noclobber::model::row::Outcome;

use crate::striking::apply_under_strikes;
use crate::support::scene::{Scene, noise};
use crate::support::{Versioning, guarded_servers, server};

/// Changes the file's last byte as soon as some of it has left.
struct Vandal {
    path: PathBuf,
    struck: AtomicBool,
}

impl Watch for Vandal {
    fn tell(&self, event: Event<'_>) {
        if let Event::Advance { phase: Phase::Uploading, bytes: 1.., .. } = event
            && !self.struck.swap(true, Ordering::SeqCst)
        {
            change_the_last_byte(&self.path);
        }
    }
}

fn change_the_last_byte(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let at = file.metadata().unwrap().len() - 1;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

async fn is_not_stored(scene: &Scene, size: usize, pool_bytes: u64) {
    scene.write("in/large", noise(8, size));
    scene.manifest("", "  - {source: \"in/*\", key: \"{{ name }}\"}");
    scene.plans();
    let vandal = Arc::new(Vandal { path: scene.path("in/large"), struck: AtomicBool::new(false) });
    let watch = Arc::clone(&vandal) as Arc<dyn Watch>;
    let (_, rows) = apply_under_strikes(scene, HashMap::new(), watch, |settings| noclobber::flow::apply::Settings {
        pool_bytes,
        ..settings
    })
    .await;
    let name = scene.server.name;
    assert!(vandal.struck.load(Ordering::SeqCst), "{name}: the file was never touched");
    assert_eq!(rows[0].outcome, Outcome::SourceChanged, "{name}: {rows:#?}");
    assert_eq!(scene.stranger.keys().await, [""; 0], "{name}: it was stored");
    assert_eq!(scene.stranger.open_uploads().await, 0, "{name}: an upload was left open");
}

#[tokio::test]
async fn a_file_that_changes_while_its_single_put_is_under_way_is_not_stored() {
    for server in guarded_servers() {
        let scene = Scene::new(&server, Versioning::Off).await;
        is_not_stored(&scene, 60 << 20, 128 << 20).await;
    }
}

/// Not moto, which is refused for multipart uploads altogether.
#[tokio::test]
async fn a_file_that_changes_while_its_parts_are_under_way_is_not_stored() {
    for server in ["ministack", "seaweedfs"].into_iter().filter_map(server) {
        let scene = Scene::new(&server, Versioning::Off).await;
        // Two parts at a time: the last one is read long after the first was taken.
        is_not_stored(&scene, 200 << 20, 32 << 20).await;
    }
}

#[tokio::test]
async fn a_file_that_never_holds_still_is_not_stored() {
    for (server, size) in guarded_servers().into_iter().zip([40 << 20, 100 << 20, 40 << 20]) {
        let scene = Scene::new(&server, Versioning::Off).await;
        scene.write("in/large", noise(8, size));
        scene.manifest("", "  - {source: \"in/*\", key: \"{{ name }}\"}");
        scene.plans();
        let path = scene.path("in/large");
        // The reviewed bytes never come back: each change writes a value that the byte has not had before.
        change_the_last_byte(&path);
        let over = AtomicBool::new(false);
        let ran = std::thread::scope(|threads| {
            threads.spawn(|| {
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                for value in 0u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    file.write_all_at(&value.to_le_bytes(), 1 << 20).unwrap();
                }
            });
            let ran = scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]);
            over.store(true, Ordering::SeqCst);
            ran
        });
        assert!(matches!(ran.code, Some(4 | 5)), "{}: {ran:?}", server.name);
        let row = &scene.report("r.csv")[0];
        assert!(matches!(row.outcome, Outcome::Stale | Outcome::SourceChanged), "{}: {row:#?}", server.name);
        assert_eq!(scene.stranger.keys().await, [""; 0], "{}: it was stored", server.name);
        assert_eq!(scene.stranger.open_uploads().await, 0, "{}", server.name);
    }
}
