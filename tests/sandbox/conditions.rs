//! Preconditions: what S3 answers, and that a race has exactly one winner.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::support::{BUCKET, MIB, code, world};

#[tokio::test]
async fn if_none_match_creates_what_is_absent_and_nothing_else() {
    let world = world().await;
    let put = || world.client.put_object().bucket(BUCKET).key("a").if_none_match("*").body(b"one".to_vec().into());
    put().send().await.unwrap();
    assert_eq!(code(put().send().await), "412 PreconditionFailed");
    world.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    // A delete marker counts as absent.
    put().send().await.unwrap();
    let other = world.client.put_object().bucket(BUCKET).key("b").if_none_match("\"0123\"").send().await;
    assert_eq!(code(other), "501 NotImplemented");
    assert_eq!(world.blobs(), 2);
}

#[tokio::test]
async fn if_match_replaces_what_it_names_and_nothing_else() {
    let world = world().await;
    let put = |etag: &str| world.client.put_object().bucket(BUCKET).key("a").if_match(etag).body(b"2".to_vec().into());
    // 404, not 412: there is nothing to match.
    assert_eq!(code(put("\"0123\"").send().await), "404 NoSuchKey");
    let first = world.put("a", "1").await.e_tag.unwrap();
    assert_eq!(code(put("\"0123\"").send().await), "412 PreconditionFailed");
    put(&first).send().await.unwrap();
    assert_eq!(code(put(&first).send().await), "412 PreconditionFailed");
    world.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!(code(put(&first).send().await), "404 NoSuchKey");
}

