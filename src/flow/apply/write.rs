//! One step's write, from its first request to its row. What an answer means is `guard`'s to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::flow::time::now_ms;
use crate::guard::{Answer, End as WriteEnd, Found, Next, Write};
use crate::model::digest::{Checksum, ETag};
use crate::model::entry::Rule;
use crate::model::event::{Event, Phase};
use crate::model::head::{Head, Remote, Seen, VersionId};
use crate::model::row::{Guard, Outcome, Row};
use crate::model::step::{Action, Reason, Step};
use crate::model::target::{ConditionalWrites, Target};
use crate::model::write::{Cause, Copy, Expect, Object, PutError, Refusal, WriteId, Written};
use crate::store::{Body, Store};

use super::ledger::Ledger;
use super::pace;
use super::parts::{self, Parts, Prepared};
use super::{End, Run, undo, uploads};

/// So many of a key's newest versions are searched for a write id.
pub(super) const VERSIONS_MAX: usize = 100;

/// The precondition of a step: what the plan saw, and nothing else.
fn expect(step: &Step) -> Option<Expect> {
    match (step.action, &step.head) {
        // What is restored over nothing was deleted since.
        (Action::Create | Action::Restore, None) => Some(Expect::Absent),
        (Action::Replace | Action::Restore | Action::Delete, Some(seen)) => Some(Expect::Unchanged(seen.etag.clone())),
        (
            Action::Create
            | Action::Replace
            | Action::Delete
            | Action::Unchanged
            | Action::Keep
            | Action::Refuse
            | Action::Error,
            _,
        ) => None,
    }
}

/// What a step stores, but for the bytes.
pub(super) fn object<S: Store, L: Ledger>(run: &Run<S, L>, step: &Step) -> Option<Object> {
    let local = step.local.as_ref()?;
    Some(Object {
        key: step.key.clone(),
        size: local.size,
        checksum: local.checksum?,
        properties: Arc::clone(&step.properties),
        write_id: WriteId::new(run.ledger.run_id(), step.n),
    })
}

pub(super) fn body<S: Store, L: Ledger>(run: &Run<S, L>, step: &Step) -> Body {
    Body::File(run.source(step))
}

/// What a step sends.
enum Act {
    Upload(Object),
    Copy(Copy),
    /// Of what the plan saw.
    Delete(Seen),
}

impl Act {
    fn of<S: Store, L: Ledger>(run: &Run<S, L>, step: &Step) -> Option<Self> {
        match step.action {
            Action::Create | Action::Replace => object(run, step).map(Self::Upload),
            Action::Restore => undo::copy(run, step).map(Self::Copy),
            Action::Delete => step.head.clone().map(Self::Delete),
            Action::Unchanged | Action::Keep | Action::Refuse | Action::Error => None,
        }
    }

    /// What the object will carry; a delete leaves none.
    fn write_id(&self) -> Option<&WriteId> {
        match self {
            Self::Upload(object) => Some(&object.write_id),
            Self::Copy(copy) => Some(&copy.write_id),
            Self::Delete(_) => None,
        }
    }

    fn is_in_parts<S, L>(&self, run: &Run<S, L>) -> bool {
        match self {
            Self::Upload(object) => matches!(object.checksum, Checksum::Composite { .. }),
            Self::Copy(copy) => copy.size > run.settings.copy_max_bytes,
            Self::Delete(_) => false,
        }
    }
}

/// What holds for a step's write.
pub(super) fn guard_of(step: &Step, target: &Target) -> Guard {
    match (step.guard, target.conditional_writes) {
        // The plan may ask for less than the target offers; never is it taken at its word for more.
        (Some(Guard::CheckFirst), _) | (_, ConditionalWrites::CheckFirst) => Guard::CheckFirst,
        (Some(Guard::Atomic | Guard::Tested) | None, ConditionalWrites::Required) if target.is_aws() => Guard::Atomic,
        (Some(Guard::Atomic | Guard::Tested) | None, ConditionalWrites::Required) => Guard::Tested,
    }
}

