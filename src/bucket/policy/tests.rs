//! Whole policies against whole kinds of requests: who may do what, and what is said of it.

use super::*;

const BUCKET: &str = "finance";
const OPERATOR: &str = "arn:aws:iam::111122223333:role/ops/release";
const ORDINARY: &str = "arn:aws:iam::111122223333:user/alice";

fn wanted(prefix: &str) -> Wanted {
    Wanted {
        bucket: BUCKET.to_owned(),
        prefix: prefix.to_owned(),
        partition: Partition::Aws,
        allow_replace: false,
        operators: vec![OPERATOR.to_owned()],
    }
}

fn drawn(wanted: &Wanted) -> Policy {
    draw(wanted).unwrap()
}

fn policy(statements: &str) -> Policy {
    Policy::read(&format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#)).unwrap()
}

fn arn(arn: &str) -> Caller {
    Caller::Arn { arn: arn.to_owned(), session: None }
}

fn ask(policy: &Policy, kind: Kind, caller: Caller, key: &str) -> Answer {
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let key = Resource::One(format!("{bucket}/{key}"));
    evaluate(policy, &kind.request(caller, &bucket, key))
}

/// The kinds that the drawn policy denies, by who asks: everybody, or everybody but operators.
fn expected(kind: Kind, allow_replace: bool) -> (bool, bool) {
    match kind {
        Kind::Put | Kind::Complete | Kind::Copy => (true, true),
        Kind::PutIfUnchanged | Kind::CompleteIfUnchanged | Kind::CopyIfUnchanged => (!allow_replace, !allow_replace),
        Kind::PutIfAbsent
        | Kind::CompleteIfAbsent
        | Kind::CopyIfAbsent
        | Kind::CreateUpload
        | Kind::UploadPart
        | Kind::UploadPartCopy => (false, false),
        Kind::Delete
        | Kind::DeleteIfUnchanged
        | Kind::DeleteVersion
        | Kind::Replicate
        | Kind::ReplicateDelete
        | Kind::PutLifecycle
        | Kind::PutVersioning
        | Kind::PutPolicy
        | Kind::DeletePolicy => (true, false),
    }
}

#[test]
fn what_is_drawn_denies_exactly_what_it_should() {
    for allow_replace in [false, true] {
        for operators in [true, false] {
            let mut wanted = Wanted { allow_replace, ..wanted("reports/") };
            if !operators {
                wanted.operators.clear();
            }
            let policy = drawn(&wanted);
            for kind in Kind::ALL {
                let (others, operator) = expected(kind, allow_replace);
                // Without operators nobody is left to change a policy that denies that to all.
                let is_policy = matches!(kind, Kind::PutPolicy | Kind::DeletePolicy);
                let (others, operator) =
                    if operators { (others, operator) } else { (others && !is_policy, others && !is_policy) };
                let callers = [
                    (arn(ORDINARY), others),
                    (arn("arn:aws:iam::444455556666:role/ops/release"), others),
                    (Caller::Anonymous, others),
                    (Caller::Service("logging.s3.amazonaws.com".to_owned()), others),
                    (Caller::Anybody, others),
                    (arn(OPERATOR), operator),
                ];
                for (caller, denied) in callers {
                    let answer = ask(&policy, kind, caller.clone(), "reports/2026/a.csv");
                    let is_denied = matches!(answer, Answer::Denied { .. });
                    assert!(
                        is_denied == denied && (is_denied || answer == Answer::NotMentioned),
                        "{kind:?} by {caller:?}, replaces {allow_replace}, operators {operators}: {answer:?}"
                    );
                    if !kind.is_of_the_bucket() {
                        assert_eq!(ask(&policy, kind, caller, "other/a.csv"), Answer::NotMentioned, "{kind:?}");
                    }
                }
            }
        }
    }
}

const FAMOUS: &str = r#"{"Sid": "PreventOverwrites", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::finance/*",
    "Condition": {"Null": {"s3:x-amz-copy-source": "true"}, "StringEquals": {"s3:x-amz-metadata-directive": "REPLACE"}}}"#;

#[test]
fn the_widely_copied_policy_denies_nothing_and_is_told_to() {
    let policy = policy(FAMOUS);
    for kind in Kind::ALL {
        assert_eq!(ask(&policy, kind, arn(ORDINARY), "a.csv"), Answer::NotMentioned, "{kind:?}");
    }
    let Enforcement::Pretends { statement, why } = enforcement(&policy, BUCKET, "reports/") else {
        panic!("{:?}", enforcement(&policy, BUCKET, "reports/"))
    };
    assert_eq!(statement, "statement \"PreventOverwrites\"");
    assert_eq!(
        why,
        "Null s3:x-amz-copy-source \"true\" leaves out copies, and StringEquals s3:x-amz-metadata-directive \"REPLACE\" \
         holds of copies alone, which are the only requests with that header; no write is both"
    );
}

#[test]
fn what_is_drawn_is_found_to_enforce() {
    for allow_replace in [false, true] {
        let wanted = Wanted { allow_replace, ..wanted("reports/") };
        for prefix in ["reports/", "reports/2026/"] {
            assert_eq!(
                enforcement(&drawn(&wanted), BUCKET, prefix),
                Enforcement::Enforced {
                    creates_allowed: true,
                    replace_allowed: allow_replace,
                    multipart_allowed: true,
                    deletes_closed: true,
                    open: vec![],
                    operators: vec![OPERATOR.to_owned()],
                }
            );
        }
        assert_eq!(enforcement(&drawn(&wanted), BUCKET, "other/"), Enforcement::None);
        assert_eq!(enforcement(&drawn(&wanted), "finance-2", "reports/"), Enforcement::None);
        assert!(matches!(enforcement(&drawn(&wanted), BUCKET, "rep"), Enforcement::Holes(holes) if holes.len() == 3));
    }
}
