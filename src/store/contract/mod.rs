//! The one suite of behaviours that every store must show, run over memory, a calm flaky store, and S3 over real servers.
//!
//! It speaks only through [`Store`], works under a prefix of its own, and leaves its objects behind: give it a bucket to
//! throw away. What a server is known to do wrong is named in [`Quirks`]; anything else is a [`Breach`].

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

mod looks;
mod rollback;
mod uploads;

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use sha2::Digest as _;

use crate::model::digest::{Checksum, ETag, Sha256};
use crate::model::entry::Key;
use crate::model::head::{Head, HeldSha256, Remote, VersionId};
use crate::model::part::MIB;
use crate::model::write::{Expect, Object, PutError, Refusal, WriteId, Written};
use crate::store::{Body, ProbeKey, Probed, Store};

/// What a server is known to do otherwise. The default is a correct one.
#[derive(Debug, Clone, Default)]
pub struct Quirks {
    /// PutObject overwrites whatever the condition says.
    pub ignores_put_conditions: bool,
    /// CompleteMultipartUpload overwrites whatever `If-Match` says.
    pub ignores_complete_if_match: bool,
    /// CompleteMultipartUpload overwrites whatever `If-None-Match` says.
    pub ignores_complete_if_none_match: bool,
    /// CopyObject overwrites whatever the condition says.
    pub ignores_copy_conditions: bool,
    /// CopyObject and UploadPartCopy copy whatever the source's ETag is.
    pub ignores_copy_source_conditions: bool,
    /// DeleteObject deletes whatever the condition says.
    pub ignores_delete_if_match: bool,
    /// Racing Completes of one key can all win.
    pub racing_completes_all_win: bool,
    /// Parts are stored whatever their checksum says.
    pub trusts_part_checksums: bool,
    /// HEAD does not tell the SHA-256 of a single PUT.
    pub hides_put_checksums: bool,
    /// HEAD does not tell the composite of a multipart upload.
    pub hides_composites: bool,
    /// HEAD with a part's number describes the whole object, or does not count the parts.
    pub hides_first_parts: bool,
    /// Tags sent with a PUT are lost.
    pub loses_tags: bool,
    /// Tags sent with a CreateMultipartUpload are lost.
    pub loses_tags_of_uploads: bool,
    /// HEAD does not tell where a website redirects to.
    pub loses_redirects: bool,
    /// The ETag of a copied part is not the MD5 of its bytes.
    pub names_copied_parts_otherwise: bool,
    /// HEAD of a delete marker's id says that there is no such version.
    pub hides_markers: bool,
    /// HEAD does not tell these properties.
    pub loses_properties: &'static [&'static str],
    /// ListParts does not tell the parts' SHA-256.
    pub hides_part_checksums: bool,
    /// ListMultipartUploads says that its keys are encoded, and leaves a `+` as it is.
    pub lists_upload_keys_raw: bool,
    /// The answer to ListParts cannot be read.
    pub tells_no_parts: bool,
    /// A part for an upload that was aborted is answered with 500.
    pub stumbles_over_aborted_uploads: bool,
    /// The bucket keeps no versions.
    pub unversioned: bool,
    /// Keys that the server refuses, or tells otherwise than they were written.
    pub mangles_keys: &'static [&'static str],
}

/// A promise that a store did not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub behaviour: &'static str,
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.behaviour, self.what)
    }
}

