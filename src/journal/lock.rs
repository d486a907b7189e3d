//! One run a report. The kernel lets go of the lock when its process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::JournalError;

/// How a lock file of ours begins.
const SIGNATURE: &str = "noclobber ";

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// Open for as long as the lock is held.
    _file: File,
}

impl Lock {
    pub fn take(path: &Path) -> Result<Self, JournalError> {
        let fail = |act| JournalError::io(path, act);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(fail("be written"))?;
            let locked = file.try_lock();
            let mut signed = String::new();
            let read = file.read_to_string(&mut signed);
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    // Its holder may not have signed it yet.
                    let holder = signed.trim_end().strip_prefix(SIGNATURE).unwrap_or("another process").to_owned();
                    return Err(JournalError::Locked { path: path.to_owned(), holder });
                }
                Err(TryLockError::Error(source)) => return Err(fail("be locked")(source)),
            }
            if read.is_err() || !(signed.is_empty() || signed.starts_with(SIGNATURE)) {
                return Err(JournalError::NotAReport { path: path.to_owned() });
            }
            // The holder before removes the file as it leaves: what was locked may have no name any more.
            if same_file(&file, path).map_err(fail("be looked at"))? {
                let sign = |file: &mut File| {
                    file.set_len(0)?;
                    file.rewind()?;
                    writeln!(file, "{SIGNATURE}process {}", std::process::id())
                };
                sign(&mut file).map_err(fail("be written"))?;
                return Ok(Self { path: path.to_owned(), _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A lock file that stays is no harm: it is not the file that locks.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn same_file(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
