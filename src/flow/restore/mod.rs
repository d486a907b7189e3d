//! Looks at what a run left, and draws the plan that undoes it.
//!
//! Writes nothing but scratch objects under probe keys, where a server has to show first what it does with preconditions.

mod guards;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufWriter, Seek as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, stream};

use crate::flow::cancel::Cancel;
use crate::flow::survey::SurveyError;
use crate::flow::survey::compose::{Drafted, Room};
use crate::model::entry::{Key, Place};
use crate::model::event::{Event, Phase, Watch};
use crate::model::step::{Counts, Header, ManifestRef, PLAN_FORMAT, Step};
use crate::model::target::Target;
use crate::model::write::{Cause, LookError};
use crate::plan::file::{self, Writer};
use crate::store::{Access, Buried, Store};
use crate::undo::{Decided, Judged, Past, Written};

pub use guards::guard;

const BUFFER_BYTES: usize = 1 << 20;

/// The steps of a rollback, without their guards.
#[derive(Debug, Clone, Default)]
pub struct Drawn {
    pub steps: Vec<Step>,
    pub warnings: Vec<String>,
    /// Requests that the looks took.
    pub requests: u64,
}

/// Looks at the key of every row, at most `looks` at a time, and at the version before where a row is to be undone; draws
/// the steps in the rows' order. `report` is what their places call the file. Every row's target is in `targets`.
pub async fn draw<S: Store>(
    report: &str,
    chosen: &[(u64, Written<'_>)],
    targets: &HashMap<String, (Target, Arc<S>)>,
    looks: usize,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
) -> Result<Drawn, SurveyError> {
    let mut drawn = Drawn::default();
    let mut names: Vec<&String> = targets.keys().collect();
    names.sort();
    for name in names {
        drawn.requests += 1;
        match targets[name].1.access().await {
            Ok(Access::Open) => {}
            Ok(Access::Doubtful(why)) => drawn.warnings.push(format!("target {name}: {why}")),
            Err(error) => return Err(SurveyError::Target { target: name.clone(), cause: error.cause }),
        }
    }
    watch.tell(Event::Begin { phase: Phase::Looking, files: chosen.len() as u64, bytes: 0 });
    let requests = AtomicU64::new(0);
    let file: Arc<str> = report.into();
    let mut decisions = stream::iter(chosen)
        .map(|(_, written)| async {
            if cancel.is_set() {
                return Err(SurveyError::Interrupted);
            }
            let decided = decide(written, targets, &requests).await;
            watch.tell(Event::Advance { phase: Phase::Looking, files: 1, bytes: 0 });
            decided
        })
        .buffered(looks.max(1));
    for (n, (line, written)) in (1..).zip(chosen) {
        let next = tokio::select! {
            next = decisions.next() => next,
            () = cancel.wished() => return Err(SurveyError::Interrupted),
        };
        let Some(decided) = next else { break };
        let place = Place { file: Arc::clone(&file), line: u32::try_from(*line).unwrap_or(0) };
        drawn.steps.push(written.draw(n, place, decided?));
    }
    drop(decisions);
    watch.tell(Event::End { phase: Phase::Looking });
    drawn.requests += requests.into_inner();
    Ok(drawn)
}

/// Decides one row. Its failed look is its own; a failure that every look would meet ends it all.
async fn decide<S: Store>(
    written: &Written<'_>,
    targets: &HashMap<String, (Target, Arc<S>)>,
    requests: &AtomicU64,
) -> Result<Decided, SurveyError> {
    let row = written.row();
    let Some((_, store)) = targets.get(&row.target) else {
        return Ok(written.unlooked(format!("target {} is not known", row.target)));
    };
    let failed = |error: LookError| {
        let LookError { cause, stop } = error;
        if stop {
            return Err(SurveyError::Target { target: row.target.clone(), cause });
        }
        Ok(written.unlooked(unanswered(&cause)))
    };
    let key = Key::new(row.key.as_str());
    requests.fetch_add(1, Ordering::Relaxed);
    let now = match store.head(&key).await {
        Ok(now) => now,
        Err(error) => return failed(error),
    };
    let version = match written.judge(&now) {
        Judged::Decided(decided) => return Ok(*decided),
        Judged::Asks(version) => version,
    };
    // HEAD and the tags.
    requests.fetch_add(2, Ordering::Relaxed);
    match store.buried(&key, &version).await {
        Ok(buried) => Ok(written.bring_back(&now, &version, past(buried))),
        Err(error) => failed(error),
    }
}

fn unanswered(cause: &Cause) -> String {
    format!("the bucket could not be asked: {cause}")
}

fn past(buried: Buried) -> Past {
    match buried {
        Buried::There { head, carried } => Past::There { head, carried },
        Buried::Archived { class } => Past::Archived { class },
        Buried::DeleteMarker => Past::DeleteMarker,
        Buried::Gone => Past::Gone,
        Buried::Unseen => Past::Unseen,
    }
}

/// What a rollback's plan is of.
#[derive(Debug, Clone)]
pub struct Of<'a> {
    pub report: ManifestRef,
    pub run_id: &'a str,
    /// The globs that chose its rows; none for all of them.
    pub only: &'a [String],
    /// The folder that the report is in.
    pub base: &'a str,
}

/// The plan's header. Its steps have no stages: a report does not tell them.
#[must_use]
pub fn header(of: Of<'_>, targets: Vec<Target>, warnings: Vec<String>, tool: &str, made_at: String) -> Header {
    let Of { report, run_id, only, base } = of;
    let mut parameters = BTreeMap::new();
    if !only.is_empty() {
        parameters.insert("only".to_owned(), only.join(" "));
    }
    Header {
        noclobber_plan: PLAN_FORMAT,
        tool: tool.to_owned(),
        made_at,
        base: base.to_owned(),
        parameters,
        manifests: vec![report],
        targets,
        stages: Vec::new(),
        undoes: Some(run_id.to_owned()),
        refusals: Vec::new(),
        warnings,
    }
}

/// Writes a plan whose steps are all known, and signs it off with its digest.
pub fn write(header: Header, steps: &[Step], room: Room) -> io::Result<Drafted> {
    let mut writer = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, room), &header)?;
    let (mut counts, mut lines) = (Counts::default(), Vec::new());
    for step in steps {
        counts.add(step);
        lines.clear();
        file::line(step, &mut lines);
        writer.lines(&lines)?;
    }
    let (to, footer) = writer.finish(counts)?;
    let mut room = to.into_inner().map_err(io::IntoInnerError::into_error)?;
    room.rewind()?;
    Ok(Drafted { header, footer, room })
}
