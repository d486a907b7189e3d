//! The write state machine: what an answer means, and what comes next. Pure: no clock, no network, no chance.
//!
//! A write has three ends: yes, no, don't know. A PUT that landed and whose answer was lost meets its own 412 on the
//! retry; so nothing is called lost before somebody looked whose object is there, and once an attempt is in doubt
//! nothing is called lost at all. The shape is `(state, answer) -> (state, next)`, so that a model checker can walk it.

pub mod pace;

use std::time::Duration;

use crate::model::digest::ETag;
use crate::model::head::{Head, Remote, Seen, VersionId};
use crate::model::write::{Cause, Expect, PutError, Refusal, WriteId, Written};

/// How often the same thing is tried before it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Patience {
    /// 409 ConditionalRequestConflict.
    pub conflicts: u32,
    /// 503 SlowDown and 429.
    pub throttles: u32,
    /// Writes whose answer did not come.
    pub doubts: u32,
    /// Looks without an answer, in a row.
    pub looks: u32,
    /// First pause; each further one is twice as long, up to `pause_max`.
    pub pause: Duration,
    pub pause_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            conflicts: 5,
            throttles: 12,
            doubts: 4,
            looks: 5,
            pause: Duration::from_millis(200),
            pause_max: Duration::from_secs(20),
        }
    }
}

impl Patience {
    /// The pause before the `nth` repetition, counted from 1.
    #[must_use]
    pub fn pause_before(&self, nth: u32) -> Duration {
        self.pause.saturating_mul(1u32 << nth.saturating_sub(1).min(16)).min(self.pause_max)
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To the write itself.
    Put(Result<Written, PutError>),
    /// To the HEAD that settles it; `None` where no answer came.
    Look(Option<Remote>),
    /// To the search for our write id among the key's versions.
    Search(Found),
}

/// What the key's history says of our write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is there: it happened, and was buried since. Of a delete: a marker stands directly over what was to be deleted
    /// (its id), or nothing is there and no history is kept that could tell more (`None`).
    Ours { etag: Option<ETag>, version: Option<VersionId> },
    /// It is not there, or there is no history, or it would not be told.
    Nothing,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Send the write (again), after a pause.
    Send {
        after: Duration,
    },
    /// HEAD the key, after a pause.
    Look {
        after: Duration,
    },
    /// Look for our write id among the key's versions.
    Search,
    End(End),
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It is stored: the server said so, or our write id is there.
    Done(Done),
    /// Somebody else wrote first; who is there now, where that could be seen.
    Lost {
        cause: Cause,
        there: Option<Box<Head>>,
    },
    /// The bytes were not those that were reviewed.
    SourceChanged(Cause),
    Failed(Cause),
    /// It was not sent, or not applied, and neither would any other be.
    Stop(Cause),
    /// It may be stored.
    Unknown(Cause),
}

/// A write that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub etag: Option<ETag>,
    pub version: Option<VersionId>,
    pub http_status: Option<u16>,
    pub request_id: Option<String>,
    /// The answer was lost, and our write id was found; of a delete, that nothing is there any more.
    pub settled: bool,
}

/// One logical write on its way to its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    expect: Expect,
    /// The object that the plan saw; `None` for a create.
    planned: Option<Seen>,
    /// `None` for a delete: a delete marker carries no metadata.
    id: Option<WriteId>,
    patience: Patience,
    /// What left an attempt in doubt. Never forgotten again.
    doubt: Option<Cause>,
    /// Why the write is being settled.
    settling: Option<Settling>,
    /// Who was there when it was looked at after a 412.
    there: Option<Box<Head>>,
    conflicts: u32,
    throttles: u32,
    doubts: u32,
    looks: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Settling {
    /// The precondition did not hold.
    Lost(Cause),
    /// No answer came.
    Doubt,
    /// The last attempt ended with a clear no, but one before it is in doubt.
    Refused(Cause),
}

impl Write {
    /// A write that was never sent.
    #[must_use]
    pub fn new(expect: Expect, planned: Option<Seen>, id: WriteId, patience: Patience) -> Self {
        Self::of(expect, planned, Some(id), patience)
    }

    /// A delete of the object that the plan saw, never sent so far.
    #[must_use]
    pub fn delete(planned: Seen, patience: Patience) -> Self {
        Self::of(Expect::Unchanged(planned.etag.clone()), Some(planned), None, patience)
    }

    fn of(expect: Expect, planned: Option<Seen>, id: Option<WriteId>, patience: Patience) -> Self {
        Self {
            expect,
            planned,
            id,
            patience,
            doubt: None,
            settling: None,
            there: None,
            conflicts: 0,
            throttles: 0,
            doubts: 0,
            looks: 0,
        }
    }

