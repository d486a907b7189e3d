//! `bucket policy`: prints a policy that forces conditional writes, and what it means. Applies none.

use std::path::Path;

use crate::bucket::policy::{
    Change, DrawError, Enforcement, Kind, MergeError, Partition, Policy, SIZE_MAX_BYTES, Settings, Wanted, draw,
    enforcement, merge,
};
use crate::model::bucket::{Aspect, Told};
use crate::model::exit::Exit;
use crate::model::text::{count, name};
use crate::store::Store as _;

use super::args::{Global, Policy as Args};
use super::bucket::{connect, told_place};
use super::out::Out;
use super::reach::Reach;
use super::{Ended, Failure};

pub(super) async fn policy(global: &Global, args: Args, out: Out) -> Ended {
    let place = &args.at.place;
    let wanted = Wanted {
        bucket: place.bucket.clone(),
        prefix: place.prefix.clone(),
        partition: args.at.region.as_deref().map_or_else(Partition::default, Partition::of_region),
        allow_replace: args.allow_replace,
        operators: args.operators.clone(),
    };
    let ours = draw(&wanted).map_err(|error| match error {
        DrawError::Policy(_) => Failure::new(Exit::CouldNotRun, error),
        DrawError::AccessPoint(_) | DrawError::Prefix(_) | DrawError::PrefixTooLong(_) | DrawError::Operator { .. } => {
            Failure::new(Exit::Usage, error)
        }
    })?;
    let whole = match &args.merge {
        None => ours,
        Some(from) => {
            let (told, existing) = match from {
                Some(file) => (name(&file.display().to_string()).into_owned(), Some(read(file)?)),
                None => (format!("the policy of {}", place.bucket), of_bucket(global, &args).await?),
            };
            let settings = if args.replace_operators { Settings::Replace } else { Settings::Keep };
            merged(&told, existing.as_deref(), &ours, settings, out)?
        }
    };
    out.result(&printed(&whole)?)?;
    explain(&args, &whole, out);
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::new(Exit::BadInput, format!("{}: {error}", file.display())))
}

async fn of_bucket(global: &Global, args: &Args) -> Result<Option<String>, Failure> {
    let reach = Reach::begin(global).await?;
    let asked = async {
        let store = connect(&reach, &args.at).await?;
        let could_not = |why: &str| {
            let text = format!("the policy of {}: {why}; --merge=FILE merges into a copy of it", args.at.place.bucket);
            Failure::new(Exit::CouldNotRun, text)
        };
        match store.bucket(&[Aspect::Policy]).await.map_err(|error| could_not(&error.to_string()))?.policy {
            Told::Is(text) => Ok(Some(text)),
            Told::NotSet => Ok(None),
            Told::NotAllowed => Err(could_not("the server answered 403; the role may lack s3:GetBucketPolicy")),
            Told::NotSupported => Err(could_not("this server does not do GetBucketPolicy")),
            Told::NotAsked => Err(could_not("it was not asked for")),
            Told::Failed(why) => Err(could_not(&why)),
        }
    };
    let asked = asked.await;
    reach.end().await;
    asked
}

fn merged(told: &str, existing: Option<&str>, ours: &Policy, settings: Settings, out: Out) -> Result<Policy, Failure> {
    let existing = match existing {
        Some(text) => Policy::read(text).map_err(|error| Failure::new(Exit::BadInput, format!("{told}: {error}")))?,
        None => Policy::empty(),
    };
    let merged = merge(&existing, ours, settings).map_err(|error| {
        let exit = match error {
            MergeError::Clash(_) | MergeError::OldVersion | MergeError::Number(_) | MergeError::TooLarge(_) => {
                Exit::Refused
            }
            // What was asked for is not all that must be said.
            MergeError::Operators(_) => Exit::Usage,
            MergeError::Policy(_) => Exit::BadInput,
        };
        Failure::new(exit, format!("{told}: {error}"))
    })?;
    let kept = existing.statements().len() - merged.replaced.len() - merged.unchanged.len();
    out.note(&format!("{told}: {} other {} kept as they are", count(kept as u64), plural(kept, "statement")));
    for (what, sids) in [("added", &merged.added), ("replaced", &merged.replaced), ("there already", &merged.unchanged)]
    {
        if !sids.is_empty() {
            out.note(&format!("{what}: {}", sids.join(", ")));
        }
    }
    if let Some(change) = &merged.change {
        told_change(change, out);
    }
    Ok(merged.policy)
}

