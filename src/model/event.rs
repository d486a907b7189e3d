//! What a run tells whoever watches it: a bar, a log, a stream of JSON lines. One stream, many readers.

use super::row::Row;

/// A stretch of work with a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reading the bucket's heads, for a plan.
    Looking,
    /// Reading and hashing local files.
    Hashing,
    /// Looking at files and heads again, before the first write.
    Checking,
    Uploading,
}

impl Phase {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Looking => "looking",
            Self::Hashing => "hashing",
            Self::Checking => "checking",
            Self::Uploading => "uploading",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A phase begins. `bytes` is 0 where bytes do not count.
    Begin { phase: Phase, files: u64, bytes: u64 },
    /// More of it was found: the totals grow.
    More { phase: Phase, files: u64, bytes: u64 },
    /// Some of it is done; the numbers are increments. Bytes may go back (negative) when an attempt is repeated.
    Advance { phase: Phase, files: u64, bytes: i64 },
    /// The phase is over, complete or not.
    End { phase: Phase },
    /// A step reached its outcome.
    Row(&'a Row),
    /// Something that explains what is seen, and asks for nothing.
    Note(&'a str),
    /// Something a person should know now.
    Warning(&'a str),
}

/// Whoever watches. Called from many threads; must not block for long.
pub trait Watch: Send + Sync {
    fn tell(&self, event: Event<'_>);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Watch for Nobody {
    fn tell(&self, _: Event<'_>) {}
}
