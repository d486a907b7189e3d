//! Finds out by scratch objects what a server really does with preconditions and checksums.
//!
//! A scratch object lies under a probe key, holds a line of ours, and is removed again with all its versions. Nothing
//! else is ever touched. One answer shows what the server does with one request, not that it does so atomically.

use std::sync::Arc;

use bytes::Bytes;
use md5::Digest as _;

pub use crate::model::behaviour::{Behaviour, Kind};
use crate::model::digest::{Checksum, ETag, Md5, Sha256};
use crate::model::entry::Properties;
use crate::model::head::{Carried, Head, HeldSha256, Remote, VersionId};
use crate::model::part::MIB;
use crate::model::write::{Cause, Copy, Expect, LookError, Object, PutError, Refusal, WriteId};
use crate::store::{Body, Part, PartContent, ProbeKey, Probed, Store};

/// An ETag that no object has.
const IMPOSSIBLE: &str = "00000000000000000000000000000000-0";
const LINE: &[u8] = b"noclobber asks what this server does with preconditions. Remove this if it is still here.\n";

/// By which a scratch object is known, and a copy of one. The key says of which run it is.
const WRITE_ID: &str = "noclobber-probe";
const COPY_WRITE_ID: &str = "noclobber-probe-copy";

/// Asks one question with a scratch object of its own, and removes that. An object that cannot be removed is an error
/// that names it.
pub async fn ask<S: Store>(store: &S, key: &ProbeKey, kind: Kind) -> Result<Probed, LookError> {
    let scratch = Scratch::begin(store, key).await?;
    let probed = scratch.ask(kind).await;
    let removed = scratch.remove().await;
    let probed = probed?;
    removed?;
    Ok(probed)
}

/// A scratch object that is there.
#[derive(Debug)]
pub struct Scratch<'a, S> {
    store: &'a S,
    key: &'a ProbeKey,
}

impl<'a, S: Store> Scratch<'a, S> {
    /// Stores the scratch object, where nothing is. One that an earlier attempt of the same run left serves as well: it
    /// was killed before it could remove it.
    pub async fn begin(store: &'a S, key: &'a ProbeKey) -> Result<Self, LookError> {
        let scratch = Self { store, key };
        let Err(error) = scratch.put(&Expect::Absent).await else { return Ok(scratch) };
        match &error {
            PutError::Lost(_) if scratch.is_left_over().await? => return Ok(scratch),
            // What is there is somebody else's, or nothing came of it.
            PutError::Lost(_) | PutError::Refused(..) => {}
            PutError::Unknown(_) | PutError::Mangled(_) => scratch.remove().await?,
        }
        Err(named(key, "storing the scratch object", &error))
    }

    async fn is_left_over(&self) -> Result<bool, LookError> {
        Ok(match self.store.head(self.key.key()).await? {
            Remote::Present(head) => head.write_id.is_some_and(|id| id == WRITE_ID || id == COPY_WRITE_ID),
            Remote::Absent | Remote::Unseen => false,
        })
    }

    /// Sends one request whose condition does not hold.
    pub async fn ask(&self, kind: Kind) -> Result<Probed, LookError> {
        // A server that ignored the question before may have taken the object away.
        self.head().await?;
        match self.send(kind, &that_fails(kind)).await {
            Ok(()) => Ok(Probed::Ignored),
            Err(PutError::Lost(_)) => Ok(Probed::Honoured),
            Err(error) => Err(named(self.key, &format!("{} with {}", kind.request(), kind.header()), &error)),
        }
    }

    /// Sends one request whose condition holds. `Honoured` is a yes; `Ignored` means that a 412 was answered where none
    /// is due.
    pub async fn ask_for_a_yes(&self, kind: Kind) -> Result<Probed, LookError> {
        let head = self.head().await?;
        let what = || format!("{} with {}", kind.request(), kind.header());
        let expect = match that_fails(kind) {
            Expect::Absent => Expect::Absent,
            Expect::Unchanged(_) => Expect::Unchanged(head.etag.clone()),
        };
        let answer = match kind {
            // A version can be copied over nothing only where a delete leaves it.
            Kind::CopyIfNoneMatch if head.version.as_ref().is_none_or(|version| version.0 == "null") => {
                return Err(failed(self.key, "NotAsked", "nothing is kept where nothing is versioned"));
            }
            Kind::CopyIfNoneMatch => {
                let deleted = self.store.delete(self.key.key(), &head.etag).await;
                deleted.map_err(|error| named(self.key, "deleting the scratch object", &error))?;
                self.copy(head, &expect).await
            }
            Kind::PutIfNoneMatch | Kind::CompleteIfNoneMatch => {
                self.remove().await?;
                self.send(kind, &expect).await
            }
            Kind::PutIfMatch | Kind::CompleteIfMatch | Kind::CopyIfMatch | Kind::DeleteIfMatch => {
                self.send(kind, &expect).await
            }
        };
        match answer {
            Ok(()) => Ok(Probed::Honoured),
            Err(PutError::Lost(_)) => Ok(Probed::Ignored),
            Err(error) => Err(named(self.key, &what(), &error)),
        }
    }

