//! Finds the files that a source names, below a base folder. Opens none of them: a named pipe would hang.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;

use super::walk;
use crate::model::glob::{Glob, GlobError, tidy};

/// Why a source cannot be looked for, or is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{source_name} does not exist in {}", base.display())]
    Missing { source_name: String, base: PathBuf },
    #[error("{0} lies outside the base folder; if that is meant, say allow_outside_base: true")]
    Outside(String),
    #[error(transparent)]
    Glob(#[from] GlobError),
    #[error("cannot read {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
}

/// One file that a source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Relative to the base, `/` between segments; absolute where it was written so. What is not UTF-8 is replaced.
    pub source: String,
    /// Relative to the fixed part of the glob; the same as `source` for a literal one.
    pub path: String,
    /// The real path, absolute, where a symbolic link was followed.
    pub real: Option<PathBuf>,
    /// What keeps this one from being uploaded.
    pub flaw: Option<String>,
}

/// What a glob found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matches {
    /// Bytewise by path.
    pub found: Vec<Found>,
    pub warnings: Vec<String>,
    /// Folders that could not be read, so that matches may be missing.
    pub unreadable: Vec<Error>,
}

/// May sources lie outside the base?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    Allowed,
    Refused,
}

/// The folder that sources are relative to.
#[derive(Debug)]
pub struct Base {
    pub(super) path: PathBuf,
    pub(super) outside: Outside,
    /// The folders of literal sources, as they are written: a list names the same few again and again.
    folders: RwLock<HashMap<String, Arc<Folder>>>,
}

/// A folder that literal sources are in.
#[derive(Debug)]
struct Folder {
    real: Result<PathBuf, io::ErrorKind>,
    /// Whether no link was met on the way to it.
    is_plain: bool,
}

/// Folders that are remembered at once. A list with a folder for each row would hold them all.
const MOST_FOLDERS: usize = 65_536;

/// The permission bits with which owner, group and all others may read.
const READABLE: u32 = 0o444;

/// Whether a source is a glob: it has one of `* ? [ {`.
#[must_use]
pub fn is_glob(source: &str) -> bool {
    source.contains(['*', '?', '[', '{'])
}

impl Base {
    /// The error names the folder.
    pub fn new(path: &Path, outside: Outside) -> Result<Self, Error> {
        let unreadable = |error: io::Error| Error::Unreadable { path: path.to_owned(), why: said(&error) };
        let path = std::fs::canonicalize(path).map_err(unreadable)?;
        Ok(Self { path, outside, folders: RwLock::default() })
    }

