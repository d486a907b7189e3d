//! boto3 against the sandbox: another client, another idea of chunks and checksums.

use std::process::Command;

use crate::support::{OWNER, world};

/// Runs `tests/sandbox_boto3.py` with the Python that `NOCLOBBER_PYTHON` names, which must have boto3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_finds_what_it_expects_of_s3() {
    let Some(python) = std::env::var_os("NOCLOBBER_PYTHON") else {
        eprintln!("SKIPPED: boto3 was not tried. Set NOCLOBBER_PYTHON to a Python that has boto3.");
        return;
    };
    let world = world().await;
    let mut command = Command::new(python);
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sandbox_boto3.py"))
        .env("AWS_ENDPOINT_URL_S3", world.sandbox.endpoint())
        .env("AWS_ACCESS_KEY_ID", world.sandbox.access_key())
        .env("AWS_SECRET_ACCESS_KEY", world.sandbox.secret_key())
        .env("AWS_DEFAULT_REGION", world.sandbox.region())
        .env("SANDBOX_OWNER", OWNER);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
