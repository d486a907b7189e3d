//! Draws a policy that forces conditional writes, and closes the ways around them.
//!
//! What it stops, statement by statement:
//!
//! - `NoclobberWrites…`: PutObject, CompleteMultipartUpload and CopyObject under the prefix without `If-None-Match` (or,
//!   where replaces are allowed, `If-Match`), by everybody, operators too. CreateMultipartUpload and UploadPart, which take
//!   no condition, are let through by `s3:ObjectCreationOperation`; what they begin becomes an object in
//!   CompleteMultipartUpload alone.
//! - `NoclobberDeletes…`: deletes of objects and of their versions under the prefix, but by operators. A key that was
//!   deleted counts as absent, and a create would succeed.
//! - `NoclobberReplicas…`: replication into the prefix, but by operators (the replication's role): it stores over what is
//!   there and knows no conditions.
//! - `NoclobberSettings`: on the whole bucket, but by operators: the lifecycle, which has S3 itself delete; versioning,
//!   which keeps what a replace buries; and, where there are operators, the policy itself. Without operators the last
//!   is left out: nobody but the account's root could then ever change the policy again.
//!
//! What is left, and cannot be closed here: the account's root may always change the policy; lifecycle rules that are
//! there already go on deleting (and one that goes by tags is steered by whoever may tag); a KMS key can be disabled;
//! and an operator may do what operators may.

use sha2::{Digest as _, Sha256};

use super::arn::{self, LITERALS_MIN};
use super::json::Json;
use super::pattern::{self, Pattern};
use super::principal::is_account;
use super::read::{Policy, PolicyError};

/// What all our Sids begin with.
pub(super) const SID: &str = "Noclobber";

/// The Sid of the one that is about the bucket itself.
pub(super) const SETTINGS: &str = "NoclobberSettings";

/// S3 takes no longer key.
const KEY_MAX_BYTES: usize = 1024;

/// Which of AWS's partitions: ARNs begin with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Partition {
    #[default]
    Aws,
    China,
    GovCloud,
}

impl Partition {
    /// The partition that a region belongs to.
    #[must_use]
    pub fn of_region(region: &str) -> Self {
        match region {
            region if region.starts_with("cn-") => Self::China,
            region if region.starts_with("us-gov-") => Self::GovCloud,
            _ => Self::Aws,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::China => "aws-cn",
            Self::GovCloud => "aws-us-gov",
        }
    }
}

/// What is wanted of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// A bucket's name.
    pub bucket: String,
    /// What keys begin with; empty for the whole bucket.
    pub prefix: String,
    pub partition: Partition,
    /// Whether `If-Match` is a condition that will do. Without it nothing can be replaced.
    pub allow_replace: bool,
    /// ARNs of the roles and users that may delete; with wildcards in the name, where wanted.
    pub operators: Vec<String>,
}

/// Why no policy can be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    #[error("{0} is an access point: the policy belongs to its bucket; name that")]
    AccessPoint(String),
    #[error("the prefix holds the character {0:?}, which a policy cannot")]
    Prefix(char),
    #[error("the prefix has {0} bytes, and no key has more than {KEY_MAX_BYTES}: the policy would guard nothing")]
    PrefixTooLong(usize),
    #[error("operator {arn}: {flaw}")]
    Operator { arn: String, flaw: String },
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Draws it. The same wish gives the same policy.
pub fn draw(wanted: &Wanted) -> Result<Policy, DrawError> {
    let Wanted { bucket, prefix, partition, allow_replace, operators } = wanted;
    if bucket.starts_with("arn:") {
        return Err(DrawError::AccessPoint(bucket.clone()));
    }
    if let Some(c) = prefix.chars().find(|c| c.is_control()) {
        return Err(DrawError::Prefix(c));
    }
    if prefix.len() > KEY_MAX_BYTES {
        return Err(DrawError::PrefixTooLong(prefix.len()));
    }
    for operator in operators {
        if let Some(flaw) = operator_flaw(operator, *partition) {
            return Err(DrawError::Operator { arn: operator.clone(), flaw });
        }
    }
    let bucket_arn = format!("arn:{}:s3:::{bucket}", partition.name());
    let keys = format!("{bucket_arn}/{}*", pattern::escape(prefix));
    let but_operators = but(operators);

    let mut absent = vec![("s3:if-none-match".to_owned(), Json::of("true"))];
    if *allow_replace {
        absent.push(("s3:if-match".to_owned(), Json::of("true")));
    }
    let creates = Json::object([("s3:ObjectCreationOperation", Json::of("true"))]);
    let unconditional = Json::object([("Null", Json::Object(absent)), ("Bool", creates)]);

    let mut settings = vec!["s3:PutLifecycleConfiguration", "s3:PutBucketVersioning"];
    if !operators.is_empty() {
        settings.extend(["s3:PutBucketPolicy", "s3:DeleteBucketPolicy"]);
    }
    let statements = vec![
        deny(&sid("Writes", prefix), &["s3:PutObject"], &keys, Some(unconditional)),
        deny(&sid("Deletes", prefix), &["s3:DeleteObject", "s3:DeleteObjectVersion"], &keys, but_operators.clone()),
        deny(&sid("Replicas", prefix), &["s3:ReplicateObject", "s3:ReplicateDelete"], &keys, but_operators.clone()),
        // One for the bucket, whatever the prefixes: two with other operators would leave nobody.
        deny(SETTINGS, &settings, &bucket_arn, but_operators),
    ];
    let document = Json::object([("Version", Json::of("2012-10-17")), ("Statement", Json::List(statements))]);
    Ok(Policy::of(document)?)
}

