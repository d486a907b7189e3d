//! Who else may write, and whether anything makes them use preconditions as we do.

use std::fmt::Write as _;

use super::command::aws;
use super::policy::{Forces, Writer, forces, writers};
use super::{Finding, Level, Question, unseen};
use crate::model::bucket::{Aspect, Configuration, Grant, Grantee, Ownership, PublicAccess, Told};
use crate::model::text::name;

pub(super) fn findings(question: &Question<'_>, told: &Configuration) -> Vec<Finding> {
    vec![
        policy(question, &told.policy),
        policy_writers(question, told),
        policy_public(question, told),
        public_access(question, &told.public_access),
        ownership(question, &told.ownership),
        acl(question, told),
    ]
}

fn policy(question: &Question<'_>, told: &Told<String>) -> Finding {
    const NAME: &str = "policy";
    const WHY: &str = "our writes are conditional whatever the bucket says; a policy can make everybody's so, and close the \
                       deletes by which a condition is got around";
    let target = question.target;
    let finding = |level, found: String| Finding::new(NAME, level, found, WHY);
    if let Some(finding) = unseen(NAME, WHY, Aspect::Policy, told, target) {
        return finding;
    }
    let draw = format!("`noclobber bucket policy {}` prints one that does, to be reviewed", question.place());
    match forces(told, &target.bucket, question.prefix) {
        Some(Forces::Surely { .. }) if !target.is_aws() => finding(
            Level::CannotTell,
            "it would force conditional writes at AWS; few other servers know its condition keys".to_owned(),
        )
        .say("try it: a plain PUT under the prefix must be refused"),
        Some(Forces::Surely { operators, stops, open }) => {
            let mut found = "forces conditional writes".to_owned();
            if !operators.is_empty() {
                let _ = write!(found, ", but for {}", operators.join(", "));
            }
            if !stops.is_empty() {
                let _ = write!(found, "; under it there are no {}", stops.join(", no "));
            }
            if !open.is_empty() {
                let _ = write!(found, "; it can be got around by {}", open.join(", "));
            }
            if stops.contains(&"creates") {
                finding(Level::Problem, found).say("let writes with If-None-Match through")
            } else if !open.is_empty() || stops.contains(&"uploads in parts") {
                finding(Level::Warning, found).say(draw)
            } else {
                finding(Level::Ok, found)
            }
        }
        Some(Forces::No) => {
            let is = match told {
                Told::NotSet => "there is none: others may write without conditions",
                _ => "it does not ask for conditions: others may write without",
            };
            finding(Level::Warning, is.to_owned()).say(draw)
        }
        Some(Forces::Holes(holes)) => {
            finding(Level::Problem, format!("it forces conditional writes, but not all: {}", holes.join("; ")))
                .say(draw)
        }
        Some(Forces::Pretends(why)) => {
            finding(Level::Problem, format!("it looks as if it forced conditional writes, and does not: {why}"))
                .say(draw)
        }
        Some(Forces::CannotTell(why)) => {
            finding(Level::CannotTell, format!("whether it forces conditional writes: {}", why.join("; "))).say(draw)
        }
        None => finding(Level::CannotTell, "it was not told".to_owned()),
    }
}

fn policy_writers(question: &Question<'_>, told: &Configuration) -> Finding {
    const NAME: &str = "policy-writers";
    const WHY: &str = "whoever may write can replace; identities of the bucket's own account may have policies of their own, \
                       which are not seen from here";
    let finding = |level, found: String| Finding::new(NAME, level, found, WHY);
    if let Some(finding) = unseen(NAME, WHY, Aspect::Policy, &told.policy, question.target) {
        return finding;
    }
    let Told::Is(policy) = &told.policy else { return finding(Level::Ok, "no policy lets anybody write".to_owned()) };
    let writers = match writers(policy, &question.target.bucket, question.prefix) {
        Ok(writers) => writers,
        Err(why) => return finding(Level::CannotTell, why),
    };
    if writers.is_empty() {
        return finding(Level::Ok, "the policy lets nobody write".to_owned());
    }
    let all: Vec<&str> = writers.iter().map(|Writer { told, .. }| told.as_str()).collect();
    // Conditions may leave somebody out, or nobody: S3's own word decides.
    let is_public_to_s3 = told.policy_is_public == Told::Is(true);
    let is_public = writers.iter().any(|writer| writer.is_anybody && (!writer.has_conditions || is_public_to_s3));
    if is_public {
        let is_blocked = matches!(&told.public_access, Told::Is(block) if block.restrict);
        if is_blocked && question.target.is_aws() {
            return finding(
                Level::Warning,
                format!("the policy lets anybody write, which the public access block stops: {}", all.join("; ")),
            )
            .say("take it out of the policy: the block may be lifted one day");
        }
        return finding(Level::Problem, format!("the policy lets anybody write: {}", all.join("; ")))
            .say("take it out of the policy, or name who is meant");
    }
    finding(Level::Warning, format!("the policy lets write: {}", all.join("; "))).say("see that each of them is meant")
}

fn policy_public(question: &Question<'_>, told: &Configuration) -> Finding {
    const NAME: &str = "public-policy";
    const WHY: &str = "what S3 calls public is open to anybody in some way; for a website that is meant";
    if let Some(finding) = unseen(NAME, WHY, Aspect::PolicyStatus, &told.policy_is_public, question.target) {
        // Where there is no policy, none is public, whatever a server says of its status.
        if told.policy != Told::NotSet {
            return finding;
        }
    }
    match told.policy_is_public {
        Told::Is(true) => Finding::new(NAME, Level::Warning, "S3 calls the bucket's policy public", WHY)
            .say("see `policy-writers` for whether it lets anybody write"),
        Told::Is(false) => Finding::new(NAME, Level::Ok, "not public", WHY),
        _ => Finding::new(NAME, Level::Ok, "no policy", WHY),
    }
}