#[tokio::test]
async fn complete_obeys_both_conditions_and_a_refused_upload_is_still_there() {
    let world = world().await;
    let etag = world.put("a", "1").await.e_tag.unwrap();
    let upload = world.create_upload("a").await;
    let parts = world.upload("a", &upload, &[b"two"]).await;
    let complete = || {
        let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("a");
        complete.upload_id(&upload).multipart_upload(parts.clone())
    };
    assert_eq!(code(complete().if_none_match("*").send().await), "412 PreconditionFailed");
    assert_eq!(code(complete().if_match("\"0123\"").send().await), "412 PreconditionFailed");
    complete().if_match(&etag).send().await.unwrap();
    assert_eq!(world.read("a").await.unwrap(), "two");
    assert_eq!(code(complete().if_none_match("*").send().await), "404 NoSuchUpload");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_creates_have_exactly_one_winner() {
    let world = world().await;
    for round in 0..40 {
        let key = format!("key-{round}");
        let writers = (0..8).map(|writer| {
            let put = world.client.put_object().bucket(BUCKET).key(&key).if_none_match("*");
            let put = put.body(format!("writer {writer}").into_bytes().into());
            tokio::spawn(async move { put.send().await.map(|_| format!("writer {writer}")) })
        });
        let won = winner(writers.collect()).await;
        assert_eq!(world.read(&key).await, Ok(won), "{key}");
        assert_eq!(world.versions(&key).await, 1, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_replaces_have_exactly_one_winner() {
    let world = world().await;
    let mut etag = world.put("a", "first").await.e_tag.unwrap();
    for round in 0..40 {
        let writers = (0..8).map(|writer| {
            let body = format!("round {round}, writer {writer}");
            let put = world.client.put_object().bucket(BUCKET).key("a").if_match(&etag);
            let put = put.body(body.clone().into_bytes().into());
            tokio::spawn(async move { put.send().await.map(|_| body) })
        });
        let won = winner(writers.collect()).await;
        assert_eq!(world.read("a").await, Ok(won));
        etag = world.head("a").await.e_tag.unwrap();
    }
    assert_eq!(world.versions("a").await, 41);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_completes_and_puts_have_exactly_one_winner() {
    let world = world().await;
    for round in 0..15 {
        let key = format!("key-{round}");
        let mut writers = Vec::new();
        for writer in 0..4 {
            let body = format!("upload {writer}");
            let upload = world.create_upload(&key).await;
            let parts = world.upload(&key, &upload, &[body.as_bytes()]).await;
            let complete = world.client.complete_multipart_upload().bucket(BUCKET).key(&key).upload_id(upload);
            let complete = complete.multipart_upload(parts).if_none_match("*");
            writers.push(tokio::spawn(async move {
                complete.send().await.map(|_| body).map_err(|e| code::<(), _>(Err(e)))
            }));
        }
        for writer in 0..4 {
            let body = format!("put {writer}");
            let put = world.client.put_object().bucket(BUCKET).key(&key).if_none_match("*");
            let put = put.body(body.clone().into_bytes().into());
            writers
                .push(tokio::spawn(async move { put.send().await.map(|_| body).map_err(|e| code::<(), _>(Err(e))) }));
        }
        let won = winner(writers).await;
        assert_eq!(world.read(&key).await, Ok(won), "{key}");
    }
}

/// Waits for all, asserts that one won, and returns what it wrote.
async fn winner<E: Send + 'static>(writers: Vec<tokio::task::JoinHandle<Result<String, E>>>) -> String {
    let mut winners = Vec::new();
    for writer in writers {
        winners.extend(writer.await.unwrap().ok());
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    winners.remove(0)
}

#[tokio::test]
async fn delete_obeys_if_match() {
    let world = world().await;
    let delete = |etag: &str| world.client.delete_object().bucket(BUCKET).key("a").if_match(etag);
    assert_eq!(code(delete("*").send().await), "404 NoSuchKey");
    let etag = world.put("a", "1").await.e_tag.unwrap();
    assert_eq!(code(delete("\"0123\"").send().await), "412 PreconditionFailed");
    assert_eq!(world.read("a").await.unwrap(), "1");
    let deleted = delete(&etag).send().await.unwrap();
    assert_eq!(deleted.delete_marker, Some(true));
    assert_eq!(code(delete("*").send().await), "412 PreconditionFailed");
}

#[tokio::test]
async fn copy_obeys_the_conditions_of_both_ends() {
    let world = world().await;
    let source = world.put("from", "bytes").await;
    let etag = source.e_tag.clone().unwrap();
    let copy = || world.client.copy_object().bucket(BUCKET).key("to").copy_source(format!("{BUCKET}/from"));
    assert_eq!(code(copy().copy_source_if_match("\"0123\"").send().await), "412 PreconditionFailed");
    assert_eq!(code(copy().copy_source_if_none_match(&etag).send().await), "412 PreconditionFailed");
    assert_eq!(code(copy().if_match(&etag).send().await), "404 NoSuchKey");
    copy().copy_source_if_match(&etag).if_none_match("*").send().await.unwrap();
    assert_eq!(code(copy().if_none_match("*").send().await), "412 PreconditionFailed");
    copy().if_match(&etag).send().await.unwrap();
    assert_eq!(world.versions("to").await, 2);
}

#[tokio::test]
async fn a_wrong_expected_owner_is_refused_by_reads_writes_and_lists() {
    let world = world().await;
    world.put("a", "1").await;
    let c = &world.client;
    let stranger = "999999999999";
    let put = c.put_object().bucket(BUCKET).key("b").expected_bucket_owner(stranger).send().await;
    assert_eq!(code(put), "403 AccessDenied");
    let get = c.get_object().bucket(BUCKET).key("a").expected_bucket_owner(stranger).send().await;
    assert_eq!(code(get), "403 AccessDenied");
    let list = c.list_objects_v2().bucket(BUCKET).expected_bucket_owner(stranger).send().await;
    assert_eq!(code(list), "403 AccessDenied");
    let create = c.create_multipart_upload().bucket(BUCKET).key("b").expected_bucket_owner(stranger).send().await;
    assert_eq!(code(create), "403 AccessDenied");
    let head = c.head_bucket().bucket(BUCKET).expected_bucket_owner(stranger).send().await;
    assert!(code(head).starts_with("403"));
    let copy = c.copy_object().bucket(BUCKET).key("b").copy_source(format!("{BUCKET}/a"));
    assert_eq!(code(copy.expected_source_bucket_owner(stranger).send().await), "403 AccessDenied");
    assert_eq!(world.versions("b").await, 0);
    c.put_object().bucket(BUCKET).key("b").expected_bucket_owner(crate::support::OWNER).send().await.unwrap();
}

#[tokio::test]
async fn a_refused_body_of_any_size_leaves_no_blob() {
    let world = world().await;
    world.put("a", "1").await;
    for size in [10, 3 * MIB] {
        let put = world.client.put_object().bucket(BUCKET).key("a").if_none_match("*").body(vec![7; size].into());
        assert_eq!(code(put.send().await), "412 PreconditionFailed");
    }
    assert_eq!(world.blobs(), 1);
    let nothing = CompletedMultipartUpload::builder().parts(CompletedPart::builder().part_number(1).build()).build();
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("a").upload_id("none");
    assert_eq!(code(complete.multipart_upload(nothing).send().await), "404 NoSuchUpload");
}
