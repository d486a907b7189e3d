//! An apply that is cut off in the middle of its parts, and the next one that goes on with them.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MultipartUpload};
use noclobber::flow::apply::End;
use noclobber::model::digest::{Checksum, Sha256};
use noclobber::model::event::{Nobody, Watch};
use noclobber::model::row::Outcome;
use noclobber::plan::file::Plan;
use sha2::Digest as _;

use super::striking::{Script, Strike, Striking, apply_through};
use crate::support::scene::{Scene, noise};
use crate::support::{Server, Versioning, server};

const PART_BYTES: u64 = 5 << 20;
/// Four whole parts and a bit.
const FILE_BYTES: usize = (20 << 20) + 777;
const PARTS: usize = 5;

/// The servers whose ListParts can be read and whose conditions on Complete hold.
fn of_parts() -> impl Iterator<Item = Server> {
    ["ministack", "seaweedfs"].into_iter().filter_map(server)
}

fn nobody() -> Arc<dyn Watch> {
    Arc::new(Nobody)
}

/// A plan of `in/*` whose files go up in parts of the smallest size that S3 takes.
async fn in_parts(server: &Server, files: &[(&str, &[u8])]) -> (Scene, Plan) {
    let scene = Scene::new(server, Versioning::On).await;
    for (name, bytes) in files {
        scene.write(&format!("in/{name}"), bytes);
    }
    scene.manifest("overwrite: if-changed", "  - {source: \"in/*\", key: \"{{ name }}\"}");
    let mut plan = scene.plans();
    for step in &mut plan.steps {
        let local = step.local.as_mut().unwrap();
        let bytes = std::fs::read(scene.path(&step.source)).unwrap();
        local.checksum = Some(composite(&bytes));
    }
    (scene, plan)
}

fn composite(bytes: &[u8]) -> Checksum {
    let mut whole = sha2::Sha256::new();
    let parts = bytes.chunks(usize::try_from(PART_BYTES).unwrap());
    let count = u32::try_from(parts.len()).unwrap();
    for part in parts {
        whole.update(sha2::Sha256::digest(part));
    }
    Checksum::Composite { digest: Sha256(whole.finalize().into()), parts: count, part_bytes: PART_BYTES }
}

/// Applies until so many parts are up, and then dies: its tasks, its connections, its journal left as they are.
fn die_after_parts(scene: &Scene, plan: &Plan, parts: usize) {
    std::thread::scope(|threads| {
        let died = threads.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let script = Script { stall_after_parts: Some(parts), ..Script::default() };
                let store = Striking::new(scene, &plan.header.targets[0], HashMap::new(), script).await;
                // One part at a time: then those before the one that stalls are whole.
                let slowly = |settings| noclobber::flow::apply::Settings { pool_bytes: 5 << 20, ..settings };
                tokio::select! {
                    applied = apply_through(scene, plan, &store, nobody(), slowly) => panic!("it lived: {applied:?}"),
                    () = store.stalled.notified() => {}
                }
            });
        });
        died.join().unwrap();
    });
}

