//! Whose the bucket is, where it is, and whether it keeps what is replaced.

use super::command::aws;
use super::{Finding, Level, Question, unseen};
use crate::model::bucket::{Aspect, Configuration, Encryption, Owner, Retention, Status, Told};
use crate::model::text::name;

pub(super) fn findings(question: &Question<'_>, told: &Configuration) -> Vec<Finding> {
    vec![
        owner(question, &told.owner),
        region(question, &told.region),
        versioning(question, told),
        version_deletion(question, told),
        encryption(question, &told.encryption),
    ]
}

fn owner(question: &Question<'_>, told: &Told<Owner>) -> Finding {
    const NAME: &str = "owner";
    const WHY: &str = "a bucket's name can be taken by a stranger once the bucket was deleted; requests that name the \
                       account are then refused";
    let target = question.target;
    let finding = |level, found: String| Finding::new(NAME, level, found, WHY);
    let account = target.owner.as_deref().unwrap_or_default();
    if let Some(finding) = unseen(NAME, WHY, Aspect::Owner, told, target) {
        return finding;
    }
    match told {
        Told::Is(Owner::Another) => finding(
            Level::Problem,
            format!("refused for account {account}, and open without it: the bucket belongs to another account"),
        )
        .say("do not write there before it is known whose it is; then correct the bucket or bucket_owner"),
        Told::Is(Owner::Expected) if target.is_aws() => finding(Level::Ok, format!("belongs to account {account}")),
        Told::Is(Owner::Expected) => finding(
            Level::CannotTell,
            format!("open with the expected account {account}, but servers other than AWS seldom look at it"),
        ),
        Told::NotSet if target.is_aws() => finding(Level::Warning, "no account is expected".to_owned())
            .say("give --bucket-owner ACCOUNT here, and `bucket_owner: \"ACCOUNT\"` in the manifest"),
        _ => finding(Level::Ok, "no account is expected; servers other than AWS seldom have any".to_owned()),
    }
}

fn region(question: &Question<'_>, told: &Told<String>) -> Finding {
    const NAME: &str = "region";
    const WHY: &str =
        "requests that are signed for another region are refused or sent on, and a write is never sent on";
    let target = question.target;
    let finding = |level, found: String| Finding::new(NAME, level, found, WHY);
    if let Some(finding) = unseen(NAME, WHY, Aspect::Region, told, target) {
        return finding;
    }
    let Told::Is(region) = told else { return finding(Level::CannotTell, "the server names no region".to_owned()) };
    let (there, here) = (name(region), name(&target.region));
    if *region == target.region {
        return finding(Level::Ok, format!("{there}, as configured"));
    }
    let level = if target.is_aws() { Level::Problem } else { Level::Warning };
    finding(level, format!("the bucket is in {there}, configured is {here}"))
        .say(format!("give --region {there} here, and `region: {there}` in the manifest"))
}

fn versioning(question: &Question<'_>, told: &Configuration) -> Finding {
    const NAME: &str = "versioning";
    const WHY: &str = "without versions, what is replaced or deleted is gone for good";
    let target = question.target;
    if let Some(finding) = unseen(NAME, WHY, Aspect::Versioning, &told.versioning, target) {
        return finding;
    }
    let found = match &told.versioning {
        Told::Is(versioning) => match versioning.status {
            Status::Enabled => return Finding::new(NAME, Level::Ok, "enabled", WHY),
            Status::Suspended => {
                "suspended: what is written now takes the place of what was there without a version id"
            }
        },
        _ => "never enabled",
    };
    Finding::new(NAME, Level::Problem, found, WHY)
        .say("enable it; every version is billed, so let a lifecycle rule expire old ones after the recovery days")
        .run(enable_versioning(question))
}

pub(super) fn enable_versioning(question: &Question<'_>) -> String {
    aws(question.target, "put-bucket-versioning", &[("versioning-configuration", "Status=Enabled")])
}

/// MFA delete and Object Lock: what keeps versions from whoever may delete them.
fn version_deletion(question: &Question<'_>, told: &Configuration) -> Finding {
    const NAME: &str = "version-deletion";
    const WHY: &str = "old versions help only while nobody deletes them: s3:DeleteObjectVersion is enough for that, unless \
                       MFA delete or a retention stands before it";
    let (target, days) = (question.target, question.recovery_days);
    let mfa_delete = matches!(&told.versioning, Told::Is(versioning) if versioning.mfa_delete);
    if mfa_delete {
        return Finding::new(NAME, Level::Ok, "MFA delete is on", WHY);
    }
    if let Told::Is(lock) = &told.object_lock
        && let Some(Retention { mode, days: kept }) = &lock.retention
    {
        let mode = name(mode);
        let found = format!("Object Lock keeps new versions for {kept} days ({mode})");
        if *kept >= days && mode == "COMPLIANCE" {
            return Finding::new(NAME, Level::Ok, found, WHY);
        }
        let gap = if *kept < days {
            format!("; that is less than the {days} recovery days")
        } else {
            "; whoever has s3:BypassGovernanceRetention can delete them all the same".to_owned()
        };
        return Finding::new(NAME, Level::Warning, found + &gap, WHY)
            .say("lengthen the default retention or set it to COMPLIANCE, if that is meant: nobody can undo that");
    }
    if let Some(finding) = unseen(NAME, WHY, Aspect::Versioning, &told.versioning, target)
        .or_else(|| unseen(NAME, WHY, Aspect::ObjectLock, &told.object_lock, target))
    {
        return finding;
    }
    let lock = match told.object_lock {
        Told::Is(_) => "Object Lock is on, without a default retention",
        _ => "Object Lock is off",
    };
    Finding::new(NAME, Level::Warning, format!("MFA delete is off; {lock}"), WHY)
        .say("deny s3:DeleteObjectVersion to all but an operator's role in the bucket's policy, or turn on MFA delete, or set a default retention")
}

fn encryption(question: &Question<'_>, told: &Told<Encryption>) -> Finding {
    const NAME: &str = "encryption";
    const WHY: &str = "under KMS an ETag is no MD5 of the content: it proves nothing, and checksums are told only to a role \
                       with kms:Decrypt";
    let finding = |level, found: String| Finding::new(NAME, level, found, WHY);
    if let Some(finding) = unseen(NAME, WHY, Aspect::Encryption, told, question.target) {
        return finding;
    }
    let Told::Is(encryption) = told else {
        let is = if question.target.is_aws() { "AES256, as S3 does by itself" } else { "none by default" };
        return finding(Level::Ok, is.to_owned());
    };
    match encryption.algorithm.as_str() {
        "AES256" => finding(Level::Ok, "AES256 by default: ETags of single uploads are MD5s".to_owned()),
        algorithm @ ("aws:kms" | "aws:kms:dsse") => {
            let key = match (algorithm, encryption.has_bucket_key) {
                ("aws:kms", true) => ", with a bucket key",
                ("aws:kms", false) => ", without a bucket key: every object costs a request to KMS",
                _ => "",
            };
            finding(Level::Warning, format!("{algorithm} by default{key}")).say(
                "allow the role kms:GenerateDataKey and kms:Decrypt on the key; sameness is then proved by checksums, \
                 and for what other tools wrote without one not at all",
            )
        }
        other => finding(Level::CannotTell, format!("{} by default, which is not known here", name(other))),
    }
}
