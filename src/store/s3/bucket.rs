//! How the bucket is set up: one GET an aspect, all at once. What cannot be seen, or not be read to its last element, is
//! never told as "not set".

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::types::{self, BucketVersioningStatus, MfaDeleteStatus, ObjectOwnership};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::S3;
use super::classify::{self, Answer};
use super::translate::{self, SdkFailure, answer_of};
use crate::model::bucket::{
    AbortIncomplete, And, Aspect, Configuration, Encryption, Expiration, Filter, Grant, Grantee, Lifecycle,
    NoncurrentExpiration, NoncurrentTransition, ObjectLock, Owner, Ownership, PublicAccess, Retention, Rule, Status,
    Tag, Told, Transition, Versioning,
};
use crate::model::write::LookError;

/// Codes that say: there is no such configuration.
const NOT_SET: [&str; 7] = [
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "NoSuchObjectLockConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchBucketPolicy",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
];

/// All that a lifecycle configuration is made of. It is put back as a whole: a rule with an element that is not known here
/// would lose it.
const LIFECYCLE: [&str; 24] = [
    "LifecycleConfiguration",
    "Rule",
    "ID",
    "Status",
    "Prefix",
    "Filter",
    "And",
    "Tag",
    "Key",
    "Value",
    "ObjectSizeGreaterThan",
    "ObjectSizeLessThan",
    "Expiration",
    "Days",
    "Date",
    "ExpiredObjectDeleteMarker",
    "Transition",
    "StorageClass",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransition",
    "NoncurrentDays",
    "NewerNoncurrentVersions",
    "AbortIncompleteMultipartUpload",
    "DaysAfterInitiation",
];

impl S3 {
    /// Every aspect that is wanted. An error is one that all requests would meet.
    pub(super) async fn configuration(&self, wanted: &[Aspect]) -> Result<Configuration, LookError> {
        let asked = |aspect: Aspect| wanted.contains(&aspect);
        macro_rules! get {
            ($aspect:ident, $operation:ident, $known:expr, $read:expr) => {
                async {
                    if !asked(Aspect::$aspect) {
                        return Ok(Told::NotAsked);
                    }
                    let raw = Raw::default();
                    let request =
                        self.looking.$operation().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone());
                    self.limits.turn().await;
                    match request.customize().interceptor(raw.clone()).send().await {
                        Ok(output) => Ok(raw.check($known).and_then(|()| $read(output)).unwrap_or_else(Told::Failed)),
                        Err(error) => unseen(raw.named(error.answer())),
                    }
                }
            };
        }
        let owner = async { if asked(Aspect::Owner) { self.whose().await } else { Ok(Told::NotAsked) } };
        let region = get!(Region, get_bucket_location, Known::Any, region);
        let versioning = get!(Versioning, get_bucket_versioning, Known::Any, versioning);
        let lifecycle = get!(Lifecycle, get_bucket_lifecycle_configuration, Known::These(&LIFECYCLE), lifecycle);
        let object_lock = get!(ObjectLock, get_object_lock_configuration, Known::Any, object_lock);
        let encryption = get!(Encryption, get_bucket_encryption, Known::Any, encryption);
        let policy = get!(Policy, get_bucket_policy, Known::NoXml, policy);
        let status = get!(PolicyStatus, get_bucket_policy_status, Known::Any, policy_status);
        let public_access = get!(PublicAccess, get_public_access_block, Known::Any, public_access);
        let ownership = get!(Ownership, get_bucket_ownership_controls, Known::Any, ownership);
        let acl = get!(Acl, get_bucket_acl, Known::Any, acl);
        let first = futures_util::future::try_join5(owner, region, versioning, lifecycle, object_lock);
        let second = futures_util::future::try_join5(encryption, policy, status, public_access, ownership);
        let (first, second, acl) = Box::pin(futures_util::future::try_join3(first, second, acl)).await?;
        let (owner, region, versioning, lifecycle, object_lock) = first;
        let (encryption, policy, policy_is_public, public_access, ownership) = second;
        Ok(Configuration {
            owner,
            region,
            versioning,
            lifecycle,
            object_lock,
            encryption,
            policy,
            policy_is_public,
            public_access,
            ownership,
            acl,
        })
    }

    /// A bucket of another account answers 403 to the expected owner alone.
    async fn whose(&self) -> Result<Told<Owner>, LookError> {
        let Some(expected) = &self.owner else { return Ok(Told::NotSet) };
        let head = |owner: Option<&String>| {
            let request = self.looking.head_bucket().bucket(&self.bucket).set_expected_bucket_owner(owner.cloned());
            async move {
                self.limits.turn().await;
                request.send().await.map_err(|error| answer_of(&error))
            }
        };
        match head(Some(expected)).await {
            Ok(_) => Ok(Told::Is(Owner::Expected)),
            Err(Answer::Said { status: 403, .. }) => match head(None).await {
                Ok(_) => Ok(Told::Is(Owner::Another)),
                Err(answer) => unseen(answer),
            },
            Err(answer) => unseen(answer),
        }
    }
}

