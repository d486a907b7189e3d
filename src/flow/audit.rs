//! Looks at every key that some reports speak of, and judges it. Writes nothing.
//!
//! By LIST where that is cheaper: what a listing shows to be intact is asked for no more. Everything else gets a HEAD, and
//! what is not intact is looked for among the key's versions.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::audit::chain::later;
use crate::audit::judge::{is_it, may_be, settle, writer};
use crate::audit::{
    Audit, Claim, Current, Finding, Found, Glimpse, Held, Kept, Marker, Now, Proof, Settled, State, Subject, Verdict,
    Wanted, claim, glance, hold,
};
use crate::flow::cancel::Cancel;
use crate::flow::list::{Effort, list};
use crate::model::entry::Key;
use crate::model::event::{Event, Phase, Watch};
use crate::model::head::{Head, Remote, VersionId};
use crate::model::write::{Cause, LookError};
use crate::store::{Listed, Store, Time, Version};

/// So much of a key's history is searched for what a row left that names no version.
const VERSIONS_SEARCHED: usize = 1000;
/// So many versions that may be it are asked for more.
const VERSIONS_ASKED: usize = 5;

/// How the buckets are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Keys asked for at once.
    pub looks: usize,
    /// No listing is believed: a HEAD for each key.
    pub deep: bool,
}

/// Why nothing was judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("interrupted; nothing was judged")]
    Interrupted,
    /// Every other request to this bucket, by its place, would meet it too.
    #[error("{cause}")]
    Stopped { bucket: usize, cause: Cause },
}

/// What was found, and what it took.
#[derive(Debug)]
pub struct Audited {
    pub found: Found,
    pub requests: u64,
}

/// Judges every claim. `stores` are those of [`Audit::buckets`], in order.
pub async fn audit<S: Store>(
    audit: &Arc<Audit>,
    stores: &[Arc<S>],
    settings: Settings,
    watch: &Arc<dyn Watch>,
    cancel: &Cancel,
) -> Result<Audited, AuditError> {
    let files = audit.subjects.len() as u64;
    watch.tell(Event::Begin { phase: Phase::Looking, files, bytes: 0 });
    let audited = look(audit, stores, settings, &**watch, cancel).await;
    watch.tell(Event::End { phase: Phase::Looking });
    audited
}

async fn look<S: Store>(
    audit: &Arc<Audit>,
    stores: &[Arc<S>],
    settings: Settings,
    watch: &dyn Watch,
    cancel: &Cancel,
) -> Result<Audited, AuditError> {
    let mut ends: Vec<Option<End>> = Vec::new();
    ends.resize_with(audit.subjects.len(), || None);
    let mut requests = 0;
    let done = || watch.tell(Event::Advance { phase: Phase::Looking, files: 1, bytes: 0 });
    for (bucket, store) in (0u32..).zip(stores) {
        let of_bucket = |subject: &Subject| subject.bucket == bucket;
        if !settings.deep {
            let members: Vec<usize> = (0..audit.subjects.len())
                .filter(|at| of_bucket(&audit.subjects[*at]) && is_listed(audit, &audit.subjects[*at]))
                .collect();
            requests += glance_all(audit, store, &members, &mut ends, cancel).await;
        }
        for _ in ends.iter().zip(&audit.subjects).filter(|(end, subject)| end.is_some() && of_bucket(subject)) {
            done();
        }
        let open = (0..audit.subjects.len()).filter(|at| ends[*at].is_none() && of_bucket(&audit.subjects[*at]));
        let open: Vec<usize> = open.collect();
        let mut judged = stream::iter(open)
            .take_while(|_| std::future::ready(!cancel.is_set()))
            .map(|at| {
                let (audit, store) = (Arc::clone(audit), Arc::clone(store));
                // A task of its own, so that every core reads answers.
                async move {
                    let judging = tokio::spawn(async move { Judging::of(&audit, at, &*store).await });
                    (at, judging.await)
                }
            })
            .buffer_unordered(settings.looks.max(1));
        while let Some((at, end)) = judged.next().await {
            let stopped = |cause| AuditError::Stopped { bucket: bucket as usize, cause };
            let (end, asked) = match end {
                Ok(Ok(end)) => end,
                Ok(Err(error)) => return Err(stopped(error.cause)),
                Err(broken) => {
                    let message = format!("a look broke down: {broken}; please report it");
                    return Err(stopped(Cause { message, ..Cause::default() }));
                }
            };
            requests += asked;
            ends[at] = Some(end);
            done();
        }
    }
    if cancel.is_set() {
        return Err(AuditError::Interrupted);
    }
    let mut found = Found { verdicts: Vec::new(), doubts: Vec::new() };
    for end in ends.into_iter().flatten() {
        match end {
            End::Listed(proof, count) => found.verdicts.extend((0..count).map(|_| Verdict::intact(proof))),
            End::Judged(verdicts, doubts) => {
                found.verdicts.extend(verdicts);
                found.doubts.extend(doubts);
            }
        }
    }
    Ok(Audited { found, requests })
}

