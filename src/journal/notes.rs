//! `R.journal`: JSON lines, the first of which names the run. Each is on disk before what it announces begins.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::JournalError;
use super::files::{self, Owner, Tape};
use crate::model::entry::Key;

const FORMAT: u32 = 1;

/// A multipart upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// The step's `n`.
    pub n: u64,
    pub key: Key,
    pub upload_id: String,
}

/// One line after the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Note {
    Upload(Upload),
    Begun(Begun),
}

/// A step whose write is about to be sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    begun: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    noclobber_journal: u32,
    run_id: String,
    plan_digest: String,
    started_at: String,
}

/// What an earlier run left.
#[derive(Debug)]
pub(super) struct Before {
    pub run_id: String,
    plan_digest: String,
    uploads: Vec<Upload>,
    begun: Vec<u64>,
    whole_bytes: u64,
}

impl Before {
    pub fn owner(&self) -> Owner {
        Owner { run_id: Some(self.run_id.clone()), plan_digest: Some(self.plan_digest.clone()) }
    }
}

#[derive(Debug)]
pub(super) struct Notes {
    tape: Tape,
}

impl Notes {
    /// `None` where there is none, or one whose first line was torn: that run never began to write.
    pub fn read(path: &Path) -> Result<Option<Before>, JournalError> {
        let text = files::read(path)?;
        let damaged = |source: serde_json::Error| JournalError::Io {
            path: path.to_owned(),
            act: "be understood (move it away to begin a new run)",
            source: source.into(),
        };
        let mut lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let Some(first) = lines.next() else { return Ok(None) };
        let header: Header = serde_json::from_slice(first).map_err(damaged)?;
        if header.noclobber_journal != FORMAT {
            return Err(damaged(serde::de::Error::custom("it is of another version of noclobber")));
        }
        let mut whole_bytes = first.len() as u64;
        let (mut uploads, mut begun) = (Vec::new(), Vec::new());
        for line in lines {
            match serde_json::from_slice(line).map_err(damaged)? {
                Note::Upload(upload) => uploads.push(upload),
                Note::Begun(step) => begun.push(step.begun),
            }
            whole_bytes += line.len() as u64;
        }
        let Header { noclobber_journal: _, run_id, plan_digest, started_at: _ } = header;
        Ok(Some(Before { run_id, plan_digest, uploads, begun, whole_bytes }))
    }

    pub fn open(
        path: &Path,
        before: Option<Before>,
        run_id: &str,
        plan_digest: &str,
    ) -> Result<(Self, Vec<Upload>, Vec<u64>), JournalError> {
        if let Some(Before { uploads, begun, whole_bytes, .. }) = before {
            return Ok((Self { tape: Tape::open(path, whole_bytes)? }, uploads, begun));
        }
        let header = Header {
            noclobber_journal: FORMAT,
            run_id: run_id.to_owned(),
            plan_digest: plan_digest.to_owned(),
            started_at: jiff::Timestamp::now().to_string(),
        };
        let write = || {
            let line = encode(&header)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
            file.write_all(&line)?;
            file.sync_all()?;
            Ok(line.len() as u64)
        };
        let bytes = write().map_err(JournalError::io(path, "be written"))?;
        Ok((Self { tape: Tape::open(path, bytes)? }, Vec::new(), Vec::new()))
    }

    pub fn upload(&mut self, upload: Upload) -> io::Result<()> {
        self.tape.append(&encode(&Note::Upload(upload))?)?;
        self.tape.sync()
    }

    /// Not synced: it outlives the process, and a power failure takes no write back that was sent.
    pub fn begun(&mut self, n: u64) -> io::Result<()> {
        self.tape.append(&encode(&Note::Begun(Begun { begun: n }))?)
    }
}

fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
