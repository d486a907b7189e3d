//! What holds of any policies: drawn, found or made up.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

const BUCKET: &str = "arn:aws:s3:::b";
const OPS: &str = "arn:aws:iam::111122223333:role/ops";
const ALICE: &str = "arn:aws:iam::111122223333:user/alice";

/// Statements of everything that could be got wrong, small enough for them to meet.
fn statement() -> impl Strategy<Value = String> {
    let principals = [
        r#""Principal": "*""#,
        r#""Principal": {"AWS": "*"}"#,
        r#""Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"}"#,
        r#""Principal": {"AWS": ["111122223333"]}"#,
        r#""Principal": {"Service": "logging.s3.amazonaws.com"}"#,
        r#""NotPrincipal": {"AWS": "111122223333"}"#,
    ];
    let actions = [
        r#""Action": "s3:PutObject""#,
        r#""Action": ["s3:Put*", "s3:deleteobject"]"#,
        r#""Action": "*""#,
        r#""NotAction": "s3:Delete*""#,
    ];
    let resources = [
        r#""Resource": "arn:aws:s3:::b/*""#,
        r#""Resource": ["arn:aws:s3:::b/p/*", "arn:aws:s3:::b"]"#,
        r#""Resource": "arn:aws:s3:::b/p/?*""#,
        r#""Resource": "arn:aws:s3:::b/${aws:username}/*""#,
        r#""NotResource": "arn:aws:s3:::b/p/x""#,
        r#""Resource": "*""#,
    ];
    let conditions = vec![
        r#""Null": {"s3:if-none-match": "true"}"#,
        r#""Bool": {"s3:ObjectCreationOperation": "true"}"#,
        r#""StringEquals": {"s3:if-match": ["\"e\"", "x"]}"#,
        r#""StringNotEquals": {"s3:if-none-match": "*"}"#,
        r#""StringLike": {"s3:x-amz-metadata-directive": "R*"}"#,
        r#""StringNotLike": {"aws:userid": "AROAEXAMPLE:*"}"#,
        r#""ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/ops"}"#,
        r#""ArnNotEquals": {"aws:PrincipalArn": ["arn:aws:iam::111122223333:user/ali*"]}"#,
        r#""ArnNotEqualsIfExists": {"aws:PrincipalArn": ["arn:aws:iam::*:role/z*"]}"#,
        r#""ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:*"}"#,
        r#""BoolIfExists": {"aws:SecureTransport": "false"}"#,
        r#""StringEqualsIgnoreCase": {"s3:x-amz-acl": "PRIVATE"}"#,
        r#""IpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#,
    ];
    let most = 3;
    (
        select(&["Deny", "Deny", "Allow"][..]),
        select(principals.to_vec()),
        select(actions.to_vec()),
        select(resources.to_vec()),
    )
        .prop_flat_map(move |parts| (Just(parts), subsequence(conditions.clone(), 0..=most)))
        .prop_map(|((effect, principal, action, resource), conditions)| {
            let conditions = conditions.join(", ");
            format!(r#"{{"Effect": "{effect}", {principal}, {action}, {resource}, "Condition": {{{conditions}}}}}"#)
        })
}

fn read(statements: &[String]) -> Policy {
    Policy::read(&format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(","))).unwrap()
}

fn callers() -> Vec<Caller> {
    let arn = |arn: &str| Caller::Arn { arn: arn.to_owned(), session: None };
    let service = Caller::Service("config.amazonaws.com".to_owned());
    vec![arn(OPS), arn(ALICE), arn("arn:aws:iam::444455556666:role/zoe"), Caller::Anonymous, service]
}

/// One request of a kind, with nothing left open but what no value is known of.
fn concrete(kind: Kind, caller: Caller, key: &str, [acl, directive, user_id]: [Held; 3], secure: bool) -> Request {
    let mut request = kind.request(caller, BUCKET, Resource::One(format!("{BUCKET}/{key}")));
    let directive = match request.context.get("s3:x-amz-metadata-directive") {
        Held::Anything => directive,
        known => known.clone(),
    };
    if *request.context.get("s3:if-match") == Held::Present {
        request.context = request.context.with("s3:if-match", Held::Is("\"e\"".to_owned()));
    }
    request.context = request
        .context
        .with("s3:x-amz-acl", acl)
        .with("s3:x-amz-metadata-directive", directive)
        .with("aws:SecureTransport", Held::Is(secure.to_string()))
        .with("aws:userid", user_id);
    request
}

fn held(values: &'static [&'static str]) -> impl Strategy<Value = Held> {
    let is = values.iter().map(|value| Held::Is((*value).to_owned()));
    select(is.chain([Held::Absent]).collect::<Vec<_>>())
}

