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

/// A Deny of s3:PutObject to everybody on the whole bucket, with something changed.
fn deny(change: &str) -> String {
    let mut statement: serde_json::Value = serde_json::from_str(
        r#"{"Sid": "S", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::finance/*"}"#,
    )
    .unwrap();
    let change: serde_json::Value = serde_json::from_str(&format!("{{{change}}}")).unwrap();
    for (name, value) in change.as_object().unwrap() {
        if let Some(instead) = name.strip_prefix("Not") {
            statement.as_object_mut().unwrap().remove(instead);
        }
        statement[name] = value.clone();
    }
    statement.to_string()
}

/// The condition that forces both headers, with more beside it.
fn forced(more: &str) -> String {
    deny(&format!(
        r#""Condition": {{"Null": {{"s3:if-none-match": "true", "s3:if-match": "true"}},
            "Bool": {{"s3:ObjectCreationOperation": "true"}}{more}}}"#
    ))
}

/// `enforced` with what it lets through, or what else it is.
fn told(enforcement: &Enforcement) -> String {
    match enforcement {
        Enforcement::Enforced {
            creates_allowed,
            replace_allowed,
            multipart_allowed,
            deletes_closed,
            open,
            operators,
        } => {
            assert_eq!(*deletes_closed, !Kind::DELETING.iter().any(|kind| open.contains(kind)));
            let mut told = "enforced".to_owned();
            for (truth, word) in [
                (creates_allowed, "create"),
                (replace_allowed, "replace"),
                (multipart_allowed, "parts"),
                (deletes_closed, "closed"),
            ] {
                if *truth {
                    told.push(' ');
                    told.push_str(word);
                }
            }
            for operator in operators {
                told.push_str(" but ");
                told.push_str(operator);
            }
            told
        }
        Enforcement::Holes(holes) => format!("holes: {}", holes[0].sentence),
        Enforcement::Pretends { why, .. } => format!("pretends: {why}"),
        Enforcement::None => "none".to_owned(),
        Enforcement::CannotTell(why) => format!("cannot tell: {}", why[0]),
    }
}

