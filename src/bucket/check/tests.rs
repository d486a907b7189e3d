//! Every finding at every level that it can have: what is found, and the whole text of it.
#![allow(clippy::needless_pass_by_value, reason = "tables of cases")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::lifecycle::{Reach, reach};
use super::{Finding, Level, Question, Report, json, markdown, text};
use crate::bucket::policy::{Partition, Wanted, draw};
use crate::model::bucket::{
    AbortIncomplete, And, Configuration, Encryption, Expiration, Filter, Grant, Grantee, Lifecycle,
    NoncurrentExpiration, NoncurrentTransition, ObjectLock, Owner, Ownership, PublicAccess, Retention, Rule, Status,
    Tag, Told, Versioning,
};
use crate::model::exit::Exit;
use crate::model::target::{Addressing, ConditionalWrites, Target};

const PREFIX: &str = "reports/";

fn target(endpoint: &str) -> Target {
    Target {
        name: "default".into(),
        bucket: "finance".into(),
        endpoint: endpoint.into(),
        region: "eu-west-1".into(),
        addressing: Addressing::Virtual,
        owner: Some("111122223333".into()),
        profile: None,
        role_arn: None,
        request_payer: false,
        trust_metadata: true,
        conditional_writes: ConditionalWrites::Required,
    }
}

fn aws() -> Target {
    target("https://s3.eu-west-1.amazonaws.com")
}

fn elsewhere() -> Target {
    target("https://minio.example.com:9000")
}

/// A rule for all objects, that does nothing.
fn rule(id: &str) -> Rule {
    Rule { id: Some(id.into()), status: "Enabled".into(), filter: Some(Filter::default()), ..Rule::default() }
}

fn under(prefix: &str, rule: Rule) -> Rule {
    Rule { filter: Some(Filter { prefix: Some(prefix.into()), ..Filter::default() }), ..rule }
}

fn tagged(rule: Rule) -> Rule {
    let tag = Tag { key: "kind".into(), value: "tmp \u{202e}".into() };
    Rule { filter: Some(Filter { tag: Some(tag), ..Filter::default() }), ..rule }
}

fn small(rule: Rule) -> Rule {
    let and = And { prefix: Some("reports/".into()), object_size_less_than: Some(1024), ..And::default() };
    Rule { filter: Some(Filter { and: Some(and), ..Filter::default() }), ..rule }
}

fn buries(days: i32, rule: Rule) -> Rule {
    let expiration = NoncurrentExpiration { noncurrent_days: Some(days), ..NoncurrentExpiration::default() };
    Rule { noncurrent_version_expiration: Some(expiration), ..rule }
}

fn aborts(rule: Rule) -> Rule {
    let abort = AbortIncomplete { days_after_initiation: Some(3) };
    Rule { abort_incomplete_multipart_upload: Some(abort), ..rule }
}

fn rules(rules: impl IntoIterator<Item = Rule>) -> Told<Lifecycle> {
    Told::Is(Lifecycle { rules: rules.into_iter().collect(), transition_minimum: None })
}

fn versioning(status: Status, mfa_delete: bool) -> Told<Versioning> {
    Told::Is(Versioning { status, mfa_delete })
}

fn retention(mode: &str, days: u64) -> Told<ObjectLock> {
    Told::Is(ObjectLock { retention: Some(Retention { mode: mode.into(), days }) })
}

fn block(is_on: bool) -> Told<PublicAccess> {
    Told::Is(PublicAccess { block_acls: true, ignore_acls: is_on, block_policy: true, restrict: is_on })
}

fn granted(to: Grantee, permission: &str) -> Told<Vec<Grant>> {
    let all = Grant { to: Grantee::Owner, permission: "FULL_CONTROL".into() };
    Told::Is(vec![all, Grant { to, permission: permission.into() }])
}

fn encrypted(algorithm: &str, has_bucket_key: bool) -> Told<Encryption> {
    Told::Is(Encryption { algorithm: algorithm.into(), has_bucket_key })
}

