//! What the journal of a run notes, for somebody who is not that run. It writes none of the run's files.

use std::path::{Path, PathBuf};

use super::files::{self, Paths};
use super::lock::Lock;
use super::notes::Notes;
use super::{JournalError, Upload};

/// What stands in a journal.
#[derive(Debug)]
pub struct Noted {
    pub run_id: String,
    /// Multipart uploads that the run began, and of which it noted no end.
    pub uploads: Vec<Upload>,
    /// As long as this is held nobody takes the run up.
    _lock: Option<Lock>,
}

/// Whether the run may go on while its notes are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// They are only looked at.
    Nothing,
    /// What they name is about to be taken away: a run that is under way is an error ([`JournalError::Locked`]), and
    /// none begins before the notes are dropped.
    Run,
}

/// Reads a run's notes. `path` is the journal or the report that it stands beside. `None` where there is the report
/// alone: that run has finished, and left nothing. A last line that a crash has torn counts for nothing.
pub fn noted(path: &Path, hold: Hold) -> Result<Option<Noted>, JournalError> {
    // By a link to the journal its lock would be looked for in the wrong place.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let paths = Paths::beside(&report_of(&path))?;
    let lock = match hold {
        Hold::Nothing => None,
        Hold::Run => Some(Lock::take(&paths.lock)?),
    };
    match Notes::read(&paths.notes)? {
        Some(before) => Ok(Some(Noted { run_id: before.run_id, uploads: before.uploads, _lock: lock })),
        // Its first line was torn: that run never began to write.
        None if paths.notes.exists() => Ok(None),
        None if paths.report.exists() => {
            files::owner(&paths.report, &files::read(&paths.report)?)?;
            Ok(None)
        }
        None => Err(JournalError::NoJournal { path: paths.notes }),
    }
}

fn report_of(path: &Path) -> PathBuf {
    match path.extension() {
        Some(end) if end == "journal" => path.with_extension(""),
        Some(_) | None => path.to_owned(),
    }
}
