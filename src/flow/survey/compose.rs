//! From what was gathered and decided to a plan file, signed off with its digest.
//!
//! The header stands first in a plan and says what the steps broke (limits), which is known when all are decided. It is
//! written as it will be if they break nothing, and the steps after it as they come; only where it turns out otherwise
//! is the plan written a second time.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, SpooledTempFile};

use crate::bucket::check::require::Demand;
use crate::manifest::limits::{Planned, exceeded};
use crate::model::step::{Counts, Footer, Header, PLAN_FORMAT};
use crate::model::target::Target;
use crate::plan::file::Writer;

use super::Decided;
use super::gather::{Gathered, Policy};

/// Up to so many bytes of a plan that gets no file of its own stay in memory.
const IN_MEMORY_BYTES: usize = 4 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// Where a plan is written until it is whole.
#[derive(Debug)]
pub enum Room {
    /// A file beside the one that it will become.
    File(NamedTempFile),
    /// Memory while it is small, then an unnamed file.
    Passing(SpooledTempFile, PathBuf),
}

impl Room {
    /// In a file in `folder`.
    pub fn file(folder: &Path) -> io::Result<Self> {
        Ok(Self::File(tempfile::Builder::new().prefix(".noclobber-plan-").tempfile_in(folder)?))
    }

    /// In memory, and if need be in `folder`.
    #[must_use]
    pub fn passing(folder: &Path) -> Self {
        Self::Passing(SpooledTempFile::new_in(IN_MEMORY_BYTES, folder), folder.to_owned())
    }

    fn another(&self) -> io::Result<Self> {
        match self {
            Self::File(file) => Self::file(file.path().parent().unwrap_or(Path::new("."))),
            Self::Passing(_, folder) => Ok(Self::passing(folder)),
        }
    }
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.as_file_mut().write(bytes),
            Self::Passing(spool, _) => spool.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.as_file_mut().flush(),
            Self::Passing(spool, _) => spool.flush(),
        }
    }
}

impl Read for Room {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.as_file_mut().read(into),
            Self::Passing(spool, _) => spool.read(into),
        }
    }
}

impl Seek for Room {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.as_file_mut().seek(to),
            Self::Passing(spool, _) => spool.seek(to),
        }
    }
}

/// A plan on its way.
#[derive(Debug)]
pub struct Draft {
    writer: Writer<BufWriter<Room>>,
    /// As it was written.
    header: Header,
    counts: Counts,
    /// What each manifest's entries would do.
    by_policy: Vec<(Policy, Counts)>,
    /// What is required of the targets.
    demands: Vec<Demand>,
}

/// A plan that is whole.
#[derive(Debug)]
pub struct Drafted {
    pub header: Header,
    pub footer: Footer,
    /// All of its bytes.
    pub room: Room,
}

impl Draft {
    /// Begins a plan, with these warnings after the manifests' own. `made_at` is the one thing in which two plans of the
    /// same world differ.
    pub fn begin(
        gathered: Gathered,
        targets: Vec<Target>,
        warnings: Vec<String>,
        tool: &str,
        made_at: String,
        room: Room,
    ) -> io::Result<Self> {
        let base = gathered.base.to_str().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the folder of the sources has a name that is not UTF-8")
        })?;
        let header = Header {
            noclobber_plan: PLAN_FORMAT,
            tool: tool.to_owned(),
            made_at,
            base: base.to_owned(),
            parameters: gathered.parameters,
            manifests: gathered.manifests,
            targets,
            stages: gathered.stages,
            undoes: None,
            refusals: gathered.refusals.iter().map(ToString::to_string).collect(),
            warnings: gathered.warnings.into_iter().chain(warnings).collect(),
        };
        let writer = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, room), &header)?;
        let by_policy = gathered.policies.into_iter().map(|policy| (policy, Counts::default())).collect();
        Ok(Self { writer, header, counts: Counts::default(), by_policy, demands: Vec::new() })
    }

    /// Holds the steps against what is required of their targets.
    #[must_use]
    pub fn with_demands(self, demands: Vec<Demand>) -> Self {
        Self { demands, ..self }
    }

    /// Adds the next steps.
    pub fn add(&mut self, decided: &Decided) -> io::Result<()> {
        for step in &decided.steps {
            let at = usize::try_from(self.counts.steps()).unwrap_or(usize::MAX);
            self.counts.add(step);
            for (_, counts) in self.by_policy.iter_mut().filter(|(policy, _)| policy.entries.contains(&at)) {
                counts.add(step);
            }
            for demand in &mut self.demands {
                demand.add(step);
            }
        }
        self.writer.lines(&decided.lines)
    }

    /// Ends the plan, with what there was to warn of on the way.
    pub fn finish(self, warnings: Vec<String>) -> io::Result<Drafted> {
        let Self { writer, header: written, counts, by_policy, demands } = self;
        let mut header = written.clone();
        header.warnings.extend(warnings);
        for (policy, counts) in &by_policy {
            let planned = Planned { creates: counts.create, replaces: counts.replace, bytes: counts.bytes };
            header.refusals.extend(exceeded(&policy.manifest, &policy.limits, &planned));
        }
        header.refusals.extend(demands.iter().flat_map(Demand::refusals));
        let (to, footer) = if header == written {
            writer.finish(counts)?
        } else {
            let mut from = unbuffered(writer.into_inner())?;
            let mut again = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, from.another()?), &header)?;
            // The steps begin after the first line.
            from.seek(SeekFrom::Start(serde_json::to_vec(&written)?.len() as u64 + 1))?;
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => again.lines(&buffer[..n])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            again.finish(counts)?
        };
        let mut room = unbuffered(to)?;
        room.rewind()?;
        Ok(Drafted { header, footer, room })
    }
}

fn unbuffered(to: BufWriter<Room>) -> io::Result<Room> {
    to.into_inner().map_err(io::IntoInnerError::into_error)
}
