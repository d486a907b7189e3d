//! Multipart uploads.

use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::Digest as _;

use crate::support::{BUCKET, MIB, World, code, md5, sha256_base64, world};

#[tokio::test]
async fn parts_become_one_object_with_the_etag_and_composite_that_s3_makes() {
    let world = world().await;
    let parts = [vec![1u8; 5 * MIB], vec![2u8; 5 * MIB + 1], b"tail".to_vec()];
    let created = world.client.create_multipart_upload().bucket(BUCKET).key("big");
    let created = created
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .checksum_type(ChecksumType::Composite)
        .content_type("text/csv")
        .metadata("run", "7")
        .tagging("a=b");
    let upload = created.send().await.unwrap().upload_id.unwrap();
    let mut done = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(&parts) {
        let sent = world.client.upload_part().bucket(BUCKET).key("big").upload_id(&upload).part_number(number);
        let sent = sent.checksum_sha256(sha256_base64(part)).body(part.clone().into()).send().await.unwrap();
        assert_eq!(sent.checksum_sha256, Some(sha256_base64(part)));
        let named = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        done = done.parts(named.checksum_sha256(sha256_base64(part)).build());
    }
    let size: usize = parts.iter().map(Vec::len).sum();
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("big").upload_id(&upload);
    let complete = complete.multipart_upload(done.build()).mpu_object_size(size as i64).send().await.unwrap();

    let digests: Vec<u8> = parts.iter().flat_map(sha2::Sha256::digest).collect();
    let composite = format!("{}-3", sha256_base64(&digests));
    assert_eq!(complete.checksum_sha256(), Some(composite.as_str()));
    let md5s: Vec<u8> = parts.iter().flat_map(|part| hex::decode(md5(part)).unwrap()).collect();
    let etag = format!("\"{}-3\"", md5(&md5s));
    assert_eq!(complete.e_tag(), Some(etag.as_str()));

    let head = world.head("big").await;
    assert_eq!((head.e_tag(), head.checksum_sha256()), (Some(etag.as_str()), Some(composite.as_str())));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::Composite));
    assert_eq!((head.content_type(), head.content_length()), (Some("text/csv"), Some(size as i64)));
    assert_eq!(head.metadata().unwrap()["run"], "7");
    let body = world.client.get_object().bucket(BUCKET).key("big").send().await.unwrap().body.collect().await.unwrap();
    assert_eq!(body.to_vec(), parts.concat());

    let first = world.client.head_object().bucket(BUCKET).key("big").part_number(1).send().await.unwrap();
    assert_eq!((first.content_length(), first.parts_count()), (Some(5 * MIB as i64), Some(3)));
    let third = world.client.get_object().bucket(BUCKET).key("big").part_number(3).send().await.unwrap();
    assert_eq!(third.body.collect().await.unwrap().to_vec(), b"tail");
    let fourth = world.client.head_object().bucket(BUCKET).key("big").part_number(4).send().await;
    assert!(code(fourth).starts_with("416"));
    let across =
        world.client.get_object().bucket(BUCKET).key("big").range(format!("bytes={}-{}", 5 * MIB - 2, 5 * MIB + 1));
    assert_eq!(across.send().await.unwrap().body.collect().await.unwrap().to_vec(), [1, 1, 2, 2]);
}

