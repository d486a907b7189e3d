//! The preflight: is the world still as it was reviewed? Nothing is written here.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::flow::list::{Effort, list};
use crate::flow::time::mtime_text;
use crate::local::{self, FileError};
use crate::model::digest::Checksum;
use crate::model::entry::Key;
use crate::model::event::{Event, Phase};
use crate::model::head::{Head, Remote};
use crate::model::local::{Pinned, Wanted};
use crate::model::row::{Outcome, Row};
use crate::model::step::{Action, Step};
use crate::model::target::Target;
use crate::model::write::{LookError, WriteId};
use crate::plan::file::Plan;
use crate::report::row::blank;
use crate::store::{Listed, Store};

use super::ledger::Ledger;
use super::write::{Sought, forged, guard_of, sought, tell_done};
use super::{End, Halt, Run, halt, undo};

/// Looks under way at once.
const LOOKS: usize = 64;
/// Files that one task looks at, and tasks at once.
const FILES_A_TASK: usize = 256;
const FILE_TASKS: usize = 8;

/// An entry that is not as it was reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub place: String,
    pub key: String,
    /// What moved, and how.
    pub how: String,
}

impl Moved {
    /// The same, from the row that says so.
    #[must_use]
    pub fn of_row(row: &Row) -> Self {
        Self { place: row.place.clone(), key: row.key.clone(), how: row.message.clone() }
    }
}

/// How the world moved under a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    CreatedSince(Box<Head>),
    ChangedSince(Box<Head>),
    Vanished,
    HiddenSince,
    SourceChanged(String),
    SourceGone(String),
    /// Of a restore.
    EarlierGone(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |head: &Head| {
            let when = head.last_modified.as_deref().unwrap_or("an unknown time");
            let version = head.version.as_ref().map(|id| format!(", version {id}")).unwrap_or_default();
            format!("{} bytes, ETag {}, {when}{version}", head.size, head.etag)
        };
        match self {
            Self::CreatedSince(head) => write!(f, "created since the plan: {}", who(head)),
            Self::ChangedSince(head) => write!(f, "changed since the plan: now {}", who(head)),
            Self::Vanished => f.write_str("vanished since the plan: the object is not there any more"),
            Self::HiddenSince => f.write_str("hidden since the plan: HEAD is now answered with 403"),
            Self::SourceChanged(how) => write!(f, "source changed since the plan: {how}"),
            Self::SourceGone(why) => write!(f, "source cannot be read any more: {why}"),
            Self::EarlierGone(how) => write!(f, "the version to bring back is gone: {how}"),
        }
    }
}

/// What the preflight says of a step that would write.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// As reviewed.
    Ready,
    /// As reviewed, but an earlier attempt may have sent it.
    InDoubt,
    /// It needs no write: an earlier attempt's is there, or nobody can tell.
    Ended(Box<Row>),
    Moved(How),
}

/// Looks at the file and the head of every step in `writes`, and warns of what changed under those that write nothing.
/// A look that gets no answer ends the run before anything is written, unless the rest is asked for.
pub(super) async fn check<'a, S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    plan: &'a Plan,
    writes: &[&'a Step],
) -> Result<Vec<(&'a Step, Verdict)>, Halt> {
    let idle: Vec<&Step> = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Unchanged | Action::Keep) && step.head.is_some())
        .filter(|_| !run.settings.settle_only)
        .collect();
    let total = (writes.len() + idle.len()) as u64;
    run.watch.tell(Event::Begin { phase: Phase::Checking, files: total, bytes: 0 });
    let verdicts = look_at_all(run, writes, &idle).await;
    run.watch.tell(Event::End { phase: Phase::Checking });
    verdicts
}

