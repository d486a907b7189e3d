//! How a bucket is set up, as it tells.

use std::fmt;

use serde::Serialize;

/// A part of a bucket's configuration, each asked with a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    /// Whether the bucket belongs to the account that is expected. Asked only where one is.
    Owner,
    Region,
    Versioning,
    Lifecycle,
    ObjectLock,
    Encryption,
    Policy,
    PolicyStatus,
    PublicAccess,
    Ownership,
    Acl,
}

impl Aspect {
    pub const ALL: [Self; 11] = [
        Self::Owner,
        Self::Region,
        Self::Versioning,
        Self::Lifecycle,
        Self::ObjectLock,
        Self::Encryption,
        Self::Policy,
        Self::PolicyStatus,
        Self::PublicAccess,
        Self::Ownership,
        Self::Acl,
    ];

    /// What a role must be allowed to see this. The names are AWS's, and not always the request's.
    #[must_use]
    pub fn permission(self) -> &'static str {
        match self {
            // HeadBucket, without the expected owner.
            Self::Owner => "s3:ListBucket",
            Self::Region => "s3:GetBucketLocation",
            Self::Versioning => "s3:GetBucketVersioning",
            Self::Lifecycle => "s3:GetLifecycleConfiguration",
            Self::ObjectLock => "s3:GetBucketObjectLockConfiguration",
            Self::Encryption => "s3:GetEncryptionConfiguration",
            Self::Policy => "s3:GetBucketPolicy",
            Self::PolicyStatus => "s3:GetBucketPolicyStatus",
            Self::PublicAccess => "s3:GetBucketPublicAccessBlock",
            Self::Ownership => "s3:GetBucketOwnershipControls",
            Self::Acl => "s3:GetBucketAcl",
        }
    }

    /// The request that asks it.
    #[must_use]
    pub fn request(self) -> &'static str {
        match self {
            Self::Owner => "HeadBucket",
            Self::Region => "GetBucketLocation",
            Self::Versioning => "GetBucketVersioning",
            Self::Lifecycle => "GetBucketLifecycleConfiguration",
            Self::ObjectLock => "GetObjectLockConfiguration",
            Self::Encryption => "GetBucketEncryption",
            Self::Policy => "GetBucketPolicy",
            Self::PolicyStatus => "GetBucketPolicyStatus",
            Self::PublicAccess => "GetPublicAccessBlock",
            Self::Ownership => "GetBucketOwnershipControls",
            Self::Acl => "GetBucketAcl",
        }
    }
}

/// What was told of an aspect. Only `Is` and `NotSet` are knowledge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Told<T> {
    #[default]
    NotAsked,
    Is(T),
    /// The server says that there is no such configuration.
    NotSet,
    /// 403: the role may not look.
    NotAllowed,
    /// The server does not know the request.
    NotSupported,
    /// No answer, or none that can be read; and why.
    Failed(String),
}

impl<T> Told<T> {
    /// Whether the server said how it is.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        match self {
            Self::Is(_) | Self::NotSet => true,
            Self::NotAsked | Self::NotAllowed | Self::NotSupported | Self::Failed(_) => false,
        }
    }
}

/// Whose a bucket is, where one account is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The expected account's, or the server does not look at what is expected.
    Expected,
    /// Refused with the expected account, and open without it.
    Another,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Enabled,
    Suspended,
}

/// `NotSet` where versioning was never on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versioning {
    pub status: Status,
    pub mfa_delete: bool,
}

/// A bucket with Object Lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLock {
    /// What every new version gets where its writer says nothing.
    pub retention: Option<Retention>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// COMPLIANCE or GOVERNANCE.
    pub mode: String,
    pub days: u64,
}

/// The encryption of objects whose writer says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// AES256, aws:kms or aws:kms:dsse.
    pub algorithm: String,
    pub has_bucket_key: bool,
}

/// The bucket's own public access block; that of its account nobody tells here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicAccess {
    pub block_acls: bool,
    pub ignore_acls: bool,
    pub block_policy: bool,
    pub restrict: bool,
}

/// Who owns what others write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// The bucket's owner. ACLs have no say.
    Enforced,
    /// ACLs live; by name, as S3 spells it.
    Acls(String),
}

/// Whom an ACL grants something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// The bucket's own owner.
    Owner,
    /// Anybody, without credentials.
    Anybody,
    /// Anybody who has an AWS account of any kind.
    AnyAccount,
    Other(String),
}

