//! Checksums: made, compared, kept; and that what does not match leaves nothing behind.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType};

use crate::raw;
use crate::support::{BUCKET, MIB, World, code, md5, sha256_base64, world};

const WRONG_SHA256: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[tokio::test]
async fn a_wrong_checksum_header_stores_nothing_whatever_the_size() {
    let world = world().await;
    for size in [0, 100, 3 * MIB] {
        let body = vec![1u8; size];
        let put = |sum: String| {
            world.client.put_object().bucket(BUCKET).key("a").checksum_sha256(sum).body(body.clone().into())
        };
        assert_eq!(code(put(WRONG_SHA256.to_owned()).send().await), "400 BadDigest");
        assert_eq!(code(put("not a digest".to_owned()).send().await), "400 InvalidRequest");
        assert_eq!((world.blobs(), world.versions("a").await), (0, 0), "{size}");
    }
    let body = b"right".to_vec();
    let put = world.client.put_object().bucket(BUCKET).key("a").checksum_sha256(sha256_base64(&body)).body(body.into());
    let stored = put.send().await.unwrap();
    assert_eq!(stored.checksum_sha256, Some(sha256_base64(b"right")));
    assert_eq!(stored.checksum_type, Some(ChecksumType::FullObject));
}

#[tokio::test]
async fn each_algorithm_is_verified_and_kept() {
    let world = world().await;
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] {
        // The SDK computes these; a streamed body makes it send them as trailers.
        let file = world.dir.path().with_extension(algorithm);
        std::fs::write(&file, vec![9u8; 100_000]).unwrap();
        let put = world.client.put_object().bucket(BUCKET).key(algorithm);
        let body = ByteStream::from_path(&file).await.unwrap();
        put.checksum_algorithm(ChecksumAlgorithm::from(algorithm)).body(body).send().await.unwrap();
        std::fs::remove_file(&file).unwrap();
        let head = world.head(algorithm).await;
        let kept = [
            ("CRC32", head.checksum_crc32()),
            ("CRC32C", head.checksum_crc32_c()),
            ("CRC64NVME", head.checksum_crc64_nvme()),
            ("SHA1", head.checksum_sha1()),
            ("SHA256", head.checksum_sha256()),
        ];
        for (name, value) in kept {
            assert_eq!(value.is_some(), name == algorithm, "{algorithm}: {name} is {value:?}");
        }
        assert_eq!(head.e_tag(), Some(format!("\"{}\"", md5(&[9u8; 100_000])).as_str()));
    }
    // An independent value: CRC-64/NVME of "123456789" is ae8b14860a799888.
    let put = world.client.put_object().bucket(BUCKET).key("check").checksum_crc64_nvme("rosUhgp5mIg=");
    put.body(b"123456789".to_vec().into()).send().await.unwrap();
    let put = world.client.put_object().bucket(BUCKET).key("check").checksum_crc64_nvme("rosUhgp5mIg=");
    assert_eq!(code(put.body(b"123456780".to_vec().into()).send().await), "400 BadDigest");
}

#[tokio::test]
async fn head_tells_checksums_only_when_asked() {
    let world = world().await;
    world.put("a", "1").await;
    let plain = world.client.head_object().bucket(BUCKET).key("a").send().await.unwrap();
    assert_eq!((plain.checksum_crc32(), plain.checksum_type()), (None, None));
    let asked = world.client.head_object().bucket(BUCKET).key("a").checksum_mode(ChecksumMode::Enabled).send().await;
    let asked = asked.unwrap();
    assert!(asked.checksum_crc32().is_some());
    assert_eq!(asked.checksum_type(), Some(&ChecksumType::FullObject));
}

