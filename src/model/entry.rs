//! What a person asked for: one source, one key, one rule.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What an entry may do to an object that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Create only; other content under the key refuses the plan.
    #[default]
    Never,
    /// Create only; what is there stays, without complaint.
    Keep,
    /// Replace other content; leave the same content alone.
    IfChanged,
    /// Replace whatever is there.
    Always,
}

impl Rule {
    pub const ALL: [Self; 4] = [Self::Never, Self::Keep, Self::IfChanged, Self::Always];

    /// As the manifest spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Keep => "keep",
            Self::IfChanged => "if-changed",
            Self::Always => "always",
        }
    }

    /// Whether this rule can ever replace an object.
    #[must_use]
    pub fn may_replace(self) -> bool {
        match self {
            Self::Never | Self::Keep => false,
            Self::IfChanged | Self::Always => true,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What "same" is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Compare {
    #[default]
    #[serde(rename = "content")]
    Content,
    /// Content type, metadata, class and the like count too (tags are read for this).
    #[serde(rename = "content+properties")]
    Properties,
}

impl Compare {
    #[must_use]
    pub fn is_content(&self) -> bool {
        matches!(self, Self::Content)
    }
}

/// Something wrong with what a person wrote: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    pub place: Place,
    pub message: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A full object key: prefix and all, at most 1,024 bytes of UTF-8 (S3's limit).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Box<str>);

impl Key {
    #[must_use]
    pub fn new(key: impl Into<Box<str>>) -> Self {
        Self(key.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A line of a manifest or of a list file, as people quote it: `nightly.yaml:14`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    /// Counted from 1; 0 where no line can be named.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { write!(f, "{}", self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

impl std::str::FromStr for Place {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((file, line)) = text.rsplit_once(':')
            && let Ok(line) = line.parse()
        {
            return Ok(Self { file: file.into(), line });
        }
        Ok(Self { file: text.into(), line: 0 })
    }
}

super::digest::serde_as_text!(Place);

/// Server-side encryption that an upload asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Sse {
    /// SSE-S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// SSE-KMS under the given key (an id, an alias or an ARN).
    #[serde(rename = "kms")]
    Kms(String),
}

/// Object properties, as they will be sent: everything resolved, content type detected.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Properties {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sse: Option<Sse>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Properties {
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One resolved source and where it goes. What the planner works on, a million of them at a time: what entries have in
/// common they share, and texts carry no room to grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub place: Place,
    /// Relative to the plan's base folder, with `/` between segments.
    pub source: Box<str>,
    /// Where a symbolic link led, if one was followed: relative to the base where it lies below it, else absolute.
    pub real: Option<Box<str>>,
    /// Prefix and key.
    pub key: Key,
    pub terms: Arc<Terms>,
    /// What is wrong with this entry alone, found before any look at the bucket: it becomes an `error` step.
    pub flaw: Option<Box<str>>,
}

/// On which terms an entry goes up; most entries of a manifest share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Name of the target in the plan's header.
    pub target: Arc<str>,
    pub rule: Rule,
    pub compare: Compare,
    /// Name of the stage, where the manifest has any.
    pub stage: Option<Arc<str>>,
    pub properties: Arc<Properties>,
}