fn public_access(question: &Question<'_>, told: &Told<PublicAccess>) -> Finding {
    const ALL: &str = "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true";
    const NAME: &str = "public-access-block";
    const WHY: &str = "it keeps a slip in a policy or an ACL from opening the bucket to everybody; the account's own block is \
                       not seen from here";
    let target = question.target;
    let finding = |level, found: String| Finding::new(NAME, level, found, WHY);
    if let Some(finding) = unseen(NAME, WHY, Aspect::PublicAccess, told, target) {
        return finding;
    }
    let block = aws(target, "put-public-access-block", &[("public-access-block-configuration", ALL)]);
    let found = match told {
        Told::Is(it) => {
            let parts = [
                (it.block_acls, "BlockPublicAcls"),
                (it.ignore_acls, "IgnorePublicAcls"),
                (it.block_policy, "BlockPublicPolicy"),
                (it.restrict, "RestrictPublicBuckets"),
            ];
            let off: Vec<&str> = parts.iter().filter(|(is_on, _)| !is_on).map(|(_, name)| *name).collect();
            match (off.is_empty(), target.is_aws()) {
                (true, true) => return finding(Level::Ok, "all four parts are on".to_owned()),
                (true, false) => {
                    let found =
                        "all four parts are said to be on; whether a server other than AWS obeys them is not known";
                    return finding(Level::CannotTell, found.to_owned());
                }
                (false, _) => format!("off: {}", off.join(", ")),
            }
        }
        _ => "none is set".to_owned(),
    };
    finding(Level::Warning, found).say("turn it on, unless the bucket is meant to be public").run(block)
}

fn ownership(question: &Question<'_>, told: &Told<Ownership>) -> Finding {
    const NAME: &str = "ownership";
    const WHY: &str =
        "where ACLs live, another account's writer may own what it writes, and each object may open itself";
    if let Some(finding) = unseen(NAME, WHY, Aspect::Ownership, told, question.target) {
        return finding;
    }
    let found = match told {
        Told::Is(Ownership::Enforced) if !question.target.is_aws() => {
            let found = "BucketOwnerEnforced; whether a server other than AWS then takes ACLs for nothing is not known";
            return Finding::new(NAME, Level::CannotTell, found, WHY);
        }
        Told::Is(Ownership::Enforced) => {
            return Finding::new(NAME, Level::Ok, "BucketOwnerEnforced: ACLs have no say", WHY);
        }
        Told::Is(Ownership::Acls(how)) => format!("{}: ACLs live", name(how)),
        _ => "not set: ACLs live, and whoever writes an object owns it".to_owned(),
    };
    let rules = ("ownership-controls", "Rules=[{ObjectOwnership=BucketOwnerEnforced}]");
    Finding::new(NAME, Level::Warning, found, WHY)
        .say("let the bucket's owner own everything, once nobody relies on ACLs (an `acl:` in a manifest then fails)")
        .run(aws(question.target, "put-bucket-ownership-controls", &[rules]))
}

fn acl(question: &Question<'_>, told: &Configuration) -> Finding {
    const NAME: &str = "acl";
    const WHY: &str = "WRITE in a bucket's ACL lets its holder replace any object, and FULL_CONTROL and WRITE_ACP give \
                       themselves that";
    let finding = |level, found: String| Finding::new(NAME, level, found, WHY);
    if let Some(finding) = unseen(NAME, WHY, Aspect::Acl, &told.acl, question.target) {
        return finding;
    }
    let Told::Is(grants) = &told.acl else { return finding(Level::Ok, "none".to_owned()) };
    let others: Vec<&Grant> = grants.iter().filter(|grant| grant.to != Grantee::Owner).collect();
    if others.is_empty() {
        return finding(Level::Ok, "grants nothing but to the owner".to_owned());
    }
    let all: Vec<String> = others.iter().map(|grant| told_grant(grant)).collect();
    let all = all.join("; ");
    if told.ownership == Told::Is(Ownership::Enforced) && question.target.is_aws() {
        return finding(Level::Ok, format!("has no say, by BucketOwnerEnforced: {all}"));
    }
    let is_public = |grant: &Grant| matches!(grant.to, Grantee::Anybody | Grantee::AnyAccount);
    let writes = |grant: &Grant| !["READ", "READ_ACP"].contains(&grant.permission.as_str());
    let is_ignored = matches!(&told.public_access, Told::Is(block) if block.ignore_acls) && question.target.is_aws();
    let is_open = others.iter().any(|grant| is_public(grant) && writes(grant)) && !is_ignored;
    let level = if is_open { Level::Problem } else { Level::Warning };
    let ignored = if is_ignored { " (what it grants to everybody is ignored, by the public access block)" } else { "" };
    finding(level, format!("{all}{ignored}"))
        .say("see that each of them is meant; this takes all of them away")
        .run(aws(question.target, "put-bucket-acl", &[("acl", "private")]))
}

fn told_grant(grant: &Grant) -> String {
    let to = match &grant.to {
        Grantee::Owner => "the owner".into(),
        Grantee::Anybody => "anybody".into(),
        Grantee::AnyAccount => "anybody with an AWS account".into(),
        Grantee::Other(who) => name(who),
    };
    format!("{to} may {}", name(&grant.permission))
}
