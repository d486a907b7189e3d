//! One chunk of entries on its way to its steps.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;
use tokio::sync::Semaphore;

use crate::flow::cancel::Cancel;
use crate::flow::time::mtime_text;
use crate::local::{self, FileError, Hashing, Job, Mark, Told};
use crate::model::entry::{Compare, Entry, Rule};
use crate::model::event::{Event, Phase, Watch};
use crate::model::head::{Encryption, Remote};
use crate::model::local::{Digests, LocalFile, Stat};
use crate::model::part::OBJECT_MAX_BYTES;
use crate::model::step::{Action, Step};
use crate::model::target::Target;
use crate::plan::{Compared, Drawing, compare, draw, file, wanted};
use crate::store::Store;

use super::look::Known;
use super::part::ask_first_parts;
use super::{Decided, Settings, SurveyError};

/// Steps whose lines one thread writes at a time.
const LINES_AT_ONCE: usize = 256;
/// What most lines take.
const LINE_BYTES: usize = 512;

/// What all chunks share.
pub(super) struct Work<S> {
    pub entries: Arc<Vec<Entry>>,
    /// What LIST told, one for each entry; empty where nothing was listed.
    pub known: Vec<Known>,
    pub base: PathBuf,
    pub targets: HashMap<String, (Target, Arc<S>)>,
    pub settings: Settings,
    pub hashing: Arc<Hashing>,
    pub watch: Arc<dyn Watch>,
    pub cancel: Cancel,
    pub looks: Semaphore,
    pub requests: AtomicU64,
    /// Whether the phase has begun.
    pub is_hashing: AtomicBool,
}

/// One entry on its way to its step.
pub(super) struct Case {
    path: PathBuf,
    pub mark: Result<Mark, String>,
    /// `None` until somebody looked.
    pub remote: Option<Result<Remote, String>>,
    pub digests: Digests,
}

/// The cases of one chunk; `from` is the place of the first among all entries.
pub(super) struct Chunk {
    pub from: usize,
    pub cases: Vec<Case>,
}

/// Decides the entries in `range`.
pub(super) async fn decide<S: Store>(work: &Arc<Work<S>>, range: Range<usize>) -> Result<Decided, SurveyError> {
    let mut chunk = blocking(work, range, |work, range| Chunk::begin(work, range)).await?;
    let unseen = chunk.which(work, |_, case| case.mark.is_ok() && case.remote.is_none());
    look(work, &mut chunk, &unseen, 1).await?;
    chunk = hash(work, chunk, None).await?;

    // What a LIST showed and sameness did not settle is looked at properly, and hashed for what that look asks.
    let unsettled = chunk.which(work, |entry, case| is_listed(case) && !is_settled(entry, case));
    look(work, &mut chunk, &unsettled, 0).await?;
    chunk = hash(work, chunk, Some(unsettled)).await?;

    let told = ask_first_parts(work, &mut chunk).await?;
    chunk = hash(work, chunk, Some(told)).await?;

    read_tags(work, &mut chunk).await;
    blocking(work, chunk, |work, chunk| chunk.end(work)).await
}

/// Runs what computes or reads files away from the requests. A death takes the survey with it.
async fn blocking<S: Store, T: Send + 'static, R: Send + 'static>(
    work: &Arc<Work<S>>,
    with: T,
    act: impl FnOnce(&Work<S>, T) -> R + Send + 'static,
) -> Result<R, SurveyError> {
    if work.cancel.is_set() {
        return Err(SurveyError::Interrupted);
    }
    let work = Arc::clone(work);
    let done = tokio::task::spawn_blocking(move || act(&work, with)).await;
    done.map_err(|death| SurveyError::Lost(std::io::Error::other(death)))
}

impl Chunk {
    fn begin<S: Store>(work: &Work<S>, range: Range<usize>) -> Self {
        let from = range.start;
        let cases = work.entries[range].par_iter().enumerate().map(|(i, entry)| {
            let path = work.base.join(&*entry.source);
            let mark = match &entry.flaw {
                Some(flaw) => Err(flaw.to_string()),
                None => match local::mark(&path) {
                    Ok(mark) if mark.stat().size > OBJECT_MAX_BYTES => {
                        Err(format!("{} bytes are more than S3 takes ({OBJECT_MAX_BYTES})", mark.stat().size))
                    }
                    Ok(mark) => Ok(mark),
                    Err(error) => Err(source_flaw(&entry.source, &error)),
                },
            };
            let remote = work.known.get(from + i).and_then(Known::remote).map(Ok);
            Case { path, mark, remote, digests: Digests::default() }
        });
        Self { from, cases: cases.collect() }
    }