/// What an answer that is no configuration tells.
fn unseen<T>(answer: Answer) -> Result<Told<T>, LookError> {
    let told = match &answer {
        Answer::Said { code, .. } if NOT_SET.contains(&code.as_str()) => Some(Told::NotSet),
        Answer::Said { code, .. } if code == "NoSuchBucket" => None,
        Answer::Said { status: 405 | 501, .. } => Some(Told::NotSupported),
        Answer::Said { code, .. } if code == "NotImplemented" => Some(Told::NotSupported),
        Answer::Said { status: 403, .. } => Some(Told::NotAllowed),
        Answer::Said { .. } | Answer::Garbled { .. } | Answer::Silent { .. } | Answer::Unsent { .. } => None,
    };
    let is_gone = matches!(&answer, Answer::Said { code, .. } if code == "NoSuchBucket");
    let error = classify::look_error(answer);
    match told {
        // Wrong keys or a wrong clock answer 403 too.
        Some(_) | None if error.stop => Err(error),
        Some(told) => Ok(told),
        None if is_gone => Err(LookError { stop: true, ..error }),
        None => Ok(Told::Failed(error.cause.to_string())),
    }
}

/// Which elements an answer may have.
#[derive(Clone, Copy)]
enum Known {
    /// It is no XML.
    NoXml,
    Any,
    These(&'static [&'static str]),
}

/// Keeps the answer's body as it came: the SDK's reader passes over what it does not know, and over a broken end.
#[derive(Debug, Clone, Default)]
struct Raw(Arc<Mutex<Vec<u8>>>);

impl Raw {
    fn check(&self, known: Known) -> Result<(), String> {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Known::NoXml => Ok(()),
            Known::Any => elements(&body).map(drop),
            Known::These(names) => {
                let found = elements(&body)?;
                let strange: Vec<&str> =
                    found.iter().map(String::as_str).filter(|name| !names.contains(name)).collect();
                if strange.is_empty() {
                    return Ok(());
                }
                Err(format!("it has elements that are not known here: {}", strange.join(", ")))
            }
        }
    }
}

impl Raw {
    /// Says of an answer that the SDK could not read what it is, in fewer words.
    fn named(&self, answer: Answer) -> Answer {
        let (status, message) = match answer {
            // A yes that is no answer to what was asked.
            Answer::Garbled { status, message } | Answer::Said { status: status @ 200..300, message, .. } => {
                (status, message)
            }
            answer @ (Answer::Said { .. } | Answer::Silent { .. } | Answer::Unsent { .. }) => return answer,
        };
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let message = match root(&body) {
            Some(root) => format!("the answer is a {root}, which is not what S3 gives there"),
            None => message.split(" but got ").next().unwrap_or_default().to_owned(),
        };
        Answer::Garbled { status, message }
    }
}

