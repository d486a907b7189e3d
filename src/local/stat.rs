//! What the file system says of a file. Only regular files pass; nothing else is ever opened.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::model::local::Stat;

/// Looks at a file without opening it. Symbolic links are followed.
pub fn stat(path: &Path) -> Result<Stat, FileError> {
    Ok(mark(path)?.stat())
}

/// Looks at a file as `stat` does, for all that tells its states apart.
pub fn mark(path: &Path) -> Result<Mark, FileError> {
    let meta = std::fs::metadata(path).map_err(FileError::from_io)?;
    regular(&meta)?;
    Ok(Mark::of(&meta))
}

/// Why a file cannot be an upload's source. The caller knows the path and the place.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("no such file")]
    Missing,
    #[error("{0}, not a file")]
    NotAFile(&'static str),
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// Its digests would be of no file that ever was.
    #[error("changed while it was read; try again when its writer is done")]
    ChangedWhileRead,
}

impl FileError {
    pub(super) fn from_io(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Unreadable(error) }
    }
}

/// What tells one state of one file from any other, and must not move while it is read. A write within the kernel's
/// clock tick of the first look, of the same length, can go unseen: the body is hashed once more as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime_ns: i128,
    pub(super) ctime_ns: i128,
}

impl Mark {
    pub(super) fn of(meta: &Metadata) -> Self {
        let ns = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        }
    }

    pub(super) fn of_open(file: &File) -> Result<Self, FileError> {
        Ok(Self::of(&file.metadata().map_err(FileError::from_io)?))
    }

    #[must_use]
    pub fn stat(&self) -> Stat {
        Stat { size: self.size, mtime_ns: self.mtime_ns }
    }
}

/// Opens a regular file and nothing else: opening a FIFO or a device can block for ever, or do things.
pub(super) fn open(path: &Path) -> Result<(File, Mark), FileError> {
    regular(&std::fs::metadata(path).map_err(FileError::from_io)?)?;
    // Should the path have become a FIFO since, NONBLOCK opens it without waiting for its writer, and the second look
    // turns it away. Regular files do not heed the flag.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(FileError::from_io)?;
    let meta = file.metadata().map_err(FileError::from_io)?;
    regular(&meta)?;
    Ok((file, Mark::of(&meta)))
}

fn regular(meta: &Metadata) -> Result<(), FileError> {
    let kind = meta.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(FileError::NotAFile(if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "something special"
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_stat_follows_a_link_to_the_file_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, b"four").unwrap();
        symlink(&file, dir.path().join("link")).unwrap();
        let through = stat(&dir.path().join("link")).unwrap();
        assert_eq!(through, stat(&file).unwrap());
        assert_eq!(through.size, 4);
        assert!(through.mtime_ns > 1_500_000_000_000_000_000);
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        // Opening this FIFO without NONBLOCK would hang the test: nobody writes to it.
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        for (name, message) in [
            ("fifo", "a FIFO, not a file"),
            ("socket", "a socket, not a file"),
            (".", "a directory, not a file"),
            ("/dev/null", "a device, not a file"),
            ("missing", "no such file"),
            ("dangling", "no such file"),
        ] {
            assert_eq!(stat(&at(name)).unwrap_err().to_string(), message, "{name}");
            assert_eq!(open(&at(name)).unwrap_err().to_string(), message, "{name}");
        }
        assert!(matches!(stat(&at("loop")), Err(FileError::Unreadable(_))));
        assert!(matches!(open(&at("loop")), Err(FileError::Unreadable(_))));
    }

    #[test]
    fn a_file_without_read_permission_is_unreadable_and_not_missing() {
        use std::os::unix::fs::PermissionsExt as _;
        // Root reads everything.
        if rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, b"x").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
        assert!(matches!(open(&file), Err(FileError::Unreadable(_))));
    }
}
