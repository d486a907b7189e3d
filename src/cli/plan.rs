//! `plan`: hash, look, decide, write down. Nothing is written to any bucket.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::flow::bucket::demands;
use crate::flow::cancel::Cancel;
use crate::flow::survey::compose::{Draft, Drafted, Room};
use crate::flow::survey::gather::gather;
use crate::flow::survey::{self, SurveyError, survey};
use crate::flow::time::now;
use crate::local::cache::Mode;
use crate::local::{Cache, Hashing};
use crate::manifest::claims::claims;
use crate::model::event::{Event, Watch};
use crate::model::exit::Exit;
use crate::model::step::{Footer, Header, Step, digest_text};
use crate::model::text::count;
use crate::plan::review::Review;

use super::args::{self, Global, Inputs, Looks, Telling};
use super::check::{flawed, request};
use super::out::Out;
use super::place::folder_of;
use super::reach::{Reach, Stores};
use super::show::{Opened, Source, detail, is_compressed};
use super::{Ended, Failure, diff, show, signal};

pub(super) const TOOL: &str = concat!("noclobber ", env!("CARGO_PKG_VERSION"));

/// A plan that was just drawn, and how its targets are reached.
pub(super) struct Drawn {
    pub header: Header,
    pub footer: Footer,
    pub stores: Stores,
    pub requests: u64,
}

/// Draws a plan and writes it to `output`, if there is one. `each` is given the steps, in order.
pub(super) async fn draw(
    inputs: Inputs,
    looks: &Looks,
    output: Option<&Path>,
    reach: &Reach,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
    mut each: impl FnMut(Vec<Step>),
) -> Result<Drawn, Failure> {
    let request = request(inputs);
    // Sources are looked for on the way; of a million that takes a while.
    let gathered = tokio::task::spawn_blocking(move || gather(&request)).await;
    let mut gathered =
        gathered.map_err(|death| Failure::new(Exit::CouldNotRun, death))?.map_err(|flaws| flawed(&flaws))?;
    let mut targets = Vec::with_capacity(gathered.targets.len());
    for spec in &gathered.targets {
        targets.push(reach.resolve(spec).await?);
    }
    let warnings = claims(&gathered.entries, &targets).map_err(|flaws| flawed(&flaws))?;
    let stores = reach.connect_all(&targets).await?;
    let hashing = hashing(looks)?;
    let settings = survey::Settings {
        looks: usize::from(looks.heads),
        discovery: match looks.discovery {
            args::Discovery::Auto => survey::Discovery::Auto,
            args::Discovery::List => survey::Discovery::List,
            args::Discovery::Head => survey::Discovery::Head,
        },
    };
    let entries = Arc::new(std::mem::take(&mut gathered.entries));
    let base = gathered.base.clone();
    let could_not = |error| unwritten(output, &error);
    let room = room(output).map_err(could_not)?;
    let stopped = |error: SurveyError| match error {
        SurveyError::Lost(error) => could_not(error),
        SurveyError::Target { .. } => Failure::new(Exit::CouldNotRun, error),
        SurveyError::Interrupted => Failure::new(Exit::Interrupted, error),
    };
    let mut asked = 0;
    let demands = demands(&gathered.targets, &stores, &mut asked).await.map_err(stopped)?;
    let draft = Draft::begin(gathered, targets, warnings, TOOL, now(), room).map_err(could_not)?;
    let mut draft = draft.with_demands(demands);
    let surveyed = survey(entries, &base, &stores, settings, &hashing, watch, cancel, |decided| {
        draft.add(&decided)?;
        each(decided.steps);
        Ok(())
    });
    let survey = surveyed.await.map_err(stopped)?;
    if let Some(trouble) = hashing.cache().trouble() {
        watch.tell(Event::Warning(&trouble));
    }
    let Drafted { header, footer, room } = draft.finish(survey.warnings).map_err(could_not)?;
    keep(room, output)?;
    Ok(Drawn { header, footer, stores, requests: survey.requests + asked })
}

/// Threads that hash, with the digests of earlier plans where they may be used.
fn hashing(looks: &Looks) -> Result<Arc<Hashing>, Failure> {
    let mode = match (looks.no_cache, looks.rehash) {
        (true, _) => Mode::Off,
        (false, true) => Mode::Rehash,
        (false, false) => Mode::Use,
    };
    let cache = match cache_file() {
        Some(file) => Cache::open(&file, mode, jiff::Timestamp::now().as_nanosecond()),
        None => Cache::off(),
    };
    let cores = || std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let hashing = Hashing::new(looks.threads.map_or_else(cores, usize::from), cache);
    hashing.map(Arc::new).map_err(|error| Failure::new(Exit::CouldNotRun, format!("no threads to hash on: {error}")))
}

/// Where digests are kept between plans, by the XDG base directory specification: relative values count as unset. `None`
/// where this user has no home.
fn cache_file() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(folder.join("noclobber").join("digests.sqlite"))
}

