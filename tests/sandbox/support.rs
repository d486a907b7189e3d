//! A sandbox in a temporary folder and a client that retries nothing.

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use noclobber::sandbox::{Options, Sandbox, serve};

pub const BUCKET: &str = "a-bucket";
pub const OWNER: &str = "111122223333";
pub const MIB: usize = 1 << 20;

pub struct World {
    pub sandbox: Sandbox,
    pub client: Client,
    pub dir: tempfile::TempDir,
}

pub async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await;
    let client = client(sandbox.endpoint(), sandbox.access_key(), sandbox.secret_key());
    World { sandbox, client, dir }
}

pub async fn start(dir: &Path) -> Sandbox {
    serve(Options { owner: OWNER.to_owned(), ..Options::new(dir) }).await.unwrap()
}

pub fn client(endpoint: &str, access_key: &str, secret_key: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .force_path_style(true)
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// The status and the error code of an answer that is not a success: `"412 PreconditionFailed"`, or `"no answer"`.
pub fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, SdkError<E, HttpResponse>>) -> String {
    match result {
        Ok(output) => panic!("a success: {output:?}"),
        Err(SdkError::ServiceError(error)) => {
            let status = error.raw().status().as_u16();
            match error.err().code() {
                Some(code) => format!("{status} {code}"),
                None => status.to_string(),
            }
        }
        Err(SdkError::DispatchFailure(_)) => "no answer".to_owned(),
        Err(SdkError::ResponseError(error)) => format!("{} unreadable", error.raw().status()),
        Err(_) => "another failure".to_owned(),
    }
}

impl World {
    pub async fn put(&self, key: &str, body: &str) -> PutObjectOutput {
        self.try_put(key, body).await.unwrap()
    }

    pub async fn try_put(
        &self,
        key: &str,
        body: &str,
    ) -> Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>> {
        self.client.put_object().bucket(BUCKET).key(key).body(body.as_bytes().to_vec().into()).send().await
    }

    pub async fn head(&self, key: &str) -> HeadObjectOutput {
        let head = self.client.head_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
        head.send().await.unwrap()
    }

    /// The current body, or the error.
    pub async fn read(&self, key: &str) -> Result<String, String> {
        match self.client.get_object().bucket(BUCKET).key(key).send().await {
            Ok(output) => Ok(String::from_utf8(output.body.collect().await.unwrap().to_vec()).unwrap()),
            error => Err(code(error)),
        }
    }

    /// How many versions the key has, delete markers too.
    pub async fn versions(&self, key: &str) -> usize {
        let listed = self.client.list_object_versions().bucket(BUCKET).prefix(key).send().await.unwrap();
        listed.versions().len() + listed.delete_markers().len()
    }

    pub fn blobs(&self) -> usize {
        blobs(self.dir.path())
    }

    pub async fn create_upload(&self, key: &str) -> String {
        let create = self.client.create_multipart_upload().bucket(BUCKET).key(key);
        create.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.unwrap().upload_id.unwrap()
    }

    /// Uploads parts with the SDK's default checksum, CRC32, and returns them as a Complete names them.
    pub async fn upload(&self, key: &str, upload: &str, parts: &[&[u8]]) -> CompletedMultipartUpload {
        let mut done = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(parts) {
            let part = self
                .client
                .upload_part()
                .bucket(BUCKET)
                .key(key)
                .upload_id(upload)
                .part_number(number)
                .body(ByteStream::from(part.to_vec()));
            let part = part.send().await.unwrap();
            done = done.parts(
                CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(part.e_tag)
                    .set_checksum_crc32(part.checksum_crc32)
                    .set_checksum_sha256(part.checksum_sha256)
                    .build(),
            );
        }
        done.build()
    }
}

pub fn blobs(dir: &Path) -> usize {
    walkdir::WalkDir::new(dir.join("blobs")).into_iter().flatten().filter(|entry| entry.file_type().is_file()).count()
}

pub fn md5(bytes: &[u8]) -> String {
    use md5::Digest as _;
    hex::encode(md5::Md5::digest(bytes))
}

pub fn sha256_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(bytes))
}
