//! Policies and requests by the thousand, judged by us and by ministack's evaluator, which is written after the same
//! pages by somebody else. What it does not know (variables, ARNs part by part) is left out.

use noclobber::bucket::policy::{Answer, Caller, Held, Kind, Policy, Resource, evaluate};
use serde_json::{Value, json};

const BUCKET: &str = "arn:aws:s3:::b";
const ASKED: usize = 3000;

const EVALUATOR: &str = r#"
import json, sys
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
for line in sys.stdin:
    asked = json.loads(line)
    keys = {name.lower(): value for name, value in asked["keys"].items()}
    context = EvalContext(
        principal_arn=asked["arn"], principal_type="User", principal_account=asked["arn"].split(":")[4],
        action=asked["action"], resource_arn=asked["resource"], region="us-east-1",
        secure_transport=keys.pop("aws:securetransport") == "true", service_context=keys,
    )
    print(evaluate_resource_policy(asked["policy"], context).decision)
"#;

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }
}

fn statement(dice: &mut Dice) -> Value {
    let alice = "arn:aws:iam::111122223333:user/alice";
    let mut statement = json!({
        "Effect": dice.pick(&["Allow", "Deny"]),
        "Principal": dice.pick(&[
            json!("*"), json!("*"), json!({"AWS": "*"}), json!({"AWS": alice}), json!({"AWS": ["arn:aws:iam::111122223333:role/ops", alice]}),
            json!({"AWS": "444455556666"}), json!({"Service": "logging.s3.amazonaws.com"}),
        ]),
    });
    let (action, actions) = dice.pick(&[
        ("Action", json!("s3:PutObject")),
        ("Action", json!(["s3:put*", "s3:DeleteObject"])),
        ("Action", json!("s3:DeleteObject?ersion")),
        ("Action", json!("*")),
        ("NotAction", json!(["s3:Get*", "s3:Delete*"])),
    ]);
    statement[action] = actions;
    let (resource, resources) = dice.pick(&[
        ("Resource", json!("arn:aws:s3:::b/*")),
        ("Resource", json!(["arn:aws:s3:::b", "arn:aws:s3:::b/p/*"])),
        ("Resource", json!("arn:aws:s3:::b/p/?.csv")),
        ("Resource", json!("*")),
        ("NotResource", json!("arn:aws:s3:::b/p/*")),
    ]);
    statement[resource] = resources;
    let mut conditions = json!({});
    for _ in 0..dice.roll(4) {
        let (operator, key, values) = dice.pick(&[
            ("Null", "s3:if-none-match", json!("true")),
            ("Null", "S3:If-Match", json!(["false"])),
            ("Bool", "s3:ObjectCreationOperation", json!("true")),
            ("BoolIfExists", "s3:ObjectCreationOperation", json!("False")),
            ("Bool", "aws:SecureTransport", json!("false")),
            ("StringEquals", "s3:x-amz-metadata-directive", json!(["COPY", "REPLACE"])),
            ("StringNotEquals", "s3:x-amz-metadata-directive", json!(["COPY", "REPLACE"])),
            ("StringEqualsIfExists", "s3:x-amz-acl", json!("private")),
            ("StringEqualsIgnoreCase", "s3:x-amz-acl", json!("PRIVATE")),
            ("StringNotEqualsIgnoreCase", "s3:x-amz-acl", json!(["PRIVATE", "x"])),
            ("StringLike", "s3:x-amz-acl", json!(["p?i*", "public*"])),
            ("StringNotLike", "s3:x-amz-acl", json!(["public*", "*-read"])),
            ("StringNotLikeIfExists", "s3:x-amz-acl", json!("priv*")),
            ("ArnLike", "aws:PrincipalArn", json!("arn:aws:iam::*:user/*")),
            ("ArnEquals", "aws:PrincipalArn", json!([alice, "arn:aws:iam::111122223333:role/o*"])),
            ("ArnNotLike", "aws:PrincipalArn", json!(["arn:aws:iam::111122223333:role/o?s"])),
            ("ArnNotEquals", "aws:PrincipalArn", json!([alice, "arn:aws:iam::444455556666:*"])),
            ("StringNotEquals", "aws:PrincipalAccount", json!("111122223333")),
        ]);
        conditions[operator][key] = values;
    }
    statement["Condition"] = conditions;
    statement
}

#[test]
fn where_we_can_tell_another_evaluator_tells_the_same() {
    let Some(python) = super::python() else { return };
    let mut dice = Dice(1);
    let (mut lines, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ASKED {
        let statements: Vec<Value> = (0..=dice.roll(3)).map(|_| statement(&mut dice)).collect();
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let kind = dice.pick(&Kind::ALL);
        let arn = dice.pick(&[
            "arn:aws:iam::111122223333:user/alice",
            "arn:aws:iam::111122223333:role/ops",
            "arn:aws:iam::444455556666:user/zoe",
        ]);
        let key = Resource::One(format!("{BUCKET}/{}", dice.pick(&["p/x.csv", "p/xy.csv", "q"])));
        let mut request = kind.request(Caller::Arn { arn: arn.to_owned(), session: None }, BUCKET, key);
        let mut keys = json!({});
        for (name, values) in [
            ("s3:if-none-match", &["*"][..]),
            ("s3:if-match", &["\"etag\""]),
            ("s3:ObjectCreationOperation", &["true", "false"]),
            ("s3:x-amz-copy-source", &["b/other"]),
            ("s3:x-amz-metadata-directive", &["COPY", "REPLACE"]),
            ("s3:x-amz-acl", &["private", "public-read"]),
            ("aws:SecureTransport", &["true", "false"]),
        ] {
            let some = Held::Is(dice.pick(values).to_owned());
            let none = if name == "aws:SecureTransport" { some.clone() } else { Held::Absent };
            let held = match request.context.get(name) {
                Held::Anything | Held::Stranger => dice.pick(&[some, none]),
                Held::Present => some,
                known @ (Held::Absent | Held::Is(_)) => known.clone(),
            };
            if let Held::Is(value) = &held {
                keys[name] = json!(value);
            }
            request.context = request.context.with(name, held);
        }
        let Resource::One(resource) = &request.resource else { unreachable!() };
        lines.push(
            json!({"policy": policy, "arn": arn, "action": request.action, "resource": resource, "keys": keys})
                .to_string(),
        );
        ours.push(evaluate(&Policy::read(&policy).unwrap(), &request));
    }
    let theirs = super::run(python, EVALUATOR, &lines);
    assert_eq!(theirs.len(), ours.len());
    let mut told = [0; 4];
    for ((line, ours), theirs) in lines.iter().zip(&ours).zip(&theirs) {
        let (same, which) = match ours {
            Answer::Denied { .. } => (theirs == "Deny", 0),
            Answer::Allowed { .. } => (theirs == "Allow", 1),
            Answer::NotMentioned => (theirs == "ImplicitDeny", 2),
            // To allow an account is to let it decide: the other evaluator decides that elsewhere.
            Answer::CannotTell { .. } => (theirs != "Deny", 3),
        };
        told[which] += 1;
        assert!(same, "{ours:?}, they: {theirs}\n{line}");
    }
    // Nothing would be shown by a thousand times the same answer.
    assert!(told[..3].iter().all(|times| *times > ASKED / 20) && told[3] < ASKED / 5, "{told:?}");
}
