//! The plan's own nouns: header, step, footer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::digest::{ETag, Sha256};
use super::entry::{Key, Place, Properties, Rule};
use super::head::{Carried, Seen};
use super::local::Pinned;
use super::row::Guard;
use super::target::Target;

/// The plan file's format number. Readers refuse any other.
pub const PLAN_FORMAT: u32 = 1;

/// What the plan decided for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Replace,
    /// In a rollback: an earlier version is copied over the key.
    Restore,
    /// In a rollback: what a run created is deleted.
    Delete,
    Unchanged,
    Keep,
    Refuse,
    Error,
}

impl Action {
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::Replace,
        Self::Restore,
        Self::Delete,
        Self::Unchanged,
        Self::Keep,
        Self::Refuse,
        Self::Error,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Restore => "restore",
            Self::Delete => "delete",
            Self::Unchanged => "unchanged",
            Self::Keep => "keep",
            Self::Refuse => "refuse",
            Self::Error => "error",
        }
    }

    /// Whether applying this would send a write.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::Create | Self::Replace | Self::Restore | Self::Delete => true,
            Self::Unchanged | Self::Keep | Self::Refuse | Self::Error => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an action was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Nothing is there.
    Absent,
    /// The content is the same; the proof says how that is known.
    Same,
    /// The content differs; the proof says how that is known.
    Differs,
    /// Whether the content differs cannot be told.
    Unproven,
    /// The bucket would not say what is there.
    Unseen,
    /// Same content, other properties, and the entry compares those too.
    Properties,
    /// Something is wrong with the entry; the note says what.
    Flaw,
    /// A rollback: what a run wrote is current, and is undone.
    Undo,
    /// A rollback: nothing of the run is left to be undone.
    Undone,
    /// A rollback: somebody wrote or deleted since the run, and that is not undone.
    Moved,
    /// A rollback: what would be brought back is not kept any more, or never was.
    Gone,
}

impl Reason {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Unproven => "unproven",
            Self::Unseen => "unseen",
            Self::Properties => "properties",
            Self::Flaw => "flaw",
            Self::Undo => "undo",
            Self::Undone => "undone",
            Self::Moved => "moved",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which rung of the ladder spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    Size,
    /// Both sides are empty.
    Empty,
    Sha256,
    Sha256Composite,
    Crc64nvme,
    Crc32c,
    Crc32,
    EtagMd5,
    EtagParts,
    /// Our own metadata says so. Anybody who can write can forge it.
    Claim,
}

impl Proof {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Empty => "empty",
            Self::Sha256 => "sha256",
            Self::Sha256Composite => "sha256-composite",
            Self::Crc64nvme => "crc64nvme",
            Self::Crc32c => "crc32c",
            Self::Crc32 => "crc32",
            Self::EtagMd5 => "etag-md5",
            Self::EtagParts => "etag-parts",
            Self::Claim => "claim",
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The version that a restore brings back: immutable, named by its id and guarded by its ETag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// With its version id, always.
    pub seen: Seen,
    #[serde(default, skip_serializing_if = "Carried::is_nothing")]
    pub carried: Carried,
}

/// One line of a plan: everything that applying it may rely on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Counted from 1, in manifest order.
    pub n: u64,
    pub place: Place,
    /// Relative to the header's base.
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
    /// Name of a target in the header.
    pub target: Arc<str>,
    /// Prefix and key.
    pub key: Key,
    pub rule: Rule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Arc<str>>,
    pub action: Action,
    pub reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// What is wrong, or what the reviewer should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "is_default_properties")]
    pub properties: Arc<Properties>,
    pub local: Option<Pinned>,
    pub head: Option<Seen>,
    /// What a restore brings back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Box<Earlier>>,
    /// What will hold when a rollback's step is carried out, where that is not the target's to say: a server may honour
    /// conditions on some requests and ignore them on others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

impl Step {
    /// Bytes that the step stores: of the file, or of the version that is brought back.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        let earlier = self.earlier.as_ref().map(|earlier| earlier.seen.size);
        self.local.as_ref().map(|local| local.size).or(earlier)
    }

    /// The ETag of what a write would take the place of.
    #[must_use]
    pub fn etag_before(&self) -> Option<&ETag> {
        self.head.as_ref().map(|seen| &seen.etag)
    }
}

fn is_default_properties(properties: &Arc<Properties>) -> bool {
    properties.is_default()
}

/// A manifest that went into a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRef {
    /// As given on the command line.
    pub path: String,
    pub sha256: Sha256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// First line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub noclobber_plan: u32,
    pub tool: String,
    /// RFC 3339 in UTC. The one thing in which two plans of the same world differ.
    pub made_at: String,
    /// Absolute folder that every source is relative to.
    pub base: String,
    /// `--date` and `--var`, as the templates saw them.
    pub parameters: BTreeMap<String, String>,
    pub manifests: Vec<ManifestRef>,
    pub targets: Vec<Target>,
    /// In the order in which they run; empty where the manifests name none.
    pub stages: Vec<String>,
    /// The run that this plan rolls back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// Limits and the like that this plan breaks, each as a sentence; such a plan is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How many steps of each action a plan has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub create: u64,
    pub replace: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restore: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delete: u64,
    pub unchanged: u64,
    pub keep: u64,
    pub refuse: u64,
    pub error: u64,
    /// How many of the unchanged rest on a claim.
    pub by_claim: u64,
    /// Bytes that would be uploaded.
    pub bytes: u64,
}

impl Counts {
    /// Counts one step in.
    pub fn add(&mut self, step: &Step) {
        match step.action {
            Action::Create => self.create += 1,
            Action::Replace => self.replace += 1,
            Action::Restore => self.restore += 1,
            Action::Delete => self.delete += 1,
            Action::Unchanged => self.unchanged += 1,
            Action::Keep => self.keep += 1,
            Action::Refuse => self.refuse += 1,
            Action::Error => self.error += 1,
        }
        if step.action == Action::Unchanged && step.proof == Some(Proof::Claim) {
            self.by_claim += 1;
        }
        if step.action.writes() {
            self.bytes += step.local.as_ref().map_or(0, |local| local.size);
        }
    }

    #[must_use]
    pub fn steps(&self) -> u64 {
        self.writes() + self.unchanged + self.keep + self.refuse + self.error
    }

    #[must_use]
    pub fn writes(&self) -> u64 {
        self.create + self.replace + self.restore + self.delete
    }
}

// The signature is serde's.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Last line of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Footer {
    pub counts: Counts,
    /// SHA-256 of all bytes before the footer's line.
    #[serde(with = "digest_text")]
    pub digest: Sha256,
}

/// The digest's public form: `sha256:<hex>`, as quoted in tickets and given to `--expect`.
#[must_use]
pub fn digest_text(digest: &Sha256) -> String {
    format!("sha256:{digest}")
}

mod digest_text {
    use super::Sha256;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(digest: &Sha256, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("sha256:{digest}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sha256, D::Error> {
        let text = String::deserialize(from)?;
        text.strip_prefix("sha256:")
            .ok_or_else(|| serde::de::Error::custom("a digest begins with sha256:"))?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