/// Runs every behaviour under `prefix` and tells which did not hold.
pub async fn contract<S: Store + Clone>(store: &S, prefix: &str, quirks: &Quirks) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let case = Case { store, prefix, quirks };
    macro_rules! run {
        ($($behaviour:ident),* $(,)?) => {$(
            let case = Case { prefix: &format!("{prefix}{}/", stringify!($behaviour)), ..case };
            if let Err(what) = Box::pin(case.$behaviour()).await {
                breaches.push(Breach { behaviour: stringify!($behaviour), what });
            }
        )*};
    }
    run!(
        a_create_stores_what_was_sent,
        a_create_over_an_object_is_lost_and_leaves_it_intact,
        a_replace_of_the_object_that_was_seen_goes_through,
        a_replace_of_a_changed_object_is_lost_and_leaves_it_intact,
        a_replace_of_an_absent_key_is_lost_and_creates_nothing,
        of_racing_creates_one_wins,
        of_racing_replaces_one_wins,
        bytes_with_another_checksum_store_nothing,
        a_file_that_changed_stores_nothing,
        a_large_file_arrives_whole,
        an_empty_object_is_an_object,
        properties_come_back,
        tags_come_back,
        odd_keys_come_back_as_they_are,
        a_listing_has_every_key_of_its_prefix_and_no_other,
        versions_come_newest_first,
        an_upload_in_parts_creates,
        the_first_part_is_told_of_an_object_in_parts_and_of_no_other,
        an_upload_in_parts_replaces_what_was_seen,
        a_lost_complete_leaves_the_object_intact,
        of_racing_completes_one_wins,
        a_part_with_another_checksum_is_refused,
        other_parts_than_planned_are_not_put_together,
        an_aborted_upload_takes_no_more_parts,
        the_parts_of_an_upload_are_told_until_it_is_over,
        a_part_from_disk_is_taken_only_as_it_was_hashed,
        open_uploads_are_listed_by_prefix_and_no_others,
        the_probes_tell_whether_conditions_are_honoured,
        a_copy_brings_an_earlier_version_back_with_all_that_it_had,
        a_copy_over_a_changed_object_is_lost_and_leaves_it_intact,
        a_copy_where_nothing_is_takes_its_place_and_a_second_is_lost,
        a_copy_of_another_version_than_was_seen_stores_nothing,
        a_copy_in_parts_brings_back_the_same,
        a_part_of_another_version_than_was_seen_is_not_copied,
        a_delete_hides_what_was_seen_and_keeps_it,
        a_delete_of_another_object_or_of_none_is_lost_and_changes_nothing,
        a_buried_version_is_told_apart_from_a_marker_and_from_none,
    );
    breaches
}

/// An object of these bytes.
#[must_use]
pub fn object(key: &str, bytes: &[u8], write_id: &str) -> Object {
    Object {
        key: Key::new(key),
        size: bytes.len() as u64,
        checksum: Checksum::Full(sha256(bytes)),
        properties: Arc::default(),
        write_id: WriteId(write_id.to_owned()),
    }
}

type Held = Result<(), String>;

struct Case<'a, S> {
    store: &'a S,
    prefix: &'a str,
    quirks: &'a Quirks,
}

impl<S> Clone for Case<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Case<'_, S> {}

