//! `bucket check` and `require:`: on the sandbox, under its faults, and against servers that keep what they are told.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus,
    LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, PublicAccessBlockConfiguration,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    VersioningConfiguration,
};
use serde_json::Value;

use crate::session::{MANIFEST, Session};
use crate::support::{Server, Stranger, Versioning, server};

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn level<'a>(page: &'a Value, name: &str) -> &'a str {
    let mut found = page["findings"].as_array().unwrap().iter().filter(|finding| finding["name"] == name);
    let level = found.next().unwrap_or_else(|| panic!("no {name} in {page}"))["level"].as_str().unwrap();
    assert!(found.next().is_none(), "{name} is told twice");
    level
}

#[test]
fn a_bucket_is_told_in_every_format_and_a_file_is_replaced_by_a_newer_check_alone() {
    let mut session = Session::new();
    session
        .run("bucket check s3://a-bucket/2026/ --sandbox s")
        .run("bucket check s3://a-bucket --sandbox s --recovery-days 400 --format markdown -o check.md")
        .run("bucket check s3://a-bucket --sandbox s --format markdown -o check.md")
        .run("bucket check s3://a-bucket --sandbox s -o m.yaml")
        .run("bucket check s3://a-bucket --sandbox s -o check.md")
        .run("bucket check s3://a-bucket --sandbox s -o no-such-folder/x")
        .run("bucket check s3://a-bucket --sandbox s --recovery-days -1")
        .run("bucket check a-bucket");
    insta::assert_snapshot!(session.told());
    assert!(session.read("check.md").starts_with("noclobber bucket check\n"));
    let page = json(&session.output("bucket check s3://a-bucket --sandbox s --json"));
    assert_eq!((&page["exit"], &page["noclobber_bucket_check"]), (&0.into(), &1.into()));
    assert_eq!(session.read("m.yaml"), MANIFEST);
}

#[test]
fn help_tells_what_is_read_and_what_the_exit_codes_mean() {
    let mut session = Session::new();
    session.run("bucket check --help");
    insta::assert_snapshot!(session.told());
}

#[test]
fn what_a_role_may_not_see_or_a_server_does_not_tell_is_named_and_ends_with_5() {
    let session = Session::new();
    let requests = [
        ("GetBucketVersioning", &["versioning", "version-deletion"][..]),
        ("GetBucketLifecycleConfiguration", &["noncurrent-expiry", "current-expiry", "incomplete-uploads"]),
        ("GetObjectLockConfiguration", &["version-deletion"]),
        ("GetBucketEncryption", &["encryption"]),
        ("GetBucketPolicy", &["policy", "policy-writers"]),
        ("GetPublicAccessBlock", &["public-access-block"]),
        ("GetBucketOwnershipControls", &["ownership"]),
        ("GetBucketAcl", &["acl"]),
        ("GetBucketLocation", &["region"]),
    ];
    let check = |faults: &[String]| {
        session.write("faults.json", &format!("[{}]", faults.join(",")));
        let output = session.output("bucket check s3://a-bucket --sandbox s --sandbox-faults faults.json --json");
        assert_eq!(output.status.code(), Some(5), "{faults:?}: {output:?}");
        json(&output)
    };
    let fault = |request: &str, kind: &str| format!(r#"{{"operation": "{request}", "kind": "{kind}"}}"#);
    for (request, names) in requests {
        let page = check(&[fault(request, "forbidden")]);
        for name in names {
            assert_eq!(level(&page, name), "not-allowed", "{request}");
        }
    }
    // All at once: each is asked again for a while.
    let page = check(&requests.map(|(request, _)| fault(request, "error-before-commit")));
    for name in requests.iter().flat_map(|(_, names)| *names) {
        assert_eq!(level(&page, name), "cannot-tell", "{page:#}");
    }
}

#[test]
fn a_bucket_that_cannot_be_reached_is_no_finding() {
    let session = Session::new();
    session.write("faults.json", r#"[{"kind": "expired-token"}]"#);
    let output = session.output("bucket check s3://a-bucket --sandbox s --sandbox-faults faults.json");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{output:?}");
    for name in ["moto", "seaweedfs"] {
        let Some(server) = server(name) else { continue };
        let output = ask(&server, &session, "no-such-bucket-anywhere", "");
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("there is no bucket"), "{name}: {output:?}");
    }
}

fn ask(server: &Server, session: &Session, bucket: &str, more: &str) -> std::process::Output {
    let mut command = server.noclobber(session.folder.path());
    command.args(["bucket", "check", &format!("s3://{bucket}/reports/"), "--endpoint", &server.endpoint, "--json"]);
    command.args(more.split_whitespace()).output().unwrap()
}

async fn suspend(stranger: &Stranger) {
    version(stranger, BucketVersioningStatus::Suspended).await;
}

async fn version(stranger: &Stranger, status: BucketVersioningStatus) {
    let versioning = VersioningConfiguration::builder().status(status).build();
    let put = stranger.client.put_bucket_versioning().bucket(&stranger.bucket).versioning_configuration(versioning);
    put.send().await.unwrap();
}

/// One rule for `prefix`: old versions go after so many days, parts of uploads after three.
async fn rule(stranger: &Stranger, prefix: &str, days: i32) {
    let rule = LifecycleRule::builder()
        .id("old versions")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        .noncurrent_version_expiration(NoncurrentVersionExpiration::builder().noncurrent_days(days).build())
        .abort_incomplete_multipart_upload(AbortIncompleteMultipartUpload::builder().days_after_initiation(3).build())
        .build()
        .unwrap();
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
    let put = stranger.client.put_bucket_lifecycle_configuration().bucket(&stranger.bucket);
    put.lifecycle_configuration(rules).send().await.unwrap();
}

const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "Others", "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::444455556666:role/loader"}, "Action": ["s3:PutObject", "s3:DeleteObject"],
    "Resource": "arn:aws:s3:::BUCKET/*"}]}"#;

