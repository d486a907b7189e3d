//! The folder: its lock, its log, its blobs.
//!
//! A blob is written whole before the log line that names it, so a process killed at any moment leaves either a version
//! or an orphan file, which the next start sweeps. Nothing is fsynced: the folder survives its process, not a power cut.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Error;
use super::record::Record;

const FORMAT: u32 = 1;
const IDENTITY: &str = "sandbox.json";
const LOCK: &str = ".lock";
const LOG: &str = "log.jsonl";
const BLOBS: &str = "blobs";

/// Says that a folder is a sandbox, and which keys open it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    format: u32,
    pub access_key: String,
    pub secret_key: String,
}

#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    lock: File,
    next: AtomicU64,
    pub identity: Identity,
}

/// The end of the log, where records are appended. Kept apart from [`Disk`], since only the holder of the index's lock may write.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    length: u64,
}

impl Disk {
    /// Opens or makes the folder, locks it, and replays its log into `replay`.
    pub fn open(dir: &Path, mut replay: impl FnMut(Record)) -> Result<(Arc<Self>, Log), Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Folder { path, source }
        };
        fs::create_dir_all(dir).map_err(at(dir))?;
        let known = dir.join(IDENTITY).exists();
        if !known {
            let foreign = fs::read_dir(dir).map_err(at(dir))?.flatten().any(|entry| entry.file_name() != LOCK);
            if foreign {
                return Err(Error::NotASandbox { dir: dir.to_owned() });
            }
        }
        let lock = take_lock(dir)?;
        let identity = if dir.join(IDENTITY).exists() { read_identity(dir)? } else { make_identity(dir)? };
        fs::create_dir_all(dir.join(BLOBS)).map_err(at(&dir.join(BLOBS)))?;
        let path = dir.join(LOG);
        let length = read_log(&path, &mut replay)?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
        // What a killed process wrote of a line, without its end.
        file.set_len(length).map_err(at(&path))?;
        let disk = Self { dir: dir.to_owned(), lock, next: AtomicU64::new(1), identity };
        Ok((Arc::new(disk), Log { file, length }))
    }

    /// Removes the blobs that no record names, and starts numbering after the highest that one does.
    pub fn sweep(&self, named: &HashSet<u64>) -> Result<(), Error> {
        self.next.store(named.iter().max().map_or(1, |highest| highest + 1), Ordering::Relaxed);
        let blobs = self.dir.join(BLOBS);
        let flaw = |source| Error::Folder { path: blobs.clone(), source };
        for shelf in fs::read_dir(&blobs).map_err(flaw)?.flatten() {
            for blob in fs::read_dir(shelf.path()).map_err(flaw)?.flatten() {
                let number = blob.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
                if number.is_some_and(|n| !named.contains(&n)) {
                    fs::remove_file(blob.path()).map_err(flaw)?;
                }
            }
        }
        Ok(())
    }

    /// A new blob file, removed again unless it is kept.
    pub fn new_blob(self: &Arc<Self>) -> io::Result<Blob> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.blob_path(number);
        let file = match File::create_new(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                File::create_new(&path)?
            }
            other => other?,
        };
        Ok(Blob { number, file, disk: Arc::clone(self), kept: false })
    }

    /// Opens a stored blob at an offset.
    pub fn open_blob(&self, number: u64, offset: u64) -> io::Result<File> {
        let mut file = File::open(self.blob_path(number))?;
        if offset > 0 {
            file.seek(io::SeekFrom::Start(offset))?;
        }
        Ok(file)
    }

    /// Removes a blob that no record names any more. A failure leaves an orphan for the next start.
    pub fn remove_blob(&self, number: u64) {
        if let Err(error) = fs::remove_file(self.blob_path(number)) {
            tracing::debug!(number, %error, "blob left for the next sweep");
        }
    }

    /// Lets another process have the folder, while handles to this one may still be around.
    pub fn unlock(&self) {
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::debug!(%error, "sandbox folder not unlocked");
        }
    }

    fn blob_path(&self, number: u64) -> PathBuf {
        self.dir.join(BLOBS).join(format!("{:02x}", number & 0xff)).join(number.to_string())
    }
}

/// A blob being written. Dropped without [`Blob::keep`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Blob {
    pub number: u64,
    pub file: File,
    disk: Arc<Disk>,
    kept: bool,
}

impl Blob {
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        if !self.kept {
            self.disk.remove_blob(self.number);
        }
    }
}

impl Log {
    /// Appends one record. After an error the log is as before.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // Half a line followed by a whole one would spoil both.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

fn take_lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let flaw = |source| Error::Folder { path: path.clone(), source };
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(flaw)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let holder = match file.read_to_string(&mut holder) {
            Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
            _ => "another process".to_owned(),
        };
        return Err(Error::Locked { dir: dir.to_owned(), holder });
    }
    file.set_len(0).map_err(flaw)?;
    file.write_all(std::process::id().to_string().as_bytes()).map_err(flaw)?;
    Ok(file)
}

fn read_identity(dir: &Path) -> Result<Identity, Error> {
    let path = dir.join(IDENTITY);
    let text = fs::read(&path).map_err(|source| Error::Folder { path: path.clone(), source })?;
    match serde_json::from_slice::<Identity>(&text) {
        Ok(identity) if identity.format == FORMAT => Ok(identity),
        _ => Err(Error::NotASandbox { dir: dir.to_owned() }),
    }
}

fn make_identity(dir: &Path) -> Result<Identity, Error> {
    use md5::Digest as _;
    let secret = sha2::Sha256::digest([*uuid::Uuid::now_v7().as_bytes(), *uuid::Uuid::now_v7().as_bytes()].concat());
    let public = sha2::Sha256::digest(uuid::Uuid::now_v7().as_bytes());
    let identity = Identity {
        format: FORMAT,
        access_key: format!("SANDBOX{}", hex::encode_upper(&public[..6])),
        secret_key: hex::encode(&secret[..20]),
    };
    let path = dir.join(IDENTITY);
    let flaw = |source: io::Error| Error::Folder { path: path.clone(), source };
    // A temporary name and a rename, so that a crash here leaves no half identity to trip over. Readable by the owner alone.
    let mut file = tempfile::NamedTempFile::with_prefix_in(LOCK, dir).map_err(flaw)?;
    file.write_all(&serde_json::to_vec_pretty(&identity).map_err(|e| flaw(e.into()))?).map_err(flaw)?;
    file.persist(&path).map_err(|e| flaw(e.error))?;
    Ok(identity)
}

/// Replays the log; returns the length of its whole lines.
fn read_log(path: &Path, replay: &mut impl FnMut(Record)) -> Result<u64, Error> {
    let flaw = |source| Error::Folder { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(flaw(e)),
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::new();
    let (mut length, mut number) = (0u64, 0u64);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(flaw)?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Ok(length);
        }
        number += 1;
        let record = serde_json::from_slice(&line).map_err(|source| Error::Log {
            path: path.to_owned(),
            line: number,
            source,
        })?;
        replay(record);
        length += read as u64;
    }
}
