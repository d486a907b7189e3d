//! What the tests share: the real S3 servers, a stranger who writes beside us, and our binary in a clean environment.
//!
//! The servers are started by `scripts/servers run`. Without them a test says loudly that it skips; under
//! `NOCLOBBER_REQUIRE_SERVERS=1`, as `scripts/test` sets it, a missing server is a failure.

// Each test binary takes its own part, and a helper of a test may fail like a test.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

pub mod rollback;
pub mod scene;

use std::path::Path;
use std::process::Command;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumMode, VersioningConfiguration};

/// Every server that `scripts/servers` knows.
pub const NAMES: [&str; 4] = ["ministack", "seaweedfs", "moto", "rclone"];
pub const REGION: &str = "us-east-1";

/// A running S3 server on loopback, and the keys of a user who may do everything there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub name: &'static str,
    pub endpoint: String,
    pub access_key: String,
    pub secret_key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    Off,
    On,
}

/// Every server that runs, the one without conditions too.
pub fn servers() -> Vec<Server> {
    NAMES.iter().filter_map(|name| server(name)).collect()
}

/// The servers that honour preconditions on PutObject.
pub fn guarded_servers() -> Vec<Server> {
    servers().into_iter().filter(|server| server.name != "rclone").collect()
}

/// One server by its name, or `None` and a loud line where it does not run.
pub fn server(name: &str) -> Option<Server> {
    let name = NAMES.into_iter().find(|known| *known == name).expect("a server that scripts/servers knows");
    let variable = format!("NOCLOBBER_TEST_{}", name.to_uppercase());
    let Ok(value) = std::env::var(&variable) else {
        let required = std::env::var("NOCLOBBER_REQUIRE_SERVERS").is_ok_and(|v| v != "0" && !v.is_empty());
        assert!(!required, "{variable} is not set: {name} did not start, and NOCLOBBER_REQUIRE_SERVERS is on");
        eprintln!("SKIPPED: no {name} ({variable} is not set); run `scripts/servers run -- cargo nextest run`");
        return None;
    };
    Some(Server::parse(name, &value).unwrap_or_else(|| panic!("{variable} is not ENDPOINT,ACCESS,SECRET: {value}")))
}

impl Server {
    fn parse(name: &'static str, value: &str) -> Option<Self> {
        let mut fields = value.split(',').map(str::to_owned);
        let server = Self { name, endpoint: fields.next()?, access_key: fields.next()?, secret_key: fields.next()? };
        fields.next().is_none().then_some(server)
    }

    /// A client that shares nothing with ours: the SDK's own defaults, retries and checksums.
    pub fn client(&self) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(Credentials::new(&self.access_key, &self.secret_key, None, None, "tests"))
            .force_path_style(true)
            .build();
        Client::from_conf(config)
    }

    /// A bucket that nobody else has. It is never removed: the servers forget everything when they stop.
    pub async fn fresh_bucket(&self, versioning: Versioning) -> Stranger {
        let client = self.client();
        let bucket = format!("t-{}", uuid::Uuid::now_v7().simple());
        client.create_bucket().bucket(&bucket).send().await.expect("a new bucket");
        if versioning == Versioning::On {
            let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let put = client.put_bucket_versioning().bucket(&bucket).versioning_configuration(on);
            put.send().await.expect("versioning on");
        }
        Stranger { client, bucket }
    }

    /// Our binary with this server's keys and nothing else in its environment.
    pub fn noclobber(&self, home: &Path) -> Command {
        let mut command = noclobber(home);
        command.env("AWS_ACCESS_KEY_ID", &self.access_key).env("AWS_SECRET_ACCESS_KEY", &self.secret_key);
        command
    }
}

