//! A folder, the commands that were given in it, and what came of each.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support;

pub struct Session {
    pub folder: tempfile::TempDir,
    told: String,
}

/// One manifest over three small files.
pub const MANIFEST: &str = "\
version: 1
name: small
bucket: a-bucket
prefix: \"{{ date }}/\"
entries:
  - source: out/a.txt
    key: a.txt
  - source: out/b.txt
    key: b.txt
    overwrite: if-changed
";

impl Session {
    pub fn new() -> Self {
        let session = Self { folder: tempfile::tempdir().unwrap(), told: String::new() };
        session.write("out/a.txt", "a\n");
        session.write("out/b.txt", "b\n");
        session.write("m.yaml", MANIFEST);
        session
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs a command that is only there to prepare; it must succeed.
    pub fn prepare(&self, command: &str) {
        let output = self.output(command);
        assert!(output.status.success(), "{command}: {output:?}");
    }

    pub fn output(&self, command: &str) -> Output {
        support::noclobber(self.folder.path()).args(command.split_whitespace()).output().unwrap()
    }

    /// Runs a command and writes down what came of it. Words are split at blanks, as a shell does.
    pub fn run(&mut self, command: &str) -> &mut Self {
        let output = self.output(command);
        self.note(command, &output);
        self
    }

    pub fn note(&mut self, command: &str, output: &Output) {
        let _ = writeln!(self.told, "$ noclobber {command}\nexit {}", output.status.code().unwrap());
        for (name, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = std::str::from_utf8(text).expect("UTF-8");
            assert!(!text.contains('\u{1b}'), "an escape code in a pipe: {text:?}");
            // How often a phase is told depends on the machine; that it ended does not.
            let lines: Vec<&str> = text.lines().filter(|line| !is_progress(line)).collect();
            if !lines.is_empty() {
                let _ = writeln!(self.told, "--- {name}\n{}", lines.join("\n"));
            }
        }
        self.told.push('\n');
    }

    /// Everything so far, without what no two runs share.
    pub fn told(&self) -> String {
        redact(&self.told, self.folder.path())
    }
}

fn is_progress(line: &str) -> bool {
    let phase = ["looking: ", "hashing: ", "checking: ", "uploading: "].iter().any(|phase| line.starts_with(phase));
    phase && !line.contains(", in ")
}

/// `9` is any digit, `h` any lower-case hex digit.
const PATTERNS: [(&str, &str); 8] = [
    ("hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh", "[RUN]"),
    ("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh", "[SHA256]"),
    ("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh", "[ID]"),
    ("9999-99-99T99:99:99.999Z", "[TIME]"),
    ("9999-99-99T99:99:99Z", "[TIME]"),
    ("99999999T999999.999999Z", "[TIME]"),
    ("SANDBOXhhhhhhhhh", "[REQUEST]"),
    ("SANDBOX999999999", "[REQUEST]"),
];

/// Names, each followed by a number that differs from run to run.
const NUMBERS: [&str; 9] = [
    ", in ",
    "\"duration_ms\":",
    "\"duration_ms\": ",
    "\"elapsed_ms\":",
    "\"seconds\":",
    "\"seconds\": ",
    "127.0.0.1:",
    "process ",
    "\"bytes_per_second\":",
];

pub fn redact(text: &str, folder: &Path) -> String {
    let real = folder.canonicalize().unwrap();
    let text = text.replace(real.to_str().unwrap(), "[DIR]").replace(folder.to_str().unwrap(), "[DIR]");
    let mut redacted = String::new();
    let mut rest = text.as_str();
    'text: while let Some(first) = rest.chars().next() {
        for (pattern, name) in PATTERNS {
            if fits(rest, pattern) {
                redacted.push_str(name);
                rest = &rest[pattern.len()..];
                continue 'text;
            }
        }
        for name in NUMBERS {
            if let Some(after) = rest.strip_prefix(name)
                && after.starts_with(|c: char| c.is_ascii_digit())
            {
                redacted.push_str(name);
                redacted.push_str("[N]");
                rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                continue 'text;
            }
        }
        redacted.push(first);
        rest = &rest[first.len_utf8()..];
    }
    redacted
}

fn fits(text: &str, pattern: &str) -> bool {
    text.len() >= pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'9' => byte.is_ascii_digit(),
            b'h' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            exact => byte == exact,
        })
}
