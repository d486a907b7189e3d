//! What the scratch objects of `flow::probe` find out of each server: each is told from the others by its behaviour.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use noclobber::flow::probe::behaviour;
use noclobber::model::behaviour::{Behaviour, Kind};
use noclobber::model::entry::Key;
use noclobber::model::target::{Addressing, ConditionalWrites, Target};
use noclobber::model::write::LookError;
use noclobber::sandbox::{self, Sandbox};
use noclobber::store::ProbeKey;
use noclobber::store::s3::{Keys, S3};
use support::{REGION, Server, Versioning, servers};

async fn reach(endpoint: &str, bucket: &str, access_key: &str, secret_key: &str) -> S3 {
    let target = Target {
        name: "default".into(),
        bucket: bucket.into(),
        endpoint: endpoint.into(),
        region: REGION.into(),
        addressing: Addressing::Path,
        owner: None,
        profile: None,
        role_arn: None,
        request_payer: false,
        trust_metadata: true,
        conditional_writes: ConditionalWrites::Required,
    };
    S3::connect(&target, Keys::Static { access_key: access_key.into(), secret_key: secret_key.into() }).await.unwrap()
}

fn probe_keys() -> (ProbeKey, ProbeKey) {
    let (first, id) = (Key::new("reports/"), uuid::Uuid::now_v7().simple().to_string());
    (ProbeKey::new(&first, &id), ProbeKey::new(&first, &format!("{id}-2")))
}

async fn of(store: &S3) -> String {
    let (first, second) = probe_keys();
    let (found, left) = behaviour(store, &first, &second).await.unwrap();
    assert_eq!(left, None);
    told(&found)
}

/// One line a question.
fn told(found: &Behaviour) -> String {
    let error = |error: &LookError| format!("error {}", error.cause.code);
    let yes = |answer: &Result<bool, LookError>| match answer {
        Ok(yes) => yes.to_string(),
        Err(failed) => error(failed),
    };
    let mut lines = Vec::new();
    for ((kind, refused), (same, permitted)) in found.conditions.iter().zip(&found.permits) {
        assert_eq!(kind, same);
        let what = format!("{} {}", kind.request(), kind.header());
        lines.push(format!("{what}: refused {}, permitted {}", yes(refused), yes(permitted)));
    }
    lines.push(format!("ETag is MD5: {}", yes(&found.etag_is_md5)));
    lines.push(format!("checksums verified: {}", yes(&found.checksums_verified)));
    lines.push(format!("checksum returned: {}", yes(&found.checksum_returned)));
    lines.push(format!("composite returned: {}", yes(&found.composite_returned)));
    lines.join("\n")
}

#[tokio::test]
async fn each_server_is_told_from_the_others_and_nothing_is_left_in_its_bucket() {
    let mut seen = BTreeSet::new();
    for server in servers() {
        for versioning in [Versioning::On, Versioning::Off] {
            // Its buckets are folders.
            if server.name == "rclone" && versioning == Versioning::On {
                continue;
            }
            let Server { name, endpoint, access_key, secret_key } = &server;
            let stranger = server.fresh_bucket(versioning).await;
            stranger.put("reports/mine.csv", b"mine".to_vec()).await;
            let store = reach(endpoint, &stranger.bucket, access_key, secret_key).await;
            let found = of(&store).await;
            insta::assert_snapshot!(format!("{name}-{versioning:?}").to_lowercase(), found);
            if versioning == Versioning::Off {
                assert!(seen.insert(found), "{name} behaves like another one");
            }
            let left: Vec<String> = stranger.list().await.into_iter().map(|listed| listed.key).collect();
            assert_eq!(left, ["reports/mine.csv"], "{name}");
            if *name != "rclone" {
                let versions = stranger.client.list_object_versions().bucket(&stranger.bucket).send().await.unwrap();
                assert_eq!((versions.versions().len(), versions.delete_markers().len()), (1, 0), "{name}");
                let uploads = stranger.client.list_multipart_uploads().bucket(&stranger.bucket).send().await.unwrap();
                assert_eq!(uploads.uploads().len(), 0, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn the_sandbox_behaves_like_s3() {
    let folder = tempfile::tempdir().unwrap();
    let served: Sandbox = sandbox::serve(sandbox::Options::new(folder.path())).await.unwrap();
    let store = reach(served.endpoint(), "scratch", served.access_key(), served.secret_key()).await;
    let found = of(&store).await;
    insta::assert_snapshot!("sandbox", found);
    assert_eq!(found.matches("refused true, permitted true").count(), Kind::ALL.len(), "{found}");
    served.stop().await;
}
