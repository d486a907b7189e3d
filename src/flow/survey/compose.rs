//! From what was gathered and decided to a plan file, signed off with its digest.
//!
//! The header stands first in a plan and says what the steps broke (limits), so the steps wait in a draft until all are
//! known: in memory while they are few, in an unnamed file beside the plan when they are many.

use std::io::{self, Read as _, Seek as _, Write};
use std::path::Path;

use tempfile::SpooledTempFile;

use crate::manifest::limits::{Planned, exceeded};
use crate::model::step::{Counts, Footer, Header, PLAN_FORMAT};
use crate::model::target::Target;
use crate::plan::file::Writer;

use super::Decided;
use super::gather::{Gathered, Policy};

/// Up to so many bytes of steps stay in memory.
const IN_MEMORY_BYTES: usize = 16 << 20;
const COPY_BYTES: usize = 1 << 20;

/// The steps of a plan to be.
#[derive(Debug)]
pub struct Draft {
    lines: SpooledTempFile,
    counts: Counts,
    /// What each manifest's entries would do.
    by_policy: Vec<(Policy, Counts)>,
}

impl Draft {
    /// Begins a draft, which may need room in `folder`.
    #[must_use]
    pub fn begin(policies: &[Policy], folder: &Path) -> Self {
        let by_policy = policies.iter().map(|policy| (policy.clone(), Counts::default())).collect();
        Self { lines: SpooledTempFile::new_in(IN_MEMORY_BYTES, folder), counts: Counts::default(), by_policy }
    }

    /// Adds the next steps.
    pub fn add(&mut self, decided: &Decided) -> io::Result<()> {
        for step in &decided.steps {
            let at = usize::try_from(self.counts.steps()).unwrap_or(usize::MAX);
            self.counts.add(step);
            // In the entries' order, as the manifests are.
            for (_, counts) in self.by_policy.iter_mut().filter(|(policy, _)| policy.entries.contains(&at)) {
                counts.add(step);
            }
        }
        self.lines.write_all(&decided.lines)
    }

    /// Writes the plan, with these warnings after the manifests' own. `made_at` is the one thing in which two plans of the same world differ.
    pub fn finish(
        mut self,
        gathered: Gathered,
        targets: Vec<Target>,
        mut warnings: Vec<String>,
        tool: &str,
        made_at: String,
        to: impl Write,
    ) -> io::Result<(Header, Footer)> {
        let mut refusals: Vec<String> = gathered.refusals.iter().map(ToString::to_string).collect();
        for (policy, counts) in &self.by_policy {
            let planned = Planned { creates: counts.create, replaces: counts.replace, bytes: counts.bytes };
            refusals.extend(exceeded(&policy.manifest, &policy.limits, &planned));
        }
        let base = gathered.base.to_str().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the folder of the sources has a name that is not UTF-8")
        })?;
        warnings.splice(0..0, gathered.warnings);
        let header = Header {
            noclobber_plan: PLAN_FORMAT,
            tool: tool.to_owned(),
            made_at,
            base: base.to_owned(),
            parameters: gathered.parameters,
            manifests: gathered.manifests,
            targets,
            stages: gathered.stages,
            refusals,
            warnings,
        };
        let mut writer = Writer::new(to, &header)?;
        self.lines.rewind()?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match self.lines.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => writer.lines(&buffer[..n])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let (_, footer) = writer.finish(self.counts)?;
        Ok((header, footer))
    }
}