/// One line of the bucket's ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub to: Grantee,
    /// READ, WRITE, READ_ACP, WRITE_ACP or FULL_CONTROL.
    pub permission: String,
}

/// Everything that was told of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    pub owner: Told<Owner>,
    pub region: Told<String>,
    pub versioning: Told<Versioning>,
    pub lifecycle: Told<Lifecycle>,
    pub object_lock: Told<ObjectLock>,
    pub encryption: Told<Encryption>,
    /// The document, as it is kept.
    pub policy: Told<String>,
    /// Whether S3 calls the policy public.
    pub policy_is_public: Told<bool>,
    pub public_access: Told<PublicAccess>,
    pub ownership: Told<Ownership>,
    pub acl: Told<Vec<Grant>>,
}

impl Configuration {
    /// The same without what was not asked for.
    #[must_use]
    pub fn only(self, wanted: &[Aspect]) -> Self {
        fn keep<T>(told: Told<T>, is_wanted: bool) -> Told<T> {
            if is_wanted { told } else { Told::NotAsked }
        }
        let Self {
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
        } = self;
        let wants = |aspect| wanted.contains(&aspect);
        Self {
            owner: keep(owner, wants(Aspect::Owner)),
            region: keep(region, wants(Aspect::Region)),
            versioning: keep(versioning, wants(Aspect::Versioning)),
            lifecycle: keep(lifecycle, wants(Aspect::Lifecycle)),
            object_lock: keep(object_lock, wants(Aspect::ObjectLock)),
            encryption: keep(encryption, wants(Aspect::Encryption)),
            policy: keep(policy, wants(Aspect::Policy)),
            policy_is_public: keep(policy_is_public, wants(Aspect::PolicyStatus)),
            public_access: keep(public_access, wants(Aspect::PublicAccess)),
            ownership: keep(ownership, wants(Aspect::Ownership)),
            acl: keep(acl, wants(Aspect::Acl)),
        }
    }
}

/// A lifecycle configuration, whole: it is put as a whole, so nothing of it may be lost. Serialized as the AWS CLI takes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Lifecycle {
    #[serde(rename = "Rules")]
    pub rules: Vec<Rule>,
    /// Travels as a header of its own.
    #[serde(skip)]
    pub transition_minimum: Option<String>,
}

/// The fields of S3's document, by S3's names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    #[serde(rename = "ID", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Enabled or Disabled.
    pub status: String,
    /// Of the old form, in which a rule has no filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noncurrent_version_expiration: Option<NoncurrentExpiration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub noncurrent_version_transitions: Vec<NoncurrentTransition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_incomplete_multipart_upload: Option<AbortIncomplete>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_size_greater_than: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_size_less_than: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub and: Option<And>,
}

/// Several conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct And {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_size_greater_than: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_size_less_than: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// The end of current objects; in a versioned bucket a delete marker takes their place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Expiration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired_object_delete_marker: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Transition {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// The end of versions that another one buried: after so many days, but for the newest so many.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoncurrentExpiration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noncurrent_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_noncurrent_versions: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NoncurrentTransition {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noncurrent_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_noncurrent_versions: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AbortIncomplete {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_after_initiation: Option<i32>,
}

impl Rule {
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.status == "Enabled"
    }

    /// What a key must begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let filter = self.filter.as_ref();
        let and = filter.and_then(|filter| filter.and.as_ref());
        let found = and
            .and_then(|and| and.prefix.as_deref())
            .or_else(|| filter.and_then(|filter| filter.prefix.as_deref()))
            .or(self.prefix.as_deref());
        found.unwrap_or_default()
    }

    /// The tags that an object must have.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        let filter = self.filter.as_ref();
        let and = filter.and_then(|filter| filter.and.as_ref());
        filter.and_then(|filter| filter.tag.as_ref()).into_iter().chain(and.into_iter().flat_map(|and| &and.tags))
    }

    /// The sizes between which, both left out, an object's must lie.
    #[must_use]
    pub fn sizes(&self) -> (Option<i64>, Option<i64>) {
        let Some(filter) = &self.filter else { return (None, None) };
        let and = filter.and.as_ref();
        (
            filter.object_size_greater_than.or_else(|| and.and_then(|and| and.object_size_greater_than)),
            filter.object_size_less_than.or_else(|| and.and_then(|and| and.object_size_less_than)),
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enabled => "Enabled",
            Self::Suspended => "Suspended",
        })
    }
}