/// What became of a key: one verdict a judged claim, one word a doubt.
#[derive(Debug)]
enum End {
    /// A listing showed all of its claims to be intact. Most are, and need no room of their own.
    Listed(Proof, u32),
    Judged(Vec<Verdict>, Vec<Settled>),
}

/// Whether a listing could settle a key: nothing is to be told of it but that all is well.
fn is_listed(audit: &Audit, subject: &Subject) -> bool {
    !subject.doubts.iter().any(|doubt| audit.is_judged(doubt.run))
        && claims(audit, subject).all(|(at, _)| later(audit, subject, at).is_none())
}

/// The claims that are judged, each with its place among the key's.
fn claims<'a>(audit: &'a Audit, subject: &'a Subject) -> impl Iterator<Item = (usize, &'a Claim)> {
    subject.claims.iter().enumerate().filter(|(_, claim)| audit.is_judged(claim.run))
}

/// Settles what a listing can settle. Returns how many requests that took.
async fn glance_all<S: Store>(
    audit: &Audit,
    store: &Arc<S>,
    members: &[usize],
    ends: &mut [Option<End>],
    cancel: &Cancel,
) -> u64 {
    let keys: Vec<&Key> = members.iter().map(|at| &audit.subjects[*at].key).collect();
    let end = |at: usize, listed: Option<&Listed>| {
        let subject = &audit.subjects[at];
        let glimpse = listed.map(|listed| Glimpse {
            etag: &listed.etag,
            size: listed.size,
            modified: listed.last_modified.map(Time::as_second),
        });
        let all_hold = claims(audit, subject).all(|(_, claim)| glance(claim, glimpse));
        let proof = if listed.is_some() { Proof::Listed } else { Proof::Absent };
        let count = u32::try_from(claims(audit, subject).count()).ok()?;
        all_hold.then_some(End::Listed(proof, count))
    };
    let mut shown = vec![false; members.len()];
    let take = |place: usize, listed: Listed| {
        shown[place] = true;
        ends[members[place]] = end(members[place], Some(&listed));
    };
    let listing = list(store, &keys, Effort::WhileCheaper, cancel, take).await;
    for ((at, is_covered), is_shown) in members.iter().zip(listing.is_covered).zip(shown) {
        if is_covered && !is_shown {
            ends[*at] = end(*at, None);
        }
    }
    listing.requests
}

/// One key, asked for by itself.
struct Judging<'a, S> {
    store: &'a S,
    audit: &'a Audit,
    subject: &'a Subject,
    asked: u64,
}

