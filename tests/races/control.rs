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

#[tokio::test]
async fn check_first_finds_what_somebody_wrote_after_the_preflight() {
    let Some(server) = server("rclone") else { return };
    let sources: Vec<(String, Vec<u8>)> = (0..60).map(|n| (format!("{n:02}"), noise(n, 2000))).collect();
    let sources: Vec<(&str, Vec<u8>)> = sources.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
    let scene = is_refused(&server, "conditional_writes: check-first", &sources, &[]).await;
    let apply = scene.start(&["apply", "plan.jsonl", "--report", "r.csv", "--json", "--concurrency", "1"]);
    // The preflight is over once the first row is told; the last key is far from its turn.
    let apply = apply.until(|line| line.contains(r#""event":"row""#));
    scene.stranger.put("59", "a stranger's").await;
    let ran = apply.ended().exits(5);
    let rows = scene.report("r.csv");
    assert_eq!(count(&rows, Outcome::Created), 59, "{ran:?}");
    assert_eq!((rows[59].outcome, &*rows[59].error_code), (Outcome::Lost, "CheckFirst"), "{:#?}", rows[59]);
    assert!(rows.iter().all(|row| row.guard == Some(Guard::CheckFirst)), "{rows:#?}");
    assert_eq!(scene.stranger.get("59").await.as_deref(), Some(&b"a stranger's"[..]));
}

/// Whatever is not the target's own setting does not lift the demand for conditions.
#[tokio::test]
async fn check_first_comes_from_the_target_in_the_manifest_and_from_nowhere_else() {
    let Some(server) = server("rclone") else { return };
    let scene = is_refused(&server, "", &[("a", noise(1, 10))], &[]).await;
    scene.write(".aws/config", "[default]\nconditional_writes = check-first\nconditional-writes = check-first\n");
    let names = ["CONDITIONAL_WRITES", "NOCLOBBER_CONDITIONAL_WRITES", "AWS_CONDITIONAL_WRITES"];
    for verb in [&["plan", "m.yaml", "-o", "q.jsonl"][..], &["apply", "q.jsonl"], &["run", "m.yaml", "--out", "o"]] {
        let mut command = scene.command(verb);
        command.envs(names.map(|name| (name, "check-first")));
        let ran = crate::support::scene::Ran::of(&command.output().unwrap());
        ran.exits(if verb[0] == "plan" { 0 } else { 3 });
        let flag = [verb, &["--conditional-writes", "check-first"]].concat();
        scene.noclobber(&flag).exits(64);
    }
    assert!(scene.objects().await.is_empty());

    let at = |place: &str| {
        let entry = |more: &str| format!("entries:\n  - {{source: in/a, key: a{more}}}\n");
        let top = format!("version: 1\nregion: us-east-1\nendpoint: {}\n", server.endpoint);
        let setting = "conditional_writes: check-first";
        match place {
            "defaults" => format!("{top}bucket: a-bucket\ndefaults: {{{setting}}}\n{}", entry("")),
            "entry" => format!("{top}bucket: a-bucket\n{}", entry(&format!(", {setting}"))),
            "beside targets" => {
                format!("version: 1\n{setting}\ntargets: {{main: {{bucket: a-bucket}}}}\n{}", entry(", target: main"))
            }
            other => panic!("{other}"),
        }
    };
    for place in ["defaults", "entry", "beside targets"] {
        scene.write("elsewhere.yaml", at(place));
        let ran = scene.noclobber(&["check", "elsewhere.yaml"]).exits(65);
        assert!(ran.stderr.contains("conditional_writes"), "{place}: {ran:?}");
    }
    scene.write("l.csv", "source,key,conditional_writes\nin/a,a,check-first\n");
    scene.write("list.yaml", "version: 1\nbucket: a-bucket\nentries:\n  - list: l.csv\n");
    let ran = scene.noclobber(&["check", "list.yaml"]).exits(65);
    assert!(ran.stderr.contains("conditional_writes"), "{ran:?}");
}
