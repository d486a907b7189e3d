//! The plan file: JSON Lines, a header, one line a step, a footer with counts and digest.
//!
//! Reading believes nothing: the digest is computed anew, the counts are counted anew, and a step that could write more
//! than its action says is refused. The digest catches accidents; only `--expect` stops somebody who can compute one.

use std::collections::HashSet;
use std::io::{self, BufRead, Write};

use sha2::Digest as _;

use crate::model::digest::Sha256;
use crate::model::row::Guard;
use crate::model::step::{Action, Counts, Footer, Header, PLAN_FORMAT, Step, digest_text};
use crate::model::target::Target;

/// A line longer than this is no plan of ours (a key has at most 1,024 bytes, metadata 2 KB, a path 4 KiB).
const LINE_MAX_BYTES: usize = 16 << 20;

/// Why a plan file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{name}: cannot be read: {source}")]
    Io { name: String, source: io::Error },
    #[error("{name}: not a noclobber plan: {why}. Make one with `noclobber plan MANIFEST -o FILE`")]
    NotAPlan { name: String, why: String },
    #[error("{name}: plan format {found}; this noclobber reads format {PLAN_FORMAT}. Plan again with this version")]
    Format { name: String, found: u64 },
    #[error("{name}:{line}: {why}. The file is damaged or was edited: plan again")]
    Damaged { name: String, line: u64, why: String },
    #[error("{name}: ends after line {line} without a footer: it was cut short. Plan again")]
    Truncated { name: String, line: u64 },
    #[error(
        "{name}: its lines have digest {found}, its footer says {said}. The file is damaged or was edited: plan again"
    )]
    Digest { name: String, found: String, said: String },
}

/// Adds a step's line to `lines`.
pub fn line(step: &Step, lines: &mut Vec<u8>) {
    // A step holds nothing that JSON cannot, and memory takes every write.
    let _ = serde_json::to_writer(&mut *lines, step);
    lines.push(b'\n');
}

/// Writes a plan, and signs it off with a digest.
pub struct Writer<W: Write> {
    to: W,
    hasher: sha2::Sha256,
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Begins a plan with its header.
    pub fn new(to: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { to, hasher: sha2::Sha256::new() };
        let mut line = serde_json::to_vec(header)?;
        line.push(b'\n');
        writer.lines(&line)?;
        Ok(writer)
    }

    /// Adds bytes of the steps' lines, as [`line()`] makes them.
    pub fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.hasher.update(lines);
        self.to.write_all(lines)
    }

    /// Gives up before the end: what was written is no plan.
    pub fn into_inner(self) -> W {
        self.to
    }

    /// Ends the plan, and gives back its footer. `counts` are those of the steps added.
    pub fn finish(mut self, counts: Counts) -> io::Result<(W, Footer)> {
        let footer = Footer { counts, digest: Sha256(self.hasher.finalize_reset().into()) };
        let mut line = serde_json::to_vec(&footer)?;
        line.push(b'\n');
        self.to.write_all(&line)?;
        self.to.flush()?;
        Ok((self.to, footer))
    }
}

/// The one field that every format has.
#[derive(serde::Deserialize)]
struct Format {
    noclobber_plan: u64,
}

/// Reads a plan, line by line. Only a `Reader` that reached its footer has read a plan: until then the steps are words.
pub struct Reader<R: BufRead> {
    from: R,
    name: String,
    header: Header,
    hasher: sha2::Sha256,
    counts: Counts,
    line: u64,
    claimed: HashSet<[u8; 16]>,
    footer: Option<Footer>,
    buffer: Vec<u8>,
}