    /// What HEAD says of the scratch object, which is stored anew where it is gone.
    pub async fn head(&self) -> Result<Head, LookError> {
        if let Remote::Present(head) = self.store.head(self.key.key()).await? {
            return Ok(*head);
        }
        self.put(&Expect::Absent).await.map_err(|error| named(self.key, "storing the scratch object", &error))?;
        match self.store.head(self.key.key()).await? {
            Remote::Present(head) => Ok(*head),
            Remote::Absent => Err(failed(self.key, "NotFound", "it was stored, and HEAD does not find it")),
            Remote::Unseen => Err(failed(self.key, "Forbidden", "HEAD was answered with 403: s3:GetObject is needed")),
        }
    }

    /// Removes the scratch object with all its versions.
    pub async fn remove(&self) -> Result<(), LookError> {
        self.store.remove_probe(self.key).await.map_err(|mut error| {
            error.cause.message = format!(
                "the scratch object {:?} could not be removed, remove it by hand: {}",
                self.key.key().as_str(),
                error.cause.message
            );
            error
        })
    }

    async fn send(&self, kind: Kind, expect: &Expect) -> Result<(), PutError> {
        match kind {
            Kind::PutIfNoneMatch | Kind::PutIfMatch => self.put(expect).await,
            Kind::CompleteIfNoneMatch | Kind::CompleteIfMatch => self.upload(expect).await,
            Kind::CopyIfNoneMatch | Kind::CopyIfMatch => {
                let source = self.head().await.map_err(|error| {
                    let refusal = if error.stop { Refusal::Stop } else { Refusal::Failed };
                    PutError::Refused(refusal, error.cause)
                })?;
                self.copy(source, expect).await
            }
            Kind::DeleteIfMatch => {
                let Expect::Unchanged(etag) = expect else { return Ok(()) };
                self.store.delete(self.key.key(), etag).await.map(|_| ())
            }
        }
    }

    async fn put(&self, expect: &Expect) -> Result<(), PutError> {
        let object = self.object(Checksum::Full(sha256()));
        let body = Body::Bytes(Bytes::from_static(LINE));
        self.store.put(&object, body, expect, Arc::new(|_| ())).await.map(|_| ())
    }