#[test]
fn whether_a_policy_enforces_is_told_of_every_shape_that_one_meets() {
    let through = "holes: PutObject without a condition gets through: statement \"S\"";
    let unknown = "cannot tell: PutObject without a condition: statement \"S\"";
    let allow_only = r#"{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
        "Action": "s3:PutObject", "Resource": "arn:aws:s3:::finance/*", "Condition": {"Null": {"s3:if-none-match": "false"}}}"#;
    let unclear = deny(r#""Condition": {"NumericLessThan": {"s3:x": "1"}}"#);
    for (statements, expected) in [
        (String::new(), "none".to_owned()),
        (forced(""), "enforced create replace parts".to_owned()),
        (allow_only.to_owned(), "none".to_owned()),
        // Without the key that leaves parts out, nothing can go up in parts.
        (deny(r#""Condition": {"Null": {"s3:if-none-match": "true"}}"#), "enforced create".to_owned()),
        (deny(""), "enforced".to_owned()),
        (deny(r#""Action": "s3:*""#), "enforced".to_owned()),
        (deny(r#""Action": ["S3:putobject", "s3:DeleteObject*"]"#), "enforced".to_owned()),
        (deny(r#""NotAction": "s3:Get*""#), "enforced".to_owned()),
        (deny(r#""NotResource": "arn:aws:s3:::finance/other/*""#), "enforced closed".replace(" closed", "")),
        (deny(r#""Principal": {"AWS": "*"}"#), "enforced".to_owned()),
        (deny(r#""Condition": {"Null": {"S3:IF-None-Match": true}}"#), "enforced create".to_owned()),
        (deny(r#""Condition": {"StringNotEquals": {"s3:if-none-match": "*"}}"#), "enforced create".to_owned()),
        (deny(r#""Resource": "*""#), "enforced".to_owned()),
        (deny(r#""Resource": ["arn:aws:s3:::other/*", "arn:aws:s3:::fin?nce/rep*"]"#), "enforced".to_owned()),
        // Exceptions for operators.
        (
            forced(r#", "ArnNotLike": {"aws:PrincipalArn": ["arn:aws:iam::111122223333:role/ops", "arn:aws:iam::444455556666:role/ext-*"]}"#),
            "enforced create replace parts but arn:aws:iam::111122223333:role/ops but arn:aws:iam::444455556666:role/ext-*".to_owned(),
        ),
        (forced(r#", "StringNotLike": {"aws:userid": "AROAEXAMPLE:*"}"#), "enforced create replace parts but AROAEXAMPLE:*".to_owned()),
        (
            forced(r#", "ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/*"}"#),
            format!("{through}: it asks for ArnNotLike aws:PrincipalArn \"arn:aws:iam::111122223333:role/*\", which means more than named principals"),
        ),
        (
            forced(r#", "ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/*e*"}"#),
            format!("{through}: it asks for ArnNotLike aws:PrincipalArn \"arn:aws:iam::111122223333:role/*e*\", which means more than named principals"),
        ),
        (
            forced(r#", "ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/ops"}"#),
            format!("{through}: it asks for ArnNotLike aws:PrincipalArn \"arn:aws:iam::*:role/ops\", which means more than named principals"),
        ),
        (
            forced(r#", "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/ops"}"#),
            format!("{through}: such a request does not satisfy ArnLike aws:PrincipalArn \"arn:aws:iam::111122223333:role/ops\""),
        ),
        // A part of the keys, some of the principals, some of the requests.
        (deny(r#""Resource": "arn:aws:s3:::finance/reports/*.csv""#), format!("{through}: it covers a part of the keys")),
        (deny(r#""Resource": "arn:aws:s3:::finance/reports/2026/*""#), format!("{through}: it covers a part of the keys")),
        (deny(r#""Principal": {"AWS": "111122223333"}"#), format!("{through}: it means named principals only")),
        (
            forced(r#", "StringEquals": {"s3:x-amz-acl": "public-read"}"#),
            format!("{through}: it asks for StringEquals s3:x-amz-acl \"public-read\""),
        ),
        (
            deny(r#""Condition": {"Null": {"s3:if-none-match": "true", "s3:x-amz-copy-source": "true"}}"#),
            "holes: CopyObject without a condition gets through: statement \"S\": such a request does not satisfy Null \
             s3:x-amz-copy-source \"true\""
                .to_owned(),
        ),
        // Of something else altogether.
        (deny(r#""Condition": {"Bool": {"aws:SecureTransport": "false"}}"#), "none".to_owned()),
        (deny(r#""Resource": "arn:aws:s3:::finance/other/*""#), "none".to_owned()),
        (deny(r#""Condition": {"Bool": {"s3:ObjectCreationOperation": "false"}}"#), "none".to_owned()),
        // Not understood.
        (deny(r#""NotPrincipal": {"AWS": "arn:aws:iam::111122223333:root"}"#), format!("{unknown}: NotPrincipal is not understood here")),
        (
            forced(r#", "NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#),
            format!("{unknown}: NotIpAddress aws:SourceIp is not understood here"),
        ),
        (
            forced(r#", "ForAnyValue:StringEquals": {"aws:CalledVia": "x"}"#),
            format!("{unknown}: ForAnyValue:StringEquals aws:CalledVia is not understood here"),
        ),
        (deny(r#""Resource": "arn:aws:s3:::finance/${aws:username}/*""#), format!("{unknown}: whether it covers the keys is not clear")),
        (deny(r#""Resource": "arn:aws:s3*""#), format!("{unknown}: whether it covers the keys is not clear")),
        (deny(r#""Principal": {"AWS": "arn:aws:iam::*:user/*"}"#), format!("{unknown}: its Principal \"arn:aws:iam::*:user/*\" is a pattern, which a Principal cannot be")),
        // Of nothing.
        (forced(r#", "ArnNotLike": {"aws:PrincipalArn": []}"#), format!("{unknown}: ArnNotLike aws:PrincipalArn is not understood here")),
        (forced(r#", "StringNotLike": {"aws:userid": []}"#), format!("{unknown}: StringNotLike aws:userid is not understood here")),
        (forced(r#", "StringNotEquals": {"s3:x-amz-acl": []}"#), format!("{unknown}: StringNotEquals s3:x-amz-acl is not understood here")),
        (forced(r#", "StringLike": {}"#), format!("{unknown}: its condition StringLike is on no key")),
        (deny(r#""Condition": {"Null": {"s3:if-none-match": []}}"#), format!("{unknown}: Null s3:if-none-match is not understood here")),
        (deny(r#""NotAction": []"#), format!("{unknown}: NotAction lists nothing")),
        (deny(r#""NotResource": []"#), format!("{unknown}: NotResource lists nothing")),
        (deny(r#""Surprise": 1"#), format!("{unknown}: Surprise is not understood here")),
        (format!("{},{unclear}", forced("").replace("\"S\"", "\"T\"")), "enforced create replace parts".to_owned()),
        // Never both.
        (
            deny(r#""Condition": {"Null": {"s3:if-match": "true"}, "StringLike": {"s3:if-match": "*"}}"#),
            "pretends: Null s3:if-match \"true\" and StringLike s3:if-match \"*\" never hold together".to_owned(),
        ),
        (
            deny(r#""Condition": {"StringEquals": {"aws:PrincipalTag/team": ["a", "b"]}, "StringNotLike": {"aws:principaltag/TEAM": ["a*", "b"]}}"#),
            "pretends: StringEquals aws:PrincipalTag/team [\"a\", \"b\"] and StringNotLike aws:principaltag/TEAM [\"a*\", \"b\"] never hold together".to_owned(),
        ),
    ] {
        assert_eq!(told(&enforcement(&policy(&statements), BUCKET, "reports/")), expected, "{statements}");
    }
}

#[test]
fn operators_that_another_prefix_rests_on_are_replaced_only_where_that_is_wanted() {
    let second = "arn:aws:iam::111122223333:role/second";
    let of = |prefix: &str, operators: &[&str]| {
        let operators = operators.iter().map(|one| (*one).to_owned()).collect();
        drawn(&Wanted { operators, ..wanted(prefix) })
    };
    let policy_actions = ["s3:DeleteBucketPolicy", "s3:PutBucketPolicy"];
    for (before, after, opened) in [
        (&[OPERATOR][..], &[second][..], &[][..]),
        (&[OPERATOR], &[], &policy_actions),
        (&[], &[second], &[]),
        (&[OPERATOR], &[OPERATOR, second], &[]),
        (&[OPERATOR, second], &[second], &[]),
    ] {
        let existing = of("a/", before);
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let change = |others: &[&str]| Change {
            before: strings(before),
            after: strings(after),
            opened: strings(opened),
            others: strings(others),
        };
        let told = Some(change(&["a/*"]));
        let refused = merge(&existing, &of("c/", after), Settings::Keep).unwrap_err();
        assert_eq!(refused, MergeError::Operators(change(&["a/*"])));
        assert_eq!(merge(&existing, &of("c/", after), Settings::Replace).unwrap().change, told);
        // No other prefix is there: it is told, and done.
        assert_eq!(merge(&existing, &of("a/", after), Settings::Keep).unwrap().change, Some(change(&[])));
        // The same operators, in whatever order.
        let same: Vec<&str> = before.iter().rev().copied().collect();
        assert_eq!(merge(&existing, &of("c/", &same), Settings::Keep).unwrap().change, None);
    }
}

#[test]
fn a_number_that_would_not_come_out_as_it_was_written_is_not_merged() {
    for (number, merges) in [("30", true), ("123456789012345678901234567890", false), ("1.50", false)] {
        let theirs = deny(r#""Condition": {"NumericLessThan": {"s3:max-keys": 77}}"#).replace("77", number);
        let merged = merge(&policy(&theirs), &drawn(&wanted("a/")), Settings::Keep);
        match merged {
            Ok(merged) => assert!(merges && merged.policy.compact().contains(number), "{number}"),
            Err(error) => assert!(!merges && error == MergeError::Number(number.to_owned()), "{number}: {error}"),
        }
    }
}

#[test]
fn a_prefix_longer_than_any_key_is_not_drawn() {
    // Counted in bytes: each of these has two.
    assert!(draw(&wanted(&"é".repeat(512))).is_ok());
    assert_eq!(draw(&wanted(&format!("{}x", "é".repeat(512)))), Err(DrawError::PrefixTooLong(1025)));
}

#[test]
fn a_bucket_of_another_partition_is_known_by_its_policy() {
    let mut wanted = Wanted { partition: Partition::of_region("cn-north-1"), ..wanted("") };
    wanted.operators = vec!["arn:aws-cn:iam::111122223333:role/ops".to_owned()];
    assert!(
        told(&enforcement(&drawn(&wanted), BUCKET, "x")).starts_with("enforced create parts closed but arn:aws-cn")
    );
    assert_eq!(Partition::of_region("us-gov-west-1").name(), "aws-us-gov");
}

#[test]
fn what_is_not_understood_is_never_called_denied_or_allowed() {
    let odd = |effect: &str| {
        format!(
            r#"{{"Effect": "{effect}", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::finance/*",
                "Condition": {{"DateLessThan": {{"aws:CurrentTime": "2030-01-01T00:00:00Z"}}}}}}"#
        )
    };
    let allow = odd("Allow").replace("DateLessThan", "Null").replace("2030-01-01T00:00:00Z", "false");
    let put = |statements: &[&str]| ask(&policy(&statements.join(",")), Kind::Put, arn(ORDINARY), "a.csv");
    assert!(matches!(put(&[&odd("Deny")]), Answer::CannotTell { why } if why[0].contains("DateLessThan")));
    assert!(matches!(put(&[&odd("Allow")]), Answer::CannotTell { .. }));
    assert!(matches!(put(&[&odd("Deny"), &deny("")]), Answer::Denied { by } if by == "statement \"S\""));
    assert!(matches!(put(&[&odd("Allow"), &deny("")]), Answer::Denied { .. }));
    // The time is not said, so whether it is there is not known either.
    assert!(matches!(put(&[&allow]), Answer::CannotTell { .. }));
    let plain = deny(r#""Effect": "Allow", "Sid": "A""#);
    assert!(matches!(put(&[&odd("Allow"), &plain]), Answer::Allowed { by } if by == "statement \"A\""));
    assert!(matches!(put(&[&odd("Deny"), &plain]), Answer::CannotTell { .. }));
}

#[test]
fn those_who_may_write_are_listed_with_what_and_how() {
    let statements = r#"
        {"Sid": "Open", "Effect": "Allow", "Principal": {"AWS": ["*", "444455556666"]}, "Action": ["s3:Put*", "s3:GetObject"],
         "Resource": ["arn:aws:s3:::finance/*", "arn:aws:s3:::finance"], "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"}, "Action": "s3:DeleteObject",
         "Resource": "arn:aws:s3:::finance/reports/2026/*"},
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::finance/*"},
        {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::finance/other/*"},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:PutBucket*", "Resource": "arn:aws:s3:::finance"}"#;
    let found = writers(&policy(statements), BUCKET, "reports/");
    let who: Vec<&Who> = found.iter().map(|writer| &writer.who).collect();
    let alice = Who::Arn("arn:aws:iam::111122223333:user/alice".to_owned());
    assert_eq!(who, [&Who::Public, &Who::Account("444455556666".to_owned()), &alice]);
    assert_eq!(found[0].statement, "statement \"Open\"");
    assert!(found[0].may.contains(&Kind::Put) && found[0].may.contains(&Kind::PutLifecycle), "{:?}", found[0].may);
    assert!(!found[0].may.contains(&Kind::PutPolicy) && !found[0].may.contains(&Kind::Delete), "{:?}", found[0].may);
    assert_eq!(found[0].conditions, ["IpAddress aws:SourceIp"]);
    assert_eq!(found[2].may, [Kind::Delete, Kind::DeleteIfUnchanged]);
    // Under a policy that forces conditions, nobody writes without.
    let both = merge(&policy(statements), &drawn(&wanted("reports/")), Settings::Keep).unwrap().policy;
    assert!(writers(&both, BUCKET, "reports/").iter().all(|writer| !writer.may.contains(&Kind::Put)));
}