/// The name of a document's first element.
fn root(xml: &[u8]) -> Option<String> {
    let mut reader = Reader::from_str(std::str::from_utf8(xml).ok()?);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => {
                return Some(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

impl Intercept for Raw {
    fn name(&self) -> &'static str {
        "Raw"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().unwrap_or_default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = body.to_vec();
        Ok(())
    }
}

/// The names of all elements of a document that is whole.
fn elements(xml: &[u8]) -> Result<BTreeSet<String>, String> {
    let text = std::str::from_utf8(xml).map_err(|error| format!("the answer is not UTF-8: {error}"))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut found, mut depth) = (BTreeSet::new(), 0u32);
    let named = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    loop {
        match reader.read_event().map_err(|error| format!("the answer is no XML: {error}"))? {
            Event::Start(start) => {
                found.insert(named(start.local_name().as_ref()));
                depth += 1;
            }
            Event::Empty(empty) => {
                found.insert(named(empty.local_name().as_ref()));
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof if depth == 0 && !found.is_empty() => return Ok(found),
            Event::Eof => return Err("the answer breaks off".to_owned()),
            _ => {}
        }
    }
}

/// What an answer tells; the error says why it cannot be read.
type Read<T> = Result<Told<T>, String>;

#[expect(clippy::unnecessary_wraps, reason = "read like the others")]
fn region(output: aws_sdk_s3::operation::get_bucket_location::GetBucketLocationOutput) -> Read<String> {
    let constraint = output.location_constraint.map(|region| region.as_str().to_owned());
    Ok(Told::Is(match constraint.as_deref() {
        None | Some("") => "us-east-1".to_owned(),
        // From before regions had names.
        Some("EU") => "eu-west-1".to_owned(),
        Some(region) => region.to_owned(),
    }))
}

fn versioning(output: aws_sdk_s3::operation::get_bucket_versioning::GetBucketVersioningOutput) -> Read<Versioning> {
    let mfa_delete = output.mfa_delete == Some(MfaDeleteStatus::Enabled);
    Ok(match output.status {
        None => Told::NotSet,
        Some(BucketVersioningStatus::Enabled) => Told::Is(Versioning { status: Status::Enabled, mfa_delete }),
        Some(BucketVersioningStatus::Suspended) => Told::Is(Versioning { status: Status::Suspended, mfa_delete }),
        Some(other) => return Err(format!("the status of versioning is {:?}", other.as_str())),
    })
}

fn object_lock(
    output: aws_sdk_s3::operation::get_object_lock_configuration::GetObjectLockConfigurationOutput,
) -> Read<ObjectLock> {
    let Some(configuration) = output.object_lock_configuration else { return Ok(Told::NotSet) };
    match configuration.object_lock_enabled.as_ref().map(types::ObjectLockEnabled::as_str) {
        Some("Enabled") => {}
        None => return Ok(Told::NotSet),
        Some(other) => return Err(format!("Object Lock is {other:?}")),
    }
    let default = configuration.rule.and_then(|rule| rule.default_retention);
    let retention = default.and_then(|default| {
        let count = |n: Option<i32>| n.and_then(|n| u64::try_from(n).ok());
        let days = count(default.days).or_else(|| count(default.years).map(|years| years * 365))?;
        Some(Retention { mode: default.mode?.as_str().to_owned(), days })
    });
    Ok(Told::Is(ObjectLock { retention }))
}

#[expect(clippy::unnecessary_wraps, reason = "read like the others")]
fn encryption(output: aws_sdk_s3::operation::get_bucket_encryption::GetBucketEncryptionOutput) -> Read<Encryption> {
    let rules = output.server_side_encryption_configuration.map(|configuration| configuration.rules);
    let default = rules.into_iter().flatten().find_map(|rule| {
        let default = rule.apply_server_side_encryption_by_default?;
        let algorithm = default.sse_algorithm.as_str().to_owned();
        Some(Encryption { algorithm, has_bucket_key: rule.bucket_key_enabled == Some(true) })
    });
    Ok(default.map_or(Told::NotSet, Told::Is))
}

fn policy(output: aws_sdk_s3::operation::get_bucket_policy::GetBucketPolicyOutput) -> Read<String> {
    match output.policy {
        Some(text) if !text.trim().is_empty() => Ok(Told::Is(text)),
        // S3 says NoSuchBucketPolicy where there is none.
        Some(_) | None => Err("the answer is empty".to_owned()),
    }
}

fn policy_status(output: aws_sdk_s3::operation::get_bucket_policy_status::GetBucketPolicyStatusOutput) -> Read<bool> {
    match output.policy_status.and_then(|status| status.is_public) {
        Some(is_public) => Ok(Told::Is(is_public)),
        None => Err("the answer does not say whether the policy is public".to_owned()),
    }
}

fn public_access(
    output: aws_sdk_s3::operation::get_public_access_block::GetPublicAccessBlockOutput,
) -> Read<PublicAccess> {
    let Some(block) = output.public_access_block_configuration else {
        return Err("the answer has no configuration in it".to_owned());
    };
    // What is not said is off.
    let is = |said: Option<bool>| said == Some(true);
    Ok(Told::Is(PublicAccess {
        block_acls: is(block.block_public_acls),
        ignore_acls: is(block.ignore_public_acls),
        block_policy: is(block.block_public_policy),
        restrict: is(block.restrict_public_buckets),
    }))
}

fn ownership(
    output: aws_sdk_s3::operation::get_bucket_ownership_controls::GetBucketOwnershipControlsOutput,
) -> Read<Ownership> {
    let rules = output.ownership_controls.map(|controls| controls.rules).unwrap_or_default();
    match rules.into_iter().next().map(|rule| rule.object_ownership) {
        None => Err("the answer has no rule in it".to_owned()),
        Some(ObjectOwnership::BucketOwnerEnforced) => Ok(Told::Is(Ownership::Enforced)),
        Some(other) => Ok(Told::Is(Ownership::Acls(other.as_str().to_owned()))),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "read like the others")]
fn acl(output: aws_sdk_s3::operation::get_bucket_acl::GetBucketAclOutput) -> Read<Vec<Grant>> {
    let owner = output.owner.and_then(|owner| owner.id);
    let grants = output.grants.unwrap_or_default().into_iter().map(|grant| {
        let grantee = grant.grantee;
        let permission = grant.permission.map(|permission| permission.as_str().to_owned()).unwrap_or_default();
        let (uri, id) = grantee.map_or((None, None), |it| (it.uri, it.id.or(it.email_address)));
        let to = match (uri.as_deref().and_then(|uri| uri.rsplit('/').next()), id) {
            (Some("AllUsers"), _) => Grantee::Anybody,
            (Some("AuthenticatedUsers"), _) => Grantee::AnyAccount,
            (Some(group), _) => Grantee::Other(group.to_owned()),
            (None, Some(id)) if owner.as_ref() == Some(&id) => Grantee::Owner,
            (None, id) => Grantee::Other(id.unwrap_or_default()),
        };
        Grant { to, permission }
    });
    Ok(Told::Is(grants.collect()))
}

fn lifecycle(
    output: aws_sdk_s3::operation::get_bucket_lifecycle_configuration::GetBucketLifecycleConfigurationOutput,
) -> Read<Lifecycle> {
    let transition_minimum = output.transition_default_minimum_object_size.map(|size| size.as_str().to_owned());
    let rules = output.rules.unwrap_or_default().into_iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    if rules.is_empty() {
        return Ok(Told::NotSet);
    }
    Ok(Told::Is(Lifecycle { rules, transition_minimum }))
}

fn rule(told: types::LifecycleRule) -> Result<Rule, String> {
    let status = told.status.as_str().to_owned();
    if !["Enabled", "Disabled"].contains(&status.as_str()) {
        return Err(format!("the status of a rule is {status:?}"));
    }
    #[allow(deprecated)]
    let prefix = told.prefix;
    Ok(Rule {
        id: told.id,
        status,
        prefix,
        filter: told.filter.map(filter),
        expiration: told.expiration.map(|it| Expiration {
            days: it.days,
            date: translate::time(it.date.as_ref()),
            expired_object_delete_marker: it.expired_object_delete_marker,
        }),
        transitions: told.transitions.unwrap_or_default().into_iter().map(transition).collect(),
        noncurrent_version_expiration: told.noncurrent_version_expiration.map(|it| NoncurrentExpiration {
            noncurrent_days: it.noncurrent_days,
            newer_noncurrent_versions: it.newer_noncurrent_versions,
        }),
        noncurrent_version_transitions: told
            .noncurrent_version_transitions
            .unwrap_or_default()
            .into_iter()
            .map(|it| NoncurrentTransition {
                noncurrent_days: it.noncurrent_days,
                newer_noncurrent_versions: it.newer_noncurrent_versions,
                storage_class: it.storage_class.map(|class| class.as_str().to_owned()),
            })
            .collect(),
        abort_incomplete_multipart_upload: told
            .abort_incomplete_multipart_upload
            .map(|it| AbortIncomplete { days_after_initiation: it.days_after_initiation }),
    })
}

fn filter(told: types::LifecycleRuleFilter) -> Filter {
    Filter {
        prefix: told.prefix,
        tag: told.tag.map(tag),
        object_size_greater_than: told.object_size_greater_than,
        object_size_less_than: told.object_size_less_than,
        and: told.and.map(|and| And {
            prefix: and.prefix,
            tags: and.tags.unwrap_or_default().into_iter().map(tag).collect(),
            object_size_greater_than: and.object_size_greater_than,
            object_size_less_than: and.object_size_less_than,
        }),
    }
}

fn tag(told: types::Tag) -> Tag {
    Tag { key: told.key, value: told.value }
}

fn transition(told: types::Transition) -> Transition {
    Transition {
        days: told.days,
        date: translate::time(told.date.as_ref()),
        storage_class: told.storage_class.map(|class| class.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, code: &str) -> Answer {
        Answer::Said { status, code: code.into(), message: "No.".into(), request_id: None, region: None }
    }

    #[test]
    fn only_the_codes_that_say_so_mean_not_set() {
        for code in NOT_SET {
            assert_eq!(unseen::<()>(said(404, code)), Ok(Told::NotSet), "{code}");
        }
        for (status, code, told) in [
            (403, "AccessDenied", Told::NotAllowed),
            (403, "", Told::NotAllowed),
            (501, "NotImplemented", Told::NotSupported),
            (400, "NotImplemented", Told::NotSupported),
            (405, "MethodNotAllowed", Told::NotSupported),
            (404, "NoSuchKey", Told::<()>::Failed("404 NoSuchKey: No.".into())),
            (404, "", Told::Failed("404: No.".into())),
            (500, "InternalError", Told::Failed("500 InternalError: No.".into())),
        ] {
            match (unseen::<()>(said(status, code)).unwrap(), told) {
                // Its words are another room's.
                (Told::Failed(_), Told::Failed(_)) => {}
                (found, told) => assert_eq!(found, told, "{status} {code}"),
            }
        }
        assert!(matches!(unseen::<()>(Answer::Garbled { status: 200, message: "?".into() }), Ok(Told::Failed(_))));
        assert!(matches!(unseen::<()>(Answer::Silent { code: "Timeout", message: "?".into() }), Ok(Told::Failed(_))));
    }

    #[test]
    fn what_every_request_would_meet_ends_the_look() {
        for (status, code) in [(404, "NoSuchBucket"), (403, "SignatureDoesNotMatch"), (400, "ExpiredToken")] {
            assert!(unseen::<()>(said(status, code)).unwrap_err().stop, "{code}");
        }
        let unsent = Answer::Unsent { code: "NoCredentials", message: "none".into(), stop: true };
        assert!(unseen::<()>(unsent).unwrap_err().stop);
    }

    #[test]
    fn a_document_that_is_not_whole_is_told_as_such() {
        for broken in ["", "<A>", "<A><B></A>", "no XML at all", "<A><B/>", "\u{feff}"] {
            assert!(elements(broken.as_bytes()).is_err(), "{broken}");
        }
        let found = elements(b"<?xml version='1.0'?><A xmlns='x'><p:B p:c='1'/>text</A>").unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["A", "B"]);
    }
}
