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
    /// The id of an upload that was completed or aborted.
    Over(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    noclobber_journal: u32,
    run_id: String,
    plan_digest: String,
    started_at: String,
    /// Tells one start of the machine from another; none where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
}

/// What an earlier run left.
#[derive(Debug)]
pub(super) struct Before {
    pub run_id: String,
    plan_digest: String,
    started_at: String,
    pub begun: Vec<Begun>,
    /// Those that are not over.
    pub uploads: Vec<Upload>,
    /// Whether the machine has been up ever since: then nothing that was noted can be missing.
    pub is_of_this_boot: bool,
    boot_id: Option<String>,
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
    header: Header,
    /// In the order in which they were begun.
    open: Vec<Upload>,
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
                Note::Over(id) => uploads.retain(|upload: &Upload| upload.upload_id != id),
            }
            whole_bytes += line.len() as u64;
        }
        let Header { noclobber_journal: _, run_id, plan_digest, started_at, boot_id } = header;
        let is_of_this_boot = boot_id.is_some() && boot_id == this_boot();
        Ok(Some(Before { run_id, plan_digest, started_at, begun, uploads, is_of_this_boot, boot_id, whole_bytes }))
    }

    pub fn open(path: &Path, before: Option<&Before>, run_id: &str, plan_digest: &str) -> Result<Self, JournalError> {
        if let Some(before) = before {
            let header = Header {
                noclobber_journal: FORMAT,
                run_id: before.run_id.clone(),
                plan_digest: before.plan_digest.clone(),
                started_at: before.started_at.clone(),
                boot_id: before.boot_id.clone(),
            };
            return Ok(Self { tape: Tape::open(path, before.whole_bytes)?, header, open: before.uploads.clone() });
        }
        let header = Header {
            noclobber_journal: FORMAT,
            run_id: run_id.to_owned(),
            plan_digest: plan_digest.to_owned(),
            started_at: jiff::Timestamp::now().to_string(),
            boot_id: this_boot(),
        };
        let write = || {
            let line = encode(&header)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
            file.write_all(&line)?;
            file.sync_all()?;
            Ok(line.len() as u64)
        };
        let bytes = write().map_err(JournalError::io(path, "be written"))?;
        Ok(Self { tape: Tape::open(path, bytes)?, header, open: Vec::new() })
    }

    /// Survives the process, and not a power cut: a sync a step would cost more than the small uploads themselves.
    pub fn begun(&mut self, begun: Begun) -> io::Result<()> {
        self.tape.append(&encode(&Note::Begun(begun))?)
    }

    /// Survives a power cut: an upload that nobody remembers is billed for ever.
    pub fn upload(&mut self, upload: &Upload) -> io::Result<()> {
        self.tape.append(&encode(&Note::Upload(upload.clone()))?)?;
        self.open.push(upload.clone());
        self.tape.sync()
    }

    /// Need not survive anything: an upload that is over is found to be so.
    pub fn over(&mut self, upload_id: &str) -> io::Result<()> {
        self.open.retain(|upload| upload.upload_id != upload_id);
        self.tape.append(&encode(&Note::Over(upload_id.to_owned()))?)
    }

    /// What has to be kept when the run is over: the uploads that could not be aborted, if any.
    pub fn left(&self) -> io::Result<Option<Vec<u8>>> {
        if self.open.is_empty() {
            return Ok(None);
        }
        let mut text = encode(&self.header)?;
        for upload in &self.open {
            text.extend(encode(&Note::Upload(upload.clone()))?);
        }
        Ok(Some(text))
    }
}

/// What tells this start of the machine from any other, where the system tells it (Linux does; see random(4)).
fn this_boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
