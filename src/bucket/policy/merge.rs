//! Puts our statements among those that are there, and leaves those as they are.

use std::fmt;

use crate::model::text::name;

use super::draw::{SETTINGS, SID};
use super::json::Json;
use super::read::{Policy, PolicyError};

/// S3 takes no larger policy.
pub const SIZE_MAX_BYTES: usize = 20 * 1024;

/// Why policies cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    #[error(
        "the policy has a statement of the Sid {0} that is not as noclobber draws it; rename it, or take it out by hand"
    )]
    Clash(String),
    #[error(
        "the policy's Version is not 2012-10-17, under which the wildcards in the prefix cannot be escaped; change it \
         first, with care: it also makes variables of every ${{...}}"
    )]
    OldVersion,
    /// Which would take rights over other prefixes from some and give them to others.
    #[error("{0}")]
    Operators(Change),
    #[error(
        "the number {0} would not come out as it was written, and statements that are there are to stay as they are; put \
         it in quotes, which a policy takes too"
    )]
    Number(String),
    #[error("merged, the policy has {0} bytes, and S3 takes {SIZE_MAX_BYTES} at most")]
    TooLarge(usize),
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// What to do where `NoclobberSettings`, which is one for the whole bucket, has other operators than those that were asked
/// for, and other prefixes rest on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// Refuse.
    Keep,
    Replace,
}

/// How the bucket's settings come to be guarded in another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whom the settings left out, in order.
    pub before: Vec<String>,
    /// Whom they leave out now, in order.
    pub after: Vec<String>,
    /// Actions that are denied no more: changes of the policy itself, where no operators are left.
    pub opened: Vec<String>,
    /// The keys of the other prefixes that have statements of ours, as these spell them: `reports/*`.
    pub others: Vec<String>,
}

impl Change {
    /// Whom the settings leave out now, and did not before.
    #[must_use]
    pub fn gained(&self) -> Vec<&str> {
        self.after.iter().filter(|one| !self.before.contains(one)).map(String::as_str).collect()
    }

    /// Whom they left out before, and do not now.
    #[must_use]
    pub fn lost(&self) -> Vec<&str> {
        self.before.iter().filter(|one| !self.after.contains(one)).map(String::as_str).collect()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |operators: &[String]| match operators {
            [] => "none".to_owned(),
            some => some.iter().map(|one| name(one)).collect::<Vec<_>>().join(", "),
        };
        let others = self.others.iter().map(|keys| name(keys)).collect::<Vec<_>>().join(", ");
        write!(
            f,
            "{SETTINGS} is one for the whole bucket, and the statements for {others} rest on it too: its operators decide over \
             lifecycle, versioning and policy. They are {}; with this command they would be {}. Give the same operators, or \
             all that the bucket shall have and --replace-operators",
            told(&self.before),
            told(&self.after)
        )
    }
}

/// A merged policy, and what became of our statements, by Sid.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    pub policy: Policy,
    pub added: Vec<String>,
    pub replaced: Vec<String>,
    pub unchanged: Vec<String>,
    /// Whether the bucket's settings come to be guarded in another way.
    pub change: Option<Change>,
}

/// Merges what [`draw`](fn@super::draw) drew into a policy. Ours are replaced where they stand, new ones come last, and all
/// others stay as they were written.
pub fn merge(existing: &Policy, ours: &Policy, settings: Settings) -> Result<Merged, MergeError> {
    if let Some(number) = &existing.rewritten {
        return Err(MergeError::Number(number.clone()));
    }
    let mut statements = statements_of(existing).to_vec();
    let mut merged = Merged {
        policy: Policy::empty(),
        added: Vec::new(),
        replaced: Vec::new(),
        unchanged: Vec::new(),
        change: None,
    };
    for new in statements_of(ours) {
        let sid = new.get("Sid").and_then(Json::text).unwrap_or_default().to_owned();
        match statements.iter_mut().find(|old| old.get("Sid") == new.get("Sid")) {
            None => {
                statements.push(new.clone());
                merged.added.push(sid);
            }
            Some(old) if old.is_like(new) => merged.unchanged.push(sid),
            Some(old) if is_ours(old, new) => {
                if sid == SETTINGS {
                    merged.change = change(old, new, others(existing, ours));
                }
                *old = new.clone();
                merged.replaced.push(sid);
            }
            Some(_) => return Err(MergeError::Clash(sid)),
        }
    }
    if let Some(change) = merged.change.as_ref().filter(|change| !change.others.is_empty()) {
        match settings {
            Settings::Keep => return Err(MergeError::Operators(change.clone())),
            Settings::Replace => {}
        }
    }
    let new_version = existing.document.get("Version").and_then(Json::text) == Some("2012-10-17");
    let escapes = |json: &Json| json.get("Resource").and_then(Json::text).is_some_and(|text| text.contains("${"));
    if !new_version && !existing.statements.is_empty() && statements_of(ours).iter().any(escapes) {
        return Err(MergeError::OldVersion);
    }
    let document = if existing.statements.is_empty() { &ours.document } else { &existing.document };
    let Json::Object(fields) = document else { return Ok(merged) };
    let fields = fields.iter().map(|(name, value)| {
        let value = if name == "Statement" { Json::List(statements.clone()) } else { value.clone() };
        (name.clone(), value)
    });
    merged.policy = Policy::of(Json::Object(fields.collect()))?;
    let size = merged.policy.compact().len();
    if size > SIZE_MAX_BYTES { Err(MergeError::TooLarge(size)) } else { Ok(merged) }
}

