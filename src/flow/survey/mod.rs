//! Looks at files and bucket, and draws the plan. Writes nothing anywhere.
//!
//! Heads first, then only those digests that some rung of the ladder needs, then the rule table. What a LIST has shown
//! is enough to prove absence or sameness; everything else gets a HEAD before it is judged.

pub mod compose;
mod expand;
pub mod gather;
#[cfg(test)]
mod gathering;
mod look;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};

use crate::flow::cancel::Cancel;
use crate::flow::time::mtime_text;
use crate::local::{self, FileError, Job};
use crate::model::entry::{Compare, Entry, Rule};
use crate::model::event::{Event, Phase, Watch};
use crate::model::head::{Encryption, Remote};
use crate::model::local::{Digests, LocalFile, Stat, Wanted};
use crate::model::part::OBJECT_MAX_BYTES;
use crate::model::step::{Action, Step};
use crate::model::target::Target;
use crate::model::write::Cause;
use crate::plan::{Drawing, draw, wanted};
use crate::store::{Access, Store};

pub use look::Discovery;

/// How to look.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// HEADs under way at once.
    pub looks: usize,
    /// Threads that hash.
    pub threads: usize,
    pub discovery: Discovery,
}

impl Default for Settings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { looks: 64, threads, discovery: Discovery::Auto }
    }
}

/// What was seen and decided.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// One for each entry, in the same order.
    pub steps: Vec<Step>,
    pub warnings: Vec<String>,
    /// Requests that the looks took.
    pub requests: u64,
}

/// Why there is no plan at all. What is wrong with one entry is that entry's step.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error("target {target}: {cause}")]
    Target { target: String, cause: Cause },
    #[error("interrupted")]
    Interrupted,
}

/// One entry on its way to its step.
struct Case {
    path: PathBuf,
    stat: Result<Stat, String>,
    remote: Result<Remote, String>,
    digests: Digests,
}

/// Surveys entries whose sources are relative to `base`. Every entry's target is in `targets`.
pub async fn survey<S: Store>(
    entries: &[Entry],
    base: &Path,
    targets: &HashMap<String, (Target, Arc<S>)>,
    settings: Settings,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
) -> Result<Survey, SurveyError> {
    let mut survey = Survey::default();
    let mut names: Vec<&String> = targets.keys().collect();
    names.sort();
    for name in names {
        let (_, store) = &targets[name];
        survey.requests += 1;
        match store.access().await {
            Ok(Access::Open) => {}
            Ok(Access::Doubtful(why)) => survey.warnings.push(format!("target {name}: {why}")),
            Err(error) => return Err(SurveyError::Target { target: name.clone(), cause: error.cause }),
        }
    }

    let mut cases = stat_all(entries, base);
    let worth: Vec<usize> = (0..entries.len()).filter(|at| cases[*at].stat.is_ok()).collect();
    watch.tell(Event::Begin { phase: Phase::Looking, files: worth.len() as u64, bytes: 0 });
    let looked = look::look(entries, &worth, targets, settings, watch, cancel, &mut survey.requests).await;
    watch.tell(Event::End { phase: Phase::Looking });
    for (at, remote) in looked? {
        cases[at].remote = remote;
    }
    hash_all(entries, &mut cases, worth.clone(), targets, settings, watch).await;

    // What a LIST showed and sameness did not settle is looked at properly, and hashed for what that look asks.
    let unsettled: Vec<usize> =
        worth.into_iter().filter(|at| is_listed(&cases[*at]) && !is_settled(&entries[*at], &cases[*at])).collect();
    if !unsettled.is_empty() {
        watch.tell(Event::Begin { phase: Phase::Looking, files: unsettled.len() as u64, bytes: 0 });
        let by_head = Settings { discovery: Discovery::Head, ..settings };
        let looked = look::look(entries, &unsettled, targets, by_head, watch, cancel, &mut survey.requests).await;
        watch.tell(Event::End { phase: Phase::Looking });
        for (at, remote) in looked? {
            cases[at].remote = remote;
        }
        hash_all(entries, &mut cases, unsettled, targets, settings, watch).await;
    }

    read_tags(entries, &mut cases, targets, settings, &mut survey.requests).await;
    if cancel.is_set() {
        return Err(SurveyError::Interrupted);
    }
    for (n, (entry, case)) in (1..).zip(entries.iter().zip(&cases)) {
        survey.steps.push(decide(n, entry, case, targets));
    }
    Ok(survey)
}