async fn look_at_all<'a, S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    writes: &[&'a Step],
    idle: &[&Step],
) -> Result<Vec<(&'a Step, Verdict)>, Halt> {
    let tell = || run.watch.tell(Event::Advance { phase: Phase::Checking, files: 1, bytes: 0 });
    let listings = listings(run, writes.iter().copied().chain(idle.iter().copied())).await;
    let untouched = untouched(run, writes).await;
    let (listings, untouched) = (&listings, &untouched);
    let mut looks = stream::iter(writes.iter().copied())
        .map(|step| async move {
            let listed = listings.get(&*step.target).and_then(|listing| listing.of(step));
            let is_untouched = untouched.contains(&step.n);
            (step, if run.is_over() { None } else { Some(verdict(run, step, listed, is_untouched).await) })
        })
        .buffer_unordered(LOOKS);
    let mut verdicts = Vec::with_capacity(writes.len());
    while let Some((step, looked)) = looks.next().await {
        tell();
        match looked {
            None => return Err(halt(End::Interrupted, "the run was interrupted before it")),
            Some(Ok(verdict)) => verdicts.push((step, verdict)),
            Some(Err(error)) if run.settings.partial && !run.settings.settle_only && !error.stop => {
                if let Some(mut row) = run.blank(step) {
                    // What an earlier attempt may have stored has not failed because nobody could look.
                    let in_doubt = run.ledger.is_in_doubt(step.n);
                    row.outcome = if in_doubt { Outcome::Unknown } else { Outcome::Failed };
                    row.message = format!("could not be looked at before the write: {}", error.cause);
                    row.error_code.clone_from(&error.cause.code);
                    row.http_status = error.cause.http_status;
                    verdicts.push((step, Verdict::Ended(Box::new(row))));
                }
            }
            Some(Err(error)) => {
                let why = format!("{} could not be looked at before the first write", step.key);
                return Err(halt(End::Stopped(error.cause), why));
            }
        }
    }
    verdicts.sort_unstable_by_key(|(step, _)| step.n);

    let mut looks = stream::iter(idle.iter().copied())
        .map(|step| async move {
            let listed = listings.get(&*step.target).and_then(|listing| listing.of(step));
            (step, if run.is_over() { None } else { idle_warning(run, step, listed).await })
        })
        .buffer_unordered(LOOKS);
    while let Some((step, warning)) = looks.next().await {
        tell();
        if let Some(warning) = warning {
            run.watch.tell(Event::Warning(&format!("{}: {}: {warning}", step.place, step.key)));
        }
    }
    Ok(verdicts)
}

/// The steps whose file has the size and the time that the plan saw. Many small files are looked at by one thread in a
/// row: a hop to a thread and back for each costs more than the look.
async fn untouched<S: Store, L: Ledger>(run: &Run<S, L>, writes: &[&Step]) -> HashSet<u64> {
    let pinned = |step: &&Step| Some((step.n, run.source(step), step.local.clone()?));
    let chunks = writes.chunks(FILES_A_TASK).map(|chunk| chunk.iter().filter_map(pinned).collect::<Vec<_>>());
    stream::iter(chunks)
        .map(|files| async move {
            let look = move || {
                let is_untouched = |path: &Path, pinned: &Pinned| {
                    let stat = local::stat(path);
                    stat.is_ok_and(|stat| stat.size == pinned.size && mtime_text(stat.mtime_ns) == pinned.mtime)
                };
                let untouched = files.into_iter().filter(|(_, path, pinned)| is_untouched(path, pinned));
                untouched.map(|(n, ..)| n).collect::<Vec<_>>()
            };
            // What a task that died did not tell is looked at once more, one by one.
            tokio::task::spawn_blocking(look).await.unwrap_or_default()
        })
        .buffer_unordered(FILE_TASKS)
        .flat_map(stream::iter)
        .collect()
        .await
}

/// What LIST says of the keys of one target.
struct Whole<'a>(HashMap<&'a Key, Told>);

/// What it says of one key.
enum Told {
    Absent,
    There(Listed),
}

impl Whole<'_> {
    fn of(&self, step: &Step) -> Option<&Told> {
        self.0.get(&step.key)
    }
}

