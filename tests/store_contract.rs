//! The contract of `store::contract`, kept by S3 over real servers.
//!
//! Each server is named by an environment variable of the form `endpoint,access key,secret key`, as `scripts/servers run`
//! sets them. A server that is not there is said to be skipped, or is a failure under `NOCLOBBER_REQUIRE_SERVERS=1`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use noclobber::model::entry::Key;
use noclobber::model::head::Remote;
use noclobber::model::target::{Addressing, ConditionalWrites, Target};
use noclobber::store::contract::{Quirks, contract};
use noclobber::store::s3::{Keys, S3};
use noclobber::store::{Access, ProbeKey, Probed, Store};

struct Server {
    endpoint: String,
    access_key: String,
    secret_key: String,
}

impl Server {
    fn named(variable: &str) -> Option<Self> {
        let Ok(text) = std::env::var(variable) else {
            let required = std::env::var("NOCLOBBER_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
            assert!(!required, "{variable} is not set, and NOCLOBBER_REQUIRE_SERVERS is");
            eprintln!("SKIPPED: {variable} is not set; run the tests under scripts/servers");
            return None;
        };
        let [endpoint, access_key, secret_key] = text.splitn(3, ',').collect::<Vec<_>>()[..] else {
            panic!("{variable} should be endpoint,access key,secret key, but is {text:?}");
        };
        Some(Self { endpoint: endpoint.into(), access_key: access_key.into(), secret_key: secret_key.into() })
    }

    fn target(&self, bucket: &str) -> Target {
        Target {
            name: "default".into(),
            bucket: bucket.into(),
            endpoint: self.endpoint.clone(),
            region: "us-east-1".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        }
    }

    fn keys(&self) -> Keys {
        Keys::Static { access_key: self.access_key.clone(), secret_key: self.secret_key.clone() }
    }

    async fn store(&self, bucket: &str) -> S3 {
        S3::connect(&self.target(bucket), self.keys()).await.unwrap()
    }

    /// A bucket of its own for every run, so that runs do not meet.
    async fn bucket(&self, versioned: bool) -> String {
        let name = format!("contract-{}", uuid::Uuid::now_v7().simple());
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(&self.access_key, &self.secret_key, None, None, "test"))
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .build();
        let client = aws_sdk_s3::Client::from_conf(config);
        client.create_bucket().bucket(&name).send().await.unwrap();
        if versioned {
            let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            client.put_bucket_versioning().bucket(&name).versioning_configuration(on).send().await.unwrap();
        }
        name
    }

    async fn keeps_the_contract(&self, name: &str, quirks: Quirks) {
        let store = self.store(&self.bucket(!quirks.unversioned).await).await;
        assert_eq!(store.access().await, Ok(Access::Open));
        let breaches: Vec<String> = contract(&store, "c/", &quirks).await.iter().map(ToString::to_string).collect();
        assert!(breaches.is_empty(), "{name}:\n{}", breaches.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = noclobber::sandbox::serve(noclobber::sandbox::Options::new(dir.path())).await.unwrap();
    let server = Server {
        endpoint: sandbox.endpoint().into(),
        access_key: sandbox.access_key().into(),
        secret_key: sandbox.secret_key().into(),
    };
    server.keeps_the_contract("sandbox", Quirks::default()).await;
}

async fn keeps_the_contract(variable: &str, quirks: Quirks) {
    let Some(server) = Server::named(variable) else { return };
    server.keeps_the_contract(variable, quirks).await;
}

/// Its GET obeys a part's number, its HEAD does not.
fn ministack() -> Quirks {
    Quirks { loses_tags: true, hides_first_parts: true, ignores_copy_conditions: true, ..Quirks::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn ministack_keeps_the_contract() {
    keeps_the_contract("NOCLOBBER_TEST_MINISTACK", ministack()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ministack_without_versions_keeps_the_contract() {
    let quirks = Quirks { unversioned: true, ..ministack() };
    keeps_the_contract("NOCLOBBER_TEST_MINISTACK", quirks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_keeps_the_contract() {
    let quirks = Quirks {
        racing_completes_all_win: true,
        hides_put_checksums: true,
        hides_part_checksums: true,
        lists_upload_keys_raw: true,
        loses_redirects: true,
        names_copied_parts_otherwise: true,
        hides_markers: true,
        // Answers 500 unless it was given a key.
        loses_properties: &["sse"],
        mangles_keys: &["back\\slash", "double//slash"],
        ..Quirks::default()
    };
    keeps_the_contract("NOCLOBBER_TEST_SEAWEEDFS", quirks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_keeps_the_contract_but_for_the_completes_if_match() {
    let quirks = Quirks {
        ignores_complete_if_match: true,
        ignores_copy_conditions: true,
        ignores_copy_source_conditions: true,
        trusts_part_checksums: true,
        hides_put_checksums: true,
        stumbles_over_aborted_uploads: true,
        // To it every object is one part.
        hides_first_parts: true,
        tells_no_parts: true,
        ..Quirks::default()
    };
    keeps_the_contract("NOCLOBBER_TEST_MOTO", quirks).await;
}

/// The negative control: a server that answers 200 and overwrites.
#[tokio::test(flavor = "multi_thread")]
async fn rclone_is_found_out_by_the_probes() {
    let Some(server) = Server::named("NOCLOBBER_TEST_RCLONE") else { return };
    let store = server.store(&server.bucket(false).await).await;
    let probe = ProbeKey::new(&Key::new("a/first.csv"), "0190");
    assert_eq!(store.probe_put(&probe).await, Ok(Probed::Ignored));
    assert!(matches!(store.head(probe.key()).await, Ok(Remote::Present(_))));
    store.remove_probe(&probe).await.unwrap();
    assert_eq!(store.head(probe.key()).await, Ok(Remote::Absent));
    // Its answer to CreateMultipartUpload is not what S3's is; whatever it is taken for, it must not be a yes.
    assert_ne!(store.probe_complete(&probe).await, Ok(Probed::Honoured));
}
