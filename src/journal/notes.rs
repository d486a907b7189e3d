//! `R.journal`: JSON lines, the first of which names the run. Each is written before what it announces begins.

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

/// A step that was about to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// The step's `n`.
    pub n: u64,
    /// Lines of the partial report at that time: a row of this step among the later ones tells how it ended.
    pub lines: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Note {
    Begun(Begun),
    Upload(Upload),
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
    pub begun: Vec<Begun>,
    pub uploads: Vec<Upload>,
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
        let mut begun = Vec::new();
        let mut uploads = Vec::new();
        for line in lines {
            match serde_json::from_slice(line).map_err(damaged)? {
                Note::Begun(step) => begun.push(step),
                Note::Upload(upload) => uploads.push(upload),
            }
            whole_bytes += line.len() as u64;
        }
        let Header { noclobber_journal: _, run_id, plan_digest, started_at: _ } = header;
        Ok(Some(Before { run_id, plan_digest, begun, uploads, whole_bytes }))
    }

    pub fn open(path: &Path, before: Option<&Before>, run_id: &str, plan_digest: &str) -> Result<Self, JournalError> {
        if let Some(before) = before {
            return Ok(Self { tape: Tape::open(path, before.whole_bytes)? });
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
        Ok(Self { tape: Tape::open(path, bytes)? })
    }

    /// Survives the process, and not a power cut: a sync a step would cost more than the small uploads themselves.
    pub fn begun(&mut self, begun: Begun) -> io::Result<()> {
        self.tape.append(&encode(&Note::Begun(begun))?)
    }

    /// Survives a power cut: an upload that nobody remembers is billed for ever.
    pub fn upload(&mut self, upload: &Upload) -> io::Result<()> {
        self.tape.append(&encode(&Note::Upload(upload.clone()))?)?;
        self.tape.sync()
    }
}

fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
