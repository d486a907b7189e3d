//! `bucket policy`: what is printed, and what is refused.

use crate::session::Session;

const OPERATOR: &str = "arn:aws:iam::111122223333:role/release";

/// What an owner may have: in an order of its own, of an older version, with a statement that is no list.
const THEIRS: &str = r#"{"Id":"theirs","Version":"2008-10-17","Statement":{"Resource":["arn:aws:s3:::a-bucket/*"],"Sid":"Tls",
"Effect":"Deny","Principal":"*","Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":false}}}}"#;

#[test]
fn a_policy_and_what_it_means() {
    let mut session = Session::new();
    session
        .run(&format!("bucket policy s3://a-bucket/reports/ --operator {OPERATOR}"))
        .run("bucket policy s3://a-bucket/reports --allow-replace --region cn-north-1");
    session.write("theirs.json", THEIRS);
    session.run("bucket policy s3://a-bucket --merge=theirs.json");
    insta::assert_snapshot!(session.told());
}

#[test]
fn merging_twice_changes_nothing_and_other_operators_take_the_place_of_the_first() {
    let session = Session::new();
    session.write("theirs.json", THEIRS);
    let merge = |file: &str, more: &str| {
        let output = session.output(&format!("bucket policy s3://a-bucket/x/ --merge={file} {more}"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (once, _) = merge("theirs.json", "");
    session.write("once.json", &once);
    let (twice, said) = merge("once.json", "");
    assert_eq!(once, twice);
    assert!(said.contains("there already: NoclobberWrites") && !said.contains("replaced: "), "{said}");

    let (other, said) = merge("once.json", &format!("--operator {OPERATOR}"));
    assert!(said.contains("1 other statement kept") && said.contains("replaced: NoclobberDeletes"), "{said}");
    assert_eq!(other.matches("\"Sid\"").count(), 5, "{other}");
    assert_eq!(other.matches(OPERATOR).count(), 3, "{other}");
    assert!(other.contains("\"Id\": \"theirs\"") && other.contains("\"aws:SecureTransport\": false"), "{other}");
}

#[test]
fn a_second_prefix_does_not_move_the_operators_of_the_first_unless_told_to() {
    let mut session = Session::new();
    for (file, operator) in [("a.json", format!("--operator {OPERATOR}")), ("nobody.json", String::new())] {
        let drawn = session.output(&format!("bucket policy s3://a-bucket/a/ {operator}"));
        session.write(file, std::str::from_utf8(&drawn.stdout).unwrap());
    }
    let second = OPERATOR.replace("release", "second");
    let mut codes = Vec::new();
    for (place, merge, code) in [
        ("c/", format!("a.json --operator {second}"), 64),
        ("c/", "a.json".to_owned(), 64),
        ("c/", format!("nobody.json --operator {second}"), 64),
        ("c/", format!("a.json --operator {OPERATOR}"), 0),
        ("c/", format!("a.json --operator {second} --replace-operators"), 0),
        ("c/", "a.json --replace-operators".to_owned(), 0),
        ("c/", format!("nobody.json --operator {second} --replace-operators"), 0),
        ("a/", format!("a.json --operator {second}"), 0),
    ] {
        let command = format!("bucket policy s3://a-bucket/{place} --merge={merge}");
        let mut output = session.output(&command);
        assert_eq!(output.stdout.is_empty(), code != 0, "{output:?}");
        output.stdout.clear();
        codes.push((command.clone(), output.status.code() == Some(code)));
        session.note(&command, &output);
    }
    assert!(codes.iter().all(|(_, right)| *right), "{codes:?}");
    insta::assert_snapshot!(session.told());
}

#[test]
fn what_cannot_be_drawn_or_merged_is_refused() {
    let mut session = Session::new();
    session.write("broken.json", "{\"Version\": \"2012-10-17\",\n \"Statement\": [}");
    session.write("twice.json", r#"{"Statement": [{"Effect": "Deny", "Effect": "Allow"}]}"#);
    session.write("no-policy.json", r#"{"Policy": "{}"}"#);
    session.write(
        "clash.json",
        r#"{"Version": "2012-10-17", "Statement": [{"Sid": "NoclobberSettings", "Effect": "Allow", "Principal": "*",
            "Action": "s3:PutBucketPolicy", "Resource": "arn:aws:s3:::a-bucket"}]}"#,
    );
    session.write("old.json", THEIRS);
    session.write(
        "number.json",
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket",
            "Resource": "arn:aws:s3:::a-bucket",
            "Condition": {"NumericGreaterThan": {"s3:max-keys": 123456789012345678901234567890}}}]}"#,
    );
    let many = format!("\"{}\"", "arn:aws:s3:::a-bucket/x\",\"".repeat(1000) + "arn:aws:s3:::a-bucket/y");
    session.write(
        "large.json",
        &format!(
            r#"{{"Statement": [{{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": [{many}]}}]}}"#
        ),
    );
    let mut codes = Vec::new();
    for (command, code) in [
        ("s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/point/x", 64),
        ("s3://a-bucket --operator release", 64),
        ("s3://a-bucket --operator arn:aws:iam::111122223333:role/*", 64),
        ("s3://a-bucket --operator arn:aws:iam::111122223333:role/*e*", 64),
        ("s3://a-bucket --operator arn:aws:iam::*:role/release", 64),
        ("s3://a-bucket --operator arn:aws:iam::111122223333:root", 64),
        ("s3://a-bucket --operator arn:aws:sts::111122223333:assumed-role/release/me", 64),
        ("s3://a-bucket --operator arn:aws:iam::111122223333:role/release --region cn-north-1", 64),
        ("s3://a-bucket --merge=no-such.json", 65),
        ("s3://a-bucket --merge=broken.json", 65),
        ("s3://a-bucket --merge=twice.json", 65),
        ("s3://a-bucket --merge=no-policy.json", 65),
        ("s3://a-bucket --merge=clash.json", 3),
        ("s3://a-bucket/a*b --merge=old.json", 3),
        ("s3://a-bucket --merge=large.json", 3),
        ("s3://a-bucket --merge=number.json", 3),
        ("s3://a-bucket --replace-operators", 64),
    ] {
        let command = format!("bucket policy {command}");
        let output = session.output(&command);
        assert!(output.stdout.is_empty(), "{command}: {output:?}");
        codes.push((command.clone(), output.status.code() == Some(code)));
        session.note(&command, &output);
    }
    assert!(codes.iter().all(|(_, right)| *right), "{codes:?}");
    insta::assert_snapshot!(session.told());
}