#[tokio::test]
async fn a_crc_of_a_multipart_object_can_be_of_the_whole() {
    let world = world().await;
    let parts = [vec![3u8; 5 * MIB], b"tail".to_vec()];
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme] {
        let key = algorithm.as_str();
        let create = world.client.create_multipart_upload().bucket(BUCKET).key(key);
        let create = create.checksum_algorithm(algorithm.clone()).checksum_type(ChecksumType::FullObject);
        let upload = create.send().await.unwrap().upload_id.unwrap();
        let mut done = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(&parts) {
            let sent = world.client.upload_part().bucket(BUCKET).key(key).upload_id(&upload).part_number(number);
            let sent = sent.checksum_algorithm(algorithm.clone()).body(part.clone().into()).send().await.unwrap();
            done = done.parts(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
        }
        let complete = world.client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(&upload);
        let complete = complete.multipart_upload(done.build()).checksum_type(ChecksumType::FullObject);
        complete.send().await.unwrap();
        // A single PUT of the same bytes must come to the same checksum.
        let single = format!("{key}-single");
        let put = world.client.put_object().bucket(BUCKET).key(&single).checksum_algorithm(algorithm.clone());
        put.body(parts.concat().into()).send().await.unwrap();
        let (a, b) = (world.head(key).await, world.head(&single).await);
        assert_eq!(a.checksum_type(), Some(&ChecksumType::FullObject));
        assert_eq!(
            (a.checksum_crc32(), a.checksum_crc32_c(), a.checksum_crc64_nvme()),
            (b.checksum_crc32(), b.checksum_crc32_c(), b.checksum_crc64_nvme())
        );
        assert_ne!(a.e_tag(), b.e_tag());
    }
}

#[tokio::test]
async fn a_complete_that_does_not_name_the_parts_as_they_are_is_refused() {
    let world = world().await;
    let upload = world.create_upload("a").await;
    let right = world.upload("a", &upload, &[&[1; 5 * MIB], b"tail"]).await;
    let complete = |parts: Vec<CompletedPart>| {
        let named = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        world.client.complete_multipart_upload().bucket(BUCKET).key("a").upload_id(&upload).multipart_upload(named)
    };
    let [first, last] = [right.parts()[0].clone(), right.parts()[1].clone()];
    let altered = |part: &CompletedPart, etag: Option<&str>, crc32: Option<&str>, number: i32| {
        CompletedPart::builder()
            .part_number(number)
            .e_tag(etag.unwrap_or(part.e_tag().unwrap()))
            .set_checksum_crc32(crc32.map(str::to_owned).or(part.checksum_crc32.clone()))
            .build()
    };
    let wrong_order = complete(vec![last.clone(), first.clone()]).send().await;
    assert_eq!(code(wrong_order), "400 InvalidPartOrder");
    let wrong_etag = complete(vec![altered(&first, Some("\"0123\""), None, 1), last.clone()]).send().await;
    assert_eq!(code(wrong_etag), "400 InvalidPart");
    let wrong_crc = complete(vec![altered(&first, None, Some("AAAAAA=="), 1), last.clone()]).send().await;
    assert_eq!(code(wrong_crc), "400 InvalidPart");
    let missing = complete(vec![first.clone(), altered(&last, None, None, 3)]).send().await;
    assert_eq!(code(missing), "400 InvalidPart");
    let wrong_size = complete(vec![first.clone(), last.clone()]).mpu_object_size(5).send().await;
    assert_eq!(code(wrong_size), "400 InvalidRequest");
    let no_sums = CompletedPart::builder().part_number(1).e_tag(first.e_tag().unwrap()).build();
    assert_eq!(code(complete(vec![no_sums]).send().await), "400 InvalidRequest");
    let wrong_whole = complete(vec![first.clone(), last.clone()]).checksum_crc32("AAAAAA==-2").send().await;
    assert_eq!(code(wrong_whole), "400 BadDigest");
    assert_eq!(code(complete(vec![]).send().await), "400 MalformedXML");
    assert_eq!(world.read("a").await, Err("404 NoSuchKey".to_owned()));
    complete(vec![first, last]).send().await.unwrap();
}

#[tokio::test]
async fn all_parts_but_the_last_have_a_minimum() {
    let world = world().await;
    let upload = world.create_upload("a").await;
    let parts = world.upload("a", &upload, &[b"small", b"tail"]).await;
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("a").upload_id(&upload);
    assert_eq!(code(complete.multipart_upload(parts).send().await), "400 EntityTooSmall");
}

