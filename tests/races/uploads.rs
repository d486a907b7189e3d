//! Uploads in parts that a killed run left behind: listed, told from strangers', and aborted.

use rustix::process::Signal;

use crate::support::scene::{Scene, noise};
use crate::support::{Versioning, server};
use crate::twice::{hung, sandboxed};

const LARGE_BYTES: usize = 96 << 20;

/// A scene whose apply was killed while its one file went up in parts, and a stranger's upload beside it.
async fn abandoned(name: &str) -> Option<(Scene, String)> {
    let scene = Scene::new(&server(name)?, Versioning::On).await;
    scene.write("in/large", noise(5, LARGE_BYTES));
    scene.manifest("", "  - {source: in/large, key: ours/large}");
    scene.plans();
    let mut apply = scene.start(&["apply", "plan.jsonl", "--report", "r.csv"]);
    while !noted(&scene).contains("\"upload\"") {
        assert!(apply.lives(), "{name}: {:?}", apply.ended());
        scene.stranger.keys().await;
    }
    apply.signal(Signal::KILL).ended();
    let begin = scene.stranger.client.create_multipart_upload().bucket(&scene.stranger.bucket).key("theirs/x");
    let theirs = begin.send().await.unwrap().upload_id().unwrap().to_owned();
    assert_eq!(scene.stranger.open_uploads().await, 2, "{name}: it was done before it was killed");
    Some((scene, theirs))
}

fn noted(scene: &Scene) -> String {
    std::fs::read_to_string(scene.path("r.csv.journal")).unwrap_or_default()
}

fn uploads(scene: &Scene, prefix: &str, more: &[&str]) -> crate::support::scene::Ran {
    let place = format!("s3://{}/{prefix}", scene.stranger.bucket);
    let mut args = vec!["bucket", "uploads", &place, "--endpoint", &scene.server.endpoint];
    args.extend(more);
    scene.noclobber(&args)
}

#[tokio::test]
async fn what_a_killed_run_left_open_is_told_from_strangers_uploads_and_aborted() {
    for name in ["ministack", "seaweedfs"] {
        let Some((scene, theirs)) = abandoned(name).await else { continue };
        // A crash can tear the journal's last line.
        let torn = noted(&scene) + "{\"upload\":{\"n\":7,\"key\":";
        std::fs::write(scene.path("r.csv.journal"), &torn).unwrap();
        let run = torn.split("\"run_id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();

        let ran = uploads(&scene, "", &["--journal", "r.csv"]).exits(0);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines.len(), 4, "{name}: {}", ran.stdout);
        let line = |word: &str| *lines.iter().find(|line| line.contains(word)).unwrap();
        assert!(line("ours/large").contains(&format!("run {run}")), "{name}: {}", ran.stdout);
        assert!(line("theirs/x").contains("foreign") && line("theirs/x").contains(&theirs), "{name}: {}", ran.stdout);
        assert!(lines[3].contains("2 open under") && lines[3].contains("1 ours, 1 foreign"), "{name}: {}", lines[3]);

        // No journal, no evidence; and a prefix hides what is elsewhere.
        let ran = uploads(&scene, "ours/", &[]).exits(0);
        assert!(ran.stdout.contains("1 open") && ran.stdout.contains("0 ours, 1 foreign"), "{name}: {}", ran.stdout);
        uploads(&scene, "", &["--abort"]).exits(64);
        uploads(&scene, "", &["--foreign"]).exits(64);
        uploads(&scene, "", &["--abort", "--journal", "no-such.csv"]).exits(64);
        assert_eq!(scene.stranger.open_uploads().await, 2, "{name}: a look aborted something");

        let ran = uploads(&scene, "", &["--abort", "--journal", "r.csv.journal"]).exits(0);
        assert!(ran.stdout.contains("1 ours, 1 foreign; 1 aborted"), "{name}: {}", ran.stdout);
        ran.says(&["--foreign aborts them too"]);
        assert_eq!(scene.stranger.open_uploads().await, 1, "{name}");
        assert_eq!(noted(&scene), torn, "{name}: the journal is the run's own");

        // The same apply finds its upload gone, and begins another.
        scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]).exits(0);
        scene.hold_to_its_word(&scene.report("r.csv")[0], &noise(5, LARGE_BYTES)).await;
        assert_eq!(scene.stranger.open_uploads().await, 1, "{name}");

        // It has finished: nothing is its any more.
        let ran = uploads(&scene, "", &["--abort", "--journal", "r.csv"]).exits(0);
        assert!(ran.stdout.contains("0 ours, 1 foreign; 0 aborted"), "{name}: {}", ran.stdout);
        let ran = uploads(&scene, "", &["--abort", "--foreign", "--json"]).exits(0);
        assert!(ran.stdout.contains("\"aborted\":true"), "{name}: {}", ran.stdout);
        assert_eq!(scene.stranger.open_uploads().await, 0, "{name}");
        let ran = uploads(&scene, "", &[]).exits(0);
        assert!(ran.stdout.starts_with("0 open under"), "{name}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn a_bucket_that_cannot_be_asked_ends_with_1() {
    let Some(server) = server("ministack") else { return };
    let mut scene = Scene::new(&server, Versioning::Off).await;
    scene.stranger.bucket = "nobody-made-this-one".to_owned();
    uploads(&scene, "", &[]).exits(1).says(&["nobody-made-this-one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_uploads_of_a_run_that_is_under_way_are_not_aborted() {
    let (sandbox, scene, _dir) = sandboxed(&["a", "large"]).await;
    let apply = hung(&sandbox, &scene, "UploadPart", "large", &[]).await;
    tokio::task::block_in_place(|| {
        let ran = uploads(&scene, "", &["--abort", "--journal", "r.csv"]).exits(1);
        ran.says(&["under way", "r.csv.lock"]);
        // To look is no harm.
        let ran = uploads(&scene, "", &["--journal", "r.csv"]).exits(0);
        assert!(ran.stdout.contains("1 ours, 0 foreign"), "{}", ran.stdout);
        assert_eq!(apply.signal(Signal::KILL).ended().code, None);
    });
    assert_eq!(scene.stranger.open_uploads().await, 1);
    tokio::task::block_in_place(|| uploads(&scene, "", &["--abort", "--journal", "r.csv"]).exits(0));
    assert_eq!(scene.stranger.open_uploads().await, 0);
}

/// What is stale is final: the plain apply turns back before it looks at anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_that_turns_back_still_ends_the_uploads_of_the_one_before() {
    let (sandbox, scene, _dir) = sandboxed(&["a", "large"]).await;
    scene.stranger.put("a", "a stranger's").await;
    let apply = hung(&sandbox, &scene, "UploadPart", "large", &["--partial"]).await;
    tokio::task::block_in_place(|| {
        assert_eq!(apply.signal(Signal::KILL).ended().code, None);
        // Not 4, which says that nothing was written: the one before may have.
        scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]).exits(5);
    });
    assert_eq!(scene.stranger.open_uploads().await, 0);
    assert!(!scene.path("r.csv.journal").exists());
    let outcomes: Vec<_> = scene.report("r.csv").iter().map(|row| row.outcome.name()).collect();
    assert_eq!(outcomes, ["stale", "unknown"]);
}
