//! Two servers that enforce policies, asked for what a policy denies and what it does not. Of the keys in conditions they
//! know those of who asks; none knows `s3:if-none-match`.

use std::process::Output;

use noclobber::bucket::policy::{Answer, Caller, Context, Kind, Policy, Resource, evaluate};

use super::support::{Server, Stranger, Versioning, server};

/// Who the tests are at the servers: ministack's IAM user, SeaweedFS's identity.
const US: &str = "arn:aws:iam::000000000000:user/noclobber";

async fn put_policy(stranger: &Stranger, policy: &str) {
    let put = stranger.client.put_bucket_policy().bucket(&stranger.bucket).policy(policy);
    put.send().await.unwrap_or_else(|error| panic!("{policy}: {error:?}"));
}

/// Whether the server answered 403.
async fn denied(stranger: &Stranger, kind: Kind, key: &str) -> bool {
    let (client, bucket) = (&stranger.client, &stranger.bucket);
    let error = match kind {
        Kind::Put => {
            let put = client.put_object().bucket(bucket).key(key).body(b"x".to_vec().into());
            put.send().await.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()))
        }
        Kind::CreateUpload => {
            let begin = client.create_multipart_upload().bucket(bucket).key(key);
            begin.send().await.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()))
        }
        Kind::Delete => {
            let delete = client.delete_object().bucket(bucket).key(key);
            delete.send().await.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()))
        }
        other => panic!("{other:?} is not asked here"),
    };
    match error {
        None => false,
        Some(403) => true,
        Some(other) => panic!("{kind:?} {key}: {other}"),
    }
}

async fn compare(server: &Server, statements: &str) {
    let stranger = server.fresh_bucket(Versioning::Off).await;
    let statements = statements.replace("BUCKET", &stranger.bucket);
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    put_policy(&stranger, &text).await;
    let policy = Policy::read(&text).unwrap();
    for key in ["p/x", "p/y.csv", "q/x"] {
        for kind in [Kind::Put, Kind::CreateUpload, Kind::Delete] {
            let bucket = format!("arn:aws:s3:::{}", stranger.bucket);
            let caller = Caller::Arn { arn: US.to_owned(), session: None };
            let mut request = kind.request(caller, &bucket, Resource::One(format!("{bucket}/{key}")));
            // They know no keys of S3's here.
            request.context = Context::default();
            let ours = evaluate(&policy, &request);
            assert!(!matches!(ours, Answer::CannotTell { .. }), "{ours:?}");
            let ours = matches!(ours, Answer::Denied { .. });
            assert_eq!(denied(&stranger, kind, key).await, ours, "{}: {kind:?} {key}: {statements}", server.name);
        }
    }
}

#[tokio::test]
async fn servers_deny_what_we_find_denied_and_nothing_else() {
    for name in ["ministack", "seaweedfs"] {
        let Some(server) = server(name) else { continue };
        for statements in [
            r#"{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::BUCKET/p/*"}"#,
            r#"{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": ["s3:Delete*"], "Resource": "arn:aws:s3:::BUCKET/?/x"}"#,
            r#"{"Effect": "Deny", "Principal": "*", "Action": "s3:*Object", "Resource": ["arn:aws:s3:::BUCKET/*.csv"]},
               {"Effect": "Deny", "Principal": "*", "Action": "s3:D*t", "Resource": "arn:aws:s3:::BUCKET/q/*"}"#,
        ] {
            compare(&server, statements).await;
        }
        if name == "ministack" {
            // To SeaweedFS, actions in another case are others. To IAM they are the same.
            let other_case = r#"{"Effect": "Deny", "Principal": "*", "Action": "S3:putobject", "Resource": "arn:aws:s3:::BUCKET/q/*"}"#;
            compare(&server, other_case).await;
        }
    }
}

#[tokio::test]
async fn exceptions_for_operators_are_read_as_a_server_reads_them() {
    let Some(server) = server("ministack") else { return };
    for operator in ["arn:aws:iam::*:user/noclobber", "arn:aws:iam::*:user/no*er", "arn:aws:iam::*:user/somebody"] {
        for test in ["ArnNotLike", "ArnNotEquals", "StringNotLike", "ArnLike", "StringLike"] {
            let statement = format!(
                r#"{{"Effect": "Deny", "Principal": "*", "Action": ["s3:PutObject", "s3:DeleteObject"],
                    "Resource": "arn:aws:s3:::BUCKET/p/*", "Condition": {{"{test}": {{"aws:PrincipalArn": "{operator}"}}}}}}"#
            );
            compare(&server, &statement).await;
        }
    }
}

fn bucket_policy(server: &Server, stranger: &Stranger, more: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let place = format!("s3://{}/p/", stranger.bucket);
    let mut command = server.noclobber(home.path());
    command.args(["bucket", "policy", &place, "--endpoint", &server.endpoint]).args(more);
    command.output().unwrap()
}

#[tokio::test]
async fn what_is_printed_is_merged_into_what_the_bucket_has_taken_and_enforced() {
    for name in ["ministack", "seaweedfs"] {
        let Some(server) = server(name) else { continue };
        let stranger = server.fresh_bucket(Versioning::Off).await;
        stranger.put("p/x", b"x".to_vec()).await;
        // A bucket without a policy.
        let first = bucket_policy(&server, &stranger, &["--merge"]);
        assert_eq!(first.status.code(), Some(0), "{name}: {first:?}");
        let theirs = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"Theirs","Effect":"Deny","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::{}/q/*"}}]}}"#,
            stranger.bucket
        );
        put_policy(&stranger, &theirs).await;
        let merged = bucket_policy(&server, &stranger, &["--merge"]);
        assert_eq!(merged.status.code(), Some(0), "{name}: {merged:?}");
        let merged = String::from_utf8(merged.stdout).unwrap();
        assert!(merged.contains("\"Theirs\"") && merged.contains("\"NoclobberSettings\""), "{name}: {merged}");
        put_policy(&stranger, &merged).await;
        for key in ["p/x", "q/x"] {
            assert!(denied(&stranger, Kind::Delete, key).await, "{name}: {key}");
        }
        assert!(!denied(&stranger, Kind::Delete, "other").await, "{name}");
        // What it has is what was printed: nothing is left to do.
        let again = bucket_policy(&server, &stranger, &["--merge"]);
        let said = String::from_utf8(again.stderr).unwrap();
        assert!(said.contains("there already: NoclobberWrites"), "{name}: {said}");
    }
}