impl<R: BufRead> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).field("line", &self.line).finish_non_exhaustive()
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the header. `name` is how errors call the file.
    pub fn new(mut from: R, name: &str) -> Result<Self, PlanError> {
        let mut buffer = Vec::new();
        let mut hasher = sha2::Sha256::new();
        let not_a_plan = |why: &str| PlanError::NotAPlan { name: name.to_owned(), why: why.to_owned() };
        if !take_line(&mut from, &mut buffer, name)? {
            return Err(not_a_plan("it is empty"));
        }
        hasher.update(&buffer);
        let Ok(Format { noclobber_plan: found }) = serde_json::from_slice(&buffer) else {
            return Err(not_a_plan("its first line is no plan header"));
        };
        if found != u64::from(PLAN_FORMAT) {
            return Err(PlanError::Format { name: name.to_owned(), found });
        }
        let header: Header = serde_json::from_slice(&buffer).map_err(|error| not_a_plan(&error.to_string()))?;
        let mut names = HashSet::new();
        if let Some(twice) = header.targets.iter().find(|target| !names.insert(&target.name)) {
            return Err(not_a_plan(&format!("two targets are named {:?}", twice.name)));
        }
        Ok(Self {
            from,
            name: name.to_owned(),
            header,
            hasher,
            counts: Counts::default(),
            line: 1,
            claimed: HashSet::new(),
            footer: None,
            buffer,
        })
    }

    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next step, or `None` once the footer was read and everything agreed with it.
    pub fn step(&mut self) -> Result<Option<Step>, PlanError> {
        if self.footer.is_some() {
            return Ok(None);
        }
        if !take_line(&mut self.from, &mut self.buffer, &self.name)? {
            return Err(PlanError::Truncated { name: self.name.clone(), line: self.line });
        }
        self.line += 1;
        if self.buffer.starts_with(b"{\"counts\"") {
            return self.foot().map(|()| None);
        }
        self.hasher.update(&self.buffer);
        let step: Step = serde_json::from_slice(&self.buffer).map_err(|error| self.damaged(error.to_string()))?;
        self.check(&step)?;
        self.counts.add(&step);
        Ok(Some(step))
    }

    /// The footer, once [`Reader::step`] has returned `None`.
    #[must_use]
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// Gives up the header, for those who read the plan to its end.
    #[must_use]
    pub fn into_header(self) -> Header {
        self.header
    }

    fn foot(&mut self) -> Result<(), PlanError> {
        let footer: Footer = serde_json::from_slice(&self.buffer).map_err(|error| self.damaged(error.to_string()))?;
        let found = Sha256(self.hasher.finalize_reset().into());
        if found != footer.digest {
            return Err(PlanError::Digest {
                name: self.name.clone(),
                found: digest_text(&found),
                said: digest_text(&footer.digest),
            });
        }
        if footer.counts != self.counts {
            return Err(self.damaged("the footer's counts are not those of the steps".to_owned()));
        }
        let mut rest = Vec::new();
        if take_line(&mut self.from, &mut rest, &self.name)? {
            self.line += 1;
            return Err(self.damaged("something follows the footer".to_owned()));
        }
        self.footer = Some(footer);
        Ok(())
    }

    /// What a step must be for its action to mean what it says.
    fn check(&mut self, step: &Step) -> Result<(), PlanError> {
        let expected = self.counts.steps() + 1;
        if step.n != expected {
            return Err(self.damaged(format!("step {} where step {expected} belongs", step.n)));
        }
        let Some(target) = self.header.targets.iter().find(|target| *target.name == *step.target) else {
            return Err(self.damaged(format!("target {:?} is not in the header", step.target)));
        };
        if let Some(stage) = &step.stage
            && !self.header.stages.iter().any(|known| **known == **stage)
        {
            return Err(self.damaged(format!("stage {stage:?} is not in the header")));
        }
        let why = self.flaw(step, target).or_else(|| flaw_of_write(step));
        if let Some(why) = why {
            return Err(self.damaged(why.to_owned()));
        }
        // Half a SHA-256 of where the step writes: a set of a million costs 16 bytes each, and no two keys meet by chance.
        let (endpoint, bucket) = target.place();
        let mut hasher = sha2::Sha256::new();
        for part in [endpoint.as_bytes(), bucket.as_bytes(), step.key.as_str().as_bytes()] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let full: [u8; 32] = hasher.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&full[..16]);
        if step.action.writes() && !self.claimed.insert(half) {
            return Err(self.damaged(format!("a second write to key {:?}", step.key.as_str())));
        }
        Ok(())
    }

    /// How a step is not what a plan of its kind can hold: a rollback uploads nothing, and nothing else rolls back.
    fn flaw(&self, step: &Step, target: &Target) -> Option<&'static str> {
        let is_rollback = self.header.undoes.is_some();
        match step.action {
            Action::Create | Action::Replace if is_rollback => Some("an upload in a rollback"),
            Action::Restore | Action::Delete if !is_rollback => {
                Some("a rollback's step in a plan that rolls nothing back")
            }
            Action::Restore | Action::Delete if step.guard == Some(Guard::Atomic) && !target.is_aws() => {
                Some("a guard that only AWS gives")
            }
            Action::Restore | Action::Delete => flaw_of_undo(step),
            Action::Create | Action::Replace | Action::Unchanged | Action::Keep | Action::Refuse | Action::Error => {
                step.guard.map(|_| "a step with a guard of its own, and is no rollback's")
            }
        }
    }

    fn damaged(&self, why: String) -> PlanError {
        PlanError::Damaged { name: self.name.clone(), line: self.line, why }
    }
}

