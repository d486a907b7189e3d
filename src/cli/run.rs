//! `run`: plan and apply in one go, for schedulers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::flow::apply::Settings;
use crate::flow::cancel::Cancel;
use crate::model::exit::Exit;
use crate::plan::file::Plan;
use crate::plan::text::render;
use crate::store::Store as _;

use super::after::{After, named_by, write_summary};
use super::apply::{Finished, carry_out, limits, settings};
use super::args::{Global, Run};
use super::out::Out;
use super::plan::{Drawn, draw, tell};
use super::reach::Reach;
use super::show::{detail, read};
use super::{Ended, Failure, signal};

const PLAN: &str = "plan.jsonl";
const REPORT: &str = "report.csv";
const SUMMARY: &str = "summary.json";
/// What a run leaves in its folder, finished or not.
const LEFT_BEHIND: [&str; 6] = [PLAN, REPORT, SUMMARY, "report.csv.partial", "report.csv.journal", "report.csv.lock"];

pub(super) async fn run(global: &Global, mut args: Run, out: Out) -> Ended {
    let mut after = After::begin(None, args.metrics.take())?;
    after.manifest = Some(named_by(&args.inputs.manifests));
    let mut plan = None;
    // The folder is held until its summary is written.
    let (_folder, finished) = match Folder::take(&args.out) {
        Ok(folder) => {
            let finished = in_folder(global, args, &folder, &mut after, &mut plan, out).await;
            (Some(folder), finished)
        }
        Err(failure) => (None, Err(failure)),
    };
    after.end(plan.as_ref(), finished, out)
}

async fn in_folder(
    global: &Global,
    args: Run,
    folder: &Folder,
    after: &mut After,
    plan: &mut Option<Plan>,
    out: Out,
) -> Result<Finished, Failure> {
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    let reach = Reach::begin(global).await?.limited(limits(&args.writes));
    let finished = Box::pin(reached(args, folder, &reach, after, plan, &cancel, out)).await;
    reach.end().await;
    finished
}

/// `plan` is the plan, as soon as it is drawn.
async fn reached(
    args: Run,
    folder: &Folder,
    reach: &Reach,
    after: &mut After,
    plan: &mut Option<Plan>,
    cancel: &Cancel,
    out: Out,
) -> Result<Finished, Failure> {
    settle_earlier(folder, reach, cancel, out).await?;
    folder.archive()?;
    // Until here, the summary that is there tells of the earlier run.
    after.summary = Some(folder.file(SUMMARY));

    let watch = out.watch();
    let mut steps = Vec::new();
    let file = folder.file(PLAN);
    let each = |more| steps.extend(more);
    let drawn = draw(args.inputs, &args.looks, Some(&file), reach, &watch, cancel, each).await?;
    drop(watch);
    if out.json {
        tell(&drawn, Some(&file), out)?;
    }
    let Drawn { header, footer, stores, requests: _ } = drawn;
    let plan = &*plan.insert(Plan { header, steps, footer });
    if !out.json {
        out.result(&format!("{}\n", render(plan, detail(false), &out.paint())))?;
    }
    // The plan is of this minute: it need not be checked again before it is applied; the preconditions hold all the same.
    let settings = Settings { preflight: false, ..settings(PathBuf::from(&plan.header.base), &args.writes) };
    carry_out(plan, stores, &folder.file(REPORT), settings, out.watch(), cancel, out).await
}

/// Brings the book of a run that was killed to its end: what may have been written is looked for, and nothing is sent.
async fn settle_earlier(folder: &Folder, reach: &Reach, cancel: &Cancel, out: Out) -> Result<(), Failure> {
    let unfinished = folder.file("report.csv.partial").exists() || folder.file("report.csv.journal").exists();
    if !unfinished {
        return Ok(());
    }
    if !folder.file(PLAN).exists() {
        out.warning(&format!(
            "an earlier run in {} did not finish, and its {PLAN} is gone: what it left in doubt cannot be settled, and its \
             uploads are not aborted; its journal goes to the history folder (see `noclobber bucket uploads --journal`)",
            folder.path.display()
        ));
        return Ok(());
    }
    if folder.file(REPORT).exists() && !folder.file("report.csv.partial").exists() {
        out.note("An earlier run here left uploads that could not be aborted: trying once more.");
        // Its rows are final and its summary stands. What still cannot be aborted is told, and goes to the history with
        // the journal.
        if let Err(failure) = settle(folder, reach, cancel, out).await {
            out.warning(&failure.text);
        }
        return Ok(());
    }
    out.note("An earlier run here did not finish: settling what it left in doubt.");
    let settled = settle(folder, reach, cancel, out).await;
    let (plan, finished) = settled.map_err(|failure| {
        let name = folder.path.display();
        let text = format!(
            "an earlier run in {name} was killed, and what it left in doubt cannot be settled: {}. Nothing was started. \
             Mend that and run again, or move {name} away to go on without",
            failure.text
        );
        Failure::new(failure.exit, text)
    })?;
    if cancel.is_set() {
        return Err(Failure::new(Exit::Interrupted, "interrupted"));
    }
    let why = "the run was killed; what it left in doubt was settled by the next one".to_owned();
    let finished = Finished { why: Some(why), ..finished };
    write_summary(&folder.file(SUMMARY), Some(&plan), Ok(&finished), (None, None))
}

async fn settle(folder: &Folder, reach: &Reach, cancel: &Cancel, out: Out) -> Result<(Plan, Finished), Failure> {
    let plan = read(&folder.file(PLAN), None)?;
    let stores = reach.connect_all(&plan.header.targets).await?;
    for (target, store) in stores.values() {
        // Wrong keys would answer every look like a missing permission.
        let access = store.access().await;
        access.map_err(|error| Failure::new(Exit::CouldNotRun, format!("target {}: {error}", target.name)))?;
    }
    let settings = Settings { settle_only: true, partial: true, ..Settings::new(PathBuf::from(&plan.header.base)) };
    let finished = carry_out(&plan, stores, &folder.file(REPORT), settings, out.watch(), cancel, out).await?;
    Ok((plan, finished))
}

/// A run's folder, locked while the run lasts.
struct Folder {
    path: PathBuf,
    _lock: fs::File,
}

impl Folder {
    fn take(path: &Path) -> Result<Self, Failure> {
        let could_not =
            |error: std::io::Error| Failure::new(Exit::CouldNotRun, format!("--out {}: {error}", path.display()));
        fs::create_dir_all(path).map_err(could_not)?;
        let lock = fs::File::create(path.join(".lock")).map_err(could_not)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Failure::new(
                Exit::CouldNotRun,
                format!("--out {}: another run is using this folder; wait for it, or name another", path.display()),
            )),
            Err(fs::TryLockError::Error(error)) => Err(could_not(error)),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Moves what the run before left into a folder of its own: its report is evidence, and is never overwritten.
    fn archive(&self) -> Result<(), Failure> {
        let there: Vec<&str> = LEFT_BEHIND.into_iter().filter(|name| self.file(name).exists()).collect();
        if there.is_empty() {
            return Ok(());
        }
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ").to_string();
        let history = self.path.join("history").join(stamp);
        let moved = || -> std::io::Result<()> {
            fs::create_dir_all(&history)?;
            for name in there {
                fs::rename(self.file(name), history.join(name))?;
            }
            Ok(())
        };
        moved().map_err(|error| {
            Failure::new(
                Exit::CouldNotRun,
                format!("{}: the earlier run's files could not be moved: {error}", history.display()),
            )
        })
    }
}