    /// Absolute, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for exactly this file. May be asked from several threads at once.
    pub fn literal(&self, source: &str) -> Result<Found, Error> {
        let source = if is_tidy(source) { Cow::Borrowed(source) } else { Cow::Owned(tidy(source)) };
        self.refuse_outside(&source)?;
        let found = |real, flaw| Found { path: source.clone().into_owned(), source: source.to_string(), real, flaw };
        let missing = || Error::Missing { source_name: source.to_string(), base: self.path.clone() };
        let (parent, name) = match source.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some(split) => split,
            None => ("", &*source),
        };
        if matches!(name, "" | "..") {
            return Ok(found(None, Some("is a folder, not a file".to_owned())));
        }
        let folder = self.folder(parent);
        let file = match &folder.real {
            Ok(real) => real.join(name),
            Err(kind) if is_missing(*kind) => return Err(missing()),
            Err(kind) => return Ok(found(None, Some(format!("cannot be reached: {kind}")))),
        };
        let (kind, mode) = match std::fs::symlink_metadata(&file) {
            Ok(metadata) => (metadata.file_type(), metadata.mode()),
            Err(error) if is_missing(error.kind()) => return Err(missing()),
            Err(error) => return Ok(found(None, Some(format!("cannot be reached: {}", said(&error))))),
        };
        if kind.is_symlink() {
            let mut real = None;
            let flaw = self.follow(&mut real, std::fs::canonicalize(&file));
            let flaw = flaw.or_else(|| judge(real.as_deref().unwrap_or(&file)));
            return Ok(found(real, flaw));
        }
        // The one look has told what a file is that is no link; it is not asked for again.
        if folder.is_plain {
            // Nor whether it can be read, where everybody may: one that an access list keeps from us shows when it is read.
            let flaw = if kind.is_file() && mode & READABLE == READABLE { None } else { judge_kind(&file, kind) };
            return Ok(found(None, flaw));
        }
        let mut real = None;
        let flaw = self.follow(&mut real, Ok(file.clone()));
        Ok(found(real, flaw.or_else(|| judge_kind(&file, kind))))
    }

    /// The folder of a tidy source.
    fn folder(&self, written: &str) -> Arc<Folder> {
        if let Some(known) = self.folders.read().unwrap_or_else(PoisonError::into_inner).get(written) {
            return Arc::clone(known);
        }
        let real = std::fs::canonicalize(self.path.join(written)).map_err(|error| error.kind());
        let is_plain = real.as_ref().is_ok_and(|real| *real == self.plain(written));
        let folder = Arc::new(Folder { real, is_plain });
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        if folders.len() >= MOST_FOLDERS {
            folders.clear();
        }
        folders.insert(written.to_owned(), Arc::clone(&folder));
        folder
    }

    /// Looks for every file that the glob matches. Folders are no matches.
    pub fn glob(&self, glob: &str) -> Result<Matches, Error> {
        let glob = Glob::of_sources(glob)?;
        self.refuse_outside(&glob.fixed)?;
        walk::matches(self, &glob)
    }

    /// Sets the real path, and says what is wrong with it.
    pub(super) fn follow(&self, real: &mut Option<PathBuf>, path: io::Result<PathBuf>) -> Option<String> {
        let path = match path {
            Ok(path) => path,
            Err(error) if is_missing(error.kind()) => return Some("is a broken symbolic link".to_owned()),
            Err(error) => return Some(format!("is a symbolic link that cannot be followed: {}", said(&error))),
        };
        let flaw = if self.is_outside(&path) {
            Some(format!(
                "leads out of the base folder to {}; if that is meant, say allow_outside_base: true",
                path.display()
            ))
        } else {
            path.to_str().is_none().then(|| "leads to a name that is not UTF-8".to_owned())
        };
        *real = Some(path);
        flaw
    }

    pub(super) fn is_outside(&self, real: &Path) -> bool {
        self.outside == Outside::Refused && !real.starts_with(&self.path)
    }

    /// The real path of a tidy source, if no link is met on the way.
    pub(super) fn plain(&self, source: &str) -> PathBuf {
        let mut path = PathBuf::new();
        for component in self.path.join(source).components() {
            match component {
                Component::ParentDir => {
                    path.pop();
                }
                Component::CurDir => {}
                Component::Prefix(_) | Component::RootDir | Component::Normal(_) => path.push(component),
            }
        }
        path
    }

    /// By its text alone; where links lead is another question.
    fn refuse_outside(&self, source: &str) -> Result<(), Error> {
        // Nothing leads up or away without one of these.
        let may_leave = source.starts_with('/') || source.split('/').any(|segment| segment == "..");
        if may_leave && self.outside == Outside::Refused && !self.plain(source).starts_with(&self.path) {
            return Err(Error::Outside(source.to_owned()));
        }
        Ok(())
    }
}

/// Whether [`tidy`] would change nothing.
fn is_tidy(source: &str) -> bool {
    let rest = source.strip_prefix('/').unwrap_or(source);
    rest.split('/').all(|segment| !matches!(segment, "" | "."))
}

/// What keeps a file, links followed, from being uploaded.
pub(super) fn judge(path: &Path) -> Option<String> {
    let kind = match std::fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) => return Some(format!("cannot be reached: {}", said(&error))),
    };
    judge_kind(path, kind)
}

pub(super) fn judge_kind(path: &Path, kind: std::fs::FileType) -> Option<String> {
    let what = if kind.is_file() {
        return judge_file(path);
    } else if kind.is_dir() {
        "a folder, not a file; a glob such as folder/** takes what is in it"
    } else if kind.is_fifo() {
        "a named pipe, not a file"
    } else if kind.is_socket() {
        "a socket, not a file"
    } else {
        "a device, not a file"
    };
    Some(format!("is {what}"))
}

/// What keeps an ordinary file from being uploaded.
pub(super) fn judge_file(path: &Path) -> Option<String> {
    // Asked of the kernel without opening, which costs more and may have side effects.
    let access = rustix::fs::access(path, rustix::fs::Access::READ_OK);
    access.err().map(|error| format!("cannot be read: {}", said(&error.into())))
}

pub(super) fn is_missing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Without the number of the error, which says nothing to most people.
pub(super) fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}