    async fn upload(&self, expect: &Expect) -> Result<(), PutError> {
        let digest = Sha256(sha2::Sha256::digest(sha256().0).into());
        let object = self.object(Checksum::Composite { digest, parts: 1, part_bytes: 16 * MIB });
        let upload = self.store.create_upload(&object).await?;
        let content = PartContent::Bytes(Bytes::from_static(LINE));
        let completed = match self.store.put_part(&object, &upload, Part { number: 1, content, sha256: sha256() }).await
        {
            Ok(part) => self.store.complete(&object, &upload, &[part], expect).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if completed.is_err()
            && let Err(error) = self.store.abort(self.key.key(), &upload).await
        {
            tracing::debug!(key = %self.key.key(), %error, "the scratch upload could not be aborted");
        }
        completed
    }

    /// Copies a version of the scratch object over it.
    async fn copy(&self, source: Head, expect: &Expect) -> Result<(), PutError> {
        let copy = Copy {
            key: self.key.key().clone(),
            // Of an object without versions it is the name.
            version: source.version.unwrap_or_else(|| VersionId("null".to_owned())),
            etag: source.etag,
            size: source.size,
            properties: Arc::new(source.properties),
            carried: Carried::default(),
            write_id: WriteId(COPY_WRITE_ID.to_owned()),
        };
        self.store.copy(&copy, expect).await.map(|_| ())
    }

    fn object(&self, checksum: Checksum) -> Object {
        Object {
            key: self.key.key().clone(),
            size: LINE.len() as u64,
            checksum,
            properties: Arc::new(Properties::default()),
            write_id: WriteId(WRITE_ID.to_owned()),
        }
    }
}

/// A condition that does not hold where an object is.
fn that_fails(kind: Kind) -> Expect {
    match kind.header() {
        "If-None-Match" => Expect::Absent,
        _ => Expect::Unchanged(ETag::new(IMPOSSIBLE)),
    }
}

/// Asks everything. `first` and `second` are probe keys of one run. An error is of the scratch object, which could not
/// be stored; beside the answers stands why one could not be removed.
pub async fn behaviour<S: Store>(
    store: &S,
    first: &ProbeKey,
    second: &ProbeKey,
) -> Result<(Behaviour, Option<LookError>), LookError> {
    let scratch = Scratch::begin(store, first).await?;
    let behaviour = Box::pin(look_around(&scratch, second)).await;
    let other = Scratch { store, key: second };
    let removed = scratch.remove().await;
    let left = removed.err().or(other.remove().await.err());
    Ok((behaviour, left))
}

async fn look_around<S: Store>(scratch: &Scratch<'_, S>, second: &ProbeKey) -> Behaviour {
    let head = scratch.head().await;
    let etag_is_md5 = head.as_ref().map(|head| head.etag.as_str() == md5().to_string()).map_err(Clone::clone);
    let is_returned = |head: &Head| head.checksums.sha256 == Some(HeldSha256::Full(sha256()));
    let checksum_returned = head.as_ref().map(is_returned).map_err(Clone::clone);
    let mut conditions = Vec::with_capacity(Kind::ALL.len());
    let mut permits = Vec::with_capacity(Kind::ALL.len());
    let mut composite_returned = Err(failed(scratch.key, "NotAsked", "no upload in parts was completed"));
    for kind in Kind::ALL {
        conditions.push((kind, scratch.ask(kind).await.map(is_yes)));
        let permit = scratch.ask_for_a_yes(kind).await.map(is_yes);
        if kind == Kind::CompleteIfMatch && permit == Ok(true) {
            let is_composite =
                |head: Head| matches!(head.checksums.sha256, Some(HeldSha256::Composite { parts: 1, .. }));
            composite_returned = scratch.head().await.map(is_composite);
        }
        permits.push((kind, permit));
    }
    let checksums_verified = scratch.store.probe_checksum(second).await.map(is_yes);
    Behaviour { conditions, permits, etag_is_md5, checksums_verified, checksum_returned, composite_returned }
}

fn is_yes(probed: Probed) -> bool {
    probed == Probed::Honoured
}

fn sha256() -> Sha256 {
    Sha256(sha2::Sha256::digest(LINE).into())
}

fn md5() -> Md5 {
    Md5(md5::Md5::digest(LINE).into())
}

fn named(key: &ProbeKey, what: &str, error: &PutError) -> LookError {
    let stop = matches!(error, PutError::Refused(Refusal::Stop, _));
    let cause = error.cause();
    let message = format!("{what} {:?}: {}", key.key().as_str(), cause.message);
    LookError { cause: Cause { message, ..cause.clone() }, stop }
}

fn failed(key: &ProbeKey, code: &str, message: &str) -> LookError {
    let message = format!("the scratch object {:?}: {message}", key.key().as_str());
    LookError { cause: Cause { code: code.to_owned(), message, ..Cause::default() }, stop: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Key;
    use crate::store::memory::Memory;

    fn keys() -> (ProbeKey, ProbeKey) {
        let first = Key::new("reports/");
        (ProbeKey::new(&first, "run"), ProbeKey::new(&first, "run-2"))
    }

    async fn of(store: &Memory) -> (Vec<Kind>, Vec<Kind>) {
        let (first, second) = keys();
        let (found, left) = behaviour(store, &first, &second).await.unwrap();
        assert_eq!(left, None);
        let told = |answers: &[(Kind, Result<bool, LookError>)]| {
            answers.iter().filter(|(_, answer)| *answer == Ok(true)).map(|(kind, _)| *kind).collect::<Vec<_>>()
        };
        assert_eq!(
            (found.etag_is_md5, found.checksum_returned, found.composite_returned),
            (Ok(true), Ok(true), Ok(true))
        );
        (told(&found.conditions), told(&found.permits))
    }

    #[tokio::test]
    async fn a_server_is_found_out_request_by_request_and_nothing_is_left() {
        let rollback = [Kind::CopyIfNoneMatch, Kind::CopyIfMatch, Kind::DeleteIfMatch];
        let most: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !rollback.contains(kind)).collect();
        for (store, honoured) in [
            (Memory::new(), Kind::ALL.to_vec()),
            (Memory::that_ignores_conditions_of_a_rollback(), most),
            (Memory::that_ignores_conditions(), Vec::new()),
        ] {
            assert_eq!(of(&store).await, (honoured.clone(), Kind::ALL.to_vec()));
            assert!(store.keys().is_empty() && store.open_uploads() == 0);
            for kind in Kind::ALL {
                let probed = ask(&store, &keys().0, kind).await.unwrap();
                assert_eq!(probed == Probed::Honoured, honoured.contains(&kind), "{kind:?}");
                assert!(store.keys().is_empty(), "{kind:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_scratch_object_that_a_killed_run_left_serves_again_and_is_removed() {
        let (store, (first, _)) = (Memory::new(), keys());
        Scratch::begin(&store, &first).await.unwrap();
        for kind in Kind::ALL {
            assert_eq!(ask(&store, &first, kind).await, Ok(Probed::Honoured), "{kind:?}");
            assert!(store.keys().is_empty());
            Scratch::begin(&store, &first).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_lies_under_the_probe_key_already_is_not_touched() {
        let (store, (first, _)) = (Memory::new(), keys());
        store.stranger_put(first.key(), "theirs");
        let error = ask(&store, &first, Kind::CopyIfMatch).await.unwrap_err();
        assert!(error.to_string().contains("storing the scratch object"), "{error}");
        assert_eq!(store.content(first.key()).as_deref(), Some(&b"theirs"[..]));
    }
}