fn open_keys() -> impl Strategy<Value = [Held; 3]> {
    (held(&["private", "public-read"]), held(&["COPY", "REPLACE"]), held(&["AIDAALICE", "AROAOTHER:s"]))
        .prop_map(|(acl, directive, user_id)| [acl, directive, user_id])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// The heart: nothing that is said of all requests is untrue of one.
    #[test]
    fn what_is_said_to_be_denied_to_anybody_is_denied_to_each(
        statements in prop::collection::vec(statement(), 1..4),
        kind in select(Kind::ALL.to_vec()),
        // Those that the statements name are not anybody.
        caller in select(callers()[2..].to_vec()),
        key in select(&["p/x", "p/y/z", "p/"][..]),
        open in open_keys(),
        secure: bool,
    ) {
        let policy = read(&statements);
        let keys = Resource::Every(format!("{BUCKET}/p/"));
        let of_all = evaluate(&policy, &kind.request(Caller::Anybody, BUCKET, keys));
        let of_one = evaluate(&policy, &concrete(kind, caller, key, open, secure));
        if matches!(of_all, Answer::Denied { .. }) {
            prop_assert!(matches!(of_one, Answer::Denied { .. }), "{:?} but {:?}", of_all, of_one);
        }
        if of_all == Answer::NotMentioned {
            prop_assert!(!matches!(of_one, Answer::Denied { .. }), "{:?}", of_one);
        }
    }

    #[test]
    fn where_it_is_enforced_only_operators_write_without_a_condition(
        statements in prop::collection::vec(statement(), 1..4),
        kind in select(Kind::UNCONDITIONAL.to_vec()),
        caller in select(callers()),
        key in select(&["p/x", "p/y/z", "p/"][..]),
        open in open_keys(),
        secure: bool,
    ) {
        let policy = read(&statements);
        if let Enforcement::Enforced { operators, .. } = enforcement(&policy, "b", "p/") {
            let named = match &caller {
                Caller::Arn { arn, .. } => operators.iter().any(|operator| {
                    arn::like(&pattern::Pattern::glob(operator, true), arn, true) != Some(false)
                }),
                Caller::Service(_) | Caller::Anonymous | Caller::Anybody => false,
            };
            let answer = evaluate(&policy, &concrete(kind, caller, key, open, secure));
            prop_assert!(named || matches!(answer, Answer::Denied { .. }), "{:?}", answer);
        }
    }

    #[test]
    fn one_more_deny_never_allows_more(
        statements in prop::collection::vec(statement(), 0..4),
        more in statement(),
        kind in select(Kind::ALL.to_vec()),
        caller in select(callers()),
        open in open_keys(),
    ) {
        let request = concrete(kind, caller, "p/x", open, true);
        let before = evaluate(&read(&statements), &request);
        let with = [statements, vec![more.replace("\"Allow\"", "\"Deny\"")]].concat();
        match (evaluate(&read(&with), &request), before) {
            (Answer::Allowed { .. }, before) => prop_assert!(matches!(before, Answer::Allowed { .. }), "more"),
            (Answer::NotMentioned, before) => prop_assert_eq!(before, Answer::NotMentioned),
            (Answer::CannotTell { .. }, before) => prop_assert!(!matches!(before, Answer::Denied { .. }), "more"),
            (Answer::Denied { .. }, _) => {}
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn merging_again_changes_nothing_and_takes_nothing_away(
        statements in prop::collection::vec(statement(), 0..4),
        prefix in "[a-z*?$\\{\\}/é]{0,8}",
        allow_replace: bool,
        operator: bool,
    ) {
        let theirs = read(&statements);
        let operators = if operator { vec![OPS.to_owned()] } else { vec![] };
        let wanted = Wanted { bucket: "b".to_owned(), prefix: prefix.clone(), partition: Partition::Aws, allow_replace, operators };
        let ours = draw(&wanted).unwrap();
        let once = merge(&theirs, &ours, Settings::Keep).unwrap();
        let twice = merge(&once.policy, &ours, Settings::Keep).unwrap();
        prop_assert_eq!(&once.policy, &twice.policy);
        prop_assert!(twice.added.is_empty() && twice.replaced.is_empty());
        // What is printed is read back as what it was.
        prop_assert_eq!(&Policy::read(&once.policy.pretty()).unwrap(), &once.policy);
        prop_assert_eq!(&once.policy.statements()[..statements.len()], theirs.statements());
        let enforced = enforcement(&once.policy, "b", &prefix);
        prop_assert!(matches!(enforced, Enforcement::Enforced { deletes_closed: true, .. }), "{:?}", enforced);
        // A drawing with the other choice takes its place, and back again.
        let other = draw(&Wanted { allow_replace: !allow_replace, operators: vec![], ..wanted }).unwrap();
        let there = merge(&once.policy, &other, Settings::Keep).unwrap();
        prop_assert_eq!(there.policy.statements().len(), once.policy.statements().len());
        prop_assert_eq!(merge(&there.policy, &ours, Settings::Keep).unwrap().policy, once.policy);
    }
}
