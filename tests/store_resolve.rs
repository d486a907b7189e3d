//! What the ambient AWS configuration may decide, and when: all of it while planning, and of a planned target nothing
//! but the credentials.
//!
//! The SDK reads the process's environment, so each case runs one of the ignored tests in a process of its own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::process::Command;

use noclobber::model::entry::Key;
use noclobber::model::target::{Addressing, ConditionalWrites, Target, TargetSpec};
use noclobber::store::Store as _;
use noclobber::store::s3::{Keys, S3, resolve};

/// Runs one ignored test of this file in a clean environment with these variables, and gives what it printed.
fn run(test: &str, variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_clear()
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{failed}");
    printed.lines().find_map(|line| line.split_once("told: ")).map(|(_, told)| told.to_owned()).unwrap_or_default()
}

#[test]
fn the_ambient_configuration_fills_in_what_the_manifest_leaves_out() {
    let mut profile = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(
        &mut profile,
        b"[profile lab]\nregion = eu-south-1\nendpoint_url = https://lab.example:9000\n[default]\nregion = eu-north-1\n",
    )
    .unwrap();
    let file = profile.path().to_str().unwrap();
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("AWS_REGION", "eu-west-1")], "https://s3.eu-west-1.amazonaws.com eu-west-1 Virtual"),
        (&[("AWS_REGION", "cn-north-1")], "https://s3.cn-north-1.amazonaws.com.cn cn-north-1 Virtual"),
        (&[("SPEC_REGION", "eu-west-2"), ("AWS_REGION", "x")], "https://s3.eu-west-2.amazonaws.com eu-west-2 Virtual"),
        (&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/")], "http://127.0.0.1:9000 us-east-1 Path"),
        (
            &[("AWS_ENDPOINT_URL", "http://all.example"), ("AWS_ENDPOINT_URL_S3", "https://s3.example")],
            "https://s3.example us-east-1 Virtual",
        ),
        (
            &[("SPEC_ENDPOINT", "https://mine.example"), ("AWS_ENDPOINT_URL_S3", "https://s3.example")],
            "https://mine.example us-east-1 Virtual",
        ),
        (&[("AWS_CONFIG_FILE", file)], "https://s3.eu-north-1.amazonaws.com eu-north-1 Virtual"),
        (&[("AWS_CONFIG_FILE", file), ("AWS_PROFILE", "lab")], "https://lab.example:9000 eu-south-1 Virtual"),
        (&[("AWS_CONFIG_FILE", file), ("SPEC_PROFILE", "lab")], "https://lab.example:9000 eu-south-1 Virtual"),
    ];
    for (variables, wanted) in cases {
        assert_eq!(run("prints_what_is_resolved", variables), *wanted, "{variables:?}");
    }
    let none = run("prints_what_is_resolved", &[]);
    assert!(none.contains("`region:`") && none.contains("AWS_REGION"), "{none}");
}

#[test]
fn a_planned_target_is_reached_whatever_the_environment_says() {
    let mut keys = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(
        &mut keys,
        b"[nightly]\naws_access_key_id = NIGHTLY\naws_secret_access_key = s\nendpoint_url = http://127.0.0.1:1\n",
    )
    .unwrap();
    let elsewhere = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"),
        ("AWS_REGION", "us-gov-west-1"),
        ("AWS_ACCESS_KEY_ID", "AMBIENT"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("AWS_SHARED_CREDENTIALS_FILE", keys.path().to_str().unwrap()),
    ];
    assert_eq!(run("reaches_a_planned_target", &elsewhere), "AMBIENT");
    // A named profile wins over keys in the environment.
    let named = [elsewhere.as_slice(), &[("SPEC_PROFILE", "nightly")]].concat();
    assert_eq!(run("reaches_a_planned_target", &named), "NIGHTLY");
}

#[test]
fn missing_credentials_are_one_error_up_front() {
    let told = run("tells_why_it_cannot_connect", &[]);
    assert!(told.starts_with("no credentials for bucket bkt: ") && told.contains("AWS_PROFILE"), "{told}");
    let told = run("tells_why_it_cannot_connect", &[("SPEC_PROFILE", "nightly")]);
    assert!(told.contains("nightly"), "{told}");
    assert_eq!(told.lines().count(), 1);
}

fn target(endpoint: &str) -> Target {
    Target {
        name: "default".into(),
        bucket: "bkt".into(),
        endpoint: endpoint.into(),
        region: "eu-west-1".into(),
        addressing: Addressing::Path,
        owner: None,
        profile: None,
        role_arn: None,
        request_payer: false,
        trust_metadata: true,
        conditional_writes: ConditionalWrites::Required,
    }
}

#[tokio::test]
#[ignore = "run by the tests above, with an environment of its own"]
async fn prints_what_is_resolved() {
    let given = |name: &str| std::env::var(name).ok();
    let spec = TargetSpec {
        name: "default".into(),
        bucket: "bkt".into(),
        bucket_owner: None,
        region: given("SPEC_REGION"),
        profile: given("SPEC_PROFILE"),
        endpoint: given("SPEC_ENDPOINT"),
        addressing: None,
        prefix: String::new(),
        role_arn: None,
        request_payer: false,
        trust_metadata: true,
        conditional_writes: ConditionalWrites::Required,
        require: noclobber::model::target::Require::default(),
    };
    match resolve(&spec).await {
        Ok(target) => println!("told: {} {} {:?}", target.endpoint, target.region, target.addressing),
        Err(error) => println!("told: {error}"),
    }
}

#[tokio::test]
#[ignore = "run by the tests above, with an environment of its own"]
async fn reaches_a_planned_target() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(connection.read_buf(&mut request).await.unwrap() > 0);
        }
        connection.write_all(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let target = Target { profile: std::env::var("SPEC_PROFILE").ok(), ..target(&endpoint) };
    let store = S3::connect(&target, Keys::Ambient).await.unwrap();
    store.head(&Key::new("k")).await.unwrap();
    let request = server.await.unwrap();
    assert!(request.starts_with("HEAD /bkt/k") && request.contains("/eu-west-1/s3/aws4_request"), "{request}");
    let (_, credential) = request.split_once("Credential=").unwrap();
    println!("told: {}", credential.split('/').next().unwrap());
}

#[tokio::test]
#[ignore = "run by the tests above, with an environment of its own"]
async fn tells_why_it_cannot_connect() {
    let target = Target { profile: std::env::var("SPEC_PROFILE").ok(), ..target("http://127.0.0.1:1") };
    let error = S3::connect(&target, Keys::Ambient).await.unwrap_err();
    println!("told: {error}");
}
