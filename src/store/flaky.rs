//! A store that fails on purpose: each call may meet a named fault, drawn from one seed.
//!
//! A draw depends on the seed, the request, its key and how often that was asked before, and on nothing else: two runs
//! with one seed meet the same faults in whatever order their tasks run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::bucket::{Aspect, Configuration};
use crate::model::digest::ETag;
use crate::model::entry::Key;
use crate::model::head::{Remote, VersionId};
use crate::model::write::{Cause, Copy, Expect, LookError, Object, PutError, Refusal, Written};
use crate::store::{
    Access, Body, Buried, CopiedPart, HeldPart, Page, Part, PartTaken, ProbeKey, Probed, Store, UploadId, UploadsMark,
    UploadsPage, Version,
};

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It was applied; the answer never came.
    AnswerLost,
    /// It never reached the server, and nobody can tell.
    RequestLost,
    /// No answer now; the server applies it some calls later.
    Late,
    /// Applied, and then 500.
    ErrorAfter,
    /// 500, and not applied.
    ErrorBefore,
    /// 409 ConditionalRequestConflict.
    Conflict,
    /// 503 SlowDown.
    Throttled,
    /// A look gave no answer.
    LookFailed,
}

/// How often each fault comes, in a thousand calls that it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    pub answer_lost: u16,
    pub request_lost: u16,
    pub late: u16,
    pub error_after: u16,
    pub error_before: u16,
    pub conflict: u16,
    pub throttled: u16,
    pub look_failed: u16,
}

impl Rates {
    /// No faults at all.
    #[must_use]
    pub fn calm() -> Self {
        Self::default()
    }

    /// About every second write and every seventh look fails.
    #[must_use]
    pub fn stormy() -> Self {
        Self {
            answer_lost: 80,
            request_lost: 80,
            late: 60,
            error_after: 70,
            error_before: 70,
            conflict: 60,
            throttled: 80,
            look_failed: 140,
        }
    }

    fn of_writes(self) -> [(u16, Fault); 7] {
        [
            (self.answer_lost, Fault::AnswerLost),
            (self.request_lost, Fault::RequestLost),
            (self.late, Fault::Late),
            (self.error_after, Fault::ErrorAfter),
            (self.error_before, Fault::ErrorBefore),
            (self.conflict, Fault::Conflict),
            (self.throttled, Fault::Throttled),
        ]
    }
}

/// A fault that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    pub request: &'static str,
    pub key: String,
    /// How often this was asked of this key before.
    pub nth: u32,
    pub fault: Fault,
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}: {:?}", self.request, self.key, self.nth, self.fault)
    }
}

/// A store that wraps another and fails on purpose. Clones share seed, log and what is late.
#[derive(Debug, Clone)]
pub struct Flaky<S> {
    inner: S,
    seed: u64,
    rates: Rates,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    asked: BTreeMap<(&'static str, String), u32>,
    met: Vec<Met>,
    late: Vec<Late>,
    calls: u64,
}

#[derive(Debug, Clone)]
struct Late {
    due: u64,
    write: LateWrite,
}

#[derive(Debug, Clone)]
enum LateWrite {
    Put { object: Object, body: Body, expect: Expect },
    Complete { object: Object, upload: UploadId, parts: Vec<PartTaken>, expect: Expect },
    Copy { copy: Copy, expect: Expect },
    CompleteCopy { copy: Copy, upload: UploadId, parts: Vec<CopiedPart>, expect: Expect },
    Delete { key: Key, etag: ETag },
}

impl<S: Store> Flaky<S> {
    #[must_use]
    pub fn new(inner: S, seed: u64, rates: Rates) -> Self {
        Self { inner, seed, rates, state: Arc::default() }
    }

    /// The store behind the faults.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What was met so far, to be printed with the seed of a failing run.
    #[must_use]
    pub fn met(&self) -> Vec<Met> {
        self.lock().met.clone()
    }