/// A Sid must be unique in its policy, and is letters and digits: the prefix goes in by its digest.
fn sid(what: &str, prefix: &str) -> String {
    let digest = Sha256::digest(prefix.as_bytes());
    format!("{SID}{what}{}", hex::encode(&digest[..4]))
}

fn deny(sid: &str, actions: &[&str], resource: &str, condition: Option<Json>) -> Json {
    let action = match actions {
        [one] => Json::of(*one),
        several => Json::List(several.iter().map(|action| Json::of(*action)).collect()),
    };
    let mut fields = vec![
        ("Sid".to_owned(), Json::of(sid)),
        ("Effect".to_owned(), Json::of("Deny")),
        ("Principal".to_owned(), Json::of("*")),
        ("Action".to_owned(), action),
        ("Resource".to_owned(), Json::of(resource)),
    ];
    fields.extend(condition.map(|condition| ("Condition".to_owned(), condition)));
    Json::Object(fields)
}

fn but(operators: &[String]) -> Option<Json> {
    let mut operators = operators.to_vec();
    operators.sort_unstable();
    operators.dedup();
    let listed = match &operators[..] {
        [] => return None,
        [one] => Json::of(one),
        several => Json::List(several.iter().map(Json::of).collect()),
    };
    Some(Json::object([("ArnNotLike", Json::object([("aws:PrincipalArn", listed)]))]))
}

fn operator_flaw(operator: &str, partition: Partition) -> Option<String> {
    let Some([_, of, service, region, account, name]) = arn::parts(operator) else {
        return Some("expected an ARN, such as arn:aws:iam::111122223333:role/release".to_owned());
    };
    if of != partition.name() {
        return Some(format!("it is of partition {of}, and the bucket of {}; --region says which", partition.name()));
    }
    if service == "sts" && name.starts_with("assumed-role/") {
        return Some(
            "a session of a role is known by the role's own ARN: give arn:..:iam::ACCOUNT:role/NAME".to_owned(),
        );
    }
    let named = |kinds: &[&str]| kinds.iter().any(|kind| name.strip_prefix(kind).is_some_and(|name| !name.is_empty()));
    let kind = match service {
        "iam" => named(&["role/", "user/"]),
        "sts" => named(&["federated-user/"]),
        _ => false,
    };
    if kind && account.contains(['*', '?']) {
        return Some(
            "its account is a pattern, which means roles and users of strangers; spell its twelve digits".to_owned(),
        );
    }
    if !kind || !region.is_empty() || !is_account(account) {
        return Some("expected a role or a user: arn:aws:iam::111122223333:role/release".to_owned());
    }
    if name.contains(|c: char| !(c.is_ascii_alphanumeric() || "+=,.@_-/*?".contains(c))) {
        return Some("the name holds a character that no role or user has".to_owned());
    }
    let broad = arn::is_broad(&Pattern::glob(operator, true));
    broad.then(|| {
        format!(
            "it means nearly everybody: before a wildcard the name must begin with {LITERALS_MIN} characters at least, past \
             the paths that AWS itself gives; name those that are meant"
        )
    })
}