impl<'a, S: Store> Judging<'a, S> {
    /// Judges all claims of a key, and says how many requests that took. An error is one that every other request would
    /// meet.
    async fn of(audit: &'a Audit, at: usize, store: &'a S) -> Result<(End, u64), LookError> {
        let subject = &audit.subjects[at];
        let mut judging = Self { store, audit, subject, asked: 0 };
        let mut verdicts = Vec::new();
        let mut looked = None;
        for (at, claim) in claims(audit, subject) {
            let verdict = match later(audit, subject, at) {
                Some(verdict) if verdict.state == State::Superseded => verdict,
                Some(verdict) => judging.between(claim, verdict).await?,
                None => {
                    let now = judging.look(&mut looked).await?;
                    judging.judge(claim, now).await?
                }
            };
            verdicts.push(verdict);
        }
        let mut doubts = Vec::new();
        for doubt in subject.doubts.iter().filter(|doubt| audit.is_judged(doubt.run)) {
            let now = judging.look(&mut looked).await?;
            doubts.push(settle(doubt, now.now()));
        }
        Ok((End::Judged(verdicts, doubts), judging.asked))
    }

    async fn look<'l>(&mut self, looked: &'l mut Option<Looked>) -> Result<&'l Looked, LookError> {
        if let Some(looked) = looked {
            return Ok(looked);
        }
        self.asked += 1;
        let new = match self.store.head(&self.subject.key).await {
            Ok(Remote::Absent) => Looked::Absent,
            Ok(Remote::Present(head)) => Looked::There(head),
            Ok(Remote::Unseen) => Looked::Unseen,
            Err(error) if error.stop => return Err(error),
            Err(error) => Looked::Failed(error.to_string()),
        };
        Ok(looked.insert(new))
    }

    async fn judge(&mut self, claim: &Claim, looked: &Looked) -> Result<Verdict, LookError> {
        let now = looked.now();
        Ok(match hold(claim, now) {
            Held::Intact(proof) => Verdict::intact(proof),
            Held::NotAllowed => Verdict::of(State::NotAllowed, Finding::blank()),
            Held::Unreachable => {
                let why = if let Now::Failed(why) = now { why.to_owned() } else { String::new() };
                Verdict::of(State::Unreachable, Finding { why, ..Finding::blank() })
            }
            Held::Other { same_bytes } => {
                let current = looked.head().map(Current::of).map(|current| {
                    let writer = writer(self.audit, self.subject, claim, &current);
                    (current, writer)
                });
                let Past { kept, is_gone, marker: _ } = self.past(claim, looked).await?;
                let state = if is_gone { State::Gone } else { State::Overwritten };
                Verdict::of(state, Finding { current, same_bytes, kept, ..Finding::blank() })
            }
            Held::Absent => {
                let Past { kept, is_gone, marker } = self.past(claim, looked).await?;
                let state = if is_gone { State::Gone } else { State::Deleted };
                Verdict::of(state, Finding { marker, kept, ..Finding::blank() })
            }
        })
    }

    /// Somebody wrote between two runs: whether what the first of them stored is kept.
    async fn between(&mut self, claim: &Claim, verdict: Verdict) -> Result<Verdict, LookError> {
        let Past { kept, is_gone, marker: _ } = self.past(claim, &Looked::Unseen).await?;
        let Some(finding) = verdict.finding else { return Ok(verdict) };
        let state = if is_gone { State::Gone } else { verdict.state };
        Ok(Verdict::of(state, Finding { kept, ..*finding }))
    }

    /// What the key's versions say of an object that is not current.
    async fn past(&mut self, claim: &Claim, looked: &Looked) -> Result<Past, LookError> {
        let is_unversioned = looked.head().is_some_and(|head| head.version.is_none());
        if matches!(claim.wanted, Wanted::Nothing { .. }) {
            return Ok(Past { kept: Kept::Nothing, is_gone: false, marker: None });
        }
        if is_unversioned && claim.version().is_none() {
            return Ok(Past { kept: Kept::No, is_gone: false, marker: None });
        }
        let Some(version) = claim.version() else {
            return Ok(match self.versions(VERSIONS_SEARCHED).await? {
                Ok(versions) => {
                    let (kept, is_gone) = self.search(claim, &versions).await?;
                    Past { kept, is_gone, marker: marker(&versions) }
                }
                Err(why) => Past { kept: Kept::NotKnown(why), is_gone: false, marker: None },
            });
        };
        let kept = self.kept_as(version).await?;
        let marker = match looked {
            Looked::Absent => self.versions(1).await?.ok().and_then(|versions| marker(&versions)),
            Looked::There(_) | Looked::Unseen | Looked::Failed(_) => None,
        };
        Ok(Past { is_gone: kept == Kept::No, kept, marker })
    }

    /// Whether this version is there still.
    async fn kept_as(&mut self, version: &VersionId) -> Result<Kept, LookError> {
        self.asked += 1;
        match self.store.head_version(&self.subject.key, version).await {
            Ok(Remote::Present(_)) => Ok(Kept::Version(version.clone())),
            Ok(Remote::Absent) => Ok(Kept::No),
            Ok(Remote::Unseen) => Ok(Kept::NotKnown("not allowed to look at old versions: s3:GetObjectVersion".into())),
            Err(error) if error.stop => Err(error),
            Err(error) => Ok(Kept::NotKnown(error.to_string())),
        }
    }

    async fn versions(&mut self, most: usize) -> Result<Result<Vec<Version>, String>, LookError> {
        self.asked += 1;
        match self.store.versions(&self.subject.key, most).await {
            Ok(versions) => Ok(Ok(versions)),
            Err(error) if error.stop => Err(error),
            Err(error) => Ok(Err(format!("the versions cannot be listed: {error}"))),
        }
    }

    /// Looks for what a row left that names no version of its own. Says too whether it is gone: the key has versions, and
    /// none is it.
    async fn search(&mut self, claim: &Claim, versions: &[Version]) -> Result<(Kept, bool), LookError> {
        let fits =
            |version: &&Version| may_be(claim, &version.id, version.etag.as_ref(), version.last_modified.as_deref());
        let mut fitting = versions.iter().filter(fits);
        for version in fitting.by_ref().take(VERSIONS_ASKED) {
            self.asked += 1;
            match self.store.head_version(&self.subject.key, &version.id).await {
                Ok(Remote::Present(head)) if is_it(claim, &head) => {
                    return Ok((Kept::Version(version.id.clone()), false));
                }
                Ok(Remote::Present(_) | Remote::Absent) => {}
                Ok(Remote::Unseen) => {
                    let why = "not allowed to look at old versions: s3:GetObjectVersion";
                    return Ok((Kept::NotKnown(why.into()), false));
                }
                Err(error) if error.stop => return Err(error),
                Err(error) => return Ok((Kept::NotKnown(error.to_string()), false)),
            }
        }
        if fitting.next().is_some() || versions.len() >= VERSIONS_SEARCHED {
            return Ok((Kept::NotKnown("the key has too many versions to search".into()), false));
        }
        let is_versioned = versions.iter().any(|version| claim::names_one_write(&version.id));
        Ok((Kept::No, is_versioned))
    }
}

/// What a HEAD said.
enum Looked {
    Absent,
    There(Box<Head>),
    Unseen,
    Failed(String),
}

impl Looked {
    fn now(&self) -> Now<'_> {
        match self {
            Self::Absent => Now::Absent,
            Self::There(head) => Now::There(head),
            Self::Unseen => Now::Unseen,
            Self::Failed(why) => Now::Failed(why),
        }
    }

    fn head(&self) -> Option<&Head> {
        match self {
            Self::There(head) => Some(head),
            Self::Absent | Self::Unseen | Self::Failed(_) => None,
        }
    }
}

struct Past {
    kept: Kept,
    is_gone: bool,
    marker: Option<Marker>,
}

/// The delete marker that is current.
fn marker(versions: &[Version]) -> Option<Marker> {
    let newest = versions.first().filter(|newest| newest.etag.is_none() && newest.is_latest)?;
    Some(Marker { version: newest.id.clone(), modified: newest.last_modified.clone() })
}

#[cfg(test)]
mod tests;