#[tokio::test]
async fn moto_keeps_what_it_is_told_and_every_finding_sees_it() {
    let Some(server) = server("moto") else { return };
    let session = Session::new();
    let stranger = server.fresh_bucket(Versioning::Off).await;
    let (client, bucket) = (&stranger.client, &stranger.bucket);
    let bare = json(&ask(&server, &session, bucket, ""));
    // It answers with a document of another name, from which nothing is taken.
    assert_eq!(level(&bare, "versioning"), "cannot-tell");
    assert_eq!(level(&bare, "noncurrent-expiry"), "ok");
    assert_eq!(level(&bare, "policy"), "warning");
    assert_eq!(level(&bare, "public-access-block"), "warning");

    rule(&stranger, "reports/", 10).await;
    let kms = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms).build().unwrap();
    let kms = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(kms).build();
    let kms = ServerSideEncryptionConfiguration::builder().rules(kms).build().unwrap();
    let put = client.put_bucket_encryption().bucket(bucket).server_side_encryption_configuration(kms);
    put.send().await.unwrap();
    let policy = POLICY.replace("BUCKET", bucket);
    client.put_bucket_policy().bucket(bucket).policy(policy).send().await.unwrap();
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    client.put_public_access_block().bucket(bucket).public_access_block_configuration(block).send().await.unwrap();

    let page = json(&ask(&server, &session, bucket, ""));
    assert_eq!(level(&page, "noncurrent-expiry"), "problem");
    assert_eq!(level(&page, "incomplete-uploads"), "ok");
    assert_eq!(level(&page, "encryption"), "warning");
    assert_eq!(level(&page, "policy"), "warning");
    assert_eq!(level(&page, "policy-writers"), "warning");
    // All four parts are on; what they are worth there is not known.
    assert_eq!(level(&page, "public-access-block"), "cannot-tell");

    // What the fix says is what S3's own request takes, and it helps.
    let mut documents = page["findings"].as_array().unwrap().iter().map(|finding| &finding["fix"]["document"]["text"]);
    let document: Value = serde_json::from_str(documents.find_map(Value::as_str).unwrap()).unwrap();
    assert_eq!(document["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"], 30, "{document}");
    assert_eq!(document["Rules"][0]["ID"], "old versions");
    rule(&stranger, "reports/", 30).await;
    let page = json(&ask(&server, &session, bucket, ""));
    assert_eq!(level(&page, "noncurrent-expiry"), "ok");
    assert_eq!(level(&json(&ask(&server, &session, bucket, "--recovery-days 31")), "noncurrent-expiry"), "problem");
}

#[tokio::test]
async fn ministack_and_seaweedfs_are_never_called_fine_where_they_do_not_tell() {
    for name in ["ministack", "seaweedfs"] {
        let Some(server) = server(name) else { continue };
        let session = Session::new();
        let stranger = server.fresh_bucket(Versioning::On).await;
        let page = json(&ask(&server, &session, &stranger.bucket, ""));
        assert_eq!(level(&page, "versioning"), "ok", "{name}: {page:#}");
        suspend(&stranger).await;
        let output = ask(&server, &session, &stranger.bucket, "");
        assert_eq!(output.status.code(), Some(5), "{name}");
        assert_eq!(level(&json(&output), "versioning"), "problem", "{name}");
        rule(&stranger, "reports/", 10).await;
        let page = json(&ask(&server, &session, &stranger.bucket, ""));
        // SeaweedFS keeps rules in its own way; whatever it tells of them, it is not that all is well.
        assert_ne!(level(&page, "noncurrent-expiry"), "ok", "{name}: {page:#}");
        let policy = POLICY.replace("BUCKET", &stranger.bucket);
        stranger.client.put_bucket_policy().bucket(&stranger.bucket).policy(policy).send().await.unwrap();
        let page = json(&ask(&server, &session, &stranger.bucket, ""));
        assert_ne!(level(&page, "policy-writers"), "ok", "{name}: {page:#}");
    }
}

