//! What goes wrong on schedule: each kind, what the client sees, and what is stored.

use aws_sdk_s3::types::ServerSideEncryption;
use noclobber::sandbox::{Error, Fault, Keys, Kind, Options, serve};

use crate::support::{BUCKET, MIB, World, code, md5, world};

/// Puts a body once with a fault, and tells the answer and what a calm look finds.
async fn put_with(world: &World, kind: Kind, body: Vec<u8>) -> (String, bool) {
    world.sandbox.faults().clear();
    world.sandbox.faults().push(Fault::on("PutObject", kind.clone()).once());
    let key = format!("{kind:?}-{}", body.len());
    let put = world.client.put_object().bucket(BUCKET).key(&key).if_none_match("*").body(body.into());
    let answer = match put.send().await {
        Ok(_) => "200".to_owned(),
        error => code(error),
    };
    assert_eq!(world.sandbox.faults().hits(), 1, "{kind:?}");
    (answer, world.versions(&key).await == 1)
}

#[tokio::test]
async fn each_kind_answers_as_named_and_does_or_does_not_store() {
    let world = world().await;
    let kinds = [
        (Kind::LostAfterCommit, "no answer", true),
        (Kind::LostBeforeCommit, "no answer", false),
        (Kind::Conflict, "409 ConditionalRequestConflict", false),
        (Kind::SlowDown, "503 SlowDown", false),
        (Kind::TooManyRequests, "429 TooManyRequests", false),
        (Kind::ErrorBeforeCommit, "500 InternalError", false),
        (Kind::ErrorAfterCommit, "500 InternalError", true),
        (Kind::Forbidden, "403 AccessDenied", false),
        (Kind::ExpiredToken, "400 ExpiredToken", false),
        (Kind::PermanentRedirect, "301 PermanentRedirect", false),
        (Kind::RequestTimeout, "400 RequestTimeout", false),
        (Kind::SlowBody { ms: 1 }, "200", true),
        (Kind::SlowAnswer { ms: 1 }, "200", true),
    ];
    for (kind, answer, stored) in kinds {
        // Large bodies too: an answer must not be lost because the body was not read.
        for size in [3, 3 * MIB] {
            let found = put_with(&world, kind.clone(), vec![1; size]).await;
            assert_eq!(found, (answer.to_owned(), stored), "{kind:?}, {size} bytes");
        }
    }
}

#[tokio::test]
async fn complete_has_its_own_ways_to_be_in_doubt() {
    let world = world().await;
    let kinds = [
        (Kind::LostAfterCommit, "no answer", true),
        (Kind::LostBeforeCommit, "no answer", false),
        (Kind::ErrorBodyAfterCommit, "200 InternalError", true),
        (Kind::ErrorBodyBeforeCommit, "200 InternalError", false),
        (Kind::NoSuchUploadAfterCommit, "404 NoSuchUpload", true),
        (Kind::Conflict, "409 ConditionalRequestConflict", false),
    ];
    for (kind, answer, stored) in kinds {
        let key = format!("{kind:?}");
        let upload = world.create_upload(&key).await;
        let parts = world.upload(&key, &upload, &[b"body"]).await;
        world.sandbox.faults().push(Fault::on("CompleteMultipartUpload", kind).once());
        let complete = world.client.complete_multipart_upload().bucket(BUCKET).key(&key).upload_id(upload);
        assert_eq!(code(complete.multipart_upload(parts).send().await), answer, "{key}");
        assert_eq!(world.read(&key).await.is_ok(), stored, "{key}");
    }
    world.put("from", "x").await;
    world.sandbox.faults().push(Fault::on("CopyObject", Kind::ErrorBodyAfterCommit).once());
    let copy = world.client.copy_object().bucket(BUCKET).key("to").copy_source(format!("{BUCKET}/from")).send().await;
    assert_eq!(code(copy), "200 InternalError");
    assert_eq!(world.read("to").await.unwrap(), "x");
}

#[tokio::test]
async fn ignored_conditions_let_a_write_overwrite() {
    let world = world().await;
    world.put("a", "1").await;
    world.sandbox.faults().push(Fault::on("PutObject", Kind::ConditionsIgnored).once());
    let put = || world.client.put_object().bucket(BUCKET).key("a").if_none_match("*").body(b"2".to_vec().into());
    put().send().await.unwrap();
    assert_eq!(world.read("a").await.unwrap(), "2");
    assert_eq!(code(put().send().await), "412 PreconditionFailed");
}