/// Writes one step. `None` where the run was over before anything was sent.
pub(super) async fn write<S: Store, L: Ledger>(run: &Arc<Run<S, L>>, step: &Step, in_doubt: bool) -> Option<Row> {
    if run.is_over() {
        return None;
    }
    let (target, store) = run.store(step)?;
    let mut row = run.blank(step)?;
    let (Some(expect), Some(act)) = (expect(step), Act::of(run, step)) else {
        row.outcome = Outcome::Failed;
        "the step does not say what to write over what".clone_into(&mut row.message);
        return Some(row);
    };
    if let Err(error) = run.ledger.begin(step.n) {
        run.stop(End::Ledger(error, Vec::new()));
        return None;
    }
    row.write_id = act.write_id().map(ToString::to_string).unwrap_or_default();
    let guard = guard_of(step, target);
    row.guard = Some(guard);
    row.started_at = now_ms();
    let started = Instant::now();

    let patience = run.settings.patience;
    let machine = match &act {
        Act::Delete(seen) => Write::delete(seen.clone(), patience),
        Act::Upload(Object { write_id, .. }) | Act::Copy(Copy { write_id, .. }) => {
            Write::new(expect.clone(), step.head.clone(), write_id.clone(), patience)
        }
    };
    let (mut machine, mut next) = if in_doubt { machine.resumed() } else { machine.begin() };
    let is_whole = !act.is_in_parts(run);
    let mut attempt = Attempt {
        run,
        store,
        guard,
        step,
        act: &act,
        expect: &expect,
        prepared: None,
        went_on_with: 0,
        attempts: 0,
        note: None,
    };
    let end = loop {
        let answer = match next {
            Next::End(end) => break Some(end),
            Next::Send { after } => {
                run.cancel.pause(after).await;
                // Of a write in parts, each part waits for its own turn.
                let turn = if is_whole { pace::enter(run.gate(&step.target)).await } else { None };
                // Somebody wishes to stop, and nothing that was sent is in doubt: this is a good place to.
                if run.is_over() && !machine.is_in_doubt() {
                    break None;
                }
                let answer = attempt.send().await;
                pace::end(turn, &answer, &*run.watch);
                Answer::Put(answer)
            }
            Next::Look { after } => {
                run.cancel.pause(after).await;
                match store.head(&step.key).await.ok() {
                    Some(Remote::Present(head)) if is_by(&head, act.write_id()) => match forged(step, &head) {
                        Some(cause) => Answer::Put(Err(PutError::Mangled(cause))),
                        None => Answer::Look(Some(Remote::Present(head))),
                    },
                    remote => Answer::Look(remote),
                }
            }
            Next::Search => match sought(&**store, step, act.write_id()).await {
                Sought::Ours { etag, version } => Answer::Search(Found::Ours { etag, version }),
                Sought::Forged(cause) => Answer::Put(Err(PutError::Mangled(cause))),
                Sought::Nothing => Answer::Search(Found::Nothing),
            },
        };
        (machine, next) = machine.next(answer);
    };
    row.attempts = attempt.attempts;
    attempt.clean_up().await;
    let Attempt { went_on_with, note, .. } = attempt;
    row.duration_ms = u64::try_from(started.elapsed().as_millis()).ok();
    match end {
        Some(end) => {
            conclude(run, &mut row, step, end);
            if row.message.is_empty() && went_on_with > 0 {
                row.message = format!("{went_on_with} parts of it were sent by an earlier attempt");
            }
            if row.message.is_empty() && row.outcome == Outcome::Restored {
                row.message = note.unwrap_or_default();
            }
        }
        None => "the run was over before it could be tried again".clone_into(&mut row.message),
    }
    run.watch.tell(Event::Advance { phase: Phase::Uploading, files: 1, bytes: 0 });
    Some(row)
}

/// Whether an object carries this write id.
fn is_by(head: &Head, id: Option<&WriteId>) -> bool {
    id.is_some_and(|id| head.write_id.as_deref() == Some(&id.0))
}

/// The requests of one write.
struct Attempt<'a, S, L> {
    run: &'a Arc<Run<S, L>>,
    store: &'a Arc<S>,
    guard: Guard,
    step: &'a Step,
    act: &'a Act,
    expect: &'a Expect,
    /// Parts that are up and wait for their Complete.
    prepared: Option<Prepared>,
    /// Parts that an earlier attempt had sent.
    went_on_with: usize,
    attempts: u32,
    /// What the reader of the row should know of a write that went well.
    note: Option<String>,
}

