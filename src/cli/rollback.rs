//! `rollback`: plan what undoes a run, from its report. Nothing planned is written.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;

use crate::flow::cancel::Cancel;
use crate::flow::reported::{self, Terms};
use crate::flow::restore::{self, Of};
use crate::flow::survey::SurveyError;
use crate::flow::survey::compose::Drafted;
use crate::flow::time::now;
use crate::model::digest::Sha256;
use crate::model::entry::{Flaw, Place};
use crate::model::event::Watch;
use crate::model::exit::Exit;
use crate::model::glob::Glob;
use crate::model::step::ManifestRef;
use crate::model::target::{SANDBOX, Target};
use crate::model::text::count;
use crate::report::finished;
use crate::undo::rows::{self, Placed, Went};

use super::args::{Global, Rollback};
use super::check::flawed;
use super::out::Out;
use super::place::folder_of;
use super::plan::{Drawn, TOOL, Told, keep, room, unwritten};
use super::reach::Reach;
use super::{Ended, Failure, report, signal};

/// A finished report that no flaw was found in.
struct Report {
    name: String,
    sha256: Sha256,
    folder: PathBuf,
    rows: Vec<Placed>,
}

pub(super) async fn rollback(global: &Global, args: Rollback, out: Out) -> Ended {
    let mut only = Vec::with_capacity(args.only.len());
    for text in &args.only {
        let glob = Glob::of_keys(text).map_err(|error| Failure::new(Exit::Usage, format!("--only {error}")))?;
        only.push((text.clone(), glob));
    }
    let report = read(&args.report)?;
    let Rollback { telling, .. } = args;
    let terms = Terms { profile: args.profile, role_arn: args.role_arn, addressing: args.addressing.map(Into::into) };
    let mut told = Told::begin(telling)?;
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    let reach = Reach::begin(global).await?;
    let watch = out.watch();
    let rollback = Draw { report: &report, only: &only, globs: &args.only, terms: &terms, looks: args.heads.into() };
    let drawn = rollback.draw(&reach, !args.no_probe, &mut told, &watch, &cancel).await;
    drop(watch);
    reach.end().await;
    let drawn = drawn?;
    let idle = report.rows.len() as u64 - drawn.footer.counts.steps();
    if idle > 0 && !out.json {
        let (idle, all) = (count(idle), count(report.rows.len() as u64));
        let why = if only.is_empty() { "wrote nothing" } else { "wrote nothing, or were not asked for" };
        out.note(&format!("{idle} of {all} rows {why}: no step is for them."));
    }
    told.end(&drawn, global, out)
}

/// A rollback that is to be drawn.
struct Draw<'a> {
    report: &'a Report,
    only: &'a [(String, Glob)],
    globs: &'a [String],
    terms: &'a Terms,
    looks: usize,
}

impl Draw<'_> {
    async fn draw(
        &self,
        reach: &Reach,
        may_probe: bool,
        told: &mut Told,
        watch: &Arc<dyn Watch>,
        cancel: &Cancel,
    ) -> Result<Drawn, Failure> {
        let Report { name, sha256, folder, rows } = self.report;
        let chosen = rows::chosen(rows, self.only).map_err(|glob| {
            Failure::new(Exit::Usage, format!("--only {glob}: no row of {name} has a key that it names"))
        })?;
        let mut targets = Vec::new();
        for went in rows::targets(&chosen) {
            targets.push(self.target(&went, reach).await?);
        }
        let stores = reach.connect_all(&targets).await?;
        let looked = restore::draw(name, &chosen, &stores, self.looks, watch, cancel).await;
        let restore::Drawn { mut steps, mut warnings, requests } = looked.map_err(|error| match error {
            SurveyError::Interrupted => Failure::new(Exit::Interrupted, error),
            SurveyError::Target { .. } | SurveyError::Lost(_) => Failure::new(Exit::CouldNotRun, error),
        })?;
        let probe_id = may_probe.then(|| uuid::Uuid::now_v7().to_string());
        warnings.extend(restore::guard(&mut steps, &stores, probe_id.as_deref()).await);
        let base = folder
            .to_str()
            .ok_or_else(|| Failure::new(Exit::CouldNotRun, format!("{name}: the name of its folder is not UTF-8")))?;
        let run_id = rows.first().map_or("", |(_, row)| row.run_id.as_str());
        let report = ManifestRef { path: name.clone(), sha256: *sha256, name: None };
        let header = restore::header(Of { report, run_id, only: self.globs, base }, targets, warnings, TOOL, now());
        let output = told.telling.output.clone();
        let could_not = |error| unwritten(output.as_deref(), &error);
        let room = room(output.as_deref()).map_err(could_not)?;
        let Drafted { header, footer, room } = restore::write(header, &steps, room).map_err(could_not)?;
        keep(room, output.as_deref())?;
        told.add(steps);
        Ok(Drawn { header, footer, stores, requests })
    }

    /// Where rows went, and nowhere else.
    async fn target(&self, went: &Went<'_>, reach: &Reach) -> Result<Target, Failure> {
        reach.must_lead_to(went.target, went.endpoint)?;
        let spec = reported::spec(went, self.terms).map_err(|message| {
            flawed(&[Flaw { place: Place { file: self.report.name.as_str().into(), line: 0 }, message }])
        })?;
        let target = reach.resolve(&spec).await?;
        let is_there = went.endpoint == SANDBOX || target.endpoint == went.endpoint;
        if !is_there {
            let text = format!(
                "{}: target {} went to {:?}, which is no endpoint as noclobber writes it",
                self.report.name, went.target, went.endpoint
            );
            return Err(Failure::new(Exit::BadInput, text));
        }
        Ok(target)
    }
}

/// Reads a report to the end. One of a run that did not finish is refused: what became of its last writes is not known.
fn read(path: &Path) -> Result<Report, Failure> {
    let name = path.display().to_string();
    let refuse = |text: String| Err(Failure::new(Exit::BadInput, text));
    let again = |report: &str| {
        format!(
            "the run is under way, or did not finish, and what it last sent is not known. The same apply again (with \
             --report {report}) settles it; roll it back then"
        )
    };
    if let Some(report) = name.strip_suffix(".partial") {
        return refuse(format!("{name}: {}", again(report)));
    }
    let partial = format!("{name}.partial");
    if Path::new(&partial).exists() {
        return refuse(format!("{name}: {partial} is beside it: {}", again(&name)));
    }
    let mut bytes = Vec::new();
    report::open(path)?.read_to_end(&mut bytes).map_err(|error| {
        let message = format!("cannot be read: {error}");
        flawed(&[Flaw { place: Place { file: name.as_str().into(), line: 0 }, message }])
    })?;
    let rows = finished(&name, bytes.as_slice()).map_err(|flaws| flawed(&flaws))?;
    let flaws = rows::flaws(&name, &rows);
    if !flaws.is_empty() {
        return Err(flawed(&flaws));
    }
    let folder = std::fs::canonicalize(folder_of(path))
        .map_err(|error| Failure::new(Exit::CouldNotRun, format!("{name}: {error}")))?;
    Ok(Report { name, sha256: Sha256(sha2::Sha256::digest(&bytes).into()), folder, rows })
}
