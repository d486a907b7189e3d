//! `verify`: is what runs stored still there?

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::audit::claim::Given;
use crate::audit::{Audit, Bucket, Found, State, csv, json, markdown, text};
use crate::flow::apply::pace;
use crate::flow::audit::{AuditError, Audited, Settings, audit};
use crate::flow::cancel::Cancel;
use crate::flow::reported::{self, Terms};
use crate::model::entry::{Flaw, Place};
use crate::model::exit::Exit;
use crate::model::target::{ConditionalWrites, SANDBOX, Target, TargetSpec};
use crate::model::text::{count, escape, name};
use crate::plan::text::Tone;
use crate::report::{self, Report};
use crate::store::s3::S3;
use crate::store::{Access, Store as _};
use crate::undo::rows::Went;

use super::args::{Global, Verify, VerifyFormat};
use super::check::flawed;
use super::out::Out;
use super::plan::umask;
use super::reach::Reach;
use super::report::absent;
use super::{Ended, Failure, place, signal};

pub(super) async fn verify(global: &Global, args: Verify, out: Out) -> Ended {
    if out.json && args.format != VerifyFormat::Text && args.output.is_none() {
        let text = "--json prints events on standard output: give -o FILE for another --format";
        return Err(Failure::new(Exit::Usage, text));
    }
    if let Some(path) = &args.output {
        may_write(path)?;
    }
    let mut asked = Audit::of(read(&args.reports, out)?).map_err(|flaws| flawed(&flaws))?;
    if let Some(run) = &args.since {
        asked.since(run).map_err(|wrong| Failure::new(Exit::Usage, format!("--since: {wrong}")))?;
    }
    let specs = specs(&asked, &args)?;
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    let reach = Reach::begin(global).await?.limited(pace::limits(None, args.max_requests));
    let ended = Box::pin(look_and_tell(&reach, &args, &specs, Arc::new(asked), &cancel, out)).await;
    reach.end().await;
    ended
}

/// Reads the reports, and tells every flaw of all of them.
fn read(paths: &[PathBuf], out: Out) -> Result<Vec<Given>, Failure> {
    let mut given = Vec::new();
    let mut flaws = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        if let Some(message) = unfinished(path) {
            flaws.push(Flaw { place: Place { file: name.into(), line: 0 }, message });
            continue;
        }
        match File::open(path) {
            Ok(file) => match Report::read(&name, BufReader::new(file), report::State::Finished) {
                Ok(report) => given.push(Given { name, rows: report.rows }),
                Err(found) => flaws.extend(found),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                flaws.push(absent(&name));
            }
            Err(error) => return Err(Failure::new(Exit::CouldNotRun, format!("{name}: {error}"))),
        }
    }
    if flaws.is_empty() {
        for path in paths.iter().filter(|path| beside(path, ".journal").exists()) {
            out.note(&format!(
                "{}: its journal is still there, for uploads that could not be aborted; noclobber bucket uploads tells them",
                path.display()
            ));
        }
        return Ok(given);
    }
    // What is wrong with those that could be read is told at once.
    flaws.extend(Audit::of(given).err().unwrap_or_default());
    Err(flawed(&flaws))
}