    /// The places in the chunk of those that `are`.
    fn which<S>(&self, work: &Work<S>, are: impl Fn(&Entry, &Case) -> bool) -> Vec<usize> {
        (0..self.cases.len()).filter(|at| are(&work.entries[self.from + at], &self.cases[*at])).collect()
    }

    fn end<S: Store>(self, work: &Work<S>) -> Decided {
        let entries = &work.entries[self.from..self.from + self.cases.len()];
        let first = self.from as u64 + 1;
        let all = self.cases.par_iter().zip(entries).enumerate();
        let steps: Vec<Step> = all.map(|(i, (case, entry))| step(first + i as u64, entry, case, work)).collect();
        let groups = steps.par_chunks(LINES_AT_ONCE).map(|steps| {
            let mut lines = Vec::with_capacity(steps.len() * LINE_BYTES);
            for step in steps {
                file::line(step, &mut lines);
            }
            lines
        });
        let lines = groups.collect::<Vec<_>>().concat();
        Decided { steps, lines }
    }
}

fn source_flaw(source: &str, error: &FileError) -> String {
    format!("source {source}: {error}")
}

/// Whether only a LIST was asked: it shows no encryption.
fn is_listed(case: &Case) -> bool {
    matches!(&case.remote, Some(Ok(Remote::Present(head))) if head.encryption == Encryption::Unknown)
}

/// Whether what a LIST showed decides this entry: the same content, which the rule leaves alone.
fn is_settled(entry: &Entry, case: &Case) -> bool {
    let (Ok(mark), Some(Ok(Remote::Present(head)))) = (&case.mark, &case.remote) else { return true };
    if entry.terms.rule == Rule::Always || entry.terms.compare == Compare::Properties {
        return false;
    }
    let local = LocalFile { stat: mark.stat(), digests: case.digests.clone() };
    matches!(compare(&local, head, false), Compared::Same(_))
}

/// Asks for the heads of the entries at `which` places. One entry's failed look is that entry's; a failure that every look
/// would meet ends the survey.
async fn look<S: Store>(
    work: &Arc<Work<S>>,
    chunk: &mut Chunk,
    which: &[usize],
    counts: u64,
) -> Result<(), SurveyError> {
    let from = chunk.from;
    let mut looks = stream::iter(which.iter().copied())
        .map(|at| {
            let work = Arc::clone(work);
            // A task of its own, so that every core takes part.
            tokio::spawn(async move {
                let entry = &work.entries[from + at];
                let Some((_, store)) = work.targets.get(&*entry.terms.target) else { return (at, None) };
                let Ok(_turn) = work.looks.acquire().await else { return (at, None) };
                if work.cancel.is_set() {
                    return (at, None);
                }
                work.requests.fetch_add(1, Ordering::Relaxed);
                let answer = store.head(&entry.key).await;
                work.watch.tell(Event::Advance { phase: Phase::Looking, files: counts, bytes: 0 });
                (at, Some(answer))
            })
        })
        .buffer_unordered(work.settings.looks.max(1));
    while let Some(answer) = looks.next().await {
        let (at, answer) = answer.map_err(|death| SurveyError::Lost(std::io::Error::other(death)))?;
        chunk.cases[at].remote = Some(match answer {
            Some(Ok(remote)) => Ok(remote),
            Some(Err(error)) if error.stop => {
                let target = work.entries[from + at].terms.target.to_string();
                return Err(SurveyError::Target { target, cause: error.cause });
            }
            Some(Err(error)) => Err(format!("the bucket could not be asked: {error}")),
            None if work.cancel.is_set() => return Err(SurveyError::Interrupted),
            None => Err(format!("target {} is not known", work.entries[from + at].terms.target)),
        });
    }
    Ok(())
}

/// Reads the tags of the objects whose properties are compared: HEAD only counts them.
async fn read_tags<S: Store>(work: &Arc<Work<S>>, chunk: &mut Chunk) {
    let wanted = chunk.which(work, |entry, case| {
        entry.terms.compare == Compare::Properties && matches!(case.remote, Some(Ok(Remote::Present(_))))
    });
    let from = chunk.from;
    let mut answers = stream::iter(wanted)
        .map(|at| async move {
            let entry = &work.entries[from + at];
            let _turn = work.looks.acquire().await;
            match work.targets.get(&*entry.terms.target) {
                Some((_, store)) => (at, Some(store.tags(&entry.key).await)),
                None => (at, None),
            }
        })
        .buffer_unordered(work.settings.looks.max(1));
    while let Some((at, answer)) = answers.next().await {
        work.requests.fetch_add(1, Ordering::Relaxed);
        match (answer, &mut chunk.cases[at].remote) {
            (Some(Ok(tags)), Some(Ok(Remote::Present(head)))) => head.properties.tags = tags,
            (Some(Err(error)), remote) => {
                *remote =
                    Some(Err(format!("compare: content+properties needs s3:GetObjectTagging on this key: {error}")));
            }
            (Some(Ok(_)) | None, _) => {}
        }
    }
}