async fn open_uploads(scene: &Scene) -> Vec<MultipartUpload> {
    let list = scene.stranger.client.list_multipart_uploads().bucket(&scene.stranger.bucket).send().await;
    list.unwrap().uploads().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_up_are_not_sent_again() {
    for server in of_parts() {
        for hide_part_checksums in [false, true] {
            let bytes = noise(11, FILE_BYTES);
            let (scene, plan) = in_parts(&server, &[("large", &bytes)]).await;
            die_after_parts(&scene, &plan, 3);
            let case = format!("{}, hidden {hide_part_checksums}", server.name);
            assert_eq!(open_uploads(&scene).await.len(), 1, "{case}");

            let script = Script { hide_part_checksums, ..Script::default() };
            let store = Striking::new(&scene, &plan.header.targets[0], HashMap::new(), script).await;
            let (applied, rows) = apply_through(&scene, &plan, &store, nobody(), |settings| settings).await;
            assert!(matches!(applied.end, End::Finished), "{case}: {applied:?}");
            assert_eq!(rows[0].outcome, Outcome::Created, "{case}: {rows:#?}");
            assert_eq!(rows[0].message, "3 parts of it were sent by an earlier attempt", "{case}");
            assert_eq!((store.calls("create_upload"), store.calls("put_part")), (0, PARTS - 3), "{case}");
            scene.hold_to_its_word(&rows[0], &bytes).await;
            assert!(open_uploads(&scene).await.is_empty(), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_not_the_files_is_sent_again() {
    for server in of_parts() {
        let bytes = noise(12, FILE_BYTES);
        let (scene, plan) = in_parts(&server, &[("large", &bytes)]).await;
        die_after_parts(&scene, &plan, 3);
        // Somebody else put another part in the place of the second, of the same size.
        let upload = open_uploads(&scene).await.remove(0);
        let other = noise(99, usize::try_from(PART_BYTES).unwrap());
        let part = scene.stranger.client.upload_part().bucket(&scene.stranger.bucket).key("large").part_number(2);
        let part = part.upload_id(upload.upload_id().unwrap()).checksum_algorithm("SHA256".into());
        part.body(other.into()).send().await.unwrap();

        let store = Striking::new(&scene, &plan.header.targets[0], HashMap::new(), Script::default()).await;
        let (_, rows) = apply_through(&scene, &plan, &store, nobody(), |settings| settings).await;
        assert_eq!(rows[0].outcome, Outcome::Created, "{}: {rows:#?}", server.name);
        assert_eq!((store.calls("create_upload"), store.calls("put_part")), (0, PARTS - 2), "{}", server.name);
        scene.hold_to_its_word(&rows[0], &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_gone_is_begun_anew() {
    for server in of_parts() {
        let bytes = noise(13, FILE_BYTES);
        let (scene, plan) = in_parts(&server, &[("large", &bytes)]).await;
        die_after_parts(&scene, &plan, 2);
        let upload = open_uploads(&scene).await.remove(0);
        let abort = scene.stranger.client.abort_multipart_upload().bucket(&scene.stranger.bucket).key("large");
        abort.upload_id(upload.upload_id().unwrap()).send().await.unwrap();

        let store = Striking::new(&scene, &plan.header.targets[0], HashMap::new(), Script::default()).await;
        let (_, rows) = apply_through(&scene, &plan, &store, nobody(), |settings| settings).await;
        assert_eq!(rows[0].outcome, Outcome::Created, "{}: {rows:#?}", server.name);
        assert_eq!((store.calls("create_upload"), store.calls("put_part")), (1, PARTS), "{}", server.name);
        scene.hold_to_its_word(&rows[0], &bytes).await;
        assert!(open_uploads(&scene).await.is_empty(), "{}", server.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_that_is_lost_while_the_parts_go_is_not_completed() {
    for server in of_parts() {
        let bytes = noise(14, FILE_BYTES);
        let (scene, plan) = in_parts(&server, &[("large", &bytes)]).await;
        let strikes = HashMap::from([("large".to_owned(), Strike::Put(b"theirs".to_vec()))]);
        let script = Script { early: true, ..Script::default() };
        let store = Striking::new(&scene, &plan.header.targets[0], strikes, script).await;
        let (_, rows) = apply_through(&scene, &plan, &store, nobody(), |settings| settings).await;
        assert_eq!(rows[0].outcome, Outcome::Lost, "{}: {rows:#?}", server.name);
        assert_eq!(store.calls("complete"), 0, "{}: a race that was lost was paid for", server.name);
        assert_eq!(scene.stranger.get("large").await.as_deref(), Some(&b"theirs"[..]));
        assert!(open_uploads(&scene).await.is_empty(), "{}", server.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_could_not_be_aborted_stays_known_and_the_next_apply_aborts_it() {
    for server in of_parts() {
        let bytes = noise(15, FILE_BYTES);
        let (scene, plan) = in_parts(&server, &[("large", &bytes)]).await;
        let strikes = HashMap::from([("large".to_owned(), Strike::Put(b"theirs".to_vec()))]);
        let script = Script { early: true, aborts_fail: true, ..Script::default() };
        let store = Striking::new(&scene, &plan.header.targets[0], strikes, script).await;
        let (_, rows) = apply_through(&scene, &plan, &store, nobody(), |settings| settings).await;
        assert_eq!(rows[0].outcome, Outcome::Lost, "{}: {rows:#?}", server.name);
        let upload = open_uploads(&scene).await.remove(0);
        let journal = std::fs::read_to_string(scene.path("r.csv.journal")).unwrap();
        assert!(journal.contains(upload.upload_id().unwrap()), "{}: {journal}", server.name);

        let store = Striking::new(&scene, &plan.header.targets[0], HashMap::new(), Script::default()).await;
        let (_, again) = apply_through(&scene, &plan, &store, nobody(), |settings| settings).await;
        assert_eq!(again, rows, "{}: a final row is not done again", server.name);
        assert!(open_uploads(&scene).await.is_empty(), "{}", server.name);
        assert!(!scene.path("r.csv.journal").exists(), "{}", server.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_too_large_to_hold_are_streamed() {
    for server in of_parts() {
        let bytes = noise(16, FILE_BYTES);
        let (scene, plan) = in_parts(&server, &[("large", &bytes)]).await;
        let streamed = |settings| noclobber::flow::apply::Settings { part_held_bytes: 1 << 20, ..settings };
        let store = Striking::new(&scene, &plan.header.targets[0], HashMap::new(), Script::default()).await;
        let (_, rows) = apply_through(&scene, &plan, &store, nobody(), streamed).await;
        assert_eq!(rows[0].outcome, Outcome::Created, "{}: {rows:#?}", server.name);
        scene.hold_to_its_word(&rows[0], &bytes).await;
    }
}

/// Somebody completes the upload that we left, with the parts that are there.
async fn complete_it_for_us(scene: &Scene, bytes: &[u8]) {
    let upload = open_uploads(scene).await.remove(0);
    let (client, bucket) = (&scene.stranger.client, &scene.stranger.bucket);
    let id = upload.upload_id().unwrap();
    let listed = client.list_parts().bucket(bucket).key("large").upload_id(id).send().await.unwrap();
    let contents = bytes.chunks(usize::try_from(PART_BYTES).unwrap());
    let parts = listed.parts().iter().zip(contents).map(|(part, content)| {
        let named = CompletedPart::builder().part_number(part.part_number().unwrap()).e_tag(part.e_tag().unwrap());
        named.checksum_sha256(Sha256(sha2::Sha256::digest(content).into()).to_base64()).build()
    });
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
    let complete = client.complete_multipart_upload().bucket(bucket).key("large").upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_somebody_else_completed_is_not_taken_for_our_write() {
    for server in of_parts() {
        for buried in [false, true] {
            let bytes = noise(17, FILE_BYTES);
            let (scene, plan) = in_parts(&server, &[("large", &bytes)]).await;
            die_after_parts(&scene, &plan, 2);
            complete_it_for_us(&scene, &bytes).await;
            if buried {
                scene.stranger.put("large", "theirs").await;
            }
            let store = Striking::new(&scene, &plan.header.targets[0], HashMap::new(), Script::default()).await;
            let (_, rows) = apply_through(&scene, &plan, &store, nobody(), |settings| settings).await;
            let case = format!("{}, buried {buried}: {rows:#?}", server.name);
            assert_eq!(rows[0].outcome, Outcome::Unknown, "{case}");
            assert!(rows[0].message.contains("10485760 bytes, and 20972297 were reviewed"), "{case}");
        }
    }
}
