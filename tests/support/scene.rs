//! One scene of an end-to-end test: a server, a stranger's bucket on it, a folder of sources, and our binary over them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;

use noclobber::model::row::{Outcome, Row};
use noclobber::plan::file::{self, Plan};
use noclobber::report::csv::{self, Tail};
use rustix::process::{Pid, Signal};

use super::{REGION, Server, Stranger, Versioning};

pub struct Scene {
    pub server: Server,
    pub stranger: Stranger,
    folder: tempfile::TempDir,
}

/// What a process said and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Whether standard error has every one of these words.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in:\n{}", self.stderr);
        }
        self
    }
}

/// Our binary at work, its standard output read as it comes.
pub struct Running {
    child: Child,
    stdout: std::io::Lines<BufReader<ChildStdout>>,
    said: String,
    stderr: std::thread::JoinHandle<String>,
    told: mpsc::Receiver<String>,
}

impl Running {
    /// Waits for a line of standard error that has this word. Ends the test where the process ends without one.
    #[track_caller]
    pub fn until_told(self, word: &str) -> Self {
        loop {
            match self.told.recv() {
                Ok(line) if line.contains(word) => return self,
                Ok(_) => {}
                Err(mpsc::RecvError) => panic!("{word:?} was never told: {:?}", self.ended()),
            }
        }
    }

    /// Whether it has not ended yet.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for a line. Ends the test where the process ends without one.
    #[track_caller]
    pub fn until(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        loop {
            let Some(line) = self.stdout.next() else { panic!("it never came: {:?}", self.ended()) };
            let line = line.unwrap();
            let found = wanted(&line);
            self.said.push_str(&line);
            self.said.push('\n');
            if found {
                return self;
            }
        }
    }

    pub fn signal(self, signal: Signal) -> Self {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
        self
    }

    /// Waits until it has ended.
    pub fn ended(mut self) -> Ran {
        for line in self.stdout {
            self.said.push_str(&line.unwrap());
            self.said.push('\n');
        }
        let code = self.child.wait().unwrap().code();
        Ran { code, stdout: self.said, stderr: self.stderr.join().unwrap() }
    }
}

impl Scene {
    pub async fn new(server: &Server, versioning: Versioning) -> Self {
        let stranger = server.fresh_bucket(versioning).await;
        Self { server: server.clone(), stranger, folder: tempfile::tempdir().unwrap() }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a source.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Writes `m.yaml` for the bucket: `more` at the top level, then the entries.
    pub fn manifest(&self, more: &str, entries: &str) {
        let (bucket, endpoint) = (&self.stranger.bucket, &self.server.endpoint);
        let text = format!(
            "version: 1\nbucket: {bucket}\nendpoint: {endpoint}\nregion: {REGION}\n{more}\nentries:\n{entries}\n"
        );
        self.write("m.yaml", text);
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.server.noclobber(self.folder());
        command.args(args);
        command
    }

    pub fn noclobber(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    pub fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            for line in errors.map(Result::unwrap) {
                text.push_str(&line);
                text.push('\n');
                // Not everybody listens.
                let _ = tell.send(line);
            }
            text
        });
        Running { child, stdout, said: String::new(), stderr, told }
    }

    /// Plans `m.yaml` into `plan.jsonl`.
    #[track_caller]
    pub fn plans(&self) -> Plan {
        self.noclobber(&["plan", "m.yaml", "-o", "plan.jsonl"]).exits(0);
        self.plan("plan.jsonl")
    }

    pub fn plan(&self, name: &str) -> Plan {
        let from = std::fs::File::open(self.path(name)).unwrap();
        file::read(BufReader::new(from), name).unwrap()
    }

    /// The rows of a finished report, in order.
    #[track_caller]
    pub fn report(&self, name: &str) -> Vec<Row> {
        let from = std::fs::File::open(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        csv::read(name, from, Tail::Whole).unwrap()
    }

    /// Every object with its bytes.
    pub async fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = BTreeMap::new();
        for key in self.stranger.keys().await {
            let bytes = self.stranger.get(&key).await.unwrap();
            objects.insert(key, bytes);
        }
        objects
    }

    /// Holds a row against the bucket's history, where it has one, and against the object that is there.
    ///
    /// A row that claims a write has exactly one version with its write id, of the ETag and version id that the row names
    /// and with the bytes that were planned. A row that claims none has none.
    pub async fn hold_to_its_word(&self, row: &Row, planned: &[u8]) {
        let case = || format!("{}: {row:#?}", self.server.name);
        let ours: Vec<_> = self
            .stranger
            .history(&row.key)
            .await
            .into_iter()
            .filter(|past| past.write_id.as_ref().is_some_and(|id| *id == row.write_id || row.write_id.is_empty()))
            .collect();
        match row.outcome {
            Outcome::Created | Outcome::Replaced | Outcome::Restored => {
                let [past] = ours.as_slice() else { panic!("{} versions\n{}", ours.len(), case()) };
                assert_eq!(past.write_id.as_deref(), Some(&*row.write_id), "{}", case());
                assert_eq!(past.etag.trim_matches('"'), row.etag_after, "{}", case());
                assert_eq!(past.version.as_deref().unwrap_or_default(), row.version_after, "{}", case());
                assert!(past.bytes == planned, "other bytes than were planned\n{}", case());
            }
            Outcome::Deleted
            | Outcome::Unchanged
            | Outcome::Kept
            | Outcome::Refused
            | Outcome::Lost
            | Outcome::Stale
            | Outcome::SourceChanged
            | Outcome::Failed
            | Outcome::NotAttempted => assert!(ours.is_empty(), "it was written all the same\n{}", case()),
            Outcome::Unknown => {}
        }
    }
}

/// How many rows ended so.
pub fn count(rows: &[Row], outcome: Outcome) -> usize {
    rows.iter().filter(|row| row.outcome == outcome).count()
}

/// Bytes that differ with the seed, from block to block, and within one (splitmix64). Cheap even where nothing is
/// optimised: the blocks are one, but for their numbers.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    const BLOCK: usize = 64 << 10;
    let mut state = seed;
    let mut block = Vec::with_capacity(BLOCK + 8);
    while block.len() < BLOCK.min(length) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        block.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    block.truncate(BLOCK);
    let mut bytes = Vec::with_capacity(length + BLOCK);
    for number in 1u64.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(&block);
        if let Some(first) = block.first_chunk_mut() {
            *first = number.to_le_bytes();
        }
    }
    bytes.truncate(length);
    bytes
}