/// Lists each target where that is cheaper than a HEAD for each of its steps. What takes the place of an object is left
/// out: it gets a HEAD in any case, for the version id.
async fn listings<'a, S: Store, L: Ledger>(
    run: &Run<S, L>,
    steps: impl Iterator<Item = &'a Step>,
) -> HashMap<&'a str, Whole<'a>> {
    let mut by_target: HashMap<&str, Vec<&Key>> = HashMap::new();
    for step in steps.filter(|step| !(step.action.writes() && step.head.is_some())) {
        by_target.entry(&*step.target).or_default().push(&step.key);
    }
    let mut wholes = HashMap::new();
    for (name, keys) in by_target {
        let Some((_, store)) = run.targets.get(name) else { continue };
        let mut told = HashMap::new();
        let take = |place: usize, listed| drop(told.insert(keys[place], Told::There(listed)));
        let listing = list(store, &keys, Effort::WhileCheaper, &run.cancel, take).await;
        for (key, is_covered) in keys.iter().zip(listing.is_covered) {
            if is_covered {
                told.entry(*key).or_insert(Told::Absent);
            }
        }
        wholes.insert(name, Whole(told));
    }
    wholes
}

async fn verdict<S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    step: &Step,
    listed: Option<&Told>,
    is_untouched: bool,
) -> Result<Verdict, LookError> {
    let Some((target, store)) = run.store(step) else { return Ok(Verdict::Ready) };
    let in_doubt = run.ledger.is_in_doubt(step.n);
    // What is there, and what is to be replaced, is looked at properly.
    let remote = match listed {
        Some(Told::Absent) if step.head.is_none() => Remote::Absent,
        Some(Told::Absent | Told::There(_)) | None => store.head(&step.key).await?,
    };
    // A delete leaves none.
    let id = (step.action != Action::Delete).then(|| WriteId::new(run.ledger.run_id(), step.n));
    let id = id.as_ref();
    if let Remote::Present(head) = &remote
        && id.is_some_and(|id| head.write_id.as_deref() == Some(&id.0))
    {
        let mut row = ended(run, step, target, id);
        if let Some(cause) = forged(step, head) {
            row.outcome = Outcome::Unknown;
            row.error_code = cause.code;
            row.message = cause.message;
            return Ok(Verdict::Ended(Box::new(row)));
        }
        let message = "stored by an earlier attempt of this run; found by its write id";
        tell_done(&mut row, step, Some(&head.etag), head.version.as_ref(), message);
        return Ok(Verdict::Ended(Box::new(row)));
    }
    if in_doubt && remote == Remote::Unseen {
        let mut row = ended(run, step, target, id);
        row.outcome = Outcome::Unknown;
        "an earlier attempt may have stored it; HEAD is answered with 403, so nobody can tell"
            .clone_into(&mut row.message);
        // A create may be sent again: its condition protects what may be there, even a write of our own.
        let again = step.head.is_none() && !run.settings.settle_only;
        return Ok(if again { Verdict::InDoubt } else { Verdict::Ended(Box::new(row)) });
    }
    if let Some(how) = remote_moved(step, &remote) {
        if !in_doubt {
            return Ok(Verdict::Moved(how));
        }
        // An earlier attempt may have stored it, and somebody may have buried it since. Only the history can tell.
        let mut row = ended(run, step, target, id);
        let found = match (id, &remote) {
            // What is not absent was not deleted, or somebody wrote since.
            (None, Remote::Present(_) | Remote::Unseen) => Sought::Nothing,
            (Some(_), _) | (None, Remote::Absent) => sought(&**store, step, id).await,
        };
        match found {
            Sought::Ours { etag, version } => {
                let message = match id {
                    Some(_) => format!("stored by an earlier attempt of this run, and then: {how}"),
                    None => undo::deleted_by(version.as_ref()).to_owned(),
                };
                tell_done(&mut row, step, etag.as_ref(), version.as_ref(), &message);
            }
            Sought::Forged(cause) => {
                row.outcome = Outcome::Unknown;
                row.error_code = cause.code;
                row.message = format!("{}; and then: {how}", cause.message);
            }
            Sought::Nothing => {
                row.outcome = Outcome::Unknown;
                row.message = match id {
                    Some(_) => format!("an earlier attempt may have stored it; no version carries its write id; {how}"),
                    None => format!("an earlier attempt may have deleted it; no marker stands directly over it; {how}"),
                };
            }
        }
        return Ok(Verdict::Ended(Box::new(row)));
    }
    let how = match step.local.as_ref().filter(|_| !is_untouched) {
        Some(local) => {
            let (path, pinned) = (run.source(step), local.clone());
            let moved = tokio::task::spawn_blocking(move || source_moved(&path, &pinned)).await;
            // A task that died has checked nothing.
            moved.unwrap_or_else(|error| Some(How::SourceGone(error.to_string())))
        }
        None => undo::gone(&**store, step).await?.map(How::EarlierGone),
    };
    if let Some(how) = how {
        if !in_doubt {
            return Ok(Verdict::Moved(how));
        }
        let mut row = ended(run, step, target, id);
        row.outcome = Outcome::Unknown;
        row.message = format!("an earlier attempt may have sent it, though the key is as it was planned; {how}");
        return Ok(Verdict::Ended(Box::new(row)));
    }
    Ok(if in_doubt { Verdict::InDoubt } else { Verdict::Ready })
}

