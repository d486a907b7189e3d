//! Puts our statements among those that are there, and leaves those as they are.

use super::draw::SID;
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
    #[error("merged, the policy has {0} bytes, and S3 takes {SIZE_MAX_BYTES} at most")]
    TooLarge(usize),
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// A merged policy, and what became of our statements, by Sid.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    pub policy: Policy,
    pub added: Vec<String>,
    pub replaced: Vec<String>,
    pub unchanged: Vec<String>,
}

/// Merges what [`draw`](fn@super::draw) drew into a policy. Ours are replaced where they stand, new ones come last, and all
/// others stay as they were written.
pub fn merge(existing: &Policy, ours: &Policy) -> Result<Merged, MergeError> {
    let mut statements = existing.document.get("Statement").map_or(&[][..], Json::items).to_vec();
    let mut merged = Merged { policy: Policy::empty(), added: Vec::new(), replaced: Vec::new(), unchanged: Vec::new() };
    for new in ours.document.get("Statement").map_or(&[][..], Json::items) {
        let sid = new.get("Sid").and_then(Json::text).unwrap_or_default().to_owned();
        match statements.iter_mut().find(|old| old.get("Sid") == new.get("Sid")) {
            None => {
                statements.push(new.clone());
                merged.added.push(sid);
            }
            Some(old) if old.is_like(new) => merged.unchanged.push(sid),
            Some(old) if is_ours(old, new) => {
                *old = new.clone();
                merged.replaced.push(sid);
            }
            Some(_) => return Err(MergeError::Clash(sid)),
        }
    }
    let new_version = existing.document.get("Version").and_then(Json::text) == Some("2012-10-17");
    let escapes = |json: &Json| json.get("Resource").and_then(Json::text).is_some_and(|text| text.contains("${"));
    if !new_version && !existing.statements.is_empty() && ours_of(ours).iter().any(escapes) {
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

fn ours_of(policy: &Policy) -> &[Json] {
    policy.document.get("Statement").map_or(&[][..], Json::items)
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
