//! What the bucket's policy does for conditional writes, as the findings and the requirements need it.

use std::collections::BTreeSet;

use crate::bucket::policy::{Enforcement, Kind, Policy, Who, enforcement, writers as allowed};
use crate::model::bucket::Told;
use crate::model::text::{escape, name};

/// Whether a policy makes every writer under the prefix use a precondition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Forces {
    /// It does.
    Surely {
        /// But for these.
        operators: Vec<String>,
        /// What we could not do under it ourselves.
        stops: Vec<&'static str>,
        /// By what it is got around.
        open: Vec<&'static str>,
    },
    /// It does not try.
    No,
    /// It tries, and these get through.
    Holes(Vec<String>),
    /// It looks as if it did.
    Pretends(String),
    CannotTell(Vec<String>),
}

/// Judges a policy that was told; `None` where it was not.
pub(super) fn forces(policy: &Told<String>, bucket: &str, prefix: &str) -> Option<Forces> {
    let text = match policy {
        Told::Is(text) => text,
        Told::NotSet => return Some(Forces::No),
        Told::NotAsked | Told::NotAllowed | Told::NotSupported | Told::Failed(_) => return None,
    };
    let read = match Policy::read(text) {
        Ok(read) => read,
        Err(error) => return Some(Forces::CannotTell(vec![escaped(&error.to_string())])),
    };
    Some(match enforcement(&read, bucket, prefix) {
        Enforcement::Enforced {
            creates_allowed,
            replace_allowed,
            multipart_allowed,
            deletes_closed: _,
            open,
            operators,
        } => {
            let stops =
                [(creates_allowed, "creates"), (replace_allowed, "replaces"), (multipart_allowed, "uploads in parts")];
            Forces::Surely {
                operators: operators.iter().map(|operator| name(operator).into_owned()).collect(),
                stops: stops.into_iter().filter(|(is_allowed, _)| !is_allowed).map(|(_, what)| what).collect(),
                open: open.into_iter().map(Kind::told).collect(),
            }
        }
        Enforcement::Holes(holes) => Forces::Holes(holes.iter().map(|hole| escaped(&hole.sentence)).collect()),
        Enforcement::Pretends { statement, why } => Forces::Pretends(escaped(&format!("{statement}: {why}"))),
        Enforcement::None => Forces::No,
        Enforcement::CannotTell(why) => Forces::CannotTell(why.iter().map(|why| escaped(why)).collect()),
    })
}

fn escaped(text: &str) -> String {
    escape(text).into_owned()
}

/// Somebody whom a policy lets write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writer {
    pub is_anybody: bool,
    pub has_conditions: bool,
    pub told: String,
}

/// Whom a policy lets write under the prefix; the error says why that cannot be told.
pub(super) fn writers(policy: &str, bucket: &str, prefix: &str) -> Result<Vec<Writer>, String> {
    let policy = Policy::read(policy).map_err(|error| escaped(&error.to_string()))?;
    let told = allowed(&policy, bucket, prefix).into_iter().map(|writer| {
        let (is_anybody, who) = match &writer.who {
            Who::Public => (true, "anybody".into()),
            Who::Account(account) => (false, format!("account {}", name(account))),
            Who::Arn(arn) => (false, name(arn).into_owned()),
            Who::Service(service) => (false, format!("service {}", name(service))),
            Who::Other(other) => (false, escaped(other)),
        };
        let mut may: Vec<&str> = writer.may.iter().map(|kind| shortly(*kind)).collect();
        let mut seen = BTreeSet::new();
        may.retain(|what| seen.insert(*what));
        let conditions = if writer.conditions.is_empty() {
            String::new()
        } else {
            escaped(&format!(" on conditions: {}", writer.conditions.join(", ")))
        };
        let told = format!("{who} by {} ({}){conditions}", escaped(&writer.statement), may.join(", "));
        Writer { is_anybody, has_conditions: !writer.conditions.is_empty(), told }
    });
    Ok(told.collect())
}

/// What a kind of request comes to, in a word or two.
fn shortly(kind: Kind) -> &'static str {
    match kind {
        Kind::Put | Kind::Complete | Kind::Copy => "write over whatever is there",
        Kind::PutIfAbsent | Kind::CompleteIfAbsent | Kind::CopyIfAbsent => "create",
        Kind::PutIfUnchanged | Kind::CompleteIfUnchanged | Kind::CopyIfUnchanged => "replace what it knows",
        Kind::CreateUpload | Kind::UploadPart | Kind::UploadPartCopy => "upload parts",
        Kind::Delete | Kind::DeleteIfUnchanged => "delete",
        Kind::DeleteVersion => "delete versions",
        Kind::Replicate
        | Kind::ReplicateDelete
        | Kind::PutLifecycle
        | Kind::PutVersioning
        | Kind::PutPolicy
        | Kind::DeletePolicy => kind.told(),
    }
}
