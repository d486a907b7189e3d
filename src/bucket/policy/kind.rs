//! The requests that matter here, as S3 authorises them.
//!
//! From AWS: "Actions, resources, and condition keys for Amazon S3"; S3 User Guide, "Enforce conditional writes" and
//! "Enforce conditional deletes". What these pages do not say of a request is left open ([`Held::Anything`]).

use super::evaluate::{Caller, Context, Held, Request, Resource};

/// A request that stores, removes, or opens the way to either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// PutObject without a condition; a browser's POST is authorised alike.
    Put,
    /// PutObject with `If-None-Match: *`.
    PutIfAbsent,
    /// PutObject with `If-Match`.
    PutIfUnchanged,
    CreateUpload,
    UploadPart,
    UploadPartCopy,
    Complete,
    CompleteIfAbsent,
    CompleteIfUnchanged,
    Copy,
    CopyIfAbsent,
    CopyIfUnchanged,
    Delete,
    /// DeleteObject with `If-Match`.
    DeleteIfUnchanged,
    DeleteVersion,
    /// What replication from another bucket stores here; it knows no conditions.
    Replicate,
    /// The delete markers that replication brings.
    ReplicateDelete,
    /// PutBucketLifecycleConfiguration and DeleteBucketLifecycle: S3 then deletes by itself.
    PutLifecycle,
    PutVersioning,
    PutPolicy,
    DeletePolicy,
}

impl Kind {
    pub const ALL: [Self; 21] = [
        Self::Put,
        Self::PutIfAbsent,
        Self::PutIfUnchanged,
        Self::CreateUpload,
        Self::UploadPart,
        Self::UploadPartCopy,
        Self::Complete,
        Self::CompleteIfAbsent,
        Self::CompleteIfUnchanged,
        Self::Copy,
        Self::CopyIfAbsent,
        Self::CopyIfUnchanged,
        Self::Delete,
        Self::DeleteIfUnchanged,
        Self::DeleteVersion,
        Self::Replicate,
        Self::ReplicateDelete,
        Self::PutLifecycle,
        Self::PutVersioning,
        Self::PutPolicy,
        Self::DeletePolicy,
    ];

    /// Those that store over whatever is there.
    pub const UNCONDITIONAL: [Self; 3] = [Self::Put, Self::Complete, Self::Copy];

    /// Those that take an object away, so that a create may follow, or have S3 do so.
    pub const DELETING: [Self; 4] = [Self::Delete, Self::DeleteIfUnchanged, Self::DeleteVersion, Self::PutLifecycle];

    /// The other ways around a policy that forces conditional writes.
    pub const AROUND: [Self; 5] =
        [Self::Replicate, Self::ReplicateDelete, Self::PutVersioning, Self::PutPolicy, Self::DeletePolicy];

