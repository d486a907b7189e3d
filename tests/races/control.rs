//! The negative control: a server that ignores preconditions and answers 200. It must never be trusted with a write.

use noclobber::model::row::{Guard, Outcome};

use crate::support::scene::{Scene, count, noise};
use crate::support::{Server, Versioning, server};

/// Nothing was written, the message says what to do, and no probe is left behind.
async fn is_refused(server: &Server, more: &str, sources: &[(&str, Vec<u8>)], taken: &[&str]) -> Scene {
    let scene = Scene::new(server, Versioning::Off).await;
    for (name, bytes) in sources {
        scene.write(&format!("in/{name}"), bytes);
    }
    for key in taken {
        scene.stranger.put(key, format!("a stranger's {key}")).await;
    }
    scene.manifest(more, "  - {source: \"in/*\", key: \"{{ name }}\"}");
    scene.plans();
    scene
}

#[tokio::test]
async fn a_server_that_ignores_preconditions_gets_no_write_at_all() {
    let Some(server) = server("rclone") else { return };
    let small = [("a", noise(1, 10)), ("b", noise(2, 2000)), ("c", noise(3, 300))];
    let cases: [(&str, &[&str]); 3] =
        [("overwrite: never", &[]), ("overwrite: if-changed", &["a", "b"]), ("overwrite: always", &["a", "b", "c"])];
    for (more, taken) in cases {
        let scene = is_refused(&server, more, &small, taken).await;
        let before = scene.objects().await;
        for verb in [&["apply", "plan.jsonl", "--report", "r.csv"][..], &["run", "m.yaml", "--out", "o"]] {
            let ran = scene.noclobber(verb).exits(3);
            ran.says(&[&server.endpoint, "ignores preconditions", "conditional_writes: check-first", "removed"]);
            assert!(scene.objects().await == before, "{more}: something was written, or a probe was left behind");
        }
        assert_eq!(count(&scene.report("r.csv"), Outcome::NotAttempted), small.len(), "{more}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_about_complete_gets_no_multipart_upload() {
    let Some(server) = server("rclone") else { return };
    for more in ["overwrite: never", "overwrite: always"] {
        let large = [("large", noise(1, 64 << 20))];
        let taken: &[&str] = if more == "overwrite: never" { &[] } else { &["large"] };
        let scene = is_refused(&server, more, &large, taken).await;
        let before = scene.objects().await;
        let ran = scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv"]);
        // 1 where its answer to CreateMultipartUpload cannot be read, 3 where it could be asked.
        assert!(matches!(ran.code, Some(1 | 3)), "{ran:?}");
        assert!(
            ran.stderr.contains("honours preconditions") || ran.stderr.contains("ignores preconditions"),
            "{ran:?}"
        );
        assert!(scene.objects().await == before, "{more}: {ran:?}");
        assert_eq!(count(&scene.report("r.csv"), Outcome::NotAttempted), 1, "{more}");
    }
}

#[tokio::test]
async fn check_first_writes_to_such_a_server_says_so_and_still_sees_what_is_there() {
    let Some(server) = server("rclone") else { return };
    let small = [("a", noise(1, 10)), ("b", noise(2, 20)), ("c", noise(3, 30))];
    let scene = is_refused(&server, "conditional_writes: check-first", &small, &[]).await;
    scene.stranger.put("b", b"a stranger's".to_vec()).await;
    scene.noclobber(&["apply", "plan.jsonl", "--report", "r.csv", "--partial"]).exits(5);
    let rows = scene.report("r.csv");
    assert_eq!(
        rows.iter().map(|row| row.outcome).collect::<Vec<_>>(),
        [Outcome::Created, Outcome::Stale, Outcome::Created]
    );
    for row in rows.iter().filter(|row| row.outcome == Outcome::Created) {
        assert_eq!(row.guard.map(Guard::name), Some("check-first"));
    }
    assert_eq!(scene.stranger.get("b").await.as_deref(), Some(&b"a stranger's"[..]));
}
