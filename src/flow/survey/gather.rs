//! From manifests on disk to entries: what was written, what is there, and everything that is wrong with either.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use sha2::Digest as _;

use super::expand::Expand;
use crate::manifest::limits::Limits;
use crate::manifest::template::Engine;
use crate::manifest::{self, Manifest};
use crate::model::digest::Sha256;
use crate::model::entry::{Entry, Flaw, Place};
use crate::model::step::ManifestRef;
use crate::model::target::{Require, TargetSpec};

/// What a run was asked to upload, and with which parameters.
#[derive(Debug, Clone)]
pub struct Request {
    pub manifests: Vec<PathBuf>,
    /// The folder that sources and lists are relative to; each manifest's own unless given.
    pub base: Option<PathBuf>,
    pub date: Date,
    pub vars: BTreeMap<String, String>,
    /// The environment, as templates may see it. It stands in no plan.
    pub env: BTreeMap<String, String>,
}

/// Everything that the manifests ask for, as one.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// Absolute, without symbolic links. With several manifests, the folder that holds the folders of all.
    pub base: PathBuf,
    /// In manifest order.
    pub entries: Vec<Entry>,
    /// Names are unique.
    pub targets: Vec<TargetSpec>,
    pub stages: Vec<String>,
    pub manifests: Vec<ManifestRef>,
    pub parameters: BTreeMap<String, String>,
    /// One for each manifest.
    pub policies: Vec<Policy>,
    /// What keeps the plan from being applied, whatever the bucket holds: keys outside `allow_keys`.
    pub refusals: Vec<Flaw>,
    pub warnings: Vec<String>,
}

/// What holds for one manifest's entries alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The manifest, as given on the command line.
    pub manifest: String,
    pub limits: Limits,
    /// Which of the entries are its.
    pub entries: Range<usize>,
}

/// Reads the manifests and looks for their sources. The flaws are all that there are, of all manifests, by place.
/// Two entries for one object are not among them: that is known once the targets are resolved (`manifest::claims`).
pub fn gather(request: &Request) -> Result<Gathered, Vec<Flaw>> {
    let mut flaws = Vec::new();
    let mut readings = Vec::new();
    for (i, path) in request.manifests.iter().enumerate() {
        if is_repeated(&request.manifests[..i], path) {
            flaws.push(flaw(path, 0, "is given twice".to_owned()));
            continue;
        }
        match Reading::of(path, request.base.as_deref()) {
            Ok((reading, found)) => {
                flaws.extend(found);
                readings.extend(reading);
            }
            Err(found) => flaws.push(found),
        }
    }
    let base = common_folder(readings.iter().map(|reading| reading.base.as_path()));
    if base.to_str().is_none() {
        let message = format!("the folder {} is not UTF-8, as a plan must be", base.display());
        flaws.push(flaw(&base, 0, message));
    }
    let engine = Engine::new(request.date, &request.vars, &request.env);
    let stages = stages(&readings, &mut flaws);
    let names = name_targets(&readings, &engine);

    let mut gathered = Gathered {
        base,
        entries: Vec::new(),
        targets: names.targets,
        stages: stages.iter().map(ToString::to_string).collect(),
        manifests: Vec::new(),
        parameters: parameters(request),
        policies: Vec::new(),
        refusals: Vec::new(),
        warnings: Vec::new(),
    };
    for (reading, names) in readings.iter().zip(&names.by_manifest) {
        let from = gathered.entries.len();
        let folder = request.base.as_deref().or_else(|| reading.path.parent());
        // A manifest without stages joins the first of the others'.
        let stage = stages.first().cloned();
        let mut expand = Expand::new(&engine, &reading.manifest, names, &reading.base, &gathered.base, folder, stage);
        match &mut expand {
            Ok(expand) => {
                expand.all(&mut gathered.entries);
                gathered.refusals.extend(expand.refusal());
                flaws.append(&mut expand.flaws);
                gathered.warnings.append(&mut expand.warnings);
            }
            Err(found) => flaws.push(found.clone()),
        }
        gathered.manifests.push(ManifestRef {
            path: reading.path.display().to_string(),
            sha256: reading.sha256,
            name: reading.manifest.name.clone(),
        });
        gathered.policies.push(Policy {
            manifest: reading.path.display().to_string(),
            limits: reading.manifest.limits,
            entries: from..gathered.entries.len(),
        });
    }
    if flaws.is_empty() {
        gathered.entries.shrink_to_fit();
        return Ok(gathered);
    }
    flaws.extend(gathered.refusals);
    flaws.sort();
    flaws.dedup();
    Err(flaws)
}

/// One manifest, read as far as it is sound.
struct Reading {
    path: PathBuf,
    sha256: Sha256,
    manifest: Manifest,
    /// Real and absolute.
    base: PathBuf,
}