/// A bucket at AWS about which there is nothing to say.
fn fine() -> Configuration {
    Configuration {
        owner: Told::Is(Owner::Expected),
        region: Told::Is("eu-west-1".into()),
        versioning: versioning(Status::Enabled, true),
        lifecycle: rules([aborts(rule("abort"))]),
        object_lock: Told::NotSet,
        encryption: encrypted("AES256", false),
        policy: Told::Is(enforcing()),
        policy_is_public: Told::Is(false),
        public_access: block(true),
        ownership: Told::Is(Ownership::Enforced),
        acl: Told::Is(vec![Grant { to: Grantee::Owner, permission: "FULL_CONTROL".into() }]),
    }
}

/// What `noclobber bucket policy` draws.
fn enforcing() -> String {
    let wanted = Wanted {
        bucket: "finance".into(),
        prefix: PREFIX.into(),
        partition: Partition::Aws,
        allow_replace: true,
        operators: vec!["arn:aws:iam::111122223333:role/ops".into()],
    };
    draw(&wanted).unwrap().pretty()
}

const OF_OTHER_THINGS: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "Other\u001b", "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::444455556666:role/loader"}, "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::finance/reports/*"}]}"#;

const OPEN: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "Open", "Effect": "Allow", "Principal": "*",
    "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::finance/*"}]}"#;

const OPEN_ON_CONDITIONS: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "Open", "Effect": "Allow",
    "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::finance/*",
    "Condition": {"Bool": {"aws:SecureTransport": "true"}}}]}"#;

/// It covers some of the keys.
const WITH_HOLES: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "Half", "Effect": "Deny", "Principal": "*",
    "Action": "s3:PutObject", "Resource": "arn:aws:s3:::finance/reports/a*",
    "Condition": {"Null": {"s3:if-none-match": "true", "s3:if-match": "true"}}}]}"#;

/// Widely copied.
const PRETENDING: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "PreventOverwrites", "Effect": "Deny",
    "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::finance/*",
    "Condition": {"Null": {"s3:x-amz-copy-source": "true"},
                  "StringEquals": {"s3:x-amz-metadata-directive": "REPLACE"}}}]}"#;

/// Even creates are denied.
const CLOSED: &str = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "No", "Effect": "Deny", "Principal": "*",
    "Action": "s3:PutObject", "Resource": "arn:aws:s3:::finance/*"}]}"#;

fn report(target: &Target, told: &Configuration) -> Report {
    Report::new(&Question { target, prefix: PREFIX, recovery_days: 30 }, told)
}

