//! The files beside a report: where they are, whose they are, and how a line or a whole file gets to disk.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{JournalError, sync_folder};
use crate::model::row::whole_rows;

#[derive(Debug)]
pub(super) struct Paths {
    folder: PathBuf,
    pub report: PathBuf,
    pub partial: PathBuf,
    pub notes: PathBuf,
    pub lock: PathBuf,
}

impl Paths {
    pub fn beside(report: &Path) -> Result<Self, JournalError> {
        let folder = match report.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        if report.file_name().is_none() {
            return Err(JournalError::NotAFile { path: report.to_owned() });
        }
        match std::fs::metadata(&folder) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(JournalError::NoFolder { path: folder }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(JournalError::NoFolder { path: folder });
            }
            Err(source) => return Err(JournalError::io(&folder, "be looked at")(source)),
        }
        let beside = |end: &str| {
            let mut name = OsString::from(report);
            name.push(end);
            PathBuf::from(name)
        };
        let paths = Self {
            folder,
            report: report.to_owned(),
            partial: beside(".partial"),
            notes: beside(".journal"),
            lock: beside(".lock"),
        };
        for path in [&paths.report, &paths.partial, &paths.notes, &paths.lock] {
            // Opening a FIFO would wait for ever, and renaming over a device or a folder is nobody's wish.
            if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
                return Err(JournalError::NotAFile { path: path.clone() });
            }
        }
        Ok(paths)
    }

    pub fn sync_folder(&self) -> Result<(), JournalError> {
        sync_folder(&self.folder)
    }

    /// The run id goes last: a crash in between leaves it with the rows that it belongs to.
    pub fn remove_traces(&self) -> Result<(), JournalError> {
        remove(&self.partial)?;
        remove(&self.notes)
    }

    /// Leaves notes in the place of the old ones, and no rows.
    pub fn remove_rows_and_keep(&self, notes: &[u8]) -> Result<(), JournalError> {
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".noclobber-journal-").tempfile_in(&self.folder)?;
            file.write_all(notes)?;
            file.as_file().sync_all()?;
            file.persist(&self.notes)?;
            Ok(())
        };
        write().map_err(JournalError::io(&self.notes, "be written"))?;
        remove(&self.partial)?;
        self.sync_folder()
    }
}

fn remove(path: &Path) -> Result<(), JournalError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(JournalError::io(path, "be removed")(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whose a file is, as far as it tells: one without rows does not.
#[derive(Debug, Default)]
pub(super) struct Owner {
    pub run_id: Option<String>,
    pub plan_digest: Option<String>,
}

/// Empty where there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, JournalError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(JournalError::io(path, "be read")(source)),
    }
}

/// Without a last row that a crash has torn.
pub(super) fn read_whole_rows(path: &Path) -> Result<Vec<u8>, JournalError> {
    let mut bytes = read(path)?;
    let whole = whole_rows(&bytes).map(<[u8]>::len).sum();
    bytes.truncate(whole);
    Ok(bytes)
}

/// Reads whose rows these are. A file that is no report, or that mixes plans, is refused.
pub(super) fn owner(path: &Path, csv: &[u8]) -> Result<Owner, JournalError> {
    let mut owner = Owner::default();
    if csv.is_empty() {
        return Ok(owner);
    }
    let not = || JournalError::NotAReport { path: path.to_owned() };
    let mut reader = csv::ReaderBuilder::new().from_reader(csv);
    let header = reader.headers().map_err(|_| not())?;
    let column = |name: &str| header.iter().position(|column| column == name).ok_or_else(not);
    let (run, plan) = (column("run_id")?, column("plan_digest")?);
    for record in reader.records() {
        let record = record.map_err(|_| not())?;
        let (Some(run), Some(plan)) = (record.get(run), record.get(plan)) else { return Err(not()) };
        if owner.plan_digest.as_deref().is_some_and(|first| first != plan) {
            return Err(not());
        }
        owner.plan_digest.get_or_insert_with(|| plan.to_owned());
        owner.run_id.get_or_insert_with(|| run.to_owned());
    }
    Ok(owner)
}

/// A file that only grows, by whole lines.
#[derive(Debug)]
pub(super) struct Tape {
    file: File,
    whole_bytes: u64,
    /// There may be a piece of a line after the whole ones.
    torn: bool,
}

impl Tape {
    /// Whatever lies after the first `whole_bytes` is cut off.
    pub fn open(path: &Path, whole_bytes: u64) -> Result<Self, JournalError> {
        let open = || {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            file.set_len(whole_bytes)?;
            Ok(file)
        };
        let file = open().map_err(JournalError::io(path, "be written"))?;
        Ok(Self { file, whole_bytes, torn: false })
    }

    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.torn = true;
        let written = self.write(line);
        if written.is_ok() {
            self.torn = false;
            self.whole_bytes += line.len() as u64;
        } else {
            // Best done now; else before the next line. The error that counts is the write's.
            let _ = self.mend();
        }
        written
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.whole_bytes)?;
            self.torn = false;
        }
        Ok(())
    }

    /// One write call, not `write_all`: a kill between two calls would tear a line that the first could have held whole.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        loop {
            return match self.file.write(line) {
                Ok(count) if count == line.len() => Ok(()),
                Ok(count) => Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    format!("only {count} of {} bytes were taken; the disk may be full", line.len()),
                )),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    #[cfg(test)]
    pub fn swap(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

/// Writes a whole new report and renames it into place.
pub(super) fn replace(paths: &Paths, lines: impl IntoIterator<Item = String>) -> Result<(), JournalError> {
    let write = || {
        // tempfile's own mode is for secrets; a report is read by others, as the umask allows.
        let file = tempfile::Builder::new()
            .prefix(".noclobber-report-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&paths.folder)?;
        let mut to = BufWriter::new(file);
        for line in lines {
            to.write_all(line.as_bytes())?;
        }
        let file = to.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(&paths.report)?;
        Ok(())
    };
    write().map_err(JournalError::io(&paths.report, "be written"))?;
    paths.sync_folder()
}
