//! Is what a run stored still there? Judges what a bucket tells months later against the rows of the reports. Pure.
//!
//! A row claims that an object, or none, was left under its key. The version id decides where both sides have one: it names
//! one write, for ever. Where there is none, ETag, size, write id and time together decide, and what rests on the ETag
//! alone is said to. What could not be looked at is never intact.

pub mod chain;
pub mod claim;
pub mod csv;
pub mod json;
pub mod judge;
pub mod markdown;
pub mod text;
pub mod words;

use serde::Serialize;

use crate::model::digest::ETag;
use crate::model::head::{Head, VersionId};
use crate::model::row::Outcome;

pub use claim::{Audit, Bucket, Claim, Doubt, Run, Stored, Subject, Wanted};
pub use judge::{Glimpse, Held, Now, glance, hold};

/// What became of what a row left under its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is current; or the key is absent, where the row deleted it.
    Intact,
    /// A later run among the reports wrote over just this, on purpose.
    Superseded,
    /// It is not current, and the version that the run stored does not exist any more.
    Gone,
    /// Another object is current, the same bytes or not.
    Overwritten,
    /// No object is current.
    Deleted,
    /// The server would not say (403).
    NotAllowed,
    /// There was no answer that tells.
    Unreachable,
}

impl State {
    /// The worst that is known first, after what is as it should be.
    pub const ALL: [Self; 7] = [
        Self::Intact,
        Self::Superseded,
        Self::Gone,
        Self::Overwritten,
        Self::Deleted,
        Self::NotAllowed,
        Self::Unreachable,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Superseded => "superseded",
            Self::Gone => "gone",
            Self::Overwritten => "overwritten",
            Self::Deleted => "deleted",
            Self::NotAllowed => "not-allowed",
            Self::Unreachable => "unreachable",
        }
    }

    /// As a person reads it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotAllowed => "not allowed to look",
            other => other.name(),
        }
    }

    /// Whether nobody needs to be woken.
    #[must_use]
    pub fn is_well(self) -> bool {
        match self {
            Self::Intact | Self::Superseded => true,
            Self::Gone | Self::Overwritten | Self::Deleted | Self::NotAllowed | Self::Unreachable => false,
        }
    }
}

/// What shows that a row's object is there still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The version id is that of the row.
    Version,
    /// ETag, size and write id are those of the row, and the object is no younger.
    WriteId,
    /// ETag and size are those of the row, and the object is no younger; nothing else is known of it.
    Etag,
    /// A LIST showed its ETag and size, and a time within the row's.
    Listed,
    /// No object is there, as the row left it.
    Absent,
}

impl Proof {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::WriteId => "write-id",
            Self::Etag => "etag",
            Self::Listed => "listed",
            Self::Absent => "absent",
        }
    }
}

/// Whether what the run stored can be got back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Under this version id.
    Version(VersionId),
    No,
    NotKnown(String),
    /// The run left no object.
    Nothing,
}

/// The object that is current now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    pub size: u64,
    pub etag: ETag,
    pub version: Option<VersionId>,
    pub modified: Option<String>,
    pub write_id: Option<String>,
}

impl Current {
    #[must_use]
    pub fn of(head: &Head) -> Self {
        Self {
            size: head.size,
            etag: head.etag.clone(),
            version: head.version.clone(),
            modified: head.last_modified.clone(),
            write_id: head.write_id.clone(),
        }
    }
}

/// Who wrote what is current, as far as it tells: anybody who can write can forge it, and a copy keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writer {
    /// It carries no write id.
    Stranger,
    /// It carries the write id of the row itself: a copy of what the run stored.
    Copy,
    /// It carries a run's write id; the place and outcome are known where that run's report was given.
    Run { run_id: String, row: Option<(String, Outcome)> },
    /// It carries a write id that no run made.
    Odd(String),
}

/// A delete marker that is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    pub version: VersionId,
    pub modified: Option<String>,
}

/// What is known of a row that is not intact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub current: Option<(Current, Writer)>,
    /// The current object has the ETag and the size of the row's.
    pub same_bytes: bool,
    pub marker: Option<Marker>,
    pub kept: Kept,
    /// What a later run among the reports did to the key: for what is superseded, and for what somebody else wrote
    /// before that run.
    pub later: Option<Later>,
    /// What the server said where it told nothing.
    pub why: String,
}

/// The row of a later run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    pub run_id: String,
    pub place: String,
    pub outcome: Outcome,
    /// What that run found there, where it was not what the earlier run left.
    pub met: Option<Met>,
}

/// What a run found under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    Nothing,
    /// The version is not always known: a listing shows none.
    Object(ETag, Option<VersionId>),
}

impl Finding {
    /// Nothing is known yet.
    #[must_use]
    pub fn blank() -> Self {
        Self { current: None, same_bytes: false, marker: None, kept: Kept::Nothing, later: None, why: String::new() }
    }
}

/// What was found of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    /// What shows it, where it is intact.
    pub proof: Option<Proof>,
    /// `None` where it is intact: most are, and there may be a million.
    pub finding: Option<Box<Finding>>,
}

impl Verdict {
    #[must_use]
    pub fn intact(proof: Proof) -> Self {
        Self { state: State::Intact, proof: Some(proof), finding: None }
    }

    #[must_use]
    pub fn of(state: State, finding: Finding) -> Self {
        Self { state, proof: None, finding: Some(Box::new(finding)) }
    }
}

/// Whether a row that ended `unknown` had stored something after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settled {
    /// The current object carries its write id, and has its size.
    Stored,
    /// The current object is another one, or none is.
    NotCurrent,
    NotKnown,
}

/// Everything that was found, beside the audit that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// One a judged claim, in the order of [`Audit::judged`].
    pub verdicts: Vec<Verdict>,
    /// One a doubt, in the order of [`Audit::doubts`].
    pub doubts: Vec<Settled>,
}

/// How many rows are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Count {
    pub checked: u64,
    pub intact: u64,
    pub superseded: u64,
    pub gone: u64,
    pub overwritten: u64,
    pub deleted: u64,
    pub not_allowed: u64,
    pub unreachable: u64,
}

impl Count {
    #[must_use]
    pub fn of(&self, state: State) -> u64 {
        match state {
            State::Intact => self.intact,
            State::Superseded => self.superseded,
            State::Gone => self.gone,
            State::Overwritten => self.overwritten,
            State::Deleted => self.deleted,
            State::NotAllowed => self.not_allowed,
            State::Unreachable => self.unreachable,
        }
    }

    /// How many rows somebody should look at.
    #[must_use]
    pub fn problems(&self) -> u64 {
        State::ALL.into_iter().filter(|state| !state.is_well()).map(|state| self.of(state)).sum()
    }
}

impl Found {
    #[must_use]
    pub fn count(&self) -> Count {
        let mut count = Count { checked: self.verdicts.len() as u64, ..Count::default() };
        for verdict in &self.verdicts {
            *match verdict.state {
                State::Intact => &mut count.intact,
                State::Superseded => &mut count.superseded,
                State::Gone => &mut count.gone,
                State::Overwritten => &mut count.overwritten,
                State::Deleted => &mut count.deleted,
                State::NotAllowed => &mut count.not_allowed,
                State::Unreachable => &mut count.unreachable,
            } += 1;
        }
        count
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