    /// Applies whatever is still late.
    pub async fn calm_down(&self) {
        let late = std::mem::take(&mut self.lock().late);
        for late in late {
            self.apply(late).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call: lets late writes land whose time has come, then draws.
    async fn draw(&self, request: &'static str, key: &str, faults: &[(u16, Fault)]) -> Option<Fault> {
        let due: Vec<Late> = {
            let mut state = self.lock();
            state.calls += 1;
            let now = state.calls;
            let (due, rest) = std::mem::take(&mut state.late).into_iter().partition(|late| late.due <= now);
            state.late = rest;
            due
        };
        for late in due {
            self.apply(late).await;
        }
        let mut state = self.lock();
        let asked = state.asked.entry((request, key.to_owned())).or_default();
        let nth = *asked;
        *asked += 1;
        let mut roll = u16::try_from(dice(self.seed, request, key, nth) % 1000).unwrap_or(0);
        for &(rate, fault) in faults {
            if roll < rate {
                state.met.push(Met { request, key: key.to_owned(), nth, fault });
                return Some(fault);
            }
            roll -= rate;
        }
        None
    }

    async fn draw_write(&self, request: &'static str, key: &Key) -> Option<Fault> {
        self.draw(request, key.as_str(), &self.rates.of_writes()).await
    }

    async fn look(&self, request: &'static str, key: &str) -> Result<(), LookError> {
        match self.draw(request, key, &[(self.rates.look_failed, Fault::LookFailed)]).await {
            None => Ok(()),
            Some(_) => Err(LookError { cause: cause(Some(500), "InternalError"), stop: false }),
        }
    }

    fn be_late(&self, write: LateWrite) {
        let mut state = self.lock();
        let due = state.calls + 1 + dice(self.seed, "late", "", u32::try_from(state.met.len()).unwrap_or(0)) % 4;
        state.late.push(Late { due, write });
    }

    async fn apply(&self, late: Late) {
        // Nobody is there any more to hear the answer.
        let _ = match late.write {
            LateWrite::Put { object, body, expect } => self.inner.put(&object, body, &expect, Arc::new(|_| ())).await,
            LateWrite::Complete { object, upload, parts, expect } => {
                self.inner.complete(&object, &upload, &parts, &expect).await
            }
            LateWrite::Copy { copy, expect } => self.inner.copy(&copy, &expect).await,
            LateWrite::CompleteCopy { copy, upload, parts, expect } => {
                self.inner.complete_copy(&copy, &upload, &parts, &expect).await
            }
            LateWrite::Delete { key, etag } => self.inner.delete(&key, &etag).await,
        };
    }
}

impl<S: Store> Store for Flaky<S> {
    async fn access(&self) -> Result<Access, LookError> {
        self.inner.access().await
    }

    async fn head(&self, key: &Key) -> Result<Remote, LookError> {
        self.look("head", key.as_str()).await?;
        self.inner.head(key).await
    }

    async fn head_version(&self, key: &Key, version: &VersionId) -> Result<Remote, LookError> {
        self.look("head_version", key.as_str()).await?;
        self.inner.head_version(key, version).await
    }

    async fn first_part(&self, key: &Key, etag: &ETag) -> Result<Option<u64>, LookError> {
        self.look("first_part", key.as_str()).await?;
        self.inner.first_part(key, etag).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, LookError> {
        self.look("list", prefix).await?;
        self.inner.list(prefix, after).await
    }

    async fn versions(&self, key: &Key, most: usize) -> Result<Vec<Version>, LookError> {
        self.look("versions", key.as_str()).await?;
        self.inner.versions(key, most).await
    }

    async fn tags(&self, key: &Key) -> Result<BTreeMap<String, String>, LookError> {
        self.look("tags", key.as_str()).await?;
        self.inner.tags(key).await
    }

    async fn put(
        &self,
        object: &Object,
        body: Body,
        expect: &Expect,
        sent: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Written, PutError> {
        let fault = self.draw_write("put", &object.key).await;
        if fault == Some(Fault::Late) {
            // What left is what the file held then.
            let body = match &body {
                Body::File(path) => {
                    std::fs::read(path).map_or_else(|_| body.clone(), |bytes| Body::Bytes(bytes.into()))
                }
                Body::Bytes(_) => body.clone(),
            };
            self.be_late(LateWrite::Put { object: object.clone(), body, expect: expect.clone() });
        }
        fail(fault, self.inner.put(object, body, expect, sent)).await
    }

    async fn create_upload(&self, object: &Object) -> Result<UploadId, PutError> {
        fail(self.draw_write("create_upload", &object.key).await, self.inner.create_upload(object)).await
    }

    async fn put_part(&self, object: &Object, upload: &UploadId, part: Part) -> Result<PartTaken, PutError> {
        fail(self.draw_write("put_part", &object.key).await, self.inner.put_part(object, upload, part)).await
    }

    async fn list_parts(&self, key: &Key, upload: &UploadId) -> Result<Option<Vec<HeldPart>>, LookError> {
        self.look("list_parts", key.as_str()).await?;
        self.inner.list_parts(key, upload).await
    }

    async fn uploads(&self, prefix: &str, after: Option<&UploadsMark>) -> Result<UploadsPage, LookError> {
        self.look("uploads", prefix).await?;
        self.inner.uploads(prefix, after).await
    }

    async fn complete(
        &self,
        object: &Object,
        upload: &UploadId,
        parts: &[PartTaken],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        let fault = self.draw_write("complete", &object.key).await;
        if fault == Some(Fault::Late) {
            self.be_late(LateWrite::Complete {
                object: object.clone(),
                upload: upload.clone(),
                parts: parts.to_vec(),
                expect: expect.clone(),
            });
        }
        fail(fault, self.inner.complete(object, upload, parts, expect)).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<(), LookError> {
        self.look("abort", key.as_str()).await?;
        self.inner.abort(key, upload).await
    }

    async fn buried(&self, key: &Key, version: &VersionId) -> Result<Buried, LookError> {
        self.look("buried", key.as_str()).await?;
        self.inner.buried(key, version).await
    }

    async fn copy(&self, copy: &Copy, expect: &Expect) -> Result<Written, PutError> {
        let fault = self.draw_write("copy", &copy.key).await;
        if fault == Some(Fault::Late) {
            self.be_late(LateWrite::Copy { copy: copy.clone(), expect: expect.clone() });
        }
        fail(fault, self.inner.copy(copy, expect)).await
    }

    async fn create_copy(&self, copy: &Copy) -> Result<UploadId, PutError> {
        fail(self.draw_write("create_copy", &copy.key).await, self.inner.create_copy(copy)).await
    }

    async fn copy_part(
        &self,
        copy: &Copy,
        upload: &UploadId,
        number: u32,
        bytes: std::ops::RangeInclusive<u64>,
    ) -> Result<CopiedPart, PutError> {
        let fault = self.draw_write("copy_part", &copy.key).await;
        fail(fault, self.inner.copy_part(copy, upload, number, bytes)).await
    }

    async fn complete_copy(
        &self,
        copy: &Copy,
        upload: &UploadId,
        parts: &[CopiedPart],
        expect: &Expect,
    ) -> Result<Written, PutError> {
        let fault = self.draw_write("complete_copy", &copy.key).await;
        if fault == Some(Fault::Late) {
            self.be_late(LateWrite::CompleteCopy {
                copy: copy.clone(),
                upload: upload.clone(),
                parts: parts.to_vec(),
                expect: expect.clone(),
            });
        }
        fail(fault, self.inner.complete_copy(copy, upload, parts, expect)).await
    }

    async fn delete(&self, key: &Key, etag: &ETag) -> Result<Written, PutError> {
        let fault = self.draw_write("delete", key).await;
        if fault == Some(Fault::Late) {
            self.be_late(LateWrite::Delete { key: key.clone(), etag: etag.clone() });
        }
        fail(fault, self.inner.delete(key, etag)).await
    }

    async fn probe_checksum(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.inner.probe_checksum(probe).await
    }

    async fn probe_put(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.inner.probe_put(probe).await
    }

    async fn probe_complete(&self, probe: &ProbeKey) -> Result<Probed, LookError> {
        self.inner.probe_complete(probe).await
    }

    async fn remove_probe(&self, probe: &ProbeKey) -> Result<(), LookError> {
        self.inner.remove_probe(probe).await
    }

    async fn bucket(&self, wanted: &[Aspect]) -> Result<Configuration, LookError> {
        self.look("bucket", "").await?;
        self.inner.bucket(wanted).await
    }
}

/// Does what the fault lets through, and answers as the fault makes it.
async fn fail<T>(fault: Option<Fault>, call: impl Future<Output = Result<T, PutError>> + Send) -> Result<T, PutError> {
    let no_answer = || PutError::Unknown(cause(None, "Connection"));
    let error = || PutError::Unknown(cause(Some(500), "InternalError"));
    match fault {
        None => call.await,
        Some(Fault::AnswerLost | Fault::ErrorAfter) => match call.await {
            // Found out on this side of the wire: there was no answer to lose.
            Err(local @ PutError::Refused(Refusal::SourceChanged | Refusal::Source, _)) => Err(local),
            _ if fault == Some(Fault::AnswerLost) => Err(no_answer()),
            _ => Err(error()),
        },
        Some(Fault::RequestLost | Fault::Late | Fault::LookFailed) => Err(no_answer()),
        Some(Fault::ErrorBefore) => Err(error()),
        Some(Fault::Conflict) => {
            Err(PutError::Refused(Refusal::Conflict, cause(Some(409), "ConditionalRequestConflict")))
        }
        Some(Fault::Throttled) => Err(PutError::Refused(Refusal::Throttled, cause(Some(503), "SlowDown"))),
    }
}

fn cause(status: Option<u16>, code: &str) -> Cause {
    Cause { http_status: status, code: code.to_owned(), message: "on purpose".to_owned(), request_id: None }
}

/// Splitmix64 over everything that names a call.
fn dice(seed: u64, request: &str, key: &str, nth: u32) -> u64 {
    let mut state = seed;
    let mut mix = |value: u64| {
        state = (state ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state = z ^ (z >> 31);
        state
    };
    for byte in request.bytes().chain([0]).chain(key.bytes()) {
        mix(u64::from(byte));
    }
    mix(u64::from(nth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    async fn storm(seed: u64) -> (Vec<Met>, usize) {
        let flaky = Flaky::new(Memory::new(), seed, Rates::stormy());
        let mut unknown = 0;
        for n in 0..200 {
            let object = crate::store::contract::object(&format!("k{}", n % 20), b"x", &format!("w{n}"));
            let body = Body::Bytes(bytes::Bytes::from_static(b"x"));
            match flaky.put(&object, body, &Expect::Absent, Arc::new(|_| ())).await {
                Err(PutError::Unknown(_)) => unknown += 1,
                Ok(_) | Err(PutError::Lost(_) | PutError::Refused(..) | PutError::Mangled(_)) => {}
            }
        }
        flaky.calm_down().await;
        (flaky.met(), unknown)
    }

    #[tokio::test]
    async fn one_seed_meets_the_same_faults_again_and_another_seed_others() {
        let (first, unknown) = storm(7).await;
        assert_eq!(storm(7).await.0, first);
        assert_ne!(storm(8).await.0, first);
        assert!(unknown > 0);
        for fault in [Fault::AnswerLost, Fault::RequestLost, Fault::Late, Fault::ErrorAfter, Fault::Conflict] {
            assert!(first.iter().any(|met| met.fault == fault), "{fault:?} never came");
        }
    }

    #[tokio::test]
    async fn a_late_write_lands_after_its_answer_was_given_up() {
        let rates = Rates { late: 1000, ..Rates::calm() };
        let flaky = Flaky::new(Memory::new(), 1, rates);
        let object = crate::store::contract::object("k", b"x", "w");
        let body = Body::Bytes(bytes::Bytes::from_static(b"x"));
        let answer = flaky.put(&object, body, &Expect::Absent, Arc::new(|_| ())).await;
        assert!(matches!(answer, Err(PutError::Unknown(_))));
        assert_eq!(flaky.inner().content(&object.key), None);
        flaky.calm_down().await;
        assert!(flaky.inner().content(&object.key).is_some());
    }
}