/// Our binary with no keys and a home of its own, so that no profile or setting of the machine reaches it.
pub fn noclobber(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noclobber"));
    command
        .env_clear()
        .env("HOME", home)
        .env("AWS_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(home);
    command
}

/// Somebody else with write access to the bucket, who knows nothing of us and asks for no conditions.
#[derive(Debug, Clone)]
pub struct Stranger {
    pub client: Client,
    pub bucket: String,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub key: String,
    pub size: u64,
}

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// `None` in a bucket without versions.
    pub version: Option<String>,
    /// With its quotes.
    pub etag: String,
    pub write_id: Option<String>,
    pub bytes: Vec<u8>,
}

impl Stranger {
    /// Writes, whatever is there. Returns the ETag, with its quotes.
    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(body.into().into());
        let written = put.send().await.unwrap_or_else(|e| panic!("the stranger's PUT of {key}: {e:?}"));
        written.e_tag().expect("an ETag").to_owned()
    }

    /// Creates under `If-None-Match: *`. Returns whether the server took it; 412 is `false`.
    pub async fn put_if_absent(&self, key: &str, body: impl Into<Vec<u8>>) -> bool {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(body.into().into());
        match put.if_none_match("*").send().await {
            Ok(_) => true,
            Err(e) if status(&e) == Some(412) => false,
            Err(e) => panic!("the stranger's conditional PUT of {key}: {e:?}"),
        }
    }

    /// The bytes, or `None` where no object is.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(found) => Some(found.body.collect().await.expect("the whole body").to_vec()),
            Err(e) if status(&e) == Some(404) => None,
            Err(e) => panic!("the stranger's GET of {key}: {e:?}"),
        }
    }

    /// What HEAD says, checksums included, or `None` where no object is.
    pub async fn head(&self, key: &str) -> Option<HeadObjectOutput> {
        let head = self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        match head.send().await {
            Ok(found) => Some(found),
            Err(e) if status(&e) == Some(404) => None,
            Err(e) => panic!("the stranger's HEAD of {key}: {e:?}"),
        }
    }

    pub async fn delete(&self, key: &str) {
        let delete = self.client.delete_object().bucket(&self.bucket).key(key);
        delete.send().await.unwrap_or_else(|e| panic!("the stranger's DELETE of {key}: {e:?}"));
    }

    /// Every object of the bucket, sorted by key.
    pub async fn list(&self) -> Vec<Listed> {
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.expect("a page of the listing").contents() {
                let size = u64::try_from(object.size().unwrap_or(0)).unwrap_or(0);
                found.push(Listed { key: object.key().expect("a key").to_owned(), size });
            }
        }
        found.sort();
        found
    }

    /// The keys alone, sorted.
    pub async fn keys(&self) -> Vec<String> {
        self.list().await.into_iter().map(|object| object.key).collect()
    }

    /// Every version of a key that is an object, newest first; without versioning, the object that is there.
    pub async fn history(&self, key: &str) -> Vec<Past> {
        let list = self.client.list_object_versions().bucket(&self.bucket).prefix(key);
        let listed = list.send().await.unwrap_or_else(|e| panic!("the versions of {key}: {e:?}"));
        assert_ne!(listed.is_truncated(), Some(true), "more versions of {key} than a page holds");
        let mut history = Vec::new();
        for version in listed.versions().iter().filter(|version| version.key() == Some(key)) {
            let id = version.version_id().filter(|id| *id != "null").map(str::to_owned);
            let get = self.client.get_object().bucket(&self.bucket).key(key).set_version_id(id.clone());
            let found = get.send().await.unwrap_or_else(|e| panic!("version {id:?} of {key}: {e:?}"));
            let write_id = found.metadata().and_then(|metadata| metadata.get("noclobber-write-id")).cloned();
            history.push(Past {
                version: id,
                etag: found.e_tag().expect("an ETag").to_owned(),
                write_id,
                bytes: found.body.collect().await.expect("the whole body").to_vec(),
            });
        }
        history
    }

    /// How many multipart uploads nobody completed or aborted.
    pub async fn open_uploads(&self) -> usize {
        let list = self.client.list_multipart_uploads().bucket(&self.bucket).send().await;
        list.expect("the open uploads").uploads().len()
    }
}

/// The HTTP status of an error that is an answer.
pub fn status<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}
