//! Files that this program writes for people and programs: whole or not at all, and over nothing but its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::model::exit::Exit;

use super::Failure;

/// So much of a file tells whose work it is.
const START_BYTES: u64 = 8 << 10;

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a place whose folder is not there, or that is no file. Nothing is opened: a pipe may hang, a device may act.
pub(super) fn may_hold(path: &Path) -> Result<(), Failure> {
    let folder = folder_of(path);
    if !folder.is_dir() {
        let text = format!("{}: no such folder; make it first, or name another file", folder.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            Err(Failure::new(Exit::Usage, format!("{} is no file; name another", path.display())))
        }
        // Nothing, or a link that leads nowhere.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Refuses a place that holds anything but nothing, or work of ours that may be made anew.
pub(super) fn may_replace(path: &Path, what: &str, is_ours: impl FnOnce(&[u8]) -> bool) -> Result<(), Failure> {
    may_hold(path)?;
    let start = || -> std::io::Result<Vec<u8>> {
        let mut start = Vec::new();
        File::open(path)?.take(START_BYTES).read_to_end(&mut start)?;
        Ok(start)
    };
    // An empty file is nobody's work: `mktemp` makes such names.
    if !path.exists() || start().is_ok_and(|start| start.is_empty() || is_ours(&start)) {
        return Ok(());
    }
    let text = format!("{} is there already and is no {what}: it is left alone; name another file", path.display());
    Err(Failure::new(Exit::Usage, text))
}

/// Gives a whole text its name, or leaves what was there. Whoever reads the file meanwhile sees the one or the other.
pub(super) fn put(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    // A collector that takes every `*.prom` of the folder must not take this one.
    let mut file = tempfile::Builder::new().prefix(".noclobber-").suffix(".new").tempfile_in(folder_of(path))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