#[tokio::test]
async fn an_upload_without_a_checksum_is_given_a_crc64nvme() {
    let world = world().await;
    let (status, _) = put(&world, vec![], "UNSIGNED-PAYLOAD", b"123456789").await;
    assert_eq!(status, 200);
    assert_eq!(world.head("a").await.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
}

#[tokio::test]
async fn content_md5_is_compared_and_a_malformed_one_is_told_apart() {
    let world = world().await;
    let digest = |text: &str| vec![("content-md5", text.to_owned())];
    let (status, answer) = put(&world, digest("AAAAAAAAAAAAAAAAAAAAAA=="), "UNSIGNED-PAYLOAD", b"x").await;
    assert!(status == 400 && answer.contains("BadDigest"), "{answer}");
    let (status, answer) = put(&world, digest("AAAA"), "UNSIGNED-PAYLOAD", b"x").await;
    assert!(status == 400 && answer.contains("InvalidDigest"), "{answer}");
    let (status, _) = put(&world, digest("kAFQmDzST7DWlj99KOF/cg=="), "UNSIGNED-PAYLOAD", b"abc").await;
    assert_eq!((status, world.blobs()), (200, 1));
}

#[tokio::test]
async fn the_signed_payload_hash_is_compared() {
    let world = world().await;
    let wrong = "00".repeat(32);
    let (status, answer) = put(&world, vec![], &wrong, &vec![5; 2 * MIB]).await;
    assert!(status == 400 && answer.contains("XAmzContentSHA256Mismatch"), "{answer}");
    assert_eq!((world.blobs(), world.versions("a").await), (0, 0));
}

#[tokio::test]
async fn a_trailing_checksum_is_compared() {
    let world = world().await;
    for (trailer, expected) in [("y/Q5Jg==", 200), ("AAAAAA==", 400)] {
        // CRC-32 of "123456789" is cbf43926.
        let body = format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:{trailer}\r\n\r\n");
        let headers = vec![
            ("content-encoding", "aws-chunked".to_owned()),
            ("x-amz-decoded-content-length", "9".to_owned()),
            ("x-amz-trailer", "x-amz-checksum-crc32".to_owned()),
        ];
        let (status, answer) = put(&world, headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body.as_bytes()).await;
        assert_eq!(status, expected, "{answer}");
        assert_eq!(answer.contains("BadDigest"), expected == 400, "{answer}");
    }
    let head = world.head("a").await;
    assert_eq!((head.checksum_crc32(), head.content_encoding()), (Some("y/Q5Jg=="), None));
    assert_eq!(world.versions("a").await, 1);
}

#[tokio::test]
async fn two_checksums_at_once_are_refused() {
    let world = world().await;
    let headers =
        vec![("x-amz-checksum-crc32", "y/Q5Jg==".to_owned()), ("x-amz-checksum-sha256", WRONG_SHA256.to_owned())];
    let (status, answer) = put(&world, headers, "UNSIGNED-PAYLOAD", b"123456789").await;
    assert!(status == 400 && answer.contains("InvalidRequest"), "{answer}");
}

#[tokio::test]
async fn a_body_cut_short_stores_nothing() {
    let world = world().await;
    let body = "9\r\n1234";
    let headers =
        vec![("x-amz-decoded-content-length", "9".to_owned()), ("x-amz-trailer", "x-amz-checksum-crc32".to_owned())];
    let (status, answer) = put(&world, headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body.as_bytes()).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!((world.blobs(), world.versions("a").await), (0, 0));
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_leaves_nothing() {
    let world = world().await;
    let path = format!("/{BUCKET}/a");
    for size in [1000, 3 * MIB] {
        let body = vec![1; size];
        let request =
            raw::Request { method: "PUT", path: &path, headers: vec![], payload: "UNSIGNED-PAYLOAD", body: &body };
        let (status, _) = raw::send_cut(&world, request, 10).await;
        assert_ne!(status, 200);
        assert_eq!((world.blobs(), world.versions("a").await), (0, 0), "{size}");
    }
}

async fn put(world: &World, headers: Vec<(&str, String)>, payload: &str, body: &[u8]) -> (u16, String) {
    let path = format!("/{BUCKET}/a");
    raw::send(world, raw::Request { method: "PUT", path: &path, headers, payload, body }).await
}