impl<S: Store + Clone> Case<'_, S> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn put(&self, object: &Object, bytes: &[u8], expect: &Expect) -> Result<Written, PutError> {
        self.store.put(object, Body::Bytes(Bytes::copy_from_slice(bytes)), expect, Arc::new(|_| ())).await
    }

    /// Writes where nothing is, and looks.
    async fn given(&self, name: &str, bytes: &[u8], write_id: &str) -> Result<Head, String> {
        let object = object(&self.key(name), bytes, write_id);
        self.put(&object, bytes, &Expect::Absent).await.map_err(|error| format!("could not be set up: {error:?}"))?;
        self.present(name).await
    }

    async fn look(&self, name: &str) -> Result<Remote, String> {
        self.store.head(&Key::new(self.key(name))).await.map_err(|error| format!("head: {error:?}"))
    }

    async fn present(&self, name: &str) -> Result<Head, String> {
        match self.look(name).await? {
            Remote::Present(head) => Ok(*head),
            other => Err(format!("{name} should be there, but HEAD says {other:?}")),
        }
    }

    async fn absent(&self, name: &str) -> Held {
        match self.look(name).await? {
            Remote::Absent => Ok(()),
            other => Err(format!("{name} should not be there, but HEAD says {other:?}")),
        }
    }

    async fn a_create_stores_what_was_sent(&self) -> Held {
        let bytes = b"what was reviewed";
        let object = object(&self.key("k"), bytes, "run-1");
        let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let told = Arc::new(move |bytes| {
            count.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        });
        let body = Body::Bytes(Bytes::from_static(bytes));
        let written =
            self.store.put(&object, body, &Expect::Absent, told).await.map_err(|error| format!("{error:?}"))?;
        let head = self.present("k").await?;
        ensure!(head.size == object.size, "size {}", head.size);
        ensure!(written.etag.as_ref() == Some(&head.etag), "PUT said {:?}, HEAD {:?}", written.etag, head.etag);
        ensure!(head.write_id.as_deref() == Some("run-1"), "write id {:?}", head.write_id);
        ensure!(head.claim == Some(object.checksum.to_string()), "claim {:?}", head.claim);
        ensure!(head.properties.metadata.is_empty(), "our own metadata shows: {:?}", head.properties.metadata);
        ensure!(head.last_modified.as_deref().is_some_and(is_time), "last modified {:?}", head.last_modified);
        let wanted = Some(HeldSha256::Full(sha256(bytes)));
        ensure!(self.quirks.hides_put_checksums || head.checksums.sha256 == wanted, "holds {:?}", head.checksums);
        let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
        ensure!(sent == object.size, "told that {sent} bytes were sent");
        Ok(())
    }

    async fn a_create_over_an_object_is_lost_and_leaves_it_intact(&self) -> Held {
        let before = self.given("k", b"theirs", "them-1").await?;
        let ours = object(&self.key("k"), b"ours, and longer", "us-1");
        let answer = self.put(&ours, b"ours, and longer", &Expect::Absent).await;
        if self.quirks.ignores_put_conditions {
            return answer.map(drop).map_err(|error| format!("the quirk is gone: {error:?}"));
        }
        ensure!(matches!(answer, Err(PutError::Lost(_))), "answered {answer:?}");
        ensure!(self.present("k").await? == before, "the object is another one");
        Ok(())
    }

    async fn a_replace_of_the_object_that_was_seen_goes_through(&self) -> Held {
        let before = self.given("k", b"old", "run-1").await?;
        let new = object(&self.key("k"), b"new!", "run-2");
        let expect = Expect::Unchanged(before.etag.clone());
        let written = self.put(&new, b"new!", &expect).await.map_err(|error| format!("{error:?}"))?;
        let after = self.present("k").await?;
        ensure!(written.etag == Some(after.etag.clone()), "PUT said {:?}, HEAD {:?}", written.etag, after.etag);
        ensure!(after.write_id.as_deref() == Some("run-2") && after.size == 4, "{after:?}");
        ensure!(self.quirks.unversioned || before.version != after.version, "both are {:?}", after.version);
        Ok(())
    }

    async fn a_replace_of_a_changed_object_is_lost_and_leaves_it_intact(&self) -> Held {
        if self.quirks.ignores_put_conditions {
            return Ok(());
        }
        let seen = self.given("k", b"seen", "run-1").await?;
        let theirs = object(&self.key("k"), b"theirs", "them-1");
        let expect = Expect::Unchanged(seen.etag);
        self.put(&theirs, b"theirs", &expect).await.map_err(|error| format!("{error:?}"))?;
        let now = self.present("k").await?;
        let ours = object(&self.key("k"), b"ours", "run-2");
        let answer = self.put(&ours, b"ours", &expect).await;
        ensure!(matches!(answer, Err(PutError::Lost(_))), "answered {answer:?}");
        ensure!(self.present("k").await? == now, "the object is another one");
        Ok(())
    }

    async fn a_replace_of_an_absent_key_is_lost_and_creates_nothing(&self) -> Held {
        if self.quirks.ignores_put_conditions {
            return Ok(());
        }
        let ours = object(&self.key("k"), b"ours", "run-1");
        let expect = Expect::Unchanged(ETag::new("d41d8cd98f00b204e9800998ecf8427e"));
        let answer = self.put(&ours, b"ours", &expect).await;
        ensure!(matches!(answer, Err(PutError::Lost(_))), "answered {answer:?}");
        self.absent("k").await
    }

    async fn of_racing_creates_one_wins(&self) -> Held {
        if self.quirks.ignores_put_conditions {
            return Ok(());
        }
        self.race_puts(&Expect::Absent).await
    }

    async fn of_racing_replaces_one_wins(&self) -> Held {
        if self.quirks.ignores_put_conditions {
            return Ok(());
        }
        let before = self.given("k", b"before", "before-1").await?;
        self.race_puts(&Expect::Unchanged(before.etag)).await
    }

    async fn race_puts(&self, expect: &Expect) -> Held {
        let answers = stream::iter(0..8)
            .map(|n| async move {
                let bytes = format!("racer {n}");
                let object = object(&self.key("k"), bytes.as_bytes(), &format!("racer-{n}"));
                (n, self.put(&object, bytes.as_bytes(), expect).await)
            })
            .buffer_unordered(8)
            .collect()
            .await;
        self.one_won(answers).await
    }

    async fn one_won(&self, answers: Vec<(u32, Result<Written, PutError>)>) -> Held {
        let mut winners = Vec::new();
        for (n, answer) in answers {
            match answer {
                Ok(written) => winners.push((n, written)),
                Err(PutError::Lost(_) | PutError::Refused(Refusal::Conflict, _)) => {}
                Err(other) => return Err(format!("racer {n}: {other:?}")),
            }
        }
        let [(n, written)] = winners.as_slice() else { return Err(format!("{} won: {winners:?}", winners.len())) };
        let head = self.present("k").await?;
        ensure!(head.write_id == Some(format!("racer-{n}")), "racer {n} won, but {:?} is there", head.write_id);
        ensure!(written.etag == Some(head.etag.clone()), "PUT said {:?}, HEAD {:?}", written.etag, head.etag);
        Ok(())
    }

    async fn bytes_with_another_checksum_store_nothing(&self) -> Held {
        let planned = object(&self.key("k"), b"planned", "run-1");
        let answer = self.put(&planned, b"changed", &Expect::Absent).await;
        ensure!(is_source_changed(&answer), "answered {answer:?}");
        self.absent("k").await
    }

    async fn a_file_that_changed_stores_nothing(&self) -> Held {
        let planned = noise(3 * MIB + 5, 1);
        let object = object(&self.key("k"), &planned, "run-1");
        let mut last_byte = planned.clone();
        if let Some(last) = last_byte.last_mut() {
            *last ^= 1;
        }
        let longer = [planned.as_slice(), b"x"].concat();
        let shorter = &planned[..planned.len() - 1];
        for (what, now) in
            [("last byte", last_byte.as_slice()), ("longer", &longer), ("shorter", shorter), ("empty", b"")]
        {
            let file = file(now)?;
            let body = Body::File(file.path().to_owned());
            let answer = self.store.put(&object, body, &Expect::Absent, Arc::new(|_| ())).await;
            ensure!(is_source_changed(&answer), "{what}: answered {answer:?}");
            self.absent("k").await.map_err(|why| format!("{what}: {why}"))?;
        }
        let gone = Body::File(std::path::PathBuf::from("/nowhere/at/all"));
        let answer = self.store.put(&object, gone, &Expect::Absent, Arc::new(|_| ())).await;
        ensure!(matches!(answer, Err(PutError::Refused(Refusal::Source, _))), "no file: answered {answer:?}");
        Ok(())
    }

    async fn a_large_file_arrives_whole(&self) -> Held {
        let bytes = noise(3 * MIB + 5, 2);
        let object = object(&self.key("k"), &bytes, "run-1");
        let file = file(&bytes)?;
        let body = Body::File(file.path().to_owned());
        let answer = self.store.put(&object, body, &Expect::Absent, Arc::new(|_| ())).await;
        let written = answer.map_err(|error| format!("{error:?}"))?;
        let head = self.present("k").await?;
        ensure!(head.size == object.size, "size {}", head.size);
        ensure!(written.etag == Some(head.etag.clone()), "PUT said {:?}, HEAD {:?}", written.etag, head.etag);
        let wanted = Some(HeldSha256::Full(sha256(&bytes)));
        ensure!(self.quirks.hides_put_checksums || head.checksums.sha256 == wanted, "holds {:?}", head.checksums);
        Ok(())
    }

    async fn an_empty_object_is_an_object(&self) -> Held {
        let head = self.given("k", b"", "run-1").await?;
        ensure!(head.size == 0, "size {}", head.size);
        if self.quirks.ignores_put_conditions {
            return Ok(());
        }
        let answer = self.put(&object(&self.key("k"), b"", "run-2"), b"", &Expect::Absent).await;
        ensure!(matches!(answer, Err(PutError::Lost(_))), "answered {answer:?}");
        Ok(())
    }

    async fn the_probes_tell_whether_conditions_are_honoured(&self) -> Held {
        let probe = ProbeKey::new(&Key::new(self.key("first")), "0190");
        let name = probe.key().as_str().strip_prefix(self.prefix).unwrap_or_default();
        for (what, ignores) in
            [("put", self.quirks.ignores_put_conditions), ("complete", self.quirks.ignores_complete_if_match)]
        {
            let answer = match what {
                "put" => self.store.probe_put(&probe).await,
                _ => self.store.probe_complete(&probe).await,
            };
            let wanted = if ignores { Probed::Ignored } else { Probed::Honoured };
            ensure!(answer.as_ref() == Ok(&wanted), "{what}: answered {answer:?}");
            if ignores {
                self.present(name).await.map_err(|why| format!("{what}: {why}"))?;
                self.store.remove_probe(&probe).await.map_err(|error| format!("{what}: remove: {error:?}"))?;
            }
            self.absent(name).await.map_err(|why| format!("{what}: {why}"))?;
            let versions: Vec<VersionId> = self
                .store
                .versions(probe.key(), 10)
                .await
                .map_err(|error| format!("{what}: {error:?}"))?
                .into_iter()
                .map(|version| version.id)
                .collect();
            ensure!(versions.is_empty(), "{what}: versions of the probe are left: {versions:?}");
        }
        Ok(())
    }
}