/// Which rights over the whole bucket go from whom to whom: what is replaced says nothing of that.
fn told_change(change: &Change, out: Out) {
    out.note(&format!(
        "operators of the bucket's settings: {} before, {} now",
        listed(&change.before),
        listed(&change.after)
    ));
    let keys = if change.others.is_empty() { String::new() } else { format!(", also over {}", listed(&change.others)) };
    let (gained, lost) = (change.gained(), change.lost());
    let all = "lifecycle rules, versioning and changes of this policy";
    if !gained.is_empty() {
        // Without operators the policy itself is denied to nobody.
        let what = if change.before.is_empty() { "lifecycle rules and versioning" } else { all };
        out.warning(&format!("weaker: {what} are not denied any more to {}{keys}", listed(&gained)));
    }
    if !change.opened.is_empty() {
        out.warning(&format!("weaker: denied to nobody any more: {}{keys}", listed(&change.opened)));
    }
    if !lost.is_empty() {
        let what = if change.after.is_empty() { "lifecycle rules and versioning" } else { all };
        out.note(&format!("{what} are denied to {} now", listed(&lost)));
    }
}

fn listed(texts: &[impl AsRef<str>]) -> String {
    match texts {
        [] => "none".to_owned(),
        some => some.iter().map(|text| name(text.as_ref())).collect::<Vec<_>>().join(", "),
    }
}

/// Indented, unless that alone would make it too large.
fn printed(policy: &Policy) -> Result<String, Failure> {
    let pretty = policy.pretty();
    if pretty.len() <= SIZE_MAX_BYTES {
        return Ok(pretty);
    }
    let compact = policy.compact();
    if compact.len() <= SIZE_MAX_BYTES {
        return Ok(compact);
    }
    Err(Failure::new(Exit::Refused, MergeError::TooLarge(compact.len())))
}

/// What the policy means, as the evaluator finds it: not what was meant.
fn explain(args: &Args, policy: &Policy, out: Out) {
    let place = &args.at.place;
    let told = told_place(&args.at);
    match enforcement(policy, &place.bucket, &place.prefix) {
        Enforcement::Enforced { creates_allowed, replace_allowed, multipart_allowed, open, operators, .. } => {
            out.note(&format!("under {told}, writes without a condition are denied to everybody, operators too"));
            if !creates_allowed {
                out.warning(
                    "other statements of this policy deny creates with If-None-Match too: nothing can be written",
                );
            } else if !multipart_allowed {
                out.warning("other statements of this policy deny uploads in parts");
            }
            out.note(if replace_allowed {
                "objects can be replaced with If-Match, by whoever may write and read them"
            } else {
                "nothing there can be replaced, by rollbacks neither: --allow-replace lets If-Match through"
            });
            told_deletes(&operators, out);
            for kind in open.iter().filter(|kind| !matches!(kind, Kind::PutPolicy | Kind::DeletePolicy)) {
                out.warning(&format!("not denied to all but operators: {}", kind.told()));
            }
        }
        Enforcement::Holes(holes) => holes.iter().for_each(|hole| out.warning(&hole.sentence)),
        Enforcement::Pretends { statement, why } => out.warning(&format!("{statement} denies nothing: {why}")),
        Enforcement::None => out.warning("this policy does not force conditional writes"),
        Enforcement::CannotTell(why) => why.iter().for_each(|why| out.warning(&format!("cannot tell: {why}"))),
    }
    if !place.prefix.is_empty() && !place.prefix.ends_with('/') {
        out.note(&format!("the prefix ends in no slash: {told}-old is under it too"));
    }
    if args.merge.is_none() {
        out.note("a bucket has one policy, and applying this one replaces it: --merge keeps what is there");
    }
    out.note(&format!(
        "{} of the {} bytes that S3 takes. With this in policy.json, it is applied by",
        count(policy.compact().len() as u64),
        count(SIZE_MAX_BYTES as u64)
    ));
    out.note(&format!("  aws s3api put-bucket-policy --bucket {} --policy file://policy.json", place.bucket));
    out.note("keep what `aws s3api get-bucket-policy` prints before: putting that back undoes it");
}

fn told_deletes(operators: &[String], out: Out) {
    if operators.is_empty() {
        out.note(
            "deletes, lifecycle rules, versioning and replication are denied to EVERYBODY, administrators too. Whoever \
             may change the policy can take that back; --operator ARN leaves somebody out",
        );
    } else {
        out.note(&format!(
            "deletes, lifecycle rules, versioning, replication and changes of this policy are denied to all but {}. \
             Should none of them exist, the account's root alone can take that back",
            listed(operators)
        ));
    }
}

fn plural(n: usize, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}