/// Whether a plan may be written there: in a folder that is there, over nothing or over a plan. Anything else under
/// that name is left alone.
fn may_write(path: &Path) -> Result<(), Failure> {
    let (name, folder) = (path.display(), folder_of(path));
    if !folder.is_dir() {
        let text = format!("{}: no such folder; make it first, or name another file", folder.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    let is_free = match std::fs::metadata(path) {
        // A device or a pipe has no plan in it, and to open it may hang or do things.
        Ok(metadata) => metadata.is_file() && is_plan(path),
        // Nothing, or a link that leads nowhere.
        Err(_) => true,
    };
    if !is_free {
        let text = format!("{name} is there already and is no noclobber plan: it is left alone; name another file");
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(())
}

/// Where a plan is written until it is whole.
pub(super) fn room(output: Option<&Path>) -> std::io::Result<Room> {
    match output {
        Some(path) if !is_compressed(path) => Room::file(folder_of(path)),
        Some(path) => Ok(Room::passing(folder_of(path))),
        None => Ok(Room::passing(&std::env::temp_dir())),
    }
}

pub(super) fn unwritten(output: Option<&Path>, error: &std::io::Error) -> Failure {
    let name = output.map_or_else(String::new, |path| format!("{}: ", path.display()));
    Failure::new(Exit::CouldNotRun, format!("{name}the plan could not be written: {error}"))
}

/// Puts a whole plan in its place, if it has one.
pub(super) fn keep(room: Room, output: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = output else { return Ok(()) };
    may_write(path)?;
    put_in_place(room, path).map_err(|error| unwritten(output, &error))
}

/// Gives a whole plan its name, or leaves what was there. A plan may be replaced by a newer one.
fn put_in_place(room: Room, path: &Path) -> std::io::Result<()> {
    let file = match room {
        Room::File(file) => file,
        mut passing @ Room::Passing(..) => {
            let mut file = tempfile::Builder::new().prefix(".noclobber-plan-").tempfile_in(folder_of(path))?;
            let mut encoder = zstd::Encoder::new(file.as_file_mut(), 0)?;
            std::io::copy(&mut passing, &mut encoder)?;
            encoder.finish()?;
            file
        }
    };
    file.as_file().sync_all()?;
    // Temporary files are private; a plan is to be read by its reviewers.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666 & !umask());
    file.as_file().set_permissions(mode)?;
    file.persist(path)?;
    Ok(())
}

/// The process's file mode creation mask. Reading it means setting it; nothing else runs that would notice.
pub(super) fn umask() -> u32 {
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
pub(super) fn tell(drawn: &Drawn, path: Option<&Path>, out: Out) -> Result<(), Failure> {
    out.event(&json!({
        "event": "plan",
        "counts": drawn.footer.counts,
        "digest": digest_text(&drawn.footer.digest),
        "refusals": drawn.header.refusals,
        "warnings": drawn.header.warnings,
        "requests": drawn.requests,
        "file": path,
    }))
}

pub(super) async fn plan(global: &Global, args: args::Plan, out: Out) -> Ended {
    let mut told = Told::begin(args.telling)?;
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    let reach = Reach::begin(global).await?;
    let watch = out.watch();
    let output = told.telling.output.clone();
    let each = |steps| told.add(steps);
    let drawn = draw(args.inputs, &args.looks, output.as_deref(), &reach, &watch, &cancel, each).await;
    drop(watch);
    reach.end().await;
    told.end(&drawn?, global, out)
}

/// A plan on its way to whoever asked for it.
pub(super) struct Told {
    pub telling: Telling,
    approved: Option<diff::Approved>,
    review: Review,
    /// Steps that are gone through again and that no file holds.
    held: Vec<Step>,
}

impl Told {
    /// Refuses what cannot be told, before the hours that hashing may take.
    pub fn begin(telling: Telling) -> Result<Self, Failure> {
        telling.output.as_deref().map_or(Ok(()), may_write)?;
        let approved = telling.diff.as_deref().map(diff::Approved::read).transpose()?;
        let review = Review::new(detail(telling.all));
        Ok(Self { telling, approved, review, held: Vec::new() })
    }

    /// Takes in the next steps.
    pub fn add(&mut self, steps: Vec<Step>) {
        for step in &steps {
            self.review.add(step);
        }
        if self.telling.output.is_none() && (self.telling.all || self.telling.diff.is_some()) {
            self.held.extend(steps);
        }
    }

    /// Shows the whole plan, and says how the command ends.
    pub fn end(self, drawn: &Drawn, global: &Global, out: Out) -> Ended {
        let Self { telling: Telling { output, detailed_exitcode, .. }, approved, review, held } = self;
        let counts = drawn.footer.counts;
        let reviewed = review.finish(drawn.header.clone(), drawn.footer);
        let is_refused = reviewed.is_refused();
        let mut source = match &output {
            Some(path) => Source::File(Opened::new(path)?),
            None => Source::Held(held),
        };
        if out.json {
            tell(drawn, output.as_deref(), out)?;
        } else {
            let keys = count(counts.steps());
            out.note(&format!("Looked at {keys} keys with {} requests.", count(drawn.requests)));
            show::tell(&reviewed, &mut source, out)?;
            if let Some(path) = &output {
                let name = path.display();
                let sandbox = global.sandbox.as_ref().map(|dir| format!(" --sandbox {}", dir.display()));
                out.note(&if is_refused {
                    format!("Written to {name}. It may be shown, but not applied as it is.")
                } else {
                    format!("Written to {name}. Apply it with: noclobber apply {name}{}", sandbox.unwrap_or_default())
                });
            }
        }
        if let Some(approved) = approved {
            if !out.json {
                out.result("")?;
            }
            diff::tell(&approved.against(&reviewed, &mut source)?, out)?;
        }
        Ok(if is_refused {
            Exit::Refused
        } else if detailed_exitcode && counts.writes() > 0 {
            Exit::Changes
        } else {
            Exit::Done
        })
    }
}
