//! Objects whose ETag is no MD5 and that hold no checksum, as under SSE-KMS: nobody can tell, and nobody says so.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use noclobber::model::entry::Rule;
use noclobber::model::step::{Action, Reason};
use noclobber::sandbox::{Fault, Kind};

use crate::MIB;
use crate::support::Versioning;
use crate::support::scene::{Scene, noise};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_tell_is_unproven_under_every_rule_though_it_is_the_same() {
    let (sandbox, server, _folder) = crate::sandbox().await;
    let scene = Scene::new(&server, Versioning::On).await;
    for kind in [Kind::KmsEtag, Kind::ChecksumsIgnored] {
        for operation in ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"] {
            sandbox.faults().push(Fault::on(operation, kind.clone()));
        }
    }
    let (single, parts) = (b"the same".to_vec(), noise(1, 6 * MIB));
    scene.write("single", &single);
    scene.write("parts", &parts);
    scene.stranger.put("single", single.clone()).await;
    put_in_two(&scene, "parts", &parts).await;
    sandbox.faults().clear();
    let head = scene.stranger.head("single").await.unwrap();
    assert!(head.checksum_crc64_nvme().is_none() && head.checksum_crc32().is_none(), "{head:?}");

    for rule in Rule::ALL {
        scene.manifest(
            &format!("overwrite: {rule}"),
            "  - { source: single, key: single }\n  - { source: parts, key: parts }",
        );
        let action = match rule {
            Rule::Never => Action::Refuse,
            Rule::Keep => Action::Keep,
            Rule::IfChanged | Rule::Always => Action::Replace,
        };
        let ran = scene.noclobber(&["plan", "m.yaml", "-o", "plan.jsonl"]);
        assert_eq!(ran.code, Some(if rule == Rule::Never { 3 } else { 0 }), "{ran:?}");
        for step in scene.plan("plan.jsonl").steps {
            assert_eq!((step.action, step.reason, step.proof), (action, Reason::Unproven, None), "{rule}: {step:#?}");
        }
    }
}

/// Uploads in two parts, the first of 5 MiB.
async fn put_in_two(scene: &Scene, key: &str, bytes: &[u8]) {
    let (client, bucket) = (&scene.stranger.client, &scene.stranger.bucket);
    let begun = client.create_multipart_upload().bucket(bucket).key(key).send().await.unwrap();
    let mut parts = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(bytes.chunks(5 * MIB)) {
        let sent = client.upload_part().bucket(bucket).key(key).set_upload_id(begun.upload_id.clone());
        let sent = sent.part_number(number).body(part.to_vec().into()).send().await.unwrap();
        parts = parts.parts(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
    }
    let complete = client.complete_multipart_upload().bucket(bucket).key(key).set_upload_id(begun.upload_id);
    complete.multipart_upload(parts.build()).send().await.unwrap();
}