    /// A write that an earlier process may have sent: it is settled before it is sent.
    #[must_use]
    pub fn resumed(mut self) -> (Self, Next) {
        let cause = Cause {
            code: "Interrupted".to_owned(),
            message: "an earlier run ended before the answer came".to_owned(),
            ..Cause::default()
        };
        self.doubt = Some(cause);
        self.settling = Some(Settling::Doubt);
        (self, Next::Look { after: Duration::ZERO })
    }

    /// The first act of a write that was never sent.
    #[must_use]
    pub fn begin(self) -> (Self, Next) {
        (self, Next::Send { after: Duration::ZERO })
    }

    /// Takes an answer, and says what comes next. Total: an answer that was not asked for is taken all the same.
    ///
    /// | answer | nothing in doubt | an attempt in doubt |
    /// |---|---|---|
    /// | written | done | done |
    /// | 412, or 404 on If-Match | look | look |
    /// | conflict, throttled | send again, a few times; then failed | the same; then look once more |
    /// | source changed, failed | so it ends | look once more |
    /// | credentials | stop | unknown |
    /// | no answer | look | look |
    /// | stored, but mangled | unknown | unknown |
    /// | look: our write id | done | done |
    /// | look: the planned state | after a 412, search; else send again | send again, or unknown when that is over |
    /// | look: something else | search | search |
    /// | look: not visible | lost | a create is sent again, once; else unknown |
    /// | look: no answer | look again, a few times; then unknown | the same |
    /// | search: found | done | done |
    /// | search: nothing | lost | unknown |
    ///
    /// A 412 is searched for too: whoever repeats our request on its way (a proxy) may have had the first copy stored and
    /// the second refused, and somebody may have buried it since.
    ///
    /// A delete leaves no write id behind, so nothing tells ours from somebody else's. It differs in this:
    ///
    /// | answer to a delete | nothing in doubt | an attempt in doubt |
    /// |---|---|---|
    /// | look: nothing there | lost | search |
    /// | look: another object | lost | unknown |
    /// | look: the planned object | after a 412, lost; else send again | send again, or unknown when that is over |
    /// | search: a marker directly over the planned version, or no history | | done |
    #[must_use]
    pub fn next(mut self, answer: Answer) -> (Self, Next) {
        let next = match answer {
            Answer::Put(Ok(written)) => Next::End(End::Done(Done {
                etag: written.etag,
                version: written.version,
                http_status: Some(written.http_status),
                request_id: written.request_id,
                settled: false,
            })),
            Answer::Put(Err(error)) => self.refused(error),
            Answer::Look(remote) => self.looked(remote),
            Answer::Search(found) => self.searched(found),
        };
        (self, next)
    }

