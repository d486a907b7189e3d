//! What survives a crash: the run's identity, the uploads it began, and the rows so far. It keeps lines and understands
//! none of them but for whose they are; it never overwrites a file that is not of its own plan.
//!
//! Beside a report `R` stand, while a run lasts: `R.partial`, rows in order of completion; `R.journal`, the run id and the
//! upload ids; `R.lock`. A finished run leaves `R` alone.

mod files;
mod lock;
mod noted;
mod notes;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use files::{Owner, Paths, Tape};
use lock::Lock;
use notes::Notes;

use crate::model::row::whole_rows;

pub use noted::{Hold, Noted, noted};
pub use notes::{Begun, Upload};

/// A run's open journal.
#[derive(Debug)]
pub struct Journal {
    paths: Paths,
    rows: Tape,
    lines: u64,
    notes: Notes,
    // Let go last: until the files above are closed nobody else may have them.
    _lock: Lock,
}

/// A journal, and what the runs before left in it.
#[derive(Debug)]
pub struct Opened {
    pub journal: Journal,
    /// The earlier run's where there is one to go on with, else the fresh one. On disk before anybody sees it.
    pub run_id: String,
    /// Whether there was a run to go on with.
    pub is_resumed: bool,
    /// The finished report of an earlier run of this plan, header and all; empty where there is none.
    pub report: Vec<u8>,
    /// The whole rows of a run that did not finish, header and all. They are newer than those of `report`.
    pub partial: Vec<u8>,
    /// Steps that earlier runs were about to send, whatever became of them.
    pub begun: Vec<Begun>,
    /// Whether `begun` names all of them. Not so when the machine went down since: these notes survive a process, and
    /// not a power cut.
    pub begun_is_whole: bool,
    /// Multipart uploads that earlier runs began, as far as is known neither completed nor aborted.
    pub uploads: Vec<Upload>,
}

/// What stands in a report's way.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{}: in use by {holder}; wait for it to end, or give this run another --report", .path.display())]
    Locked { path: PathBuf, holder: String },
    #[error("{}: belongs to another plan, {digest}; give this run another --report, or move the file away", .path.display())]
    OtherPlan { path: PathBuf, digest: String },
    #[error("{}: not a noclobber report, and will not be overwritten; give this run another --report", .path.display())]
    NotAReport { path: PathBuf },
    #[error("{}: not a regular file; give a path that a report can be written to", .path.display())]
    NotAFile { path: PathBuf },
    #[error("{}: no such folder; make it first, or give this run another --report", .path.display())]
    NoFolder { path: PathBuf },
    #[error("{}: no such journal, and no report that it could have stood beside", .path.display())]
    NoJournal { path: PathBuf },
    #[error("{}: cannot {act}: {source}", .path.display())]
    Io { path: PathBuf, act: &'static str, source: io::Error },
    /// The line is handed back: it is evidence, and nobody else has it. Start nothing more.
    #[error("{}: a row could not be written: {source}", .path.display())]
    NotWritten { path: PathBuf, line: String, source: io::Error },
}

impl JournalError {
    fn io(path: &Path, act: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, act, source }
    }
}

impl Journal {
    /// Opens the journal of a report path, or goes on with the one that a run of the same plan left there. Everything is
    /// checked before anything is written. When it returns, the run id is on disk.
    pub fn open(
        report: &Path,
        plan_digest: &str,
        fresh_run_id: impl FnOnce() -> String,
    ) -> Result<Opened, JournalError> {
        let paths = Paths::beside(report)?;
        let lock = Lock::take(&paths.lock)?;
        let ours = |path: &Path, owner: &Owner| match owner {
            Owner { plan_digest: Some(digest), .. } if digest != plan_digest => {
                Err(JournalError::OtherPlan { path: path.to_owned(), digest: digest.clone() })
            }
            Owner { .. } => Ok(()),
        };
        let report = files::read(&paths.report)?;
        let of_report = files::owner(&paths.report, &report)?;
        ours(&paths.report, &of_report)?;
        let partial = files::read_whole_rows(&paths.partial)?;
        let of_partial = files::owner(&paths.partial, &partial)?;
        ours(&paths.partial, &of_partial)?;
        let before = Notes::read(&paths.notes)?;
        if let Some(before) = &before {
            ours(&paths.notes, &before.owner())?;
        }

        let run_id = before
            .as_ref()
            .map(|before| before.run_id.clone())
            .or(of_partial.run_id)
            .or(of_report.run_id)
            .unwrap_or_else(fresh_run_id);
        let is_resumed = before.is_some() || !report.is_empty() || !partial.is_empty();
        let notes = Notes::open(&paths.notes, before.as_ref(), &run_id, plan_digest)?;
        let rows = Tape::open(&paths.partial, partial.len() as u64)?;
        paths.sync_folder()?;
        // Rows without notes: the notes were lost.
        let begun_is_whole = before.as_ref().map_or(partial.is_empty(), |before| before.is_of_this_boot);
        let (begun, uploads) = before.map(|before| (before.begun, before.uploads)).unwrap_or_default();
        let lines = whole_rows(&partial).count() as u64;
        let journal = Self { paths, rows, lines, notes, _lock: lock };
        Ok(Opened { journal, run_id, is_resumed, report, partial, begun, begun_is_whole, uploads })
    }

    /// Adds one whole line, with its line end, in one write. After an error the file holds what it held before.
    pub fn append(&mut self, line: String) -> Result<(), JournalError> {
        match self.rows.append(line.as_bytes()) {
            Ok(()) => {
                self.lines += 1;
                Ok(())
            }
            Err(source) => Err(JournalError::NotWritten { path: self.paths.partial.clone(), line, source }),
        }
    }

    /// Notes that a step is about to be sent.
    pub fn note_begun(&mut self, n: u64) -> Result<(), JournalError> {
        let begun = Begun { n, lines: self.lines };
        self.notes.begun(begun).map_err(JournalError::io(&self.paths.notes, "be written"))
    }

    /// Notes a multipart upload; it is on disk when this returns. Call it before the first part.
    pub fn note_upload(&mut self, upload: &Upload) -> Result<(), JournalError> {
        self.notes.upload(upload).map_err(JournalError::io(&self.paths.notes, "be written"))
    }

    /// Notes that a multipart upload was completed or aborted.
    pub fn note_over(&mut self, upload_id: &str) -> Result<(), JournalError> {
        self.notes.over(upload_id).map_err(JournalError::io(&self.paths.notes, "be written"))
    }

    /// Puts the finished report in its place, whole or not at all, and removes what is not needed any more. Uploads that
    /// could not be aborted stay noted: nobody else knows of them.
    pub fn finish(self, lines: impl IntoIterator<Item = String>) -> Result<(), JournalError> {
        let Self { paths, rows, lines: _, notes, _lock } = self;
        files::replace(&paths, lines)?;
        let left = notes.left().map_err(JournalError::io(&paths.notes, "be written"))?;
        drop((rows, notes));
        match left {
            None => paths.remove_traces(),
            Some(left) => paths.remove_rows_and_keep(&left),
        }
    }

    /// Leaves no trace of a run that sent no write.
    pub fn discard(self) -> Result<(), JournalError> {
        self.paths.remove_traces()
    }
}

fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    // A new name is on disk only when its folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(JournalError::io(folder, "be synced"))
}

#[cfg(test)]
mod tests;