/// Reads the tags of the objects whose properties are compared: HEAD only counts them.
async fn read_tags<S: Store>(
    entries: &[Entry],
    cases: &mut [Case],
    targets: &HashMap<String, (Target, Arc<S>)>,
    settings: Settings,
    requests: &mut u64,
) {
    let wanted: Vec<usize> = (0..entries.len())
        .filter(|at| entries[*at].compare == Compare::Properties)
        .filter(|at| matches!(cases[*at].remote, Ok(Remote::Present(_))))
        .collect();
    let mut answers = stream::iter(wanted)
        .map(|at| async move {
            match targets.get(&*entries[at].target) {
                Some((_, store)) => (at, Some(store.tags(&entries[at].key).await)),
                None => (at, None),
            }
        })
        .buffer_unordered(settings.looks.max(1));
    while let Some((at, answer)) = answers.next().await {
        *requests += 1;
        match (answer, &mut cases[at].remote) {
            (Some(Ok(tags)), Ok(Remote::Present(head))) => head.properties.tags = tags,
            (Some(Err(error)), remote) => {
                *remote = Err(format!("compare: content+properties needs s3:GetObjectTagging on this key: {error}"));
            }
            (Some(Ok(_)) | None, _) => {}
        }
    }
}

fn stat_all(entries: &[Entry], base: &Path) -> Vec<Case> {
    use rayon::prelude::*;
    entries
        .par_iter()
        .map(|entry| {
            let path = base.join(&entry.source);
            let stat = match &entry.flaw {
                Some(flaw) => Err(flaw.clone()),
                None => match local::stat(&path) {
                    Ok(stat) if stat.size > OBJECT_MAX_BYTES => {
                        Err(format!("{} bytes are more than S3 takes ({OBJECT_MAX_BYTES})", stat.size))
                    }
                    Ok(stat) => Ok(stat),
                    Err(error) => Err(source_flaw(&entry.source, &error)),
                },
            };
            Case { path, stat, remote: Ok(Remote::Absent), digests: Digests::default() }
        })
        .collect()
}

fn source_flaw(source: &str, error: &FileError) -> String {
    format!("source {source}: {error}")
}

/// Whether only a LIST was asked: it shows no encryption.
fn is_listed(case: &Case) -> bool {
    matches!(&case.remote, Ok(Remote::Present(head)) if head.encryption == Encryption::Unknown)
}

/// Whether what a LIST showed decides this entry: the same content, which the rule leaves alone.
fn is_settled(entry: &Entry, case: &Case) -> bool {
    let (Ok(stat), Ok(Remote::Present(head))) = (&case.stat, &case.remote) else { return true };
    if entry.rule == Rule::Always || entry.compare == Compare::Properties {
        return false;
    }
    let local = LocalFile { stat: *stat, digests: case.digests.clone() };
    matches!(crate::plan::compare(&local, head, false), crate::plan::Compared::Same(_))
}