impl<S: Store, L: Ledger> Attempt<'_, S, L> {
    async fn send(&mut self) -> Result<Written, PutError> {
        self.attempts += 1;
        match self.act {
            _ if self.guard == Guard::CheckFirst => self.check_first().await?,
            Act::Upload(_) => {}
            // Its condition sees content alone, and a rollback takes away only what the run itself wrote: the same bytes,
            // written again by somebody else, are theirs.
            Act::Copy(_) | Act::Delete(_) => self.look_before("the request").await?,
        }
        match self.act {
            Act::Upload(_) if self.act.is_in_parts(self.run) => self.in_parts().await,
            Act::Upload(object) => self.put(object).await,
            Act::Copy(copy) => Box::pin(self.copy(copy)).await,
            Act::Delete(seen) => Box::pin(self.store.delete(&self.step.key, &seen.etag)).await,
        }
    }

    async fn put(&self, object: &Object) -> Result<Written, PutError> {
        let told = Arc::new(AtomicU64::new(0));
        let sent = {
            let (told, watch) = (Arc::clone(&told), Arc::clone(&self.run.watch));
            move |bytes: u64| {
                told.fetch_add(bytes, Ordering::Relaxed);
                watch.tell(Event::Advance { phase: Phase::Uploading, files: 0, bytes: bytes.cast_signed() });
            }
        };
        let answer = self.store.put(object, body(self.run, self.step), self.expect, Arc::new(sent)).await;
        if answer.is_err() {
            let bytes = -told.load(Ordering::Relaxed).cast_signed();
            self.run.watch.tell(Event::Advance { phase: Phase::Uploading, files: 0, bytes });
        }
        answer
    }

    async fn copy(&mut self, copy: &Copy) -> Result<Written, PutError> {
        let written = if self.act.is_in_parts(self.run) {
            self.in_parts().await?
        } else {
            match self.store.copy(copy, self.expect).await {
                Ok(written) => written,
                Err(PutError::Lost(cause)) => return Err(undo::whose_condition(&**self.store, self.step, cause).await),
                Err(error) => return Err(error),
            }
        };
        self.note = undo::look_back(self.run, &**self.store, self.step, copy, &written).await?;
        Ok(written)
    }

    async fn prepare(&self) -> Result<Prepared, PutError> {
        match self.act {
            Act::Upload(object) => Box::pin(parts::prepare(self.run, self.store, self.step, object)).await,
            Act::Copy(copy) => Box::pin(undo::prepare(self.run, self.store, self.step, copy)).await,
            Act::Delete(_) => Err(parts::refused(Refusal::Failed, "Internal", "a delete has no parts")),
        }
    }

    async fn complete(&self, prepared: &Prepared) -> Result<Written, PutError> {
        match (self.act, &prepared.parts) {
            (Act::Upload(object), Parts::Sent(parts)) => {
                self.store.complete(object, &prepared.upload, parts, self.expect).await
            }
            (Act::Copy(copy), Parts::Copied(parts)) => {
                self.store.complete_copy(copy, &prepared.upload, parts, self.expect).await
            }
            (Act::Upload(_) | Act::Copy(_) | Act::Delete(_), _) => {
                Err(parts::refused(Refusal::Failed, "Internal", "the parts are another request's"))
            }
        }
    }

    async fn in_parts(&mut self) -> Result<Written, PutError> {
        let prepared = match self.prepared.take() {
            Some(prepared) => prepared,
            None => self.prepare().await?,
        };
        self.went_on_with = prepared.went_on_with;
        // Sending the parts may have taken hours: a race that is lost by now is not paid for.
        if let Err(lost) = self.look_before("CompleteMultipartUpload").await {
            self.prepared = Some(prepared);
            return Err(lost);
        }
        let answer = self.complete(&prepared).await;
        match &answer {
            Ok(_) => uploads::over(self.run, self.step, &prepared.upload),
            // A conflict spoils the upload: S3 wants it begun anew, parts and all.
            Err(PutError::Refused(Refusal::Conflict | Refusal::NoSuchUpload, _)) => {
                // Else it is aborted at the run's end.
                let _ = uploads::abort(self.run, self.store, self.step, &prepared.upload).await;
            }
            // Completed, or aborted by somebody: the look will tell. There is nothing left that could be completed.
            Err(PutError::Unknown(cause)) if cause.code == "NoSuchUpload" => {
                uploads::over(self.run, self.step, &prepared.upload);
            }
            Err(_) => self.prepared = Some(prepared),
        }
        answer
    }

    /// Whether the key is still as it was planned. A look that gets no answer decides nothing: the condition will.
    async fn look_before(&self, request: &str) -> Result<(), PutError> {
        if self.guard == Guard::CheckFirst {
            return self.check_first().await;
        }
        let moved = |message: &str| {
            let code = "HeadBefore".to_owned();
            let message = format!("a HEAD just before {request} found {message}; it was not sent");
            Err(PutError::Lost(Cause { code, message, ..Cause::default() }))
        };
        match (self.store.head(&self.step.key).await, &self.step.head) {
            (Ok(Remote::Present(head)), Some(seen)) if seen.is(&head) => Ok(()),
            (Ok(Remote::Present(_)), Some(_)) => moved("another object than was planned"),
            (Ok(Remote::Present(_)), None) => moved("an object"),
            (Ok(Remote::Absent), Some(_)) => moved("no object"),
            (Ok(Remote::Absent), None) | (Ok(Remote::Unseen) | Err(_), _) => Ok(()),
        }
    }

    /// Aborts the upload, unless its Complete was answered with yes. Where the Complete is in doubt, this ends the doubt's
    /// one half: an upload that is aborted cannot be completed later. One that was completed meanwhile is none any more.
    async fn clean_up(&mut self) {
        if let Some(prepared) = self.prepared.take() {
            // Else it is aborted at the run's end.
            let _ = uploads::abort(self.run, self.store, self.step, &prepared.upload).await;
        }
    }

    /// Stands in for the condition where the target or the plan says so. Not atomic.
    async fn check_first(&self) -> Result<(), PutError> {
        let lost = |message: &str| {
            let code = "CheckFirst".to_owned();
            PutError::Lost(Cause { code, message: message.to_owned(), ..Cause::default() })
        };
        match (self.store.head(&self.step.key).await, &self.step.head) {
            (Ok(Remote::Absent), None) => Ok(()),
            (Ok(Remote::Present(head)), Some(seen)) if seen.is(&head) => Ok(()),
            (Ok(Remote::Present(_)), _) => Err(lost("a HEAD just before the write found another object")),
            (Ok(Remote::Absent), Some(_)) => Err(lost("a HEAD just before the write found no object")),
            (Ok(Remote::Unseen), _) => Err(PutError::Refused(
                Refusal::Failed,
                Cause {
                    http_status: Some(403),
                    code: "Forbidden".to_owned(),
                    message: "check-first needs s3:GetObject: HEAD was answered with 403".to_owned(),
                    request_id: None,
                },
            )),
            (Err(error), _) => {
                let refusal = if error.stop { Refusal::Stop } else { Refusal::Failed };
                Err(PutError::Refused(refusal, error.cause))
            }
        }
    }
}