impl Reading {
    fn of(path: &Path, base: Option<&Path>) -> Result<(Option<Self>, Vec<Flaw>), Flaw> {
        let bytes = std::fs::read(path).map_err(|error| flaw(path, 0, unreadable(&error)))?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                return Err(flaw(path, line, "is not UTF-8; save the manifest in that encoding".to_owned()));
            }
        };
        let (manifest, flaws) = manifest::sound(&path.display().to_string(), text);
        let folder = match base {
            Some(base) => base,
            None => folder_of(path),
        };
        let base = std::fs::canonicalize(folder).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "does not exist".to_owned(),
                _ => format!("cannot be reached: {error}"),
            };
            flaw(path, 0, format!("the base folder {} {why}", folder.display()))
        })?;
        let sha256 = Sha256(sha2::Sha256::digest(&bytes).into());
        Ok((manifest.map(|manifest| Self { path: path.to_owned(), sha256, manifest, base }), flaws))
    }
}

fn flaw(path: &Path, line: u32, message: String) -> Flaw {
    Flaw { place: Place { file: path.display().to_string().into(), line }, message }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist; `noclobber init` writes a manifest to begin with".to_owned(),
        io::ErrorKind::IsADirectory => "is a folder; name the manifest in it".to_owned(),
        io::ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_repeated(before: &[PathBuf], path: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    before.iter().any(|other| real(other) == real(path))
}

/// The deepest folder that holds all of these; the root where there are none.
fn common_folder<'a>(mut folders: impl Iterator<Item = &'a Path>) -> PathBuf {
    let Some(first) = folders.next() else { return PathBuf::from("/") };
    let mut common = first.to_owned();
    for folder in folders {
        while !folder.starts_with(&common) && common.pop() {}
    }
    common
}

fn parameters(request: &Request) -> BTreeMap<String, String> {
    let vars = request.vars.iter().map(|(name, value)| (format!("var.{name}"), value.clone()));
    vars.chain([("date".to_owned(), request.date.to_string())]).collect()
}

/// The stages of all: who names any must name the same.
fn stages(readings: &[Reading], flaws: &mut Vec<Flaw>) -> Vec<Arc<str>> {
    let mut with_stages = readings.iter().filter(|reading| !reading.manifest.choices.stages().is_empty());
    let Some(first) = with_stages.next() else { return Vec::new() };
    for other in with_stages.filter(|other| other.manifest.choices.stages() != first.manifest.choices.stages()) {
        let message = format!(
            "stages must be the same in all manifests: here {}, but {} at {}:{}",
            other.manifest.choices.stages().join(", "),
            first.manifest.choices.stages().join(", "),
            first.path.display(),
            first.manifest.stages_line,
        );
        flaws.push(flaw(&other.path, other.manifest.stages_line, message));
    }
    first.manifest.choices.stages().to_vec()
}

/// How a manifest's targets are called in the plan.
struct Names {
    targets: Vec<TargetSpec>,
    /// For each manifest, from its own name to the plan's.
    by_manifest: Vec<HashMap<String, Arc<str>>>,
}

/// Gives targets of one name that differ the names of their manifests too: `nightly/default`.
fn name_targets(readings: &[Reading], engine: &Engine) -> Names {
    let mut all: Vec<(usize, TargetSpec)> = Vec::new();
    for (i, reading) in readings.iter().enumerate() {
        for target in &reading.manifest.targets {
            let mut spec = target.spec.clone();
            // One that cannot be rendered is told of when the entries are made.
            if let Ok(template) = engine.compile(&target.spec.prefix)
                && let Ok(prefix) = engine.render(&template, &engine.scope())
            {
                spec.prefix = prefix;
            }
            all.push((i, spec));
        }
    }
    let mut names = Names { targets: Vec::new(), by_manifest: vec![HashMap::new(); readings.len()] };
    for (i, spec) in &all {
        let path = &readings[*i].path;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let differs = |other: &TargetSpec| other.name == spec.name && !same_but_name(other, spec);
        let is_clear = |name: &str| names.targets.iter().all(|known| known.name != name || same_but_name(known, spec));
        let by_stem = format!("{stem}/{}", spec.name);
        let by_path = format!("{}/{}", path.display(), spec.name);
        let name = if !all.iter().any(|(_, other)| differs(other)) && is_clear(&spec.name) {
            spec.name.clone()
        } else if is_clear(&by_stem) {
            by_stem
        } else {
            by_path
        };
        match names.targets.iter_mut().find(|known| known.name == name) {
            // Who requires more speaks for all that goes there.
            Some(known) => known.require = known.require.and(spec.require),
            None => names.targets.push(TargetSpec { name: name.clone(), ..spec.clone() }),
        }
        names.by_manifest[*i].insert(spec.name.clone(), name.into());
    }
    names
}

/// Whether two lead to one place in one way, whatever they are called and require of it.
fn same_but_name(one: &TargetSpec, other: &TargetSpec) -> bool {
    let way = |spec: &TargetSpec| TargetSpec { name: String::new(), require: Require::default(), ..spec.clone() };
    way(one) == way(other)
}