    /// Whether an attempt is in doubt.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    fn refused(&mut self, error: PutError) -> Next {
        match error {
            PutError::Lost(cause) => self.settle(Settling::Lost(cause)),
            PutError::Unknown(cause) => {
                self.doubt = Some(cause);
                self.doubts += 1;
                self.settle(Settling::Doubt)
            }
            // Our write id would be found there, and would pass for what was reviewed.
            PutError::Mangled(cause) => Next::End(End::Unknown(cause)),
            PutError::Refused(Refusal::Conflict, cause) => {
                self.conflicts += 1;
                if self.conflicts <= self.patience.conflicts {
                    return Next::Send { after: self.patience.pause_before(self.conflicts) };
                }
                self.end(cause, End::Failed)
            }
            PutError::Refused(Refusal::Throttled, cause) => {
                self.throttles += 1;
                if self.throttles <= self.patience.throttles {
                    return Next::Send { after: self.patience.pause_before(self.throttles) };
                }
                self.end(cause, End::Failed)
            }
            PutError::Refused(Refusal::SourceChanged, cause) => self.end(cause, End::SourceChanged),
            PutError::Refused(Refusal::Source | Refusal::NoSuchUpload | Refusal::Failed, cause) => {
                self.end(cause, End::Failed)
            }
            // No look would be answered either.
            PutError::Refused(Refusal::Stop, cause) => match self.doubt.take() {
                Some(doubt) => {
                    let unknown = also(&doubt, &cause);
                    self.doubt = Some(doubt);
                    Next::End(End::Unknown(unknown))
                }
                None => Next::End(End::Stop(cause)),
            },
        }
    }

    /// A clear no: the end, unless an earlier attempt is in doubt.
    fn end(&mut self, cause: Cause, end: fn(Cause) -> End) -> Next {
        if self.doubt.is_some() { self.settle(Settling::Refused(cause)) } else { Next::End(end(cause)) }
    }

    fn settle(&mut self, why: Settling) -> Next {
        self.settling = Some(why);
        self.looks = 0;
        Next::Look { after: Duration::ZERO }
    }

    fn looked(&mut self, remote: Option<Remote>) -> Next {
        let Some(remote) = remote else {
            self.looks += 1;
            if self.looks < self.patience.looks {
                return Next::Look { after: self.patience.pause_before(self.looks) };
            }
            return Next::End(End::Unknown(self.why("and the look that would settle it got no answer")));
        };
        if let Remote::Present(head) = &remote
            && let Some(id) = &self.id
            && head.write_id.as_deref() == Some(&id.0)
        {
            return Next::End(End::Done(Done {
                etag: Some(head.etag.clone()),
                version: head.version.clone(),
                http_status: None,
                request_id: None,
                settled: true,
            }));
        }
        if self.doubt.is_none() {
            return match self.settling.clone() {
                Some(Settling::Lost(cause)) => match remote {
                    // No history could show that it was ours.
                    Remote::Present(head) if self.id.is_none() => Next::End(End::Lost { cause, there: Some(head) }),
                    Remote::Absent if self.id.is_none() => Next::End(End::Lost { cause, there: None }),
                    Remote::Present(head) => {
                        self.there = Some(head);
                        Next::Search
                    }
                    Remote::Absent => Next::Search,
                    // Who may not look may not search either.
                    Remote::Unseen => Next::End(End::Lost { cause, there: None }),
                },
                // Nothing was sent that could need settling: the caller only wanted to look.
                Some(Settling::Doubt | Settling::Refused(_)) | None => Next::Send { after: Duration::ZERO },
            };
        }
        match &remote {
            Remote::Unseen if self.expect == Expect::Absent => self.again("and HEAD is forbidden"),
            Remote::Unseen => Next::End(End::Unknown(self.why("and HEAD is forbidden"))),
            Remote::Absent | Remote::Present(_) if self.is_as_planned(&remote) => {
                self.again("and the key is as it was planned")
            }
            Remote::Present(_) if self.id.is_none() => Next::End(End::Unknown(
                self.why("another object is there now, and nothing tells who deleted the planned one"),
            )),
            Remote::Absent | Remote::Present(_) => Next::Search,
        }
    }

    /// The key is as it was before the write: send again, unless that is over or the last answer was a clear no. The
    /// attempt in doubt may still be on its way, so this never ends in `lost` or `failed`.
    fn again(&mut self, and: &str) -> Next {
        match self.settling {
            Some(Settling::Doubt) if self.doubts <= self.patience.doubts => {
                Next::Send { after: self.patience.pause_before(self.doubts) }
            }
            Some(Settling::Doubt | Settling::Lost(_) | Settling::Refused(_)) | None => {
                Next::End(End::Unknown(self.why(and)))
            }
        }
    }

    fn is_as_planned(&self, remote: &Remote) -> bool {
        match (&self.expect, &self.planned, remote) {
            (Expect::Absent, _, Remote::Absent) => true,
            (Expect::Unchanged(_), Some(seen), Remote::Present(head)) => seen.is(head),
            (Expect::Unchanged(etag), None, Remote::Present(head)) => *etag == head.etag,
            (Expect::Absent, _, Remote::Present(_) | Remote::Unseen)
            | (Expect::Unchanged(_), _, Remote::Absent | Remote::Unseen) => false,
        }
    }

    fn searched(&mut self, found: Found) -> Next {
        match found {
            Found::Ours { etag, version } => {
                Next::End(End::Done(Done { etag, version, http_status: None, request_id: None, settled: true }))
            }
            Found::Nothing => match (&self.doubt, &self.settling) {
                (None, Some(Settling::Lost(cause))) => {
                    Next::End(End::Lost { cause: cause.clone(), there: self.there.take() })
                }
                (Some(_) | None, _) if self.id.is_none() => Next::End(End::Unknown(
                    self.why("nothing is there now, and no delete marker stands directly over the planned version"),
                )),
                (Some(_) | None, _) => Next::End(End::Unknown(
                    self.why("something else is there now, and no version carries our write id"),
                )),
            },
        }
    }

    fn why(&self, and: &str) -> Cause {
        let mut cause = match (&self.doubt, &self.settling) {
            (Some(doubt), Some(Settling::Refused(last) | Settling::Lost(last))) => also(doubt, last),
            (Some(doubt), Some(Settling::Doubt) | None) => doubt.clone(),
            (None, Some(Settling::Refused(last) | Settling::Lost(last))) => last.clone(),
            (None, Some(Settling::Doubt) | None) => Cause::default(),
        };
        cause.message = format!("{}; {and}", cause.message);
        cause
    }
}

/// An attempt in doubt, and what the last one said.
fn also(doubt: &Cause, last: &Cause) -> Cause {
    Cause { message: format!("{}; then {last}", doubt.message), ..doubt.clone() }
}

#[cfg(test)]
mod tests;
