//! `plan`: hash, look, decide, write down. Nothing is written to any bucket.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::flow::cancel::Cancel;
use crate::flow::survey::compose::compose;
use crate::flow::survey::gather::gather;
use crate::flow::survey::{self, SurveyError, survey};
use crate::flow::time::now;
use crate::manifest::claims::claims;
use crate::model::event::Watch;
use crate::model::exit::Exit;
use crate::model::step::digest_text;
use crate::model::text::count;
use crate::plan::file;
use crate::plan::text::render;

use super::args::{self, Global, Inputs, Looks};
use super::check::{flawed, request};
use super::out::Out;
use super::reach::{Reach, Stores};
use super::show::{detail, is_compressed};
use super::{Ended, Failure, signal};

pub(super) const TOOL: &str = concat!("noclobber ", env!("CARGO_PKG_VERSION"));

/// A plan that was just drawn, and how its targets are reached.
pub(super) struct Drawn {
    pub plan: file::Plan,
    pub bytes: Vec<u8>,
    pub stores: Stores,
    pub requests: u64,
}

pub(super) async fn draw(
    inputs: Inputs,
    looks: &Looks,
    reach: &Reach,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
) -> Result<Drawn, Failure> {
    let mut gathered = gather(&request(inputs)).map_err(|flaws| flawed(&flaws))?;
    let mut targets = Vec::with_capacity(gathered.targets.len());
    for spec in &gathered.targets {
        targets.push(reach.resolve(spec).await?);
    }
    let warnings = claims(&gathered.entries, &targets).map_err(|flaws| flawed(&flaws))?;
    let stores = reach.connect_all(&targets).await?;
    let settings = survey::Settings {
        looks: usize::from(looks.heads),
        threads: looks.threads.map_or_else(|| survey::Settings::default().threads, usize::from),
        discovery: match looks.discovery {
            args::Discovery::Auto => survey::Discovery::Auto,
            args::Discovery::List => survey::Discovery::List,
            args::Discovery::Head => survey::Discovery::Head,
        },
    };
    let entries = std::mem::take(&mut gathered.entries);
    let surveyed = survey(&entries, &gathered.base, &stores, settings, watch, cancel).await;
    let survey = surveyed.map_err(|error| {
        let exit = match error {
            SurveyError::Target { .. } => Exit::CouldNotRun,
            SurveyError::Interrupted => Exit::Interrupted,
        };
        Failure::new(exit, error)
    })?;
    let requests = survey.requests;
    let (plan, bytes) = compose(gathered, targets, survey, warnings, TOOL, now())
        .map_err(|error| Failure::new(Exit::CouldNotRun, format!("the plan could not be written: {error}")))?;
    Ok(Drawn { plan, bytes, stores, requests })
}

/// Whether a plan may be written there: in a folder that is there, over nothing or over a plan. Anything else under
/// that name is left alone.
fn may_write(path: &Path) -> Result<(), Failure> {
    let (name, folder) = (path.display(), folder_of(path));
    if !folder.is_dir() {
        let text = format!("{}: no such folder; make it first, or name another file", folder.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    if path.exists() && !is_plan(path) {
        let text = format!("{name} is there already and is no noclobber plan: it is left alone; name another file");
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a plan file whole or not at all. A plan may be replaced by a newer one.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    may_write(path)?;
    let (name, folder) = (path.display(), folder_of(path));
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".noclobber-plan-").tempfile_in(folder)?;
        if is_compressed(path) {
            let mut encoder = zstd::Encoder::new(file.as_file_mut(), 0)?;
            encoder.write_all(bytes)?;
            encoder.finish()?;
        } else {
            file.write_all(bytes)?;
        }
        file.as_file().sync_all()?;
        // Temporary files are private; a plan is to be read by its reviewers.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666 & !umask());
        file.as_file().set_permissions(mode)?;
        file.persist(path)?;
        Ok(())
    };
    written()
        .map_err(|error| Failure::new(Exit::CouldNotRun, format!("{name}: the plan could not be written: {error}")))
}

/// The process's file mode creation mask. Reading it means setting it; nothing else runs that would notice.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::umask(mask);
    mask.bits()
}

fn is_plan(path: &Path) -> bool {
    let first_line = || -> std::io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let reader: Box<dyn Read> =
            if is_compressed(path) { Box::new(zstd::Decoder::new(file)?) } else { Box::new(file) };
        let mut line = Vec::new();
        BufReader::new(reader.take(1 << 20)).read_until(b'\n', &mut line)?;
        Ok(line)
    };
    // An empty file is nobody's work: `mktemp` makes such names.
    first_line().is_ok_and(|line| line.is_empty() || line.starts_with(b"{\"noclobber_plan\":"))
}

/// Tells a plan as an event.
pub(super) fn tell(plan: &file::Plan, requests: u64, path: Option<&Path>, out: Out) -> Result<(), Failure> {
    out.event(&json!({
        "event": "plan",
        "counts": plan.footer.counts,
        "digest": digest_text(&plan.footer.digest),
        "refusals": plan.header.refusals,
        "warnings": plan.header.warnings,
        "requests": requests,
        "file": path,
    }))
}

pub(super) async fn plan(global: &Global, args: args::Plan, out: Out) -> Ended {
    // Before the hours that hashing may take.
    args.output.as_deref().map_or(Ok(()), may_write)?;
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    let reach = Reach::begin(global).await?;
    let watch = out.watch();
    let drawn = draw(args.inputs, &args.looks, &reach, &watch, &cancel).await;
    drop(watch);
    reach.end().await;
    let Drawn { plan, bytes, requests, .. } = drawn?;
    if let Some(path) = &args.output {
        write(path, &bytes)?;
    }
    let counts = &plan.footer.counts;
    let is_refused = counts.refuse + counts.error > 0 || !plan.header.refusals.is_empty();
    if out.json {
        tell(&plan, requests, args.output.as_deref(), out)?;
    } else {
        let keys = count(counts.steps());
        out.note(&format!("Looked at {keys} keys with {} requests.", count(requests)));
        out.result(&render(&plan, detail(args.all), &out.paint()))?;
        if let Some(path) = &args.output {
            let name = path.display();
            let sandbox = global.sandbox.as_ref().map(|dir| format!(" --sandbox {}", dir.display()));
            out.note(&if is_refused {
                format!("Written to {name}. It may be shown, but not applied as it is.")
            } else {
                format!("Written to {name}. Apply it with: noclobber apply {name}{}", sandbox.unwrap_or_default())
            });
        }
    }
    Ok(if is_refused {
        Exit::Refused
    } else if args.detailed_exitcode && counts.writes() > 0 {
        Exit::Changes
    } else {
        Exit::Done
    })
}
