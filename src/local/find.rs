//! Finds the files that a source names, below a base folder. Opens none of them: a named pipe would hang.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

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
    /// Real paths of the folders of literal sources: a list names the same few again and again.
    folders: HashMap<PathBuf, Arc<Result<PathBuf, io::ErrorKind>>>,
}

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
        Ok(Self { path, outside, folders: HashMap::new() })
    }

    /// Absolute, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for exactly this file.
    pub fn literal(&mut self, source: &str) -> Result<Found, Error> {
        let source = tidy(source);
        self.refuse_outside(&source)?;
        let missing = || Error::Missing { source_name: source.clone(), base: self.path.clone() };
        let plain = self.plain(&source);
        let written = self.path.join(&source);
        let mut found = Found { path: source.clone(), source: source.clone(), real: None, flaw: None };
        let (Some(parent), Some(name)) = (written.parent(), written.file_name()) else {
            found.flaw = Some("is a folder, not a file".to_owned());
            return Ok(found);
        };
        let folder = if let Some(known) = self.folders.get(parent) {
            Arc::clone(known)
        } else {
            let real = Arc::new(std::fs::canonicalize(parent).map_err(|error| error.kind()));
            self.folders.insert(parent.to_owned(), Arc::clone(&real));
            real
        };
        let file = match &*folder {
            Ok(folder) => folder.join(name),
            Err(kind) => {
                if is_missing(*kind) {
                    return Err(missing());
                }
                found.flaw = Some(format!("cannot be reached: {kind}"));
                return Ok(found);
            }
        };
        let kind = match std::fs::symlink_metadata(&file) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if is_missing(error.kind()) => return Err(missing()),
            Err(error) => {
                found.flaw = Some(format!("cannot be reached: {}", said(&error)));
                return Ok(found);
            }
        };
        let is_link = kind.is_symlink();
        if is_link || file != plain {
            let real = if is_link { std::fs::canonicalize(&file) } else { Ok(file.clone()) };
            found.flaw = self.follow(&mut found.real, real);
        }
        found.flaw = found.flaw.or_else(|| judge(found.real.as_deref().unwrap_or(&file)));
        Ok(found)
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
        if self.outside == Outside::Refused && !self.plain(source).starts_with(&self.path) {
            return Err(Error::Outside(source.to_owned()));
        }
        Ok(())
    }
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
        // Asked of the kernel without opening, which costs more and may have side effects.
        let access = rustix::fs::access(path, rustix::fs::Access::READ_OK);
        return access.err().map(|error| format!("cannot be read: {}", said(&error.into())));
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

pub(super) fn is_missing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Without the number of the error, which says nothing to most people.
pub(super) fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}
