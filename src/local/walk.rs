//! Walks down a folder after a glob. Follows symbolic links, but never round in circles.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefMutIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::find::{Base, Error, Found, Matches, is_missing, judge_file, judge_kind, said};
use crate::model::glob::{Dots, Glob, States};

/// Names that one glob may look at. Links from everywhere to everywhere make more paths than there is time for.
const MOST_NAMES: u64 = 20_000_000;

/// Every file that the glob matches, bytewise by path.
pub fn matches(base: &Base, glob: &Glob) -> Result<Matches, Error> {
    let start = base.path.join(&glob.fixed);
    let real = match std::fs::canonicalize(&start) {
        Ok(real) => real,
        Err(error) if is_missing(error.kind()) => return Ok(Matches::default()),
        Err(error) => return Err(unreadable(&start, &error)),
    };
    if base.is_outside(&real) {
        let fixed = &glob.fixed;
        return Err(Error::Outside(format!("{fixed} leads to {}, which", real.display())));
    }
    let metadata = std::fs::metadata(&real).map_err(|error| unreadable(&start, &error))?;
    if !metadata.is_dir() {
        return Ok(Matches::default());
    }
    let mut walk = Walk {
        base,
        glob,
        found: Vec::new(),
        matches: Matches::default(),
        above: vec![(metadata.dev(), metadata.ino())],
        names: 0,
    };
    let is_linked = real != base.plain(&glob.fixed);
    walk.folder(&Folder { real, is_linked, path: Vec::new() }, &glob.start())?;
    let Walk { mut found, mut matches, .. } = walk;
    // Apart from the walk, which is one thread's.
    found.par_iter_mut().filter(|matched| matched.is_file && matched.found.flaw.is_none()).for_each(|matched| {
        let Found { source, real, .. } = &matched.found;
        matched.found.flaw = match real {
            Some(real) => judge_file(real),
            None => judge_file(&base.path.join(source)),
        };
    });
    found.par_sort_unstable_by(|a, b| a.bytes().cmp(b.bytes()));
    matches.found = found.into_iter().map(|matched| matched.found).collect();
    Ok(matches)
}

struct Walk<'a> {
    base: &'a Base,
    glob: &'a Glob,
    found: Vec<Matched>,
    matches: Matches,
    /// Device and inode of the folders that the walk is in.
    above: Vec<(u64, u64)>,
    names: u64,
}

struct Matched {
    found: Found,
    /// An ordinary file, of which it is not known yet whether it can be read.
    is_file: bool,
    /// The path in bytes, where it is not UTF-8.
    raw: Option<Vec<u8>>,
}

impl Matched {
    /// What they are ordered by.
    fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.found.path.as_bytes())
    }
}

struct Folder {
    real: PathBuf,
    /// Whether a link was followed on the way.
    is_linked: bool,
    /// Relative to the fixed part.
    path: Vec<u8>,
}