/// How a restore or a delete could do more than it says.
fn flaw_of_undo(step: &Step) -> Option<&'static str> {
    let earlier = step.earlier.as_ref().map(|earlier| &earlier.seen);
    let is_named = earlier.is_some_and(|seen| seen.version.is_some() && is_exact(seen.etag.as_str()));
    let current = step.head.as_ref().and_then(|head| head.version.as_ref());
    if step.local.is_some() {
        return Some("a rollback's step with a file");
    }
    match step.action {
        Action::Restore if !is_named => Some("a restore that does not name the version to bring back"),
        Action::Restore if current.is_some() && current == earlier.and_then(|seen| seen.version.as_ref()) => {
            Some("a restore of the version that is current")
        }
        Action::Delete if earlier.is_some() => Some(NO_RESTORE),
        Action::Delete if step.head.is_none() => Some("a delete that does not name what it deletes"),
        Action::Create
        | Action::Replace
        | Action::Restore
        | Action::Delete
        | Action::Unchanged
        | Action::Keep
        | Action::Refuse
        | Action::Error => None,
    }
}

const NO_RESTORE: &str = "a step that names a version to bring back, and is no restore";

/// How an upload could do more than it says, and what no write can be without.
fn flaw_of_write(step: &Step) -> Option<&'static str> {
    let pinned = step.local.as_ref().and_then(|local| local.checksum.as_ref()).is_some();
    match step.action {
        Action::Create if step.head.is_some() => Some("a create that names an object to replace"),
        Action::Create | Action::Replace if step.earlier.is_some() => Some(NO_RESTORE),
        Action::Replace if step.head.is_none() => Some("a replace that does not name what it replaces"),
        Action::Replace if !step.rule.may_replace() => Some("a replace under a rule that never replaces"),
        Action::Create | Action::Replace | Action::Restore | Action::Delete
            if step.key.as_str().is_empty() || step.key.as_str().len() > 1024 =>
        {
            Some("a key that S3 cannot have")
        }
        Action::Replace | Action::Restore | Action::Delete
            if step.etag_before().is_some_and(|etag| !is_exact(etag.as_str())) =>
        {
            Some("a write whose ETag does not name one object")
        }
        Action::Create | Action::Replace if !pinned => Some("a write without the checksum of what it writes"),
        Action::Create
        | Action::Replace
        | Action::Restore
        | Action::Delete
        | Action::Unchanged
        | Action::Keep
        | Action::Refuse
        | Action::Error => None,
    }
}

/// Whether an ETag names exactly one object: `*`, a list or an empty one would match others (RFC 9110, section 13.1.1).
fn is_exact(etag: &str) -> bool {
    !etag.is_empty() && etag != "*" && etag.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b','))
}

/// Reads one line with its line feed; false at the end. A last line without one was cut short and is damage.
fn take_line(from: &mut impl BufRead, buffer: &mut Vec<u8>, name: &str) -> Result<bool, PlanError> {
    use std::io::Read as _;
    buffer.clear();
    let io = |source| PlanError::Io { name: name.to_owned(), source };
    let read = from.take(LINE_MAX_BYTES as u64).read_until(b'\n', buffer).map_err(io)?;
    if read > 0 && !buffer.ends_with(b"\n") {
        let why = "a line is cut short or far too long".to_owned();
        return Err(PlanError::NotAPlan { name: name.to_owned(), why });
    }
    Ok(read > 0)
}

/// A plan that was read to its footer and found whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub header: Header,
    pub steps: Vec<Step>,
    pub footer: Footer,
}

/// Reads a whole plan. What is returned is a private copy: nobody can change it any more.
pub fn read(from: impl BufRead, name: &str) -> Result<Plan, PlanError> {
    let mut reader = Reader::new(from, name)?;
    let mut steps = Vec::new();
    while let Some(step) = reader.step()? {
        steps.push(step);
    }
    match reader.footer().copied() {
        Some(footer) => Ok(Plan { header: reader.into_header(), steps, footer }),
        None => Err(PlanError::Truncated { name: name.to_owned(), line: reader.line }),
    }
}

#[cfg(test)]
mod tests;