fn statements_of(policy: &Policy) -> &[Json] {
    policy.document.get("Statement").map_or(&[][..], Json::items)
}

fn change(old: &Json, new: &Json, others: Vec<String>) -> Option<Change> {
    let opened = texts(old.get("Action")).into_iter().filter(|action| !texts(new.get("Action")).contains(action));
    let change = Change { before: operators(old), after: operators(new), opened: opened.collect(), others };
    (change.before != change.after || !change.opened.is_empty()).then_some(change)
}

fn operators(settings: &Json) -> Vec<String> {
    let condition = settings.get("Condition").and_then(|condition| condition.get("ArnNotLike"));
    texts(condition.and_then(|keys| keys.get("aws:PrincipalArn")))
}

/// In order, and each once.
fn texts(json: Option<&Json>) -> Vec<String> {
    let mut texts: Vec<String> =
        json.map_or(&[][..], Json::items).iter().filter_map(Json::text).map(str::to_owned).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// The keys that statements of ours for other prefixes are about.
fn others(existing: &Policy, ours: &Policy) -> Vec<String> {
    let of_another = |old: &&Json| {
        let sid = old.get("Sid").and_then(Json::text).unwrap_or_default();
        sid.starts_with(SID) && statements_of(ours).iter().all(|new| new.get("Sid") != old.get("Sid"))
    };
    let mut keys: Vec<String> = statements_of(existing)
        .iter()
        .filter(of_another)
        .flat_map(|old| texts(old.get("Resource")))
        .map(|arn| arn.split_once('/').map_or(arn.clone(), |(_, keys)| keys.to_owned()))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Whether an older drawing of the same statement: other operators, other actions of ours, replaces allowed or not.
fn is_ours(old: &Json, new: &Json) -> bool {
    const ACTIONS: [&str; 9] = [
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:ReplicateObject",
        "s3:ReplicateDelete",
        "s3:PutLifecycleConfiguration",
        "s3:PutBucketVersioning",
        "s3:PutBucketPolicy",
        "s3:DeleteBucketPolicy",
    ];
    const KEYS: [&str; 4] = ["s3:if-none-match", "s3:if-match", "s3:ObjectCreationOperation", "aws:PrincipalArn"];
    let Json::Object(fields) = old else { return false };
    let names = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
    let same = ["Sid", "Effect", "Principal", "Resource"].iter().all(|name| match (old.get(name), new.get(name)) {
        (Some(old), Some(new)) => old.is_like(new),
        (None, _) | (_, None) => false,
    });
    let actions = old.get("Action").map_or(&[][..], Json::items);
    let known = actions.iter().all(|action| action.text().is_some_and(|action| ACTIONS.contains(&action)));
    let conditions = match old.get("Condition") {
        None => true,
        Some(Json::Object(operators)) => operators.iter().all(|(operator, keys)| {
            let keys = if let Json::Object(keys) = keys { &keys[..] } else { &[] };
            matches!(&**operator, "Null" | "Bool" | "ArnNotLike") && keys.iter().all(|(key, _)| KEYS.contains(&&**key))
        }),
        Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_)) => false,
    };
    let sid = old.get("Sid").and_then(Json::text).is_some_and(|sid| sid.starts_with(SID));
    sid && same && known && conditions && fields.iter().all(|(name, _)| names.contains(&&**name))
}
