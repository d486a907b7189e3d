//! Who drives a write: ours is the production type, untouched; the others get one thing wrong each.

use std::time::Duration;

use noclobber::guard::{Answer, Done, End, Next, Patience, Write};
use noclobber::model::digest::ETag;
use noclobber::model::head::{Encryption, Seen, VersionId};
use noclobber::model::write::{Cause, Expect, PutError, WriteId};

/// Bytes, known by their ETag.
pub type Content = &'static str;

/// One step of somebody's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub write_id: &'static str,
    /// What it may replace; `None` for a create.
    pub over: Option<Content>,
    pub content: Content,
    pub in_parts: bool,
}

impl Planned {
    pub fn create(write_id: &'static str, content: Content) -> Self {
        Self { write_id, over: None, content, in_parts: false }
    }

    pub fn replace(write_id: &'static str, over: Content, content: Content) -> Self {
        Self { write_id, over: Some(over), content, in_parts: false }
    }

    pub fn in_parts(self) -> Self {
        Self { in_parts: true, ..self }
    }

    /// The write before its first request. What it may replace is the first version that the bucket ever had.
    pub fn fresh(&self, is_versioned: bool, patience: Patience) -> Write {
        let seen = self.over.map(|etag| Seen {
            etag: ETag::new(etag),
            version: is_versioned.then(|| VersionId("0".to_owned())),
            size: 1,
            checksum: None,
            last_modified: None,
            encryption: Encryption::None,
        });
        let expect = seen.as_ref().map_or(Expect::Absent, |seen| Expect::Unchanged(seen.etag.clone()));
        Write::new(expect, seen, WriteId(self.write_id.to_owned()), patience)
    }
}

/// Patience for a small world: each thing is tried so often, without a pause.
pub fn patience(conflicts: u32, throttles: u32, doubts: u32, looks: u32) -> Patience {
    Patience { conflicts, throttles, doubts, looks, pause: Duration::ZERO, pause_max: Duration::ZERO }
}

/// What is made of an answer. The defaults are what the executor does.
pub trait Client: Clone + Send + Sync + 'static {
    /// Takes up what an earlier process may have sent.
    fn resume(&self, fresh: Write) -> (Write, Next) {
        fresh.resumed()
    }

    fn next(&self, write: Write, answer: Answer, _fresh: Write) -> (Write, Next) {
        write.next(answer)
    }

    /// Whether the next request carries its precondition.
    fn guards(&self, _write: &Write) -> bool {
        true
    }
}

/// The production type and nothing else.
#[derive(Debug, Clone)]
pub struct Ours;

impl Client for Ours {}

fn lost() -> Next {
    Next::End(End::Lost { cause: Cause::default(), there: None })
}

/// Believes a 412 without looking who is there.
#[derive(Debug, Clone)]
pub struct CallsEvery412Lost;

impl Client for CallsEvery412Lost {
    fn next(&self, write: Write, answer: Answer, _: Write) -> (Write, Next) {
        match answer {
            Answer::Put(Err(PutError::Lost(_))) => (write, lost()),
            Answer::Put(_) | Answer::Look(_) | Answer::Search(_) => write.next(answer),
        }
    }
}

/// Gives up on a doubt with a "no".
#[derive(Debug, Clone)]
pub struct CallsADoubtLost;

impl Client for CallsADoubtLost {
    fn next(&self, write: Write, answer: Answer, _: Write) -> (Write, Next) {
        match write.next(answer) {
            (write, Next::End(End::Unknown(_))) => (write, lost()),
            other => other,
        }
    }
}

/// Takes no answer for a "no", as a client does that sees only an error.
#[derive(Debug, Clone)]
pub struct CallsSilenceAFailure;

impl Client for CallsSilenceAFailure {
    fn next(&self, write: Write, answer: Answer, _: Write) -> (Write, Next) {
        match answer {
            Answer::Put(Err(PutError::Unknown(cause))) => (write, Next::End(End::Failed(cause))),
            Answer::Put(_) | Answer::Look(_) | Answer::Search(_) => write.next(answer),
        }
    }
}

/// Forgets, once it sends again, that an attempt is in doubt.
#[derive(Debug, Clone)]
pub struct ForgetsItsDoubt;

impl Client for ForgetsItsDoubt {
    fn next(&self, write: Write, answer: Answer, fresh: Write) -> (Write, Next) {
        match write.next(answer) {
            (_, Next::Send { .. }) => fresh.begin(),
            other => other,
        }
    }
}

/// Begins again after a crash as if nothing had been sent.
#[derive(Debug, Clone)]
pub struct ForgetsTheCrash;

impl Client for ForgetsTheCrash {
    fn resume(&self, fresh: Write) -> (Write, Next) {
        fresh.begin()
    }
}

/// Sends a write in doubt again, and leaves out the precondition, since its own object may be in the way.
#[derive(Debug, Clone)]
pub struct ResendsWithoutCondition;

impl Client for ResendsWithoutCondition {
    fn guards(&self, write: &Write) -> bool {
        !write.is_in_doubt()
    }
}

/// Takes whatever object it finds for its own.
#[derive(Debug, Clone)]
pub struct TakesAnyObjectForItsOwn;

impl Client for TakesAnyObjectForItsOwn {
    fn next(&self, write: Write, answer: Answer, _: Write) -> (Write, Next) {
        match write.next(answer) {
            (write, Next::End(End::Lost { there: Some(head), .. })) => {
                let done = Done {
                    etag: Some(head.etag),
                    version: head.version,
                    http_status: None,
                    request_id: None,
                    settled: true,
                };
                (write, Next::End(End::Done(done)))
            }
            other => other,
        }
    }
}
