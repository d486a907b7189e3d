//! The evidence: what became of each step.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of a step. Every step ends in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Created,
    Replaced,
    /// An earlier version is current again, as a version of its own.
    Restored,
    /// What a run created is not current any more.
    Deleted,
    Unchanged,
    Kept,
    /// The plan refused it.
    Refused,
    /// Somebody else wrote first; what they wrote is intact.
    Lost,
    /// The preflight found that the world had moved since the plan.
    Stale,
    /// The file is not the one that was reviewed; nothing was stored.
    SourceChanged,
    /// Not written, and the message says why.
    Failed,
    /// It may have been written; nobody can tell.
    Unknown,
    NotAttempted,
}

impl Outcome {
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::Replaced,
        Self::Restored,
        Self::Deleted,
        Self::Unchanged,
        Self::Kept,
        Self::Refused,
        Self::Lost,
        Self::Stale,
        Self::SourceChanged,
        Self::Failed,
        Self::Unknown,
        Self::NotAttempted,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Restored => "restored",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
            Self::Kept => "kept",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Stale => "stale",
            Self::SourceChanged => "source-changed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::NotAttempted => "not-attempted",
        }
    }

    /// Whether a later `apply` of the same plan leaves this row alone.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Created
            | Self::Replaced
            | Self::Restored
            | Self::Deleted
            | Self::Unchanged
            | Self::Kept
            | Self::Refused
            | Self::Lost
            | Self::Stale
            | Self::SourceChanged => true,
            Self::Failed | Self::Unknown | Self::NotAttempted => false,
        }
    }

    /// Whether a stage may count this row as done.
    #[must_use]
    pub fn is_success(self) -> bool {
        match self {
            Self::Created | Self::Replaced | Self::Restored | Self::Deleted | Self::Unchanged | Self::Kept => true,
            Self::Refused
            | Self::Lost
            | Self::Stale
            | Self::SourceChanged
            | Self::Failed
            | Self::Unknown
            | Self::NotAttempted => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What held when the row's write was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// AWS's own contract.
    Atomic,
    /// This server refused the probe; that it is atomic is not proven.
    Tested,
    /// A HEAD before the write, because the target says so. Not atomic.
    CheckFirst,
}

impl Guard {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::Tested => "tested",
            Self::CheckFirst => "check-first",
        }
    }
}

/// So far a server's clock may be ahead of ours, in seconds: what it dates later than this after a row's end was written
/// after the row.
pub const SKEW_SECONDS: i64 = 60;

/// The report's format number, its first column.
pub const REPORT_FORMAT: u32 = 1;

/// One CSV row. Field order is column order; new ones only at the end. Empty text means: not known or not applicable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub format: u32,
    pub run_id: String,
    /// `sha256:<hex>`, as the plan's footer has it.
    pub plan_digest: String,
    /// The step's `n`.
    pub entry: u64,
    pub place: String,
    pub source: String,
    pub target: String,
    pub endpoint: String,
    pub region: String,
    pub owner: String,
    pub bucket: String,
    pub key: String,
    pub rule: String,
    pub action: String,
    pub reason: String,
    pub outcome: Outcome,
    pub size_bytes: Option<u64>,
    /// The whole file's SHA-256 in hex; empty for multipart.
    pub sha256: String,
    /// What the plan pinned, in either form.
    pub checksum: String,
    pub etag_before: String,
    pub version_before: String,
    pub etag_after: String,
    pub version_after: String,
    pub guard: Option<Guard>,
    /// Writes sent for this row, of this run.
    pub attempts: u32,
    /// RFC 3339 in UTC with milliseconds; empty where nothing was started.
    pub started_at: String,
    pub duration_ms: Option<u64>,
    pub http_status: Option<u16>,
    pub error_code: String,
    pub message: String,
    pub request_id: String,
    pub write_id: String,
}

/// The whole rows of CSV text, each with its line end: a line break inside quotes (RFC 4180) ends none. A last row
/// without its line end was torn by a crash and is left out.
pub fn whole_rows(csv: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = csv;
    std::iter::from_fn(move || {
        let mut quoted = false;
        let end = rest.iter().position(|byte| {
            quoted ^= *byte == b'"';
            *byte == b'\n' && !quoted
        })?;
        let (row, later) = rest.split_at(end + 1);
        rest = later;
        Some(row)
    })
}

/// How many rows ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    pub created: u64,
    pub replaced: u64,
    pub restored: u64,
    pub deleted: u64,
    pub unchanged: u64,
    pub kept: u64,
    pub refused: u64,
    pub lost: u64,
    pub stale: u64,
    pub source_changed: u64,
    pub failed: u64,
    pub unknown: u64,
    pub not_attempted: u64,
    /// Bytes that were stored.
    pub bytes: u64,
}

impl Tally {
    /// Counts one row in.
    pub fn add(&mut self, outcome: Outcome, size_bytes: u64) {
        *self.of_mut(outcome) += 1;
        if matches!(outcome, Outcome::Created | Outcome::Replaced) {
            self.bytes += size_bytes;
        }
    }

    fn of_mut(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Created => &mut self.created,
            Outcome::Replaced => &mut self.replaced,
            Outcome::Restored => &mut self.restored,
            Outcome::Deleted => &mut self.deleted,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Kept => &mut self.kept,
            Outcome::Refused => &mut self.refused,
            Outcome::Lost => &mut self.lost,
            Outcome::Stale => &mut self.stale,
            Outcome::SourceChanged => &mut self.source_changed,
            Outcome::Failed => &mut self.failed,
            Outcome::Unknown => &mut self.unknown,
            Outcome::NotAttempted => &mut self.not_attempted,
        }
    }

    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        *self.clone().of_mut(outcome)
    }

    /// Writes that happened.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.created + self.replaced + self.restored + self.deleted
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        Outcome::ALL.iter().map(|outcome| self.of(*outcome)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_at_a_line_end_outside_quotes_and_nowhere_else() {
        let rows = |csv: &'static str| whole_rows(csv.as_bytes()).collect::<Vec<_>>();
        assert_eq!(rows("a,b\r\nc,d\r\n"), [b"a,b\r\n", b"c,d\r\n"]);
        assert_eq!(rows("\"a\r\n\"\"b\",c\r\nd\n"), [&b"\"a\r\n\"\"b\",c\r\n"[..], b"d\n"]);
        for torn in ["", "a,b", "a,b\r", "\"a\r\n", "\"a\"\"\r\n"] {
            assert_eq!(rows(torn), Vec::<&[u8]>::new(), "{torn:?}");
        }
    }
}