fn finding(report: &Report, name: &str) -> Finding {
    let mut found = report.findings().iter().filter(|finding| finding.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no finding {name}")).clone();
    assert_eq!(found.next(), None, "{name} is told twice");
    first
}

#[test]
fn a_bucket_of_which_all_is_well_is_told_in_a_line_each_and_ends_with_0() {
    let report = report(&aws(), &fine());
    assert_eq!(report.count(Level::Ok), report.findings().len(), "{:#?}", report.findings());
    assert_eq!(report.exit(), Exit::Done);
    insta::assert_snapshot!(text::render(&report, &|_, text| text.to_owned()));
}

type Case = (&'static str, Level, &'static str, fn(&mut Configuration, &mut Target));

/// A change of a bucket of which all is well, and the one finding that it must bring about.
#[rustfmt::skip]
const CASES: &[Case] = &[
    ("owner", Level::Problem, "of another account", |b, _| b.owner = Told::Is(Owner::Another)),
    ("owner", Level::Warning, "none is expected", |b, t| { b.owner = Told::NotSet; t.owner = None; }),
    ("owner", Level::NotAllowed, "403 with and without", |b, _| b.owner = Told::NotAllowed),
    ("owner", Level::CannotTell, "elsewhere", |_, t| *t = elsewhere()),
    ("owner", Level::Ok, "elsewhere, none is expected", |b, t| { b.owner = Told::NotSet; *t = elsewhere(); t.owner = None; }),
    ("region", Level::Problem, "another", |b, _| b.region = Told::Is("us-east-1".into())),
    ("region", Level::Warning, "another, elsewhere", |b, t| { b.region = Told::Is("us-east-1".into()); *t = elsewhere(); }),
    ("region", Level::NotAllowed, "403", |b, _| b.region = Told::NotAllowed),
    ("region", Level::CannotTell, "garbled", |b, _| b.region = Told::Failed("\u{1b}[2J it broke off".into())),
    ("versioning", Level::Problem, "suspended", |b, _| b.versioning = versioning(Status::Suspended, true)),
    ("versioning", Level::Problem, "never", |b, _| b.versioning = Told::NotSet),
    ("versioning", Level::NotAllowed, "403", |b, _| b.versioning = Told::NotAllowed),
    ("versioning", Level::CannotTell, "501 elsewhere", |b, t| { b.versioning = Told::NotSupported; *t = elsewhere(); }),
    ("version-deletion", Level::Warning, "neither", |b, _| b.versioning = versioning(Status::Enabled, false)),
    ("version-deletion", Level::Warning, "a lock without retention", |b, _| { b.versioning = versioning(Status::Enabled, false); b.object_lock = Told::Is(ObjectLock { retention: None }); }),
    ("version-deletion", Level::Warning, "a short retention", |b, _| { b.versioning = versioning(Status::Enabled, false); b.object_lock = retention("COMPLIANCE", 29); }),
    ("version-deletion", Level::Warning, "governance", |b, _| { b.versioning = versioning(Status::Enabled, false); b.object_lock = retention("GOVERNANCE", 365); }),
    ("version-deletion", Level::Ok, "compliance", |b, _| { b.versioning = versioning(Status::Enabled, false); b.object_lock = retention("COMPLIANCE", 30); }),
    ("version-deletion", Level::NotAllowed, "the lock is not seen", |b, _| { b.versioning = versioning(Status::Enabled, false); b.object_lock = Told::NotAllowed; }),
    ("version-deletion", Level::CannotTell, "MFA delete is not seen", |b, _| b.versioning = Told::Failed("500".into())),
    ("noncurrent-expiry", Level::Problem, "sooner, everywhere", |b, _| b.lifecycle = rules([aborts(buries(29, rule("old")))])),
    ("noncurrent-expiry", Level::Problem, "sooner, in a part", |b, _| b.lifecycle = rules([aborts(rule("abort")), buries(1, under("reports/tmp/", rule("tmp")))])),
    ("noncurrent-expiry", Level::Problem, "sooner, by size", |b, _| b.lifecycle = rules([aborts(rule("abort")), buries(1, small(rule("small")))])),
    ("noncurrent-expiry", Level::Problem, "sooner, but for the newest", |b, _| {
        let mut old = aborts(buries(2, rule("old")));
        if let Some(expiration) = &mut old.noncurrent_version_expiration { expiration.newer_noncurrent_versions = Some(5); }
        b.lifecycle = rules([old]);
    }),
    ("noncurrent-expiry", Level::Problem, "without days", |b, _| {
        b.lifecycle = rules([Rule { noncurrent_version_expiration: Some(NoncurrentExpiration::default()), ..aborts(rule("odd")) }]);
    }),
    ("noncurrent-expiry", Level::Warning, "sooner, by tag", |b, _| b.lifecycle = rules([aborts(rule("abort")), buries(1, tagged(rule("tmp")))])),
    ("noncurrent-expiry", Level::Ok, "late enough", |b, _| b.lifecycle = rules([aborts(buries(30, rule("old")))])),
    ("noncurrent-expiry", Level::Ok, "elsewhere in the bucket", |b, _| b.lifecycle = rules([aborts(rule("abort")), buries(1, under("logs/", rule("logs")))])),
    ("noncurrent-expiry", Level::Ok, "disabled", |b, _| b.lifecycle = rules([aborts(rule("abort")), Rule { status: "Disabled".into(), ..buries(1, rule("off")) }])),
    ("noncurrent-expiry", Level::Ok, "no rules", |b, _| b.lifecycle = Told::NotSet),
    ("noncurrent-expiry", Level::NotAllowed, "403", |b, _| b.lifecycle = Told::NotAllowed),
    ("noncurrent-expiry", Level::CannotTell, "405 at AWS", |b, _| b.lifecycle = Told::NotSupported),
    ("archived-versions", Level::Warning, "to an archive", |b, _| {
        let moved = NoncurrentTransition { noncurrent_days: Some(5), newer_noncurrent_versions: None, storage_class: Some("DEEP_ARCHIVE".into()) };
        b.lifecycle = rules([Rule { noncurrent_version_transitions: vec![moved], ..aborts(rule("cold")) }]);
    }),
    ("archived-versions", Level::NotAllowed, "403", |b, _| b.lifecycle = Told::NotAllowed),
    ("archived-versions", Level::CannotTell, "garbled", |b, _| b.lifecycle = Told::Failed("it has elements that are not known here: New".into())),
    ("current-expiry", Level::Warning, "after days", |b, _| b.lifecycle = rules([Rule { expiration: Some(Expiration { days: Some(90), ..Expiration::default() }), ..aborts(rule("end")) }])),
    ("current-expiry", Level::Warning, "at a date", |b, _| b.lifecycle = rules([Rule { expiration: Some(Expiration { date: Some("2030-01-01T00:00:00Z".into()), ..Expiration::default() }), ..aborts(rule("end")) }])),
    ("current-expiry", Level::Ok, "markers alone", |b, _| b.lifecycle = rules([Rule { expiration: Some(Expiration { expired_object_delete_marker: Some(true), ..Expiration::default() }), ..aborts(rule("markers")) }])),
    ("current-expiry", Level::NotAllowed, "403", |b, _| b.lifecycle = Told::NotAllowed),
    ("current-expiry", Level::CannotTell, "not asked", |b, _| b.lifecycle = Told::NotAsked),
    ("incomplete-uploads", Level::Warning, "no rules", |b, _| b.lifecycle = Told::NotSet),
    ("incomplete-uploads", Level::Warning, "a part alone", |b, _| b.lifecycle = rules([aborts(under("reports/a/", rule("a")))])),
    ("incomplete-uploads", Level::Warning, "rules of the old form", |b, _| {
        b.lifecycle = Told::Is(Lifecycle {
            rules: vec![Rule { filter: None, prefix: Some("logs/".into()), ..buries(3, rule("noclobber-abort-incomplete-uploads")) }],
            transition_minimum: Some("varies_by_storage_class".into()),
        });
    }),
    ("incomplete-uploads", Level::NotAllowed, "403", |b, _| b.lifecycle = Told::NotAllowed),
    ("incomplete-uploads", Level::CannotTell, "garbled", |b, _| b.lifecycle = Told::Failed("500".into())),
    ("delete-markers", Level::Warning, "left behind", |b, _| b.lifecycle = rules([aborts(buries(60, rule("old")))])),
    ("delete-markers", Level::Ok, "removed", |b, _| b.lifecycle = rules([Rule { expiration: Some(Expiration { expired_object_delete_marker: Some(true), ..Expiration::default() }), ..aborts(buries(60, rule("old"))) }])),
    ("delete-markers", Level::NotAllowed, "403", |b, _| b.lifecycle = Told::NotAllowed),
    ("delete-markers", Level::CannotTell, "garbled", |b, _| b.lifecycle = Told::Failed("500".into())),
    ("encryption", Level::Warning, "KMS", |b, _| b.encryption = encrypted("aws:kms", false)),
    ("encryption", Level::Warning, "KMS with a bucket key", |b, _| b.encryption = encrypted("aws:kms", true)),
    ("encryption", Level::Warning, "two layers", |b, _| b.encryption = encrypted("aws:kms:dsse", false)),
    ("encryption", Level::Ok, "not set", |b, _| b.encryption = Told::NotSet),
    ("encryption", Level::Ok, "not set, elsewhere", |b, t| { b.encryption = Told::NotSet; *t = elsewhere(); }),
    ("encryption", Level::CannotTell, "unknown", |b, _| b.encryption = encrypted("aws:new", false)),
    ("encryption", Level::NotAllowed, "403", |b, _| b.encryption = Told::NotAllowed),
    ("policy", Level::Warning, "none", |b, _| b.policy = Told::NotSet),
    ("policy", Level::Warning, "of other things", |b, _| b.policy = Told::Is(OF_OTHER_THINGS.into())),
    ("policy", Level::Problem, "holes", |b, _| b.policy = Told::Is(WITH_HOLES.into())),
    ("policy", Level::Problem, "pretends", |b, _| b.policy = Told::Is(PRETENDING.into())),
    ("policy", Level::Problem, "denies creates", |b, _| b.policy = Told::Is(CLOSED.into())),
    ("policy", Level::CannotTell, "no JSON", |b, _| b.policy = Told::Is("<html>".into())),
    ("policy", Level::CannotTell, "elsewhere", |_, t| *t = elsewhere()),
    ("policy", Level::NotAllowed, "403", |b, _| b.policy = Told::NotAllowed),
    ("policy-writers", Level::Problem, "anybody", |b, _| { b.policy = Told::Is(OPEN.into()); b.public_access = block(false); }),
    ("policy-writers", Level::Warning, "anybody, blocked", |b, _| b.policy = Told::Is(OPEN.into())),
    ("policy-writers", Level::Problem, "anybody, on conditions that leave nobody out", |b, _| { b.policy = Told::Is(OPEN_ON_CONDITIONS.into()); b.policy_is_public = Told::Is(true); b.public_access = Told::NotSet; }),
    ("policy-writers", Level::Warning, "anybody, on conditions", |b, _| { b.policy = Told::Is(OPEN_ON_CONDITIONS.into()); b.public_access = Told::NotSet; }),
    ("policy-writers", Level::Warning, "another account", |b, _| b.policy = Told::Is(OF_OTHER_THINGS.into())),
    ("policy-writers", Level::Ok, "no policy", |b, _| b.policy = Told::NotSet),
    ("policy-writers", Level::CannotTell, "no JSON", |b, _| b.policy = Told::Is("<html>".into())),
    ("policy-writers", Level::NotAllowed, "403", |b, _| b.policy = Told::NotAllowed),
    ("public-policy", Level::Warning, "public", |b, _| b.policy_is_public = Told::Is(true)),
    ("public-policy", Level::Ok, "no policy, and no status of it", |b, _| { b.policy = Told::NotSet; b.policy_is_public = Told::NotSupported; }),
    ("public-policy", Level::NotAllowed, "403", |b, _| b.policy_is_public = Told::NotAllowed),
    ("public-policy", Level::CannotTell, "garbled", |b, _| b.policy_is_public = Told::Failed("500".into())),
    ("public-access-block", Level::Warning, "none", |b, _| b.public_access = Told::NotSet),
    ("public-access-block", Level::Warning, "in part", |b, _| b.public_access = block(false)),
    ("public-access-block", Level::NotAllowed, "403", |b, _| b.public_access = Told::NotAllowed),
    ("public-access-block", Level::CannotTell, "all, elsewhere", |_, t| *t = elsewhere()),
    ("ownership", Level::Warning, "ACLs live", |b, _| b.ownership = Told::Is(Ownership::Acls("ObjectWriter".into()))),
    ("ownership", Level::Warning, "not set", |b, _| b.ownership = Told::NotSet),
    ("ownership", Level::NotAllowed, "403", |b, _| b.ownership = Told::NotAllowed),
    ("ownership", Level::CannotTell, "enforced, elsewhere", |_, t| *t = elsewhere()),
    ("ownership", Level::CannotTell, "501 elsewhere", |b, t| { b.ownership = Told::NotSupported; *t = elsewhere(); }),
    ("acl", Level::Problem, "anybody writes", |b, _| { b.ownership = Told::NotSet; b.public_access = Told::NotSet; b.acl = granted(Grantee::Anybody, "WRITE"); }),
    ("acl", Level::Problem, "any account writes, elsewhere", |b, t| { b.acl = granted(Grantee::AnyAccount, "FULL_CONTROL"); *t = elsewhere(); }),
    ("acl", Level::Warning, "anybody reads", |b, _| { b.ownership = Told::NotSet; b.acl = granted(Grantee::Anybody, "READ"); }),
    ("acl", Level::Warning, "anybody writes, and is ignored", |b, _| { b.ownership = Told::NotSet; b.acl = granted(Grantee::Anybody, "WRITE"); }),
    ("acl", Level::Warning, "somebody", |b, _| { b.ownership = Told::NotSet; b.acl = granted(Grantee::Other("a b\u{1b}".into()), "WRITE"); }),
    ("acl", Level::Ok, "has no say", |b, _| b.acl = granted(Grantee::Anybody, "WRITE")),
    ("acl", Level::NotAllowed, "403", |b, _| b.acl = Told::NotAllowed),
    ("acl", Level::CannotTell, "garbled", |b, _| b.acl = Told::Failed("500".into())),
];

#[test]
fn every_finding_has_its_level_and_its_words() {
    let mut all = String::new();
    let mut seen = BTreeSet::new();
    for &(name, level, what, change) in CASES {
        let (mut told, mut target) = (fine(), aws());
        change(&mut told, &mut target);
        let report = report(&target, &told);
        let found = finding(&report, name);
        assert_eq!(found.level, level, "{name}, {what}: {found:?}");
        seen.insert((name, level));
        // The words of a 403 are the same wherever they stand.
        if level != Level::NotAllowed || name == "version-deletion" {
            let page = text::render(&only(&report, &found), &|_, text| text.to_owned());
            let (one, _) = page.rsplit_once("s3://finance").unwrap();
            let _ = write!(all, "=== {what}\n{}\n", one.trim_end());
        }
        if !matches!(level, Level::Ok | Level::Warning) {
            assert_eq!(report.exit(), Exit::Incomplete, "{name}, {what}");
        }
    }
    insta::assert_snapshot!(all);
    // Whatever can be looked at can be hidden, and can be garbled.
    let names: BTreeSet<&str> = report(&aws(), &fine()).findings().iter().map(|finding| finding.name).collect();
    assert_eq!(names.len(), 16);
    for name in names {
        for level in [Level::NotAllowed, Level::CannotTell] {
            assert!(seen.contains(&(name, level)), "no case of {name} at {level}");
        }
        let bad = seen.contains(&(name, Level::Warning)) || seen.contains(&(name, Level::Problem));
        assert!(bad, "no case in which {name} is not fine");
    }
}

fn only(report: &Report, finding: &Finding) -> Report {
    Report { findings: vec![finding.clone()], ..report.clone() }
}

#[test]
fn what_was_not_seen_is_never_called_fine() {
    let hidden: [fn() -> Configuration; 2] = [
        || Configuration {
            owner: Told::NotAllowed,
            region: Told::NotAllowed,
            versioning: Told::NotAllowed,
            lifecycle: Told::NotAllowed,
            object_lock: Told::NotAllowed,
            encryption: Told::NotAllowed,
            policy: Told::NotAllowed,
            policy_is_public: Told::NotAllowed,
            public_access: Told::NotAllowed,
            ownership: Told::NotAllowed,
            acl: Told::NotAllowed,
        },
        Configuration::default,
    ];
    for (told, level) in hidden.into_iter().zip([Level::NotAllowed, Level::CannotTell]) {
        for target in [aws(), elsewhere()] {
            let report = report(&target, &told());
            assert_eq!(report.count(level), 16, "{:#?}", report.findings());
            assert_eq!(report.exit(), Exit::Incomplete);
        }
    }
}

#[test]
fn the_gravest_comes_first_and_a_finding_from_elsewhere_is_put_in_its_place() {
    let told = Configuration { versioning: Told::NotSet, policy: Told::NotSet, acl: Told::NotAllowed, ..fine() };
    let mut report = report(&aws(), &told);
    report.add(Finding::new("conditions", Level::Problem, "ignored", "they are what guards"));
    let levels: Vec<Level> = report.findings().iter().map(|finding| finding.level).collect();
    assert!(levels.is_sorted(), "{levels:?}");
    assert_eq!(report.findings()[1].name, "conditions", "after the problems that were there");
    assert_eq!(report.counts(), "2 problems, 1 not allowed to look, 0 cannot tell, 2 warnings, 12 ok");
}

/// Everything at once: rules that are there are kept, ours are added, and one document serves all findings.
fn troubled() -> Configuration {
    let old = under("", buries(3, rule("r\u{e9}sum\u{e9}s `x`")));
    let kept = under("logs/", buries(1, rule("logs")));
    Configuration {
        versioning: versioning(Status::Enabled, false),
        lifecycle: rules([old, kept]),
        policy: Told::NotSet,
        encryption: Told::NotAllowed,
        object_lock: Told::Failed("200: <html>".into()),
        ..fine()
    }
}

#[test]
fn one_document_serves_every_finding_about_the_lifecycle_and_keeps_the_rules_that_are_there() {
    let report = report(&aws(), &troubled());
    let documents: Vec<_> = report
        .findings()
        .iter()
        .filter_map(|finding| Some((finding.name, finding.fix.as_ref()?.document.clone()?)))
        .collect();
    let [("noncurrent-expiry", document)] = &documents[..] else { panic!("{documents:?}") };
    assert!(document.text.is_ascii());
    let json: serde_json::Value = serde_json::from_str(&document.text).unwrap();
    let ids: Vec<&str> = json["Rules"].as_array().unwrap().iter().map(|rule| rule["ID"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        ["r\u{e9}sum\u{e9}s `x`", "logs", "noclobber-abort-incomplete-uploads", "noclobber-expired-delete-markers"]
    );
    assert_eq!(json["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"], 30);
    assert_eq!(json["Rules"][1]["NoncurrentVersionExpiration"]["NoncurrentDays"], 1, "not ours to change");
    for name in ["incomplete-uploads", "delete-markers"] {
        let say = finding(&report, name).fix.unwrap().say;
        assert!(say.ends_with("it is in the lifecycle.json of `noncurrent-expiry`"), "{say}");
    }
}

#[test]
fn what_was_merged_leaves_nothing_to_merge() {
    let question = Question { target: &aws(), prefix: PREFIX, recovery_days: 30 };
    let mut told = troubled();
    let Told::Is(lifecycle) = &mut told.lifecycle else { panic!() };
    let found = Report::new(&question, &Configuration { lifecycle: rules(lifecycle.rules.clone()), ..fine() });
    let document = found.findings().iter().find_map(|finding| finding.fix.as_ref()?.document.clone()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&document.text).unwrap();
    // Read back as far as the findings look.
    let days = |value: &serde_json::Value| value.as_i64().map(|days| i32::try_from(days).unwrap());
    lifecycle.rules = json["Rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|json| Rule {
            noncurrent_version_expiration: days(&json["NoncurrentVersionExpiration"]["NoncurrentDays"])
                .map(|days| NoncurrentExpiration { noncurrent_days: Some(days), newer_noncurrent_versions: None }),
            abort_incomplete_multipart_upload: days(&json["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
                .map(|days| AbortIncomplete { days_after_initiation: Some(days) }),
            expiration: json["Expiration"]["ExpiredObjectDeleteMarker"]
                .as_bool()
                .map(|is| Expiration { expired_object_delete_marker: Some(is), ..Expiration::default() }),
            ..under(json["Filter"]["Prefix"].as_str().unwrap(), rule(json["ID"].as_str().unwrap()))
        })
        .collect();
    let again = Report::new(&question, &Configuration { lifecycle: told.lifecycle, ..fine() });
    assert_eq!(again.count(Level::Ok), again.findings().len(), "{:#?}", again.findings());
}

#[test]
fn a_rule_reaches_the_keys_that_its_filter_means() {
    let off = Rule { status: "Disabled".into(), ..rule("off") };
    let old = |prefix: &str| Rule { filter: None, prefix: Some(prefix.into()), ..rule("old") };
    for (rule, reaches) in [
        (rule("all"), Reach::All),
        (off, Reach::None),
        (under("reports/", rule("same")), Reach::All),
        (under("rep", rule("shorter")), Reach::All),
        (under("reports/a", rule("longer")), Reach::Some),
        (under("logs/", rule("other")), Reach::None),
        (old("reports/"), Reach::All),
        (old("logs/"), Reach::None),
        (tagged(rule("tagged")), Reach::Tagged),
        (small(rule("small")), Reach::Some),
    ] {
        assert_eq!(reach(&rule, PREFIX), reaches, "{rule:?}");
    }
}

#[test]
fn a_page_for_a_ticket_shows_what_there_is_to_do() {
    insta::assert_snapshot!(markdown::render(&report(&aws(), &troubled())));
}

#[test]
fn a_page_for_a_terminal_shows_problems_first() {
    insta::assert_snapshot!(text::render(&report(&aws(), &troubled()), &|level, text| format!("<{level:?}>{text}</>")));
}

#[test]
fn a_program_finds_every_field() {
    let report = report(&aws(), &troubled());
    let page = json::render(&report).unwrap();
    assert!(page.starts_with(json::MARK));
    let json: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!((&json["exit"], &json["counts"]["problem"], &json["recovery_days"]), (&5.into(), &1.into(), &30.into()));
    assert_eq!(json["findings"].as_array().unwrap().len(), 16);
    let first = &json["findings"][0];
    assert_eq!((&first["name"], &first["level"]), (&"noncurrent-expiry".into(), &"problem".into()));
    assert!(first["fix"]["commands"][0].as_str().unwrap().starts_with("aws s3api put-bucket-lifecycle-configuration "));
    assert_eq!(first["fix"]["document"]["file"], "lifecycle.json");
}