/// Hashes what is needed and not there yet, of all cases or of those at `which` places.
async fn hash<S: Store>(
    work: &Arc<Work<S>>,
    mut chunk: Chunk,
    which: Option<Vec<usize>>,
) -> Result<Chunk, SurveyError> {
    let jobs: Vec<Job> = match which {
        None => (0..chunk.cases.len()).filter_map(|at| job(work, &chunk, at)).collect(),
        Some(which) => which.into_iter().filter_map(|at| job(work, &chunk, at)).collect(),
    };
    if jobs.is_empty() {
        return Ok(chunk);
    }
    let done = blocking(work, jobs, move |work, jobs| {
        let hashed = Mutex::new(Vec::with_capacity(jobs.len()));
        let phase = Phase::Hashing;
        let tell = |told| match told {
            Told::Found { files, bytes } => {
                let is_begun = work.is_hashing.swap(true, Ordering::Relaxed);
                let begin = Event::Begin { phase, files, bytes };
                work.watch.tell(if is_begun { Event::More { phase, files, bytes } } else { begin });
            }
            Told::Read(bytes) => work.watch.tell(Event::Advance { phase, files: 0, bytes: bytes.cast_signed() }),
            Told::Done => work.watch.tell(Event::Advance { phase, files: 1, bytes: 0 }),
        };
        let answer = |at, result| crate::flow::apply::lock(&hashed).push((at, result));
        work.hashing.hash_all(&jobs, tell, answer);
        std::mem::take(&mut *crate::flow::apply::lock(&hashed))
    });
    for (at, result) in done.await? {
        let (case, source) = (&mut chunk.cases[at], &work.entries[chunk.from + at].source);
        match result {
            Ok(file) => {
                // Two reads must have read one file.
                if let Ok(before) = &case.mark
                    && before.stat() != file.stat
                {
                    case.mark = Err(format!("source {source}: changed while it was planned"));
                    continue;
                }
                case.digests.add(file.digests);
            }
            Err(error) => case.mark = Err(source_flaw(source, &error)),
        }
    }
    Ok(chunk)
}

/// What is to be hashed of one file, if anything.
fn job<S: Store>(work: &Work<S>, chunk: &Chunk, at: usize) -> Option<Job> {
    let (entry, case) = (&work.entries[chunk.from + at], &chunk.cases[at]);
    let (Ok(mark), Some(Ok(remote))) = (&case.mark, &case.remote) else { return None };
    let stat = mark.stat();
    let trust = work.targets.get(&*entry.terms.target).is_some_and(|(target, _)| target.trust_metadata);
    if is_listed(case) && !could_be_same(stat, remote, entry) {
        return None;
    }
    let wanted = wanted(stat.size, remote, entry.terms.rule, trust).without(&case.digests);
    (!wanted.is_nothing()).then(|| Job { index: at, path: case.path.clone(), mark: *mark, wanted })
}

/// Whether hashing now can settle an entry that only a LIST has shown.
fn could_be_same(stat: Stat, remote: &Remote, entry: &Entry) -> bool {
    let Remote::Present(head) = remote else { return true };
    head.size == stat.size && entry.terms.rule != Rule::Always && entry.terms.compare == Compare::Content
}

fn step<S: Store>(n: u64, entry: &Entry, case: &Case, work: &Work<S>) -> Step {
    let flawed = |flaw: String| draw(n, entry, Drawing::Flaw(flaw));
    let stat = match &case.mark {
        Ok(mark) => mark.stat(),
        Err(flaw) => return flawed(flaw.clone()),
    };
    let remote = match &case.remote {
        Some(Ok(remote)) => remote,
        Some(Err(flaw)) => return flawed(flaw.clone()),
        None => return flawed("nobody has looked at the key".to_owned()),
    };
    let Some((target, _)) = work.targets.get(&*entry.terms.target) else {
        return flawed(format!("target {} is not known", entry.terms.target));
    };
    let local = LocalFile { stat, digests: case.digests.clone() };
    let mtime = mtime_text(stat.mtime_ns);
    let seen = Drawing::Seen { local: &local, mtime, remote, trust_metadata: target.trust_metadata };
    let mut step = draw(n, entry, seen);
    // A LIST that decided says nothing of properties or encryption.
    if step.action == Action::Unchanged && is_listed(case) {
        step.note = None;
    }
    step
}