fn require(session: &Session, name: &str, require: &str) {
    session.write(name, &MANIFEST.replace("entries:", &format!("require: {require}\nentries:")));
}

#[test]
fn replaces_are_refused_where_it_cannot_be_seen_that_they_can_be_undone() {
    let mut session = Session::new();
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out first");
    session.write("out/b.txt", "other\n");
    require(&session, "strict.yaml", "{ versioning: true, recovery_days: 30 }");
    require(&session, "policy.yaml", "{ policy: enforced }");
    session.write("faults.json", r#"[{"operation": "GetBucketVersioning", "kind": "forbidden"}]"#);
    let plan = "plan strict.yaml --date 2026-01-31 --sandbox s";
    session
        .run(&format!("{plan} -o refused.jsonl --sandbox-faults faults.json"))
        .run("apply refused.jsonl --sandbox s")
        .run("apply refused.jsonl --sandbox s --partial")
        .run("run strict.yaml --date 2026-01-31 --sandbox s --out second --sandbox-faults faults.json")
        .run("plan policy.yaml --date 2026-01-31 --sandbox s");
    // Nothing is replaced there: no versioning is needed.
    session.run("plan strict.yaml --date 2026-02-01 --sandbox s --sandbox-faults faults.json");
    // Of two manifests the stricter one speaks for the target.
    session.write(
        "one.yaml",
        &MANIFEST
            .replace("source: out/a.txt\n    key: a.txt", "source: out/a.txt\n    key: c.txt")
            .replace("key: b.txt", "key: d.txt")
            .replace("entries:", "require: { versioning: true }\nentries:"),
    );
    session.run("plan m.yaml one.yaml --date 2026-01-31 --sandbox s --sandbox-faults faults.json");
    insta::assert_snapshot!(session.told());

    let output = session.output(&format!("{plan} -o plan.jsonl"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    session.prepare("apply plan.jsonl --sandbox s");
}

#[test]
fn another_name_for_the_same_bucket_does_not_get_around_what_is_required_of_it() {
    let session = Session::new();
    session.prepare("run m.yaml --date 2026-01-31 --sandbox s --out first");
    session.write("out/b.txt", "other\n");
    session.write("faults.json", r#"[{"operation": "GetBucketVersioning", "kind": "forbidden"}]"#);
    let create = "  - source: out/a.txt\n    key: new/a.txt\n    target: a\n";
    let replace = "  - source: out/b.txt\n    key: 2026-01-31/b.txt\n    overwrite: always\n    target: b\n";
    let a = |require: &str| format!("  a: {{ bucket: a-bucket, require: {require} }}\n");
    let b = "  b: { bucket: a-bucket }\n";
    let manifest = |name: &str, targets: &str, entries: &str| {
        session.write(name, &format!("version: 1\ntargets:\n{targets}entries:\n{entries}"));
    };
    let strict = a("{ versioning: true }");
    manifest("n1.yaml", &strict, create);
    manifest("n2.yaml", b, replace);
    manifest("both.yaml", &format!("{strict}{b}"), &format!("{create}{replace}"));
    manifest("turned.yaml", &format!("{b}{strict}"), &format!("{replace}{create}"));
    manifest("creates.yaml", &format!("{strict}{b}"), create);
    manifest("other.yaml", &format!("{strict}  b: {{ bucket: b-bucket }}\n"), &format!("{create}{replace}"));
    manifest("policy.yaml", &format!("{}{b}", a("{ policy: enforced }")), replace);
    let says = "target b: 1 replace planned, but bucket a-bucket may be one that could not give back";
    for (given, exit, says, field) in [
        ("n1.yaml n2.yaml", 3, says, "(require.versioning of target a)"),
        ("n2.yaml n1.yaml", 3, says, "(require.versioning of target a)"),
        ("both.yaml", 3, says, "(require.versioning of target a)"),
        ("turned.yaml", 3, says, "(require.versioning of target a)"),
        ("n1.yaml", 0, "", ""),
        ("creates.yaml", 0, "", ""),
        ("other.yaml", 0, "", ""),
        ("policy.yaml", 3, "target b: 1 write planned", "(require.policy of target a)"),
    ] {
        let output = session.output(&format!("plan {given} --sandbox s --sandbox-faults faults.json"));
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{given}: {output:?}");
        assert!(told.contains(says) && told.contains(field), "{given}: {told}");
    }
}

#[test]
fn a_requirement_is_asked_once_and_only_for_what_it_needs() {
    let session = Session::new();
    require(&session, "strict.yaml", "{ versioning: true, recovery_days: 30 }");
    let asked = |manifest: &str| {
        let output = session.output(&format!("plan {manifest} --date 2026-01-31 --sandbox s --json"));
        let said = String::from_utf8(output.stdout).unwrap();
        let mut plan = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let plan = plan.rfind(|event| event["event"] == "plan").unwrap();
        plan["requests"].as_u64().unwrap()
    };
    assert_eq!(asked("strict.yaml"), asked("m.yaml") + 2);
}

#[tokio::test]
async fn replaces_are_refused_on_a_bucket_that_would_not_keep_them_until_it_does() {
    let Some(server) = server("ministack") else { return };
    let session = Session::new();
    let stranger = server.fresh_bucket(Versioning::Off).await;
    let at = format!("bucket: {}\nendpoint: {}\n", stranger.bucket, server.endpoint);
    let strict = MANIFEST.replace("bucket: a-bucket\n", &at);
    let strict = strict.replace("entries:", "require: { recovery_days: 30 }\nentries:");
    session.write("strict.yaml", &strict);
    stranger.put("2026-01-31/b.txt", "old\n").await;
    let plan = || {
        let mut command = server.noclobber(session.folder.path());
        let output = command.args(["plan", "strict.yaml", "--date", "2026-01-31", "--json"]).output().unwrap();
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        let mut events = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let event = events.rfind(|event| event["event"] == "plan");
        let event = event.unwrap_or_else(|| panic!("{output:?}"));
        let refusals: Vec<String> =
            event["refusals"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        (output.status.code().unwrap(), refusals.join("\n"))
    };
    let is_refused = |says: &str| {
        let (exit, refusals) = plan();
        assert!(exit == 3 && refusals.contains(says), "{exit} {refusals}");
    };
    is_refused("versioning was never enabled");
    version(&stranger, BucketVersioningStatus::Enabled).await;
    assert_eq!(plan(), (0, String::new()));
    rule(&stranger, "2026-01-31/", 29).await;
    is_refused("the first key is 2026-01-31/b.txt");
    // Another part of the bucket.
    rule(&stranger, "2026-02-01/", 29).await;
    assert_eq!(plan(), (0, String::new()));
    rule(&stranger, "", 30).await;
    assert_eq!(plan(), (0, String::new()));
    suspend(&stranger).await;
    is_refused("versioning is suspended");
}

#[test]
fn scratch_objects_tell_what_the_server_does() {
    let mut session = Session::new();
    let probe = "bucket check s3://a-bucket/reports/ --sandbox s --probe scratch/";
    let page = json(&session.output(&format!("{probe} --json")));
    for request in ["put", "complete", "copy", "delete"] {
        assert_eq!(level(&page, &format!("probe-{request}")), "ok", "{page}");
    }
    for fact in ["etag", "checksum-verified", "checksum-returned", "composite-returned"] {
        assert_eq!(level(&page, &format!("probe-{fact}")), "ok", "{page}");
    }
    for (operation, name, expected, exit) in [
        ("PutObject", "probe-put", "problem", 5),
        ("CompleteMultipartUpload", "probe-complete", "problem", 5),
        ("CopyObject", "probe-copy", "warning", 0),
        ("DeleteObject", "probe-delete", "warning", 0),
    ] {
        session.write("faults.json", &format!(r#"[{{"operation": "{operation}", "kind": "conditions-ignored"}}]"#));
        let output = session.output(&format!("{probe} --json --sandbox-faults faults.json"));
        assert_eq!(level(&json(&output), name), expected, "{operation}");
        assert_eq!(output.status.code(), Some(exit), "{operation}");
    }
    // Nobody may store there: then nothing is known, and nothing is ok.
    session.write("faults.json", r#"[{"operation": "PutObject", "kind": "forbidden"}]"#);
    let output = session.output(&format!("{probe} --json --sandbox-faults faults.json"));
    assert_eq!((level(&json(&output), "probe"), output.status.code()), ("not-allowed", Some(5)));
    // And what cannot be removed is named.
    session.write("faults.json", r#"[{"operation": "DeleteObject", "kind": "forbidden"}]"#);
    let output = session.output(&format!("{probe} --json --sandbox-faults faults.json"));
    let page = json(&output);
    assert_eq!((level(&page, "probe-left"), output.status.code()), ("problem", Some(5)), "{page}");
    let left = page["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == "probe-left").unwrap();
    assert!(left["found"].as_str().unwrap().contains("scratch/.noclobber-probe-"), "{left}");
    session.write("faults.json", r#"[{"operation": "CopyObject", "kind": "conditions-ignored"}]"#);
    session.run(&format!("{probe} --sandbox-faults faults.json"));
    insta::assert_snapshot!(session.told());
}