/// What the key's versions say of a write.
pub(super) enum Sought {
    Ours {
        etag: Option<ETag>,
        version: Option<VersionId>,
    },
    /// One has our write id, and is not what was planned.
    Forged(Cause),
    Nothing,
}

/// Looks for a step's write among the key's versions, from the newest back to the one that the plan saw. Where it has no
/// write id it is a delete.
pub(super) async fn sought<S: Store>(store: &S, step: &Step, id: Option<&WriteId>) -> Sought {
    let Some(id) = id else { return undo::marker(store, step).await };
    // `null` names whatever was written last without versioning, not one version.
    let planned = step.head.as_ref().and_then(|seen| seen.version.as_ref()).filter(|version| version.0 != "null");
    let Ok(versions) = store.versions(&step.key, VERSIONS_MAX).await else { return Sought::Nothing };
    let since = versions.iter().take_while(|version| Some(&version.id) != planned);
    let mut found = Sought::Nothing;
    for version in since.filter(|version| version.etag.is_some()) {
        if let Ok(Remote::Present(head)) = store.head_version(&step.key, &version.id).await
            && head.write_id.as_deref() == Some(&id.0)
        {
            match forged(step, &head) {
                None => return Sought::Ours { etag: version.etag.clone(), version: Some(version.id.clone()) },
                Some(cause) => found = Sought::Forged(cause),
            }
        }
    }
    found
}

