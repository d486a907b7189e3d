//! Rollbacks at real servers: those that honour conditions on copies and deletes, and those that ignore them.

use aws_sdk_s3::primitives::ByteStream;
use noclobber::model::entry::Key;
use noclobber::model::head::{Head, Remote, VersionId};
use noclobber::model::row::{Guard, Outcome, Row};
use noclobber::model::step::Step;
use noclobber::model::target::{Addressing, ConditionalWrites, Target};
use noclobber::store::s3::{Keys, S3};
use noclobber::store::{Buried, Store as _};
use rustix::process::Signal;

use crate::support::scene::{Scene, count, noise};
use crate::support::{REGION, Server, Versioning, rollback as made, server};

const RUNS: &[u8] = b"what the run wrote";

/// A bucket that a run wrote to, and the plan that undoes it.
struct Stage {
    scene: Scene,
    target: Target,
    store: S3,
    steps: Vec<Step>,
}

impl Stage {
    async fn new(server: &Server) -> Self {
        let scene = Scene::new(server, Versioning::On).await;
        let target = Target {
            name: "default".into(),
            bucket: scene.stranger.bucket.clone(),
            endpoint: server.endpoint.clone(),
            region: REGION.into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        let keys = Keys::Static { access_key: server.access_key.clone(), secret_key: server.secret_key.clone() };
        let store = S3::connect(&target, keys).await.unwrap();
        Self { scene, target, store, steps: Vec::new() }
    }

    async fn head(&self, key: &str) -> Head {
        match self.store.head(&Key::new(key)).await.unwrap() {
            Remote::Present(head) => *head,
            other => panic!("{key}: {other:?}"),
        }
    }

    /// The run created it: it is deleted.
    async fn created(&mut self, key: &str) {
        self.scene.stranger.put(key, RUNS).await;
        self.steps.push(made::delete(key, &self.head(key).await));
    }

    /// The run replaced it, or wrote over it and it was deleted since: it is restored.
    async fn replaced(&mut self, key: &str, earlier: &[u8], is_there: bool) {
        let stranger = &self.scene.stranger;
        let body = ByteStream::from(earlier.to_vec());
        let put = stranger.client.put_object().bucket(&stranger.bucket).key(key).body(body);
        let put = put.content_type("text/x-earlier").metadata("team", "finance").send().await.unwrap();
        let version = VersionId(put.version_id().unwrap().to_owned());
        let now = if is_there {
            stranger.put(key, RUNS).await;
            Some(self.head(key).await)
        } else {
            stranger.delete(key).await;
            None
        };
        let buried = self.store.buried(&Key::new(key), &version).await.unwrap();
        let Buried::There { head, carried } = buried else { panic!("{buried:?}") };
        self.steps.push(made::restore(key, now.as_ref(), &head, carried));
    }

    fn plans(&mut self, guard: Option<Guard>) {
        self.steps.iter_mut().for_each(|step| step.guard = guard);
        let (_, bytes) = made::plan(&self.target, self.steps.clone());
        self.scene.write("undo.jsonl", bytes);
    }

    /// All versions and markers of all keys, and nothing of a probe.
    async fn history(&self) -> Vec<(String, String, bool)> {
        let stranger = &self.scene.stranger;
        let listed = stranger.client.list_object_versions().bucket(&stranger.bucket).send().await.unwrap();
        let of =
            |key: Option<&str>, id: Option<&str>, marker| (key.unwrap().to_owned(), id.unwrap().to_owned(), marker);
        let versions = listed.versions().iter().map(|version| of(version.key(), version.version_id(), false));
        let markers = listed.delete_markers().iter().map(|marker| of(marker.key(), marker.version_id(), true));
        let mut all: Vec<_> = versions.chain(markers).collect();
        all.sort();
        assert!(all.iter().all(|(key, ..)| !key.contains("probe")), "a scratch object is left: {all:?}");
        all
    }

    /// One copy or one marker for each row that claims it.
    async fn hold(&self, rows: &[Row], earlier: &[u8]) {
        let history = self.history().await;
        for row in rows {
            self.scene.hold_to_its_word(row, earlier).await;
            let markers: Vec<_> = history.iter().filter(|(key, _, marker)| *key == row.key && *marker).collect();
            match row.outcome {
                Outcome::Deleted => {
                    let [(_, marker, _)] = &markers[..] else { panic!("{markers:?} {row:#?}") };
                    assert_eq!(*marker, row.version_after, "{row:#?}");
                }
                Outcome::Restored => {
                    let head = self.scene.stranger.head(&row.key).await.unwrap();
                    assert_eq!(head.content_type(), Some("text/x-earlier"), "{row:#?}");
                    let team = head.metadata().and_then(|metadata| metadata.get("team"));
                    assert_eq!(team.map(String::as_str), Some("finance"), "{row:#?}");
                }
                other => assert!(row.action == "restore" || markers.is_empty(), "{other} {row:#?}"),
            }
        }
    }
}

async fn staged(server: &Server) -> Stage {
    let mut stage = Stage::new(server).await;
    stage.replaced("over", b"earlier", true).await;
    stage.replaced("anew", b"earlier", tells_no_hidden_tags(server)).await;
    stage.created("created").await;
    stage
}

/// GetObjectTagging of a version under a delete marker says that there is no such key.
fn tells_no_hidden_tags(server: &Server) -> bool {
    server.name == "ministack"
}

const APPLY: [&str; 4] = ["apply", "undo.jsonl", "--report", "r.csv"];

#[tokio::test]
async fn a_server_that_honours_conditions_is_asked_and_then_trusted() {
    let Some(server) = server("seaweedfs") else { return };
    let mut stage = staged(&server).await;
    stage.plans(None);
    stage.scene.noclobber(&APPLY).exits(0);
    let rows = stage.scene.report("r.csv");
    stage.hold(&rows, b"earlier").await;
    assert_eq!((count(&rows, Outcome::Restored), count(&rows, Outcome::Deleted)), (2, 1), "{rows:#?}");
    assert!(rows.iter().all(|row| row.guard == Some(Guard::Tested)), "{rows:#?}");
    // All is final: a second apply prints it and sends nothing.
    let before = stage.history().await;
    stage.scene.noclobber(&APPLY).exits(0);
    assert_eq!(stage.history().await, before);
}

#[tokio::test]
async fn a_server_that_ignores_conditions_on_copies_gets_none_unless_the_plan_says_check_first() {
    for name in ["ministack", "moto"] {
        let Some(server) = server(name) else { continue };
        let mut stage = staged(&server).await;
        stage.plans(None);
        let before = stage.history().await;
        let ran = stage.scene.noclobber(&APPLY).exits(3);
        ran.says(&["ignores preconditions", "CopyObject", "Plan the rollback again", "check-first"]);
        assert_eq!(stage.history().await, before, "{name}");
        let rows = stage.scene.report("r.csv");
        assert_eq!(count(&rows, Outcome::NotAttempted), 3, "{rows:#?}");

        stage.plans(Some(Guard::CheckFirst));
        stage.scene.noclobber(&["apply", "undo.jsonl", "--report", "s.csv"]).exits(0);
        let rows = stage.scene.report("s.csv");
        stage.hold(&rows, b"earlier").await;
        assert_eq!((count(&rows, Outcome::Restored), count(&rows, Outcome::Deleted)), (2, 1), "{rows:#?}");
        assert!(rows.iter().all(|row| row.guard == Some(Guard::CheckFirst)), "{rows:#?}");
    }
}

/// Its deletes are another matter.
#[tokio::test]
async fn what_a_server_ignores_on_copies_it_may_honour_on_deletes() {
    for name in ["ministack", "moto"] {
        let Some(server) = server(name) else { continue };
        let mut stage = Stage::new(&server).await;
        stage.created("created").await;
        stage.plans(None);
        stage.scene.noclobber(&APPLY).exits(0);
        let rows = stage.scene.report("r.csv");
        stage.hold(&rows, b"").await;
        assert_eq!((rows[0].outcome, rows[0].guard), (Outcome::Deleted, Some(Guard::Tested)), "{rows:#?}");
    }
}

#[tokio::test]
async fn what_somebody_writes_while_a_rollback_runs_is_left_alone() {
    for (name, guard) in [("seaweedfs", None), ("ministack", Some(Guard::CheckFirst))] {
        let Some(server) = server(name) else { continue };
        let mut stage = Stage::new(&server).await;
        for n in 0..20 {
            stage.replaced(&format!("{n:02}-replaced"), b"earlier", true).await;
            stage.created(&format!("{n:02}-created")).await;
        }
        stage.plans(guard);
        let apply = stage.scene.start(&[&APPLY[..], &["--json", "--concurrency", "1"]].concat());
        // The preflight is over once the first row is told; the last keys are far from their turn.
        let apply = apply.until(|line| line.contains(r#""event":"row""#));
        for key in ["19-replaced", "19-created"] {
            stage.scene.stranger.put(key, "theirs").await;
        }
        apply.ended().exits(5);
        let rows = stage.scene.report("r.csv");
        stage.hold(&rows, b"earlier").await;
        let (lost, done) = (count(&rows, Outcome::Lost), count(&rows, Outcome::Restored));
        assert_eq!((lost, done, count(&rows, Outcome::Deleted)), (2, 19, 19), "{name}: {rows:#?}");
        for key in ["19-replaced", "19-created"] {
            assert_eq!(stage.scene.stranger.get(key).await.as_deref(), Some(&b"theirs"[..]), "{name}");
        }
    }
}

#[tokio::test]
async fn a_rollback_that_is_killed_is_finished_by_the_same_command() {
    for (name, guard) in [("seaweedfs", None), ("ministack", Some(Guard::CheckFirst))] {
        let Some(server) = server(name) else { continue };
        for signal in [Signal::KILL, Signal::INT] {
            let mut stage = Stage::new(&server).await;
            for n in 0..30 {
                let is_there = n % 2 == 0 || tells_no_hidden_tags(&server);
                stage.replaced(&format!("{n:02}-replaced"), b"earlier", is_there).await;
                stage.created(&format!("{n:02}-created")).await;
            }
            stage.plans(guard);
            let apply = stage.scene.start(&[&APPLY[..], &["--json", "--concurrency", "8"]].concat());
            let apply = apply.until(|line| line.contains(r#""event":"row""#)).signal(signal);
            apply.ended();
            stage.scene.noclobber(&APPLY).exits(0);
            let rows = stage.scene.report("r.csv");
            stage.hold(&rows, b"earlier").await;
            let done = (count(&rows, Outcome::Restored), count(&rows, Outcome::Deleted));
            assert_eq!(done, (30, 30), "{name} {signal:?}: {rows:#?}");
        }
    }
}

#[tokio::test]
async fn a_large_version_is_brought_back_in_parts() {
    for (name, guard) in [("seaweedfs", None), ("ministack", None)] {
        let Some(server) = server(name) else { continue };
        let earlier = noise(9, (5 << 20) + 17);
        let mut stage = Stage::new(&server).await;
        stage.replaced("large", &earlier, true).await;
        stage.plans(guard);
        // Its conditions on CompleteMultipartUpload count then, not those on CopyObject.
        stage.scene.noclobber(&[&APPLY[..], &["--copy-limit", "5MiB"]].concat()).exits(0);
        let rows = stage.scene.report("r.csv");
        stage.hold(&rows, &earlier).await;
        assert!(rows[0].etag_after.ends_with("-2"), "{name}: {rows:#?}");
        assert_eq!(stage.scene.stranger.open_uploads().await, 0);
    }
}