/// Why a run has not had its last word, where it has not.
fn unfinished(path: &Path) -> Option<String> {
    let again = "the same apply (or run) again finishes it; then verify its report";
    if path.extension().is_some_and(|extension| extension == "partial") {
        return Some(format!("holds the rows of a run that is under way, or was killed: {again}"));
    }
    let has_rows = beside(path, ".partial").exists();
    if path.exists() {
        let under_way = "a later attempt at this plan is under way, or was killed, and its rows are not in it";
        return has_rows.then(|| format!("{under_way}: {again}"));
    }
    let was_begun = has_rows || beside(path, ".journal").exists();
    was_begun.then(|| format!("is not there yet: its run is under way, or was killed: {again}"))
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

async fn look_and_tell(
    reach: &Reach,
    args: &Verify,
    specs: &[TargetSpec],
    asked: Arc<Audit>,
    cancel: &Cancel,
    out: Out,
) -> Ended {
    let mut stores = Vec::new();
    for (bucket, spec) in asked.buckets.iter().zip(specs) {
        let store = connect(reach, spec).await?;
        match store.access().await {
            Ok(Access::Open) => {}
            Ok(Access::Doubtful(doubt)) => out.warning(&doubt),
            Err(error) => return Err(Failure::new(Exit::CouldNotRun, format!("{}: {error}", at(bucket)))),
        }
        stores.push(Arc::new(store));
    }
    let settings = Settings { looks: usize::from(args.looks), deep: args.deep };
    let watch = out.watch();
    let audited = audit(&asked, &stores, settings, &watch, cancel).await;
    let Audited { found, requests } = audited.map_err(|error| match error {
        AuditError::Interrupted => Failure::new(Exit::Interrupted, error),
        AuditError::Stopped { bucket, ref cause } => {
            let at = asked.buckets.get(bucket).map(at).unwrap_or_default();
            Failure::new(Exit::CouldNotRun, format!("{at}: {cause}"))
        }
    })?;
    tell(&asked, &found, args, out)?;
    let rows = count(found.verdicts.len() as u64);
    out.note(&format!("Checked {rows} rows with {} requests.", count(requests)));
    let all = found.count();
    if all.checked > 0 && all.unreachable == all.checked {
        return Err(Failure::new(Exit::CouldNotRun, "no row could be looked at"));
    }
    Ok(if all.problems() == 0 { Exit::Done } else { Exit::Incomplete })
}

/// The bucket of a report's rows, reached as they say.
async fn connect(reach: &Reach, spec: &TargetSpec) -> Result<S3, Failure> {
    let target = if spec.endpoint.is_none() {
        sandbox(spec)
    } else {
        crate::store::s3::resolve(spec).await.map_err(|error| Failure::new(Exit::BadInput, error))?
    };
    reach.connect(&target).await
}

/// What the rows say of their buckets, each judged before any is asked.
fn specs(asked: &Audit, args: &Verify) -> Result<Vec<TargetSpec>, Failure> {
    let terms = Terms {
        profile: args.profile.clone(),
        role_arn: args.role_arn.clone(),
        addressing: args.addressing.map(Into::into),
    };
    let (mut found, mut flaws) = (Vec::new(), Vec::new());
    for (at, bucket) in (0u32..).zip(&asked.buckets) {
        let Bucket { endpoint, region, owner, bucket, target } = bucket;
        match reported::spec(&Went { target, endpoint, region, owner, bucket }, &terms) {
            Ok(spec) => found.push(spec),
            Err(message) => {
                let file = asked.report_of(at).unwrap_or_default().into();
                flaws.push(Flaw { place: Place { file, line: 0 }, message });
            }
        }
    }
    if flaws.is_empty() { Ok(found) } else { Err(flawed(&flaws)) }
}

/// The sandbox's target, wherever this process has its sandbox.
fn sandbox(spec: &TargetSpec) -> Target {
    Target {
        name: spec.name.clone(),
        bucket: spec.bucket.clone(),
        endpoint: SANDBOX.to_owned(),
        region: spec.region.clone().unwrap_or_default(),
        addressing: crate::model::target::Addressing::Path,
        owner: None,
        profile: None,
        role_arn: None,
        request_payer: false,
        trust_metadata: true,
        conditional_writes: ConditionalWrites::Required,
    }
}

fn at(bucket: &Bucket) -> String {
    format!("s3://{} at {}", name(&bucket.bucket), escape(&bucket.endpoint))
}

fn tell(asked: &Audit, found: &Found, args: &Verify, out: Out) -> Result<(), Failure> {
    if out.json {
        events(asked, found, out)?;
    }
    match &args.output {
        None if out.json => Ok(()),
        None => {
            let mut to = out.stream();
            let paint = out.paint();
            let paint = |state: Option<State>, text: &str| match state {
                None => paint(Tone::Strong, text),
                Some(_) => paint(Tone::Refuse, text),
            };
            render(asked, found, args.format, &paint, &mut |part| to.say(part))?;
            to.end()
        }
        Some(path) => {
            let mut text = String::new();
            render(asked, found, args.format, &|_, text| text.to_owned(), &mut |part| {
                text.push_str(part);
                Ok(())
            })?;
            let mode = 0o666 & !umask();
            place::put(path, &text, mode)
                .map_err(|error| Failure::new(Exit::CouldNotRun, format!("{}: {error}", path.display())))
        }
    }
}

fn render(
    asked: &Audit,
    found: &Found,
    format: VerifyFormat,
    paint: text::Paint<'_>,
    say: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match format {
        VerifyFormat::Text => say(&text::render(asked, found, paint)),
        VerifyFormat::Markdown => say(&markdown::render(asked, found)),
        VerifyFormat::Json => json::tell(asked, found, say),
        VerifyFormat::Csv => {
            say(&csv::header())?;
            let mut rows = asked.judged().zip(&found.verdicts);
            rows.try_for_each(|((subject, claim), verdict)| say(&csv::Line::of(asked, subject, claim, verdict).csv()))
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Exit::CouldNotRun, error)
    }
}

/// What is wrong, an event a row, and the numbers.
fn events(asked: &Audit, found: &Found, out: Out) -> Result<(), Failure> {
    for ((subject, claim), verdict) in asked.judged().zip(&found.verdicts).filter(|(_, v)| !v.state.is_well()) {
        out.event(&json!({ "event": "found", "row": csv::Line::of(asked, subject, claim, verdict) }))?;
    }
    let mut event = serde_json::to_value(json::Summary::of(asked, found))?;
    if let Some(event) = event.as_object_mut() {
        event.insert("event".to_owned(), json!("verify"));
    }
    out.event(&event)
}

/// Whether a rendering may be written there: a report is evidence, and never replaced.
fn may_write(path: &Path) -> Result<(), Failure> {
    place::may_replace(path, "page that `noclobber verify` wrote", |start| {
        let start = String::from_utf8_lossy(start);
        let marks = [text::MARK, markdown::MARK, json::MARK, &csv::header()];
        marks.iter().any(|mark| start.starts_with(mark))
    })
}