#[tokio::test]
async fn an_upload_made_without_an_algorithm_takes_any_and_ends_with_a_crc64nvme() {
    let world = world().await;
    let created = world.client.create_multipart_upload().bucket(BUCKET).key("a").send().await.unwrap();
    let upload = created.upload_id.unwrap();
    let wrong = world.client.upload_part().bucket(BUCKET).key("a").upload_id(&upload).part_number(1);
    let wrong = wrong.checksum_crc32("AAAAAA==").body(b"x".to_vec().into()).send().await;
    assert_eq!(code(wrong), "400 BadDigest");
    let parts = world.upload("a", &upload, &[b"123456789"]).await;
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("a").upload_id(&upload);
    complete.multipart_upload(parts).send().await.unwrap();
    let head = world.head("a").await;
    assert_eq!(head.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
}

#[tokio::test]
async fn a_part_whose_checksum_is_wrong_or_of_another_kind_is_refused() {
    let world = world().await;
    let create = world.client.create_multipart_upload().bucket(BUCKET).key("a");
    let create = create.checksum_algorithm(ChecksumAlgorithm::Sha256);
    let upload = create.send().await.unwrap().upload_id.unwrap();
    let part = || {
        world.client.upload_part().bucket(BUCKET).key("a").upload_id(&upload).part_number(1).body(b"x".to_vec().into())
    };
    let wrong = BASE64.encode([0; 32]);
    assert_eq!(code(part().checksum_sha256(wrong).send().await), "400 BadDigest");
    assert_eq!(code(part().checksum_algorithm(ChecksumAlgorithm::Crc32).send().await), "400 InvalidRequest");
    assert_eq!(world.blobs(), 0);
    let sha_full = world.client.create_multipart_upload().bucket(BUCKET).key("b");
    let sha_full = sha_full.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_type(ChecksumType::FullObject);
    assert_eq!(code(sha_full.send().await), "400 InvalidRequest");
}

#[tokio::test]
async fn uploads_and_parts_are_listed_until_aborted_and_leave_nothing() {
    let world = world().await;
    for key in ["a", "b/1", "b/2"] {
        let upload = world.create_upload(key).await;
        world.upload(key, &upload, &[b"one", b"two", b"three"]).await;
    }
    let list = || world.client.list_multipart_uploads().bucket(BUCKET);
    let first = list().max_uploads(2).send().await.unwrap();
    assert_eq!((first.uploads().len(), first.is_truncated()), (2, Some(true)));
    let rest =
        list().key_marker(first.next_key_marker().unwrap()).upload_id_marker(first.next_upload_id_marker().unwrap());
    let rest = rest.send().await.unwrap();
    assert_eq!(rest.uploads().iter().map(|u| u.key().unwrap()).collect::<Vec<_>>(), ["b/2"]);
    let rolled = list().delimiter("/").send().await.unwrap();
    assert_eq!((rolled.uploads().len(), rolled.common_prefixes().len()), (1, 1));

    let all = list().send().await.unwrap();
    for upload in all.uploads() {
        let (key, id) = (upload.key().unwrap(), upload.upload_id().unwrap());
        let parts = || world.client.list_parts().bucket(BUCKET).key(key).upload_id(id);
        let page = parts().max_parts(2).send().await.unwrap();
        assert_eq!((page.parts().len(), page.is_truncated()), (2, Some(true)));
        let page = parts().part_number_marker(page.next_part_number_marker().unwrap()).send().await.unwrap();
        assert_eq!(page.parts()[0].e_tag(), Some(format!("\"{}\"", md5(b"three")).as_str()));
        let abort = || world.client.abort_multipart_upload().bucket(BUCKET).key(key).upload_id(id).send();
        abort().await.unwrap();
        assert_eq!(code(abort().await), "404 NoSuchUpload");
    }
    assert_eq!((list().send().await.unwrap().uploads().len(), world.blobs()), (0, 0));
}

#[tokio::test]
async fn a_part_sent_again_replaces_and_unnamed_parts_are_dropped_at_complete() {
    let world = world().await;
    let upload = world.create_upload("a").await;
    world.upload("a", &upload, &[b"first"]).await;
    let parts = world.upload("a", &upload, &[b"again"]).await;
    let extra = world.client.upload_part().bucket(BUCKET).key("a").upload_id(&upload).part_number(9);
    extra.body(b"unnamed".to_vec().into()).send().await.unwrap();
    assert_eq!(world.blobs(), 2);
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("a").upload_id(&upload);
    complete.multipart_upload(parts).send().await.unwrap();
    assert_eq!((world.read("a").await.unwrap().as_str(), world.blobs()), ("again", 1));
}

#[tokio::test]
async fn parts_can_be_copied_from_ranges_of_an_object() {
    let world = world().await;
    world.put("from", "0123456789").await;
    let upload = world.create_upload("to").await;
    let copy = |range: &str| {
        let copy = world.client.upload_part_copy().bucket(BUCKET).key("to").upload_id(&upload).part_number(1);
        copy.copy_source(format!("{BUCKET}/from")).copy_source_range(range)
    };
    assert_eq!(code(copy("bytes=5-99").send().await), "400 InvalidArgument");
    let copied = copy("bytes=2-5").send().await.unwrap().copy_part_result.unwrap();
    assert_eq!(copied.e_tag(), Some(format!("\"{}\"", md5(b"2345")).as_str()));
    let part =
        CompletedPart::builder().part_number(1).set_e_tag(copied.e_tag).set_checksum_crc32(copied.checksum_crc32);
    let named = CompletedMultipartUpload::builder().parts(part.build()).build();
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("to").upload_id(&upload);
    complete.multipart_upload(named).send().await.unwrap();
    assert_eq!(world.read("to").await.unwrap(), "2345");
}

#[tokio::test]
async fn a_copy_of_a_multipart_object_has_the_same_bytes_and_another_etag() {
    let world = world().await;
    let upload = world.create_upload("from").await;
    let parts = world.upload("from", &upload, &[&[4; 5 * MIB], b"tail"]).await;
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("from").upload_id(&upload);
    complete.multipart_upload(parts).send().await.unwrap();
    let copy = world.client.copy_object().bucket(BUCKET).key("to").copy_source(format!("{BUCKET}/from"));
    copy.send().await.unwrap();
    let bytes = [vec![4; 5 * MIB], b"tail".to_vec()].concat();
    assert_eq!(world.head("to").await.e_tag(), Some(format!("\"{}\"", md5(&bytes)).as_str()));
    assert!(world.head("from").await.e_tag().unwrap().ends_with("-2\""));
}

#[tokio::test]
async fn kms_objects_have_etags_that_are_no_md5s() {
    let world: World = world().await;
    let put = world.client.put_object().bucket(BUCKET).key("a").body(b"x".to_vec().into());
    let stored = put.server_side_encryption(ServerSideEncryption::AwsKms).send().await.unwrap();
    let etag = stored.e_tag.unwrap();
    assert_ne!(etag, format!("\"{}\"", md5(b"x")));
    assert_eq!(etag.len(), 34);
    let head = world.head("a").await;
    assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::AwsKms));
    // As a token it is as good as any.
    let put = world.client.put_object().bucket(BUCKET).key("a").if_match(etag).body(b"y".to_vec().into());
    put.send().await.unwrap();

    let create = world.client.create_multipart_upload().bucket(BUCKET).key("b");
    let create = create.server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id("arn:aws:kms:a-key");
    let upload = create.send().await.unwrap().upload_id.unwrap();
    let parts = world.upload("b", &upload, &[b"x"]).await;
    let complete = world.client.complete_multipart_upload().bucket(BUCKET).key("b").upload_id(&upload);
    let done = complete.multipart_upload(parts).send().await.unwrap();
    let plain = format!("\"{}-1\"", md5(&hex::decode(md5(b"x")).unwrap()));
    assert!(done.e_tag().unwrap().ends_with("-1\"") && done.e_tag() != Some(plain.as_str()));
    assert_eq!(world.head("b").await.ssekms_key_id(), Some("arn:aws:kms:a-key"));
}