/// Hashes what is needed and not there yet.
async fn hash_all<S: Store>(
    entries: &[Entry],
    cases: &mut [Case],
    which: Vec<usize>,
    targets: &HashMap<String, (Target, Arc<S>)>,
    settings: Settings,
    watch: &Arc<dyn Watch>,
) {
    let mut jobs = Vec::new();
    let mut bytes = 0;
    for at in which {
        let (entry, case) = (&entries[at], &cases[at]);
        let (Ok(stat), Ok(remote)) = (&case.stat, &case.remote) else { continue };
        let trust = targets.get(&*entry.target).is_some_and(|(target, _)| target.trust_metadata);
        let mut wanted = wanted(stat.size, remote, entry.rule, trust);
        if is_listed(case) && !could_be_same(stat, remote, entry) {
            continue;
        }
        subtract(&mut wanted, &case.digests);
        if !wanted.is_nothing() {
            bytes += stat.size;
            jobs.push(Job { index: at, path: case.path.clone(), wanted });
        }
    }
    if jobs.is_empty() {
        return;
    }
    watch.tell(Event::Begin { phase: Phase::Hashing, files: jobs.len() as u64, bytes });
    let hashed = Arc::new(Mutex::new(Vec::with_capacity(jobs.len())));
    let indices: Vec<usize> = jobs.iter().map(|job| job.index).collect();
    let work = {
        let (hashed, watch) = (Arc::clone(&hashed), Arc::clone(watch));
        move || {
            local::hash_all(
                jobs,
                settings.threads,
                |bytes| {
                    let bytes = bytes.cast_signed();
                    watch.tell(Event::Advance { phase: Phase::Hashing, files: 0, bytes });
                },
                |at, result| {
                    crate::flow::apply::lock(&hashed).push((at, result));
                    watch.tell(Event::Advance { phase: Phase::Hashing, files: 1, bytes: 0 });
                },
            )
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    watch.tell(Event::End { phase: Phase::Hashing });
    let failure = match done {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = failure {
        // What was not hashed must not pass for anything.
        for at in indices {
            cases[at].stat = Err(format!("source {}: hashing failed: {error}", entries[at].source));
        }
        return;
    }
    let hashed = std::mem::take(&mut *crate::flow::apply::lock(&hashed));
    for (at, result) in hashed {
        match result {
            Ok(file) => {
                let case = &mut cases[at];
                // Two reads must have read one file.
                if let Ok(before) = &case.stat
                    && *before != file.stat
                {
                    case.stat = Err(format!("source {}: changed while it was planned", entries[at].source));
                    continue;
                }
                add(&mut case.digests, file.digests);
            }
            Err(error) => cases[at].stat = Err(source_flaw(&entries[at].source, &error)),
        }
    }
}

/// Whether hashing now can settle an entry that only a LIST has shown.
fn could_be_same(stat: &Stat, remote: &Remote, entry: &Entry) -> bool {
    let Remote::Present(head) = remote else { return true };
    head.size == stat.size && entry.rule != Rule::Always && entry.compare == Compare::Content
}

/// What is there already is not wanted again.
fn subtract(wanted: &mut Wanted, have: &Digests) {
    wanted.sha256 &= have.sha256.is_none();
    wanted.md5 &= have.md5.is_none();
    wanted.crc64nvme &= have.crc64nvme.is_none();
    wanted.crc32c &= have.crc32c.is_none();
    wanted.crc32 &= have.crc32.is_none();
    wanted.composite_at.retain(|bytes| !have.composites.contains_key(bytes));
    wanted.etag_at.retain(|bytes| !have.etags.contains_key(bytes));
}

fn add(have: &mut Digests, more: Digests) {
    let Digests { sha256, md5, crc64nvme, crc32c, crc32, composites, etags } = more;
    have.sha256 = have.sha256.or(sha256);
    have.md5 = have.md5.or(md5);
    have.crc64nvme = have.crc64nvme.or(crc64nvme);
    have.crc32c = have.crc32c.or(crc32c);
    have.crc32 = have.crc32.or(crc32);
    have.composites.extend(composites);
    have.etags.extend(etags);
}

fn decide<S: Store>(n: u64, entry: &Entry, case: &Case, targets: &HashMap<String, (Target, Arc<S>)>) -> Step {
    let stat = match &case.stat {
        Ok(stat) => stat,
        Err(flaw) => return draw(n, entry, Drawing::Flaw(flaw.clone())),
    };
    let remote = match &case.remote {
        Ok(remote) => remote,
        Err(flaw) => return draw(n, entry, Drawing::Flaw(flaw.clone())),
    };
    let Some((target, _)) = targets.get(&*entry.target) else {
        return draw(n, entry, Drawing::Flaw(format!("target {} is not known", entry.target)));
    };
    let local = LocalFile { stat: *stat, digests: case.digests.clone() };
    let mtime = mtime_text(stat.mtime_ns);
    let seen = Drawing::Seen { local: &local, mtime, remote, trust_metadata: target.trust_metadata };
    let mut step = draw(n, entry, seen);
    // A LIST that decided says nothing of properties or encryption.
    if step.action == Action::Unchanged && is_listed(case) {
        step.note = None;
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Checksum;
    use crate::model::entry::{Key, Place, Properties};
    use crate::model::event::Nobody;
    use crate::model::step::Reason;
    use crate::model::target::{Addressing, ConditionalWrites, SANDBOX};
    use crate::model::write::{Expect, Object, WriteId};
    use crate::store::Body;
    use crate::store::memory::Memory;
    use sha2::Digest as _;

    fn tagged(retention: &str) -> Arc<Properties> {
        let tags = [("retention".to_owned(), retention.to_owned())].into();
        Arc::new(Properties { tags, ..Properties::default() })
    }

    #[tokio::test]
    async fn other_tags_are_other_properties_where_properties_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "same").unwrap();
        let store = Memory::new();
        let object = Object {
            key: Key::new("k"),
            size: 4,
            checksum: Checksum::Full(crate::model::digest::Sha256(sha2::Sha256::digest("same").into())),
            properties: tagged("7y"),
            write_id: WriteId("r-1".into()),
        };
        let body = Body::Bytes(bytes::Bytes::from_static(b"same"));
        store.put(&object, body, &Expect::Absent, Arc::new(|_| {})).await.unwrap();
        let target = Target {
            name: "default".into(),
            bucket: "b".into(),
            endpoint: SANDBOX.into(),
            region: "r".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        let targets = HashMap::from([("default".to_owned(), (target, Arc::new(store)))]);
        let watch = Arc::new(Nobody) as Arc<dyn Watch>;
        let table = [
            (Compare::Properties, "7y", Rule::IfChanged, Action::Unchanged),
            (Compare::Properties, "1y", Rule::IfChanged, Action::Replace),
            (Compare::Properties, "1y", Rule::Never, Action::Unchanged),
            (Compare::Content, "1y", Rule::IfChanged, Action::Unchanged),
        ];
        for (compare, retention, rule, action) in table {
            let entry = Entry {
                place: Place { file: "m.yaml".into(), line: 3 },
                source: "a".into(),
                real: None,
                target: "default".into(),
                key: Key::new("k"),
                rule,
                compare,
                stage: None,
                properties: tagged(retention),
                flaw: None,
            };
            let settings = Settings::default();
            let seen = survey(&[entry], folder.path(), &targets, settings, &watch, &Cancel::default()).await.unwrap();
            let step = &seen.steps[0];
            assert_eq!(step.action, action, "{compare:?} {retention} {rule}: {step:?}");
            assert_eq!(action == Action::Replace, step.reason == Reason::Properties);
        }
    }
}