impl Folder {
    /// Relative to the fixed part.
    fn path_of(&self, name: &OsStr) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len() + 1 + name.len());
        path.extend_from_slice(&self.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        path
    }
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Folder, states: &States) -> Result<(), Error> {
        let entries = match std::fs::read_dir(&folder.real) {
            Ok(entries) => entries,
            Err(error) => {
                self.matches.unreadable.push(unreadable(&folder.real, &error));
                return Ok(());
            }
        };
        for entry in entries {
            self.names += 1;
            if self.names > MOST_NAMES {
                let why = format!("more than {MOST_NAMES} names below it; a list file is quicker");
                return Err(Error::Unreadable { path: self.base.path.join(&self.glob.fixed), why });
            }
            match entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))) {
                Ok((name, kind)) => self.name(folder, states, &name, kind)?,
                Err(error) => self.matches.unreadable.push(unreadable(&folder.real, &error)),
            }
        }
        Ok(())
    }

    fn name(&mut self, folder: &Folder, states: &States, name: &OsStr, kind: std::fs::FileType) -> Result<(), Error> {
        let text = name.to_string_lossy();
        if !kind.is_dir() && !kind.is_symlink() {
            // Most names: nothing can be in it, so it is not asked how the glob would go on.
            if self.glob.takes(states, &text, Dots::Named) {
                let here = folder.real.join(name);
                let mut real = None;
                let flaw = if folder.is_linked { self.base.follow(&mut real, Ok(here.clone())) } else { None };
                let flaw = if kind.is_file() { flaw } else { flaw.or_else(|| judge_kind(&here, kind)) };
                self.add(folder.path_of(name), real, flaw, kind.is_file());
            }
            return Ok(());
        }
        let step = self.glob.step(states, &text, Dots::Named);
        if !step.is_match && step.inside.is_empty() {
            return Ok(());
        }
        let path = folder.path_of(name);
        let here = folder.real.join(name);
        if kind.is_dir() {
            if step.inside.is_empty() {
                return Ok(());
            }
            let inside = Folder { real: here, is_linked: folder.is_linked, path };
            return self.enter(&inside, &step.inside);
        }
        let leads_to = std::fs::metadata(&here).map(|metadata| metadata.file_type());
        match leads_to {
            Ok(kind) if kind.is_dir() => {
                if step.inside.is_empty() {
                    return Ok(());
                }
                let mut real = None;
                // Not entered where it is not allowed: a link to / would walk everything.
                if let Some(flaw) = self.base.follow(&mut real, std::fs::canonicalize(&here)) {
                    self.add(path, real, Some(flaw), false);
                    return Ok(());
                }
                let inside = Folder { real: real.unwrap_or(here), is_linked: true, path };
                self.enter(&inside, &step.inside)
            }
            Ok(kind) => {
                if step.is_match {
                    let mut real = None;
                    let flaw = self.base.follow(&mut real, std::fs::canonicalize(&here));
                    self.add(path, real, flaw.or_else(|| judge_kind(&here, kind)), false);
                }
                Ok(())
            }
            Err(error) => {
                if step.is_match {
                    let flaw = self.base.follow(&mut None, Err(error));
                    self.add(path, None, flaw, false);
                }
                Ok(())
            }
        }
    }

    fn enter(&mut self, folder: &Folder, states: &States) -> Result<(), Error> {
        let id = match std::fs::metadata(&folder.real) {
            Ok(metadata) => (metadata.dev(), metadata.ino()),
            Err(error) => {
                self.matches.unreadable.push(unreadable(&folder.real, &error));
                return Ok(());
            }
        };
        if self.above.contains(&id) {
            let link = self.source(&folder.path);
            self.matches
                .warnings
                .push(format!("{link} leads back to a folder that it is in; it is not followed again"));
            return Ok(());
        }
        self.above.push(id);
        let result = self.folder(folder, states);
        self.above.pop();
        result
    }

    fn add(&mut self, bytes: Vec<u8>, real: Option<PathBuf>, flaw: Option<String>, is_file: bool) {
        let source = self.source(&bytes);
        self.found.push(match String::from_utf8(bytes) {
            Ok(path) => Matched { found: Found { source, path, real, flaw }, is_file, raw: None },
            Err(error) => {
                let bytes = error.into_bytes();
                let flaw = Some(format!("the name is not UTF-8: {}", bytes.escape_ascii()));
                let path = String::from_utf8_lossy(&bytes).into_owned();
                Matched { found: Found { source, path, real, flaw }, is_file: false, raw: Some(bytes) }
            }
        });
    }

    fn source(&self, path: &[u8]) -> String {
        let path = String::from_utf8_lossy(path);
        match self.glob.fixed.as_str() {
            "" => path.into_owned(),
            "/" => format!("/{path}"),
            fixed => format!("{fixed}/{path}"),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Unreadable { path: path.to_owned(), why: said(error) }
}
