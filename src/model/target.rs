//! Where entries go: a bucket, how it is reached, and whose it must be.

use serde::{Deserialize, Serialize};

/// How the bucket's name travels in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Addressing {
    /// `https://bucket.host/key`
    Virtual,
    /// `https://host/bucket/key`
    Path,
}

/// What is asked of a server's conditional writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConditionalWrites {
    /// The server must honour `If-None-Match` and `If-Match`, or nothing is written.
    #[default]
    Required,
    /// A HEAD before each write stands in for the condition. Not atomic; said in every row.
    CheckFirst,
}

/// What is asked of a bucket's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyRequired {
    /// It must force conditional writes under the target's prefix, surely.
    Enforced,
}

/// What a target's bucket must be, or the plan is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Require {
    /// Versioning must be enabled where something would be replaced.
    #[serde(default)]
    pub versioning: bool,
    /// What would be replaced must be there for so many days to be got back: versioning enabled, and no lifecycle rule
    /// that deletes it sooner.
    pub recovery_days: Option<u64>,
    /// The bucket's policy must force conditional writes under the target's prefix where something would be written.
    pub policy: Option<PolicyRequired>,
}

impl Require {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What satisfies both: the stricter of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            versioning: self.versioning || other.versioning,
            recovery_days: self.recovery_days.max(other.recovery_days),
            policy: self.policy.or(other.policy),
        }
    }
}

/// A target as a manifest names it, before the AWS configuration has filled in what it leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    /// Unique within a plan.
    pub name: String,
    pub bucket: String,
    pub bucket_owner: Option<String>,
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint: Option<String>,
    pub addressing: Option<Addressing>,
    /// Put before every key; already part of every entry's key.
    pub prefix: String,
    pub role_arn: Option<String>,
    pub request_payer: bool,
    pub trust_metadata: bool,
    pub conditional_writes: ConditionalWrites,
    /// Asked when a plan is made, and no part of where the target is.
    pub require: Require,
}

/// The word that stands for the embedded server in a plan and in a report.
pub const SANDBOX: &str = "sandbox";

/// A target as resolved when the plan was made; `apply` takes it from the plan and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub name: String,
    pub bucket: String,
    /// Full URL of the S3 endpoint, or `sandbox`.
    pub endpoint: String,
    pub region: String,
    pub addressing: Addressing,
    /// The account id that must own the bucket; sent with every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Named profile of the shared AWS configuration that gives the credentials (never the endpoint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub request_payer: bool,
    pub trust_metadata: bool,
    pub conditional_writes: ConditionalWrites,
}

impl Target {
    /// Whether this is the embedded server.
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        self.endpoint == SANDBOX
    }

    /// Whether AWS itself answers, whose documented contract is that conditions are atomic: https, and a host under
    /// amazonaws.com or amazonaws.com.cn.
    #[must_use]
    pub fn is_aws(&self) -> bool {
        let Some(rest) = self.endpoint.strip_prefix("https://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        // Anything before an `@` would be credentials, and the host that follows is another one.
        if authority.contains('@') {
            return false;
        }
        let host = authority.split(':').next().unwrap_or("").to_ascii_lowercase();
        host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
    }

    /// Where two entries would meet: the same endpoint and bucket, whatever the target's name.
    #[must_use]
    pub fn place(&self) -> (String, &str) {
        (self.endpoint.trim_end_matches('/').to_ascii_lowercase(), &self.bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &str) -> Target {
        Target {
            name: "default".into(),
            bucket: "b".into(),
            endpoint: endpoint.into(),
            region: "us-east-1".into(),
            addressing: Addressing::Virtual,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        }
    }

    #[test]
    fn only_https_under_amazonaws_is_aws() {
        for yes in [
            "https://s3.eu-west-1.amazonaws.com",
            "https://s3.cn-north-1.amazonaws.com.cn/",
            "https://bucket.s3.amazonaws.com:443",
            "https://S3.AMAZONAWS.COM",
        ] {
            assert!(at(yes).is_aws(), "{yes}");
        }
        for no in [
            "http://s3.eu-west-1.amazonaws.com",
            "https://amazonaws.com.evil.example",
            "https://s3.amazonaws.com@evil.example",
            "https://evil.example/.amazonaws.com",
            "https://evil.example#.amazonaws.com",
            "https://notamazonaws.com",
            "sandbox",
            "",
        ] {
            assert!(!at(no).is_aws(), "{no}");
        }
    }
}
