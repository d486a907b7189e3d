//! What a run leaves beside its report, however it ends: a summary, and metrics for the alarm that watches over it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;

use crate::model::exit::Exit;
use crate::model::row::Tally;
use crate::model::step::ManifestRef;
use crate::plan::file::Plan;
use crate::report::metrics::{self, Written};
use crate::report::summary;

use super::apply::{Finished, conclude};
use super::out::Out;
use super::plan::TOOL;
use super::{Ended, Failure, place};

/// No metrics of ours are longer; of what is, the beginning tells that it is not ours.
const OURS_BYTES: u64 = 1 << 20;

/// A run that is under way, and where it is to be told.
pub(super) struct After {
    started_at: Timestamp,
    clock: Instant,
    pub summary: Option<PathBuf>,
    metrics: Option<PathBuf>,
    /// The manifests' names, once they are known.
    pub manifest: Option<String>,
}

impl After {
    /// Refuses places that cannot be written, before anything else is done.
    pub fn begin(summary: Option<PathBuf>, metrics: Option<PathBuf>) -> Result<Self, Failure> {
        summary.as_deref().map_or(Ok(()), may_summarise)?;
        if let Some(path) = &metrics {
            place::may_hold(path)?;
        }
        Ok(Self { started_at: Timestamp::now(), clock: Instant::now(), summary, metrics, manifest: None })
    }

    /// Ends a run: tells its result, and writes what it leaves. A file that cannot be written is told, and is a failure
    /// only for the summary of a run that otherwise has none.
    pub fn end(self, plan: Option<&Plan>, finished: Result<Finished, Failure>, out: Out) -> Ended {
        let took_ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let tally = match &finished {
            Ok(finished) => finished.tally,
            Err(failure) => failure.tally.as_deref().copied().unwrap_or_default(),
        };
        let told = self.summary.as_deref().map_or(Ok(()), |path| {
            let times = (Some(self.started_at), Some(took_ms));
            write_summary(path, plan, finished.as_ref(), times)
        });
        let ended = finished.and_then(|finished| conclude(&finished, out));
        let ended = match (told, ended) {
            (Err(failure), Ok(Exit::Done)) => Err(failure),
            (Err(failure), ended) => {
                out.warning(&failure.text);
                ended
            }
            (Ok(()), ended) => ended,
        };
        let exit = match &ended {
            Ok(exit) => *exit,
            Err(failure) => failure.exit,
        };
        self.write_metrics(plan, tally, took_ms, exit, out);
        ended
    }

    /// Never fails a run: an alarm notices that the file grows old.
    fn write_metrics(self, plan: Option<&Plan>, tally: Tally, took_ms: u64, exit: Exit, out: Out) {
        let Some(path) = &self.metrics else { return };
        let manifest = self.manifest.or_else(|| plan.map(|plan| named(&plan.header.manifests)));
        let ended_at_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        let mut before = Vec::new();
        match File::open(path).and_then(|file| file.take(OURS_BYTES).read_to_end(&mut before)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                out.warning(&format!("--metrics {}: {error}; no metrics are written", path.display()));
                return;
            }
        }
        let ran = metrics::Ran { manifest, tally, took_ms, ended_at_ms, exit };
        let Written { text, trouble } = metrics::write(&before, &ran);
        if let Some(trouble) = trouble {
            out.warning(&format!("--metrics {} {trouble}", path.display()));
        }
        // Who collects is somebody else: the mode is not the process's to narrow.
        if let Some(text) = text
            && let Err(error) = place::put(path, &text, 0o644)
        {
            out.warning(&format!("--metrics {}: {error}; no metrics are written", path.display()));
        }
    }
}

/// What several manifests are called together.
fn named(manifests: &[ManifestRef]) -> String {
    manifests.iter().map(|manifest| manifest.path.as_str()).collect::<Vec<_>>().join(", ")
}

/// The same, from the command line.
pub(super) fn named_by(manifests: &[PathBuf]) -> String {
    manifests.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn may_summarise(path: &Path) -> Result<(), Failure> {
    place::may_replace(path, "summary of noclobber's", |start| start.starts_with(summary::MARK.as_bytes()))
}

/// Writes the summary of a run that ended, whole or not at all. When it began may not be known.
pub(super) fn write_summary(
    path: &Path,
    plan: Option<&Plan>,
    finished: Result<&Finished, &Failure>,
    (started_at, took_ms): (Option<Timestamp>, Option<u64>),
) -> Result<(), Failure> {
    let stages: Vec<_> =
        plan.map(|plan| plan.steps.iter().map(|step| step.stage.as_deref()).collect()).unwrap_or_default();
    let name = finished.ok().map(|finished| finished.report.display().to_string());
    let (exit, why) = match finished {
        Ok(finished) => (finished.exit, finished.why.as_deref()),
        Err(failure) => (failure.exit, Some(failure.text.as_str())),
    };
    let rows = finished.ok().map(|finished| finished.rows.as_slice());
    let started_at = started_at.map(written);
    let text = summary::render(&summary::Ran {
        tool: TOOL,
        plan: plan.map(|plan| (&plan.header, &plan.footer)),
        report: name.as_deref().zip(rows),
        done: finished.err().and_then(|failure| failure.tally.as_deref().copied()),
        stages: &stages,
        started_at: started_at.as_deref(),
        finished_at: &written(Timestamp::now()),
        took_ms,
        exit,
        why,
    });
    let could_not = |error: String| Failure::new(Exit::Incomplete, format!("{}: {error}", path.display()));
    // Since the run began, its report may have got this very name.
    may_summarise(path).map_err(|failure| Failure::new(Exit::Incomplete, failure.text))?;
    let text = text.map_err(|error| could_not(error.to_string()))?;
    place::put(path, &text, 0o644).map_err(|error| could_not(error.to_string()))
}

fn written(at: Timestamp) -> String {
    format!("{at:.3}")
}
