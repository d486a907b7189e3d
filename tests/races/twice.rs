//! A second Ctrl-C: the process ends at once, in the middle of a write, and the same apply finishes everything.

use noclobber::model::row::Outcome;
use noclobber::sandbox::{Fault, Kind, Options, Sandbox, serve};
use rustix::process::Signal;

use crate::support::scene::{Running, Scene, noise};
use crate::support::{Server, Versioning};

/// Longer than any test may take: who waits for such an answer has not ended at once.
const FOR_EVER_MS: u64 = 3_600_000;

fn content(key: &str) -> Vec<u8> {
    if key == "large" { noise(9, (64 << 20) + 77) } else { key.repeat(1000).into_bytes() }
}

pub async fn sandboxed(keys: &[&str]) -> (Sandbox, Scene, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = serve(Options::new(dir.path())).await.unwrap();
    let server = Server {
        name: "sandbox",
        endpoint: sandbox.endpoint().to_owned(),
        access_key: sandbox.access_key().to_owned(),
        secret_key: sandbox.secret_key().to_owned(),
    };
    let scene = Scene::new(&server, Versioning::On).await;
    for key in keys {
        scene.write(&format!("in/{key}"), content(key));
    }
    scene.manifest("", "  - {source: \"in/*\", key: \"{{ name }}\"}");
    tokio::task::block_in_place(|| scene.plans());
    (sandbox, scene, dir)
}

/// An apply whose write of this kind has reached the server, and gets no answer.
pub async fn hung(sandbox: &Sandbox, scene: &Scene, operation: &str, key: &str, more: &[&str]) -> Running {
    sandbox.faults().push(Fault::on(operation, Kind::SlowAnswer { ms: FOR_EVER_MS }).key(key).once());
    let mut apply = scene.start(&[&["apply", "plan.jsonl", "--report", "r.csv"], more].concat());
    while sandbox.faults().hits() == 0 {
        assert!(apply.lives(), "{operation}: {:?}", apply.ended());
        scene.stranger.keys().await;
    }
    apply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_ctrl_c_ends_at_once_and_the_same_apply_finishes_everything() {
    for (operation, key) in
        [("HeadObject", "b"), ("PutObject", "b"), ("UploadPart", "large"), ("CompleteMultipartUpload", "large")]
    {
        let keys = if key == "large" { &["a", "b", "large"][..] } else { &["a", "b", "c"] };
        let (sandbox, scene, _dir) = sandboxed(keys).await;
        let apply = hung(&sandbox, &scene, operation, key, &[]).await;
        tokio::task::block_in_place(|| {
            let ran = apply.signal(Signal::INT).until_told("once more to end at once").signal(Signal::INT).ended();
            ran.exits(130);
        });
        // It waited for nothing: an orderly end would have written the report.
        assert!(!scene.path("r.csv").exists() && scene.path("r.csv.journal").exists(), "{operation}");

        sandbox.faults().clear();
        tokio::task::block_in_place(|| scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]).exits(0));
        let rows = scene.report("r.csv");
        assert_eq!(rows.iter().map(|row| &*row.key).collect::<Vec<_>>(), keys, "{operation}");
        for row in &rows {
            assert_eq!(row.outcome, Outcome::Created, "{operation}: {row:#?}");
            scene.hold_to_its_word(row, &content(&row.key)).await;
        }
        assert_eq!(scene.stranger.open_uploads().await, 0, "{operation}");
        assert!(!scene.path("r.csv.journal").exists(), "{operation}");
    }
}