/// The row of a step that the preflight brings to its end.
fn ended<S: Store, L: Ledger>(run: &Run<S, L>, step: &Step, target: &Target, id: Option<&WriteId>) -> Row {
    let mut row = blank(run.ledger.run_id(), &run.digest, step, target);
    row.write_id = id.map(ToString::to_string).unwrap_or_default();
    row.guard = Some(guard_of(step, target));
    row
}

/// How the bucket moved under a step that would write.
fn remote_moved(step: &Step, remote: &Remote) -> Option<How> {
    match (&step.head, remote) {
        // What could not be seen then may be hidden now: the condition protects what is there.
        (None, Remote::Absent | Remote::Unseen) => None,
        (None, Remote::Present(head)) => Some(How::CreatedSince(head.clone())),
        (Some(seen), Remote::Present(head)) if seen.is(head) => None,
        (Some(_), Remote::Present(head)) => Some(How::ChangedSince(head.clone())),
        (Some(_), Remote::Absent) => Some(How::Vanished),
        (Some(_), Remote::Unseen) => Some(How::HiddenSince),
    }
}

/// How the file moved. A moved modification time alone is no change: the bytes are hashed again.
fn source_moved(path: &Path, pinned: &Pinned) -> Option<How> {
    let gone = |error: &FileError| Some(How::SourceGone(error.to_string()));
    let stat = match local::stat(path) {
        Ok(stat) => stat,
        Err(error) => return gone(&error),
    };
    if stat.size != pinned.size {
        return Some(How::SourceChanged(format!("{} bytes then, {} now", pinned.size, stat.size)));
    }
    if mtime_text(stat.mtime_ns) == pinned.mtime {
        return None;
    }
    let checksum = pinned.checksum.as_ref()?;
    let mut wanted = Wanted::default();
    match checksum {
        Checksum::Full(_) => wanted.sha256 = true,
        Checksum::Composite { part_bytes, .. } => wanted.composite_at.push(*part_bytes),
    }
    match local::hash(path, &wanted, &|_| {}) {
        Ok(file) if file.pin().as_ref() == Some(checksum) => None,
        Ok(_) => Some(How::SourceChanged("the same size, other bytes".to_owned())),
        Err(error) => gone(&error),
    }
}

/// What changed under a step that writes nothing.
async fn idle_warning<S: Store, L: Ledger>(run: &Run<S, L>, step: &Step, listed: Option<&Told>) -> Option<String> {
    let (_, store) = run.store(step)?;
    let seen = step.head.as_ref()?;
    if let Some(Told::There(listed)) = listed
        && listed.etag == seen.etag
        && listed.size == seen.size
    {
        return None;
    }
    match store.head(&step.key).await {
        Ok(Remote::Present(head)) if seen.is(&head) => None,
        Ok(Remote::Present(head)) => Some(format!("{} in the plan, but {}", step.action, How::ChangedSince(head))),
        Ok(Remote::Absent) => Some(format!("{} in the plan, but it vanished since", step.action)),
        Ok(Remote::Unseen) => None,
        Err(error) => Some(format!("could not be looked at again: {error}")),
    }
}