/// Why an object with our write id is not our write, if it is not: somebody else put it together.
pub(super) fn forged(step: &Step, head: &Head) -> Option<Cause> {
    let how = match (&step.earlier, &step.local) {
        (Some(earlier), _) => head.belies_copy(&earlier.seen)?,
        (None, Some(local)) => head.belies(local.size, &local.checksum?)?,
        (None, None) => return None,
    };
    Some(Cause {
        code: "ChecksumMismatch".to_owned(),
        message: format!(
            "an object with this write id is there, but {how}: look at {} before anybody reads it",
            step.key
        ),
        ..Cause::default()
    })
}

/// Fills in a write that happened.
pub(super) fn tell_done(row: &mut Row, step: &Step, etag: Option<&ETag>, version: Option<&VersionId>, message: &str) {
    row.outcome = match step.action {
        Action::Restore => Outcome::Restored,
        Action::Delete => Outcome::Deleted,
        Action::Create | Action::Replace | Action::Unchanged | Action::Keep | Action::Refuse | Action::Error => {
            if step.head.is_some() { Outcome::Replaced } else { Outcome::Created }
        }
    };
    row.etag_after = etag.map(ToString::to_string).unwrap_or_default();
    row.version_after = version.map(ToString::to_string).unwrap_or_default();
    message.clone_into(&mut row.message);
}

fn conclude<S: Store, L: Ledger>(run: &Run<S, L>, row: &mut Row, step: &Step, end: WriteEnd) {
    match end {
        WriteEnd::Done(done) => {
            let message = if !done.settled {
                ""
            } else if step.action == Action::Delete {
                undo::deleted_by(done.version.as_ref())
            } else {
                "the answer was lost; found by its write id"
            };
            tell_done(row, step, done.etag.as_ref(), done.version.as_ref(), message);
            row.http_status = done.http_status;
            row.request_id = done.request_id.unwrap_or_default();
        }
        WriteEnd::Lost { cause, there } => {
            blame(row, &cause);
            // The reviewer was told that this key could not be seen, and `keep` leaves what is there.
            let kept = step.rule == Rule::Keep && step.reason == Reason::Unseen;
            row.outcome = if kept { Outcome::Kept } else { Outcome::Lost };
            row.message = format!("{}{}", who(there.as_deref()), said(&cause));
        }
        WriteEnd::SourceChanged(cause) => {
            blame(row, &cause);
            row.outcome = Outcome::SourceChanged;
        }
        WriteEnd::Failed(cause) => {
            blame(row, &cause);
            row.outcome = Outcome::Failed;
        }
        WriteEnd::Unknown(cause) => {
            blame(row, &cause);
            row.outcome = Outcome::Unknown;
        }
        WriteEnd::Stop(cause) => {
            blame(row, &cause);
            row.outcome = Outcome::Failed;
            run.stop(End::Stopped(cause));
        }
    }
}

fn blame(row: &mut Row, cause: &Cause) {
    row.http_status = cause.http_status;
    row.error_code.clone_from(&cause.code);
    row.request_id = cause.request_id.clone().unwrap_or_default();
    row.message.clone_from(&cause.message);
}

fn who(there: Option<&Head>) -> String {
    let Some(head) = there else {
        return "somebody else wrote or deleted it first; nobody's object is visible there now".to_owned();
    };
    let by = head.write_id.as_ref().map(|id| format!(" by noclobber's write {id}")).unwrap_or_default();
    let when = head.last_modified.as_ref().map(|when| format!(" at {when}")).unwrap_or_default();
    let version = head.version.as_ref().map(|id| format!(", version {id}")).unwrap_or_default();
    format!("somebody else wrote first{by}{when}: {} bytes, ETag {}{version}", head.size, head.etag)
}

fn said(cause: &Cause) -> String {
    if cause.message.is_empty() { String::new() } else { format!(" ({})", cause.message) }
}