    /// What it is authorised as.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::Put
            | Self::PutIfAbsent
            | Self::PutIfUnchanged
            | Self::CreateUpload
            | Self::UploadPart
            | Self::UploadPartCopy
            | Self::Complete
            | Self::CompleteIfAbsent
            | Self::CompleteIfUnchanged
            | Self::Copy
            | Self::CopyIfAbsent
            | Self::CopyIfUnchanged => "s3:PutObject",
            Self::Delete | Self::DeleteIfUnchanged => "s3:DeleteObject",
            Self::DeleteVersion => "s3:DeleteObjectVersion",
            Self::Replicate => "s3:ReplicateObject",
            Self::ReplicateDelete => "s3:ReplicateDelete",
            Self::PutLifecycle => "s3:PutLifecycleConfiguration",
            Self::PutVersioning => "s3:PutBucketVersioning",
            Self::PutPolicy => "s3:PutBucketPolicy",
            Self::DeletePolicy => "s3:DeleteBucketPolicy",
        }
    }

    /// For a person.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Put => "PutObject without a condition",
            Self::PutIfAbsent => "PutObject with If-None-Match",
            Self::PutIfUnchanged => "PutObject with If-Match",
            Self::CreateUpload => "CreateMultipartUpload",
            Self::UploadPart => "UploadPart",
            Self::UploadPartCopy => "UploadPartCopy",
            Self::Complete => "CompleteMultipartUpload without a condition",
            Self::CompleteIfAbsent => "CompleteMultipartUpload with If-None-Match",
            Self::CompleteIfUnchanged => "CompleteMultipartUpload with If-Match",
            Self::Copy => "CopyObject without a condition",
            Self::CopyIfAbsent => "CopyObject with If-None-Match",
            Self::CopyIfUnchanged => "CopyObject with If-Match",
            Self::Delete => "DeleteObject",
            Self::DeleteIfUnchanged => "DeleteObject with If-Match",
            Self::DeleteVersion => "DeleteObject of a version",
            Self::Replicate => "replication from another bucket",
            Self::ReplicateDelete => "replication of deletes from another bucket",
            Self::PutLifecycle => "PutBucketLifecycleConfiguration",
            Self::PutVersioning => "PutBucketVersioning",
            Self::PutPolicy => "PutBucketPolicy",
            Self::DeletePolicy => "DeleteBucketPolicy",
        }
    }

    /// Whether it is about the bucket, and not about a key.
    #[must_use]
    pub fn is_of_the_bucket(self) -> bool {
        matches!(self, Self::PutLifecycle | Self::PutVersioning | Self::PutPolicy | Self::DeletePolicy)
    }

    /// The request, by this caller; `bucket` is the bucket's ARN, `keys` what is meant of it, as ARNs.
    #[must_use]
    pub fn request(self, caller: Caller, bucket: &str, keys: Resource) -> Request {
        let resource = if self.is_of_the_bucket() { Resource::One(bucket.to_owned()) } else { keys };
        Request { caller, action: self.action().to_owned(), resource, context: self.context() }
    }

    /// The condition keys that the request itself decides.
    #[must_use]
    pub fn context(self) -> Context {
        let headers = |none_match: Held, matched: Held| {
            Context::default().with("s3:if-none-match", none_match).with("s3:if-match", matched)
        };
        let (absent, present) = (|| Held::Absent, || Held::Present);
        let unconditional = || headers(absent(), absent());
        let if_absent = || headers(Held::Is("*".to_owned()), absent());
        let if_unchanged = || headers(absent(), present());
        // True of what makes an object appear; parts do not.
        let creates =
            |context: Context, truth: bool| context.with("s3:ObjectCreationOperation", Held::Is(truth.to_string()));
        let stores = |context: Context| {
            context.with("s3:x-amz-copy-source", Held::Absent).with("s3:x-amz-metadata-directive", Held::Absent)
        };
        // The directive is a header that copies may leave out.
        let copies = |context: Context| {
            context.with("s3:x-amz-copy-source", Held::Present).with("s3:x-amz-metadata-directive", Held::Anything)
        };
        match self {
            Self::Put | Self::Complete => stores(creates(unconditional(), true)),
            Self::PutIfAbsent | Self::CompleteIfAbsent => stores(creates(if_absent(), true)),
            Self::PutIfUnchanged | Self::CompleteIfUnchanged => stores(creates(if_unchanged(), true)),
            Self::CreateUpload | Self::UploadPart => stores(creates(unconditional(), false)),
            Self::UploadPartCopy => {
                copies(creates(unconditional(), false)).with("s3:x-amz-metadata-directive", Held::Absent)
            }
            Self::Copy => copies(creates(unconditional(), true)),
            Self::CopyIfAbsent => copies(creates(if_absent(), true)),
            Self::CopyIfUnchanged => copies(creates(if_unchanged(), true)),
            Self::DeleteIfUnchanged => if_unchanged(),
            // Versions are deleted with and without a condition.
            Self::DeleteVersion => Context::default().with("s3:if-none-match", Held::Absent),
            Self::Delete
            | Self::Replicate
            | Self::ReplicateDelete
            | Self::PutLifecycle
            | Self::PutVersioning
            | Self::PutPolicy
            | Self::DeletePolicy => unconditional(),
        }
    }
}