#[tokio::test]
async fn another_writer_strikes_before_the_condition_is_judged() {
    let world = world().await;
    let other = || Kind::AnotherWriter { text: "theirs".to_owned() };
    world.sandbox.faults().push(Fault::on("PutObject", other()).once());
    let put = world.client.put_object().bucket(BUCKET).key("a").if_none_match("*").body(b"mine".to_vec().into());
    assert_eq!(code(put.send().await), "412 PreconditionFailed");
    assert_eq!((world.read("a").await.unwrap().as_str(), world.versions("a").await), ("theirs", 1));

    let etag = world.put("b", "reviewed").await.e_tag.unwrap();
    let upload = world.create_upload("b").await;
    let parts = world.upload("b", &upload, &[b"mine"]).await;
    world.sandbox.faults().push(Fault::on("CompleteMultipartUpload", other()).once());
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("b").upload_id(upload);
    let complete = complete.multipart_upload(parts).if_match(etag).send().await;
    assert_eq!(code(complete), "412 PreconditionFailed");
    assert_eq!(world.read("b").await.unwrap(), "theirs");
}

#[tokio::test]
async fn a_kms_etag_is_forced_and_checksums_can_be_ignored() {
    let world = world().await;
    world.sandbox.faults().push(Fault::on("PutObject", Kind::KmsEtag).once());
    let etag = world.put("a", "1").await.e_tag.unwrap();
    assert_ne!(etag, format!("\"{}\"", md5(b"1")));
    let head = world.head("a").await;
    assert_eq!(
        (head.e_tag(), head.server_side_encryption()),
        (Some(etag.as_str()), Some(&ServerSideEncryption::AwsKms))
    );

    world.sandbox.faults().push(Fault::on("PutObject", Kind::ChecksumsIgnored).once());
    let put = world.client.put_object().bucket(BUCKET).key("b").body(b"other bytes".to_vec().into());
    put.checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").send().await.unwrap();
    let head = world.head("b").await;
    assert_eq!((head.checksum_sha256(), head.checksum_crc64_nvme(), head.checksum_type()), (None, None, None));
}

#[tokio::test]
async fn a_head_that_is_forbidden_names_no_code() {
    let world = world().await;
    world.put("a.csv", "1").await;
    let fault = Fault { key: Some(Keys::Suffix(".csv".to_owned())), ..Fault::on("HeadObject", Kind::Forbidden) };
    world.sandbox.faults().push(fault);
    let head = |key: &str| world.client.head_object().bucket(BUCKET).key(key).send();
    for _ in 0..3 {
        assert!(code(head("a.csv").await).starts_with("403"));
    }
    assert!(code(head("b").await).starts_with("404"));
    assert_eq!(world.read("a.csv").await.unwrap(), "1");
}

#[tokio::test]
async fn faults_are_read_from_a_file_and_requests_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("faults.json");
    std::fs::write(&file, r#"[{"operation": "PutObject", "times": 2, "skip": 1, "kind": "slow-down"}]"#).unwrap();
    let options = || Options { faults_file: Some(file.clone()), ..Options::new(dir.path().join("sandbox")) };
    let sandbox = serve(options()).await.unwrap();
    let c = crate::support::client(sandbox.endpoint(), sandbox.access_key(), sandbox.secret_key());
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(c.put_object().bucket(BUCKET).key("a").send().await.is_ok());
    }
    assert_eq!(answers, [true, false, false, true]);
    assert_eq!(sandbox.requests().get("PutObject"), Some(&4));
    sandbox.stop().await;
    std::fs::write(&file, "{}").unwrap();
    assert!(matches!(serve(options()).await, Err(Error::Faults { .. })));
}

#[tokio::test]
async fn a_stop_lets_a_request_in_flight_end() {
    let world = world().await;
    world.sandbox.faults().push(Fault::on("PutObject", Kind::SlowAnswer { ms: 300 }));
    let put = world.client.put_object().bucket(BUCKET).key("a").body(b"1".to_vec().into());
    let put = tokio::spawn(async move { put.send().await });
    while !world.sandbox.requests().contains_key("PutObject") {
        tokio::task::yield_now().await;
    }
    world.sandbox.stop().await;
    put.await.unwrap().unwrap();
}