fn is_source_changed(answer: &Result<Written, PutError>) -> bool {
    matches!(answer, Err(PutError::Refused(Refusal::SourceChanged, _)))
}

fn is_time(text: &str) -> bool {
    text.len() == "2026-01-01T00:00:00Z".len() && text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

/// Bytes that look random and are the same each time.
fn noise(len: u64, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(next).collect()
}

fn file(bytes: &[u8]) -> Result<tempfile::NamedTempFile, String> {
    let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    file.write_all(bytes).and_then(|()| file.flush()).map_err(|error| error.to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::flaky::{Flaky, Rates};
    use crate::store::memory::Memory;

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        assert_eq!(contract(&Memory::new(), "a/", &Quirks::default()).await, []);
        assert_eq!(contract(&Memory::new().with_pages_of(7), "b/", &Quirks::default()).await, []);
    }

    #[tokio::test]
    async fn a_calm_flaky_store_keeps_the_contract() {
        let store = Flaky::new(Memory::new(), 1, Rates::calm());
        assert_eq!(contract(&store, "a/", &Quirks::default()).await, []);
        assert_eq!(store.met(), []);
    }

    #[tokio::test]
    async fn the_suite_finds_out_a_store_that_ignores_conditions() {
        let breaches = contract(&Memory::that_ignores_conditions(), "a/", &Quirks::default()).await;
        for behaviour in [
            "a_create_over_an_object_is_lost_and_leaves_it_intact",
            "a_replace_of_an_absent_key_is_lost_and_creates_nothing",
            "of_racing_creates_one_wins",
            "a_lost_complete_leaves_the_object_intact",
            "the_probes_tell_whether_conditions_are_honoured",
            "a_copy_over_a_changed_object_is_lost_and_leaves_it_intact",
            "a_delete_of_another_object_or_of_none_is_lost_and_changes_nothing",
        ] {
            assert!(breaches.iter().any(|breach| breach.behaviour == behaviour), "{behaviour} was not found out");
        }
        let known = Quirks {
            ignores_put_conditions: true,
            ignores_complete_if_match: true,
            ignores_complete_if_none_match: true,
            ignores_copy_conditions: true,
            ignores_delete_if_match: true,
            ..Quirks::default()
        };
        assert_eq!(contract(&Memory::that_ignores_conditions(), "a/", &known).await, []);
    }
}
