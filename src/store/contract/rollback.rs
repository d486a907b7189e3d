//! The behaviours of what a rollback sends: copies of earlier versions over their own key, and deletes.

use std::collections::BTreeMap;
use std::sync::Arc;

use md5::Digest as _;

use super::{Case, Held, noise, object};
use crate::model::digest::{ETag, Md5};
use crate::model::entry::{Key, Properties, Sse};
use crate::model::head::{Carried, Head, VersionId};
use crate::model::part::MIB;
use crate::model::write::{Copy, Expect, Object, PutError, WriteId, Written};
use crate::store::{Buried, CopiedPart, Store, UploadId, Version};

/// S3's smallest part but for the last.
const PART_BYTES: u64 = 5 * MIB;

impl<S: Store + Clone> Case<'_, S> {
    /// An earlier version with everything that a version can have, and what was written over it.
    async fn buried_under(&self, name: &str, bytes: &[u8]) -> Result<(Copy, Head), String> {
        let mut properties = Properties {
            content_type: Some("text/csv; charset=utf-8".into()),
            cache_control: Some("max-age=3600".into()),
            content_encoding: Some("gzip".into()),
            content_disposition: Some("attachment; filename=\"a b.csv\"".into()),
            content_language: Some("de-CH".into()),
            storage_class: Some("STANDARD_IA".into()),
            acl: None,
            sse: Some(Sse::Aes256),
            metadata: BTreeMap::from([("team".into(), "finance".into()), ("note".into(), "a b, c".into())]),
            tags: BTreeMap::from([("retention".into(), "7y".into()), ("a b".into(), "x=y+z:1/@".into())]),
        };
        if self.quirks.loses_properties.contains(&"sse") {
            properties.sse = None;
        }
        if self.quirks.loses_tags {
            properties.tags.clear();
        }
        let properties = Arc::new(properties);
        let early = Object { properties: Arc::clone(&properties), ..object(&self.key(name), bytes, "run-1") };
        self.put(&early, bytes, &Expect::Absent).await.map_err(|error| format!("{error:?}"))?;
        let early = self.present(name).await?;
        let version = early.version.clone().ok_or("no version id")?;
        let late = object(&self.key(name), b"written over it", "run-2");
        let expect = Expect::Unchanged(early.etag.clone());
        self.put(&late, b"written over it", &expect).await.map_err(|error| format!("{error:?}"))?;
        let (head, carried) = self.buried_version(name, &version).await?;
        ensure!(head.write_id.as_deref() == Some("run-1"), "write id {:?}", head.write_id);
        ensure!(head.etag == early.etag && head.size == early.size, "another object: {head:?}");
        ensure!(carried.claim.is_some() && head.claim.is_none(), "the claim is told twice or never: {carried:?}");
        self.same_properties(&head.properties, &properties, "buried")?;
        let copy = Copy {
            key: Key::new(self.key(name)),
            version,
            etag: head.etag,
            size: head.size,
            properties: Arc::new(head.properties),
            carried,
            write_id: WriteId("run-3".into()),
        };
        Ok((copy, self.present(name).await?))
    }

    fn same_properties(&self, told: &Properties, wanted: &Properties, what: &str) -> Held {
        let mut told = told.clone();
        if self.quirks.loses_properties.contains(&"sse") {
            told.sse.clone_from(&wanted.sse);
        }
        ensure!(told == *wanted, "{what}: wanted {wanted:?}, got {told:?}");
        Ok(())
    }

    async fn buried_version(&self, name: &str, version: &VersionId) -> Result<(Head, Carried), String> {
        match self.store.buried(&Key::new(self.key(name)), version).await.map_err(|error| format!("{error:?}"))? {
            Buried::There { head, carried } => Ok((*head, carried)),
            other => Err(format!("version {version} should be there: {other:?}")),
        }
    }

    async fn past(&self, name: &str) -> Result<Vec<Version>, String> {
        self.store.versions(&Key::new(self.key(name)), 10).await.map_err(|error| format!("versions: {error:?}"))
    }

    /// The new version stands over what was there, and is the earlier one in all but its write id.
    async fn is_back(&self, name: &str, copy: &Copy, written: &Written, over: Option<&VersionId>) -> Held {
        let head = self.present(name).await?;
        ensure!(written.etag.as_ref() == Some(&head.etag), "said {:?}, HEAD {:?}", written.etag, head.etag);
        ensure!(written.version == head.version, "said {:?}, HEAD {:?}", written.version, head.version);
        ensure!(head.size == copy.size, "size {}", head.size);
        ensure!(head.write_id.as_deref() == Some(&*copy.write_id.0), "write id {:?}", head.write_id);
        let version = head.version.clone().ok_or("no version id")?;
        let (told, carried) = self.buried_version(name, &version).await?;
        self.same_properties(&told.properties, &copy.properties, "copied")?;
        ensure!(carried == copy.carried, "carried {carried:?}, wanted {:?}", copy.carried);
        let past = self.past(name).await?;
        let ids: Vec<&VersionId> = past.iter().map(|version| &version.id).collect();
        ensure!(ids.first() == Some(&&version), "versions {ids:?}, newest {version}");
        ensure!(over.is_none_or(|over| ids.get(1) == Some(&over)), "versions {ids:?}, over {over:?}");
        ensure!(ids.contains(&&copy.version), "the earlier version is gone: {ids:?}");
        Ok(())
    }

    pub(super) async fn a_copy_brings_an_earlier_version_back_with_all_that_it_had(&self) -> Held {
        if self.quirks.unversioned {
            return Ok(());
        }
        let (mut copy, over) = self.buried_under("k +&\u{fc}", b"what was there").await?;
        let name = "k +&\u{fc}";
        let answer = self.store.copy(&copy, &Expect::Unchanged(over.etag.clone())).await;
        let written = answer.map_err(|error| format!("{error:?}"))?;
        self.is_back(name, &copy, &written, over.version.as_ref()).await?;
        let md5 = ETag::new(&Md5(md5::Md5::digest(b"what was there").into()).to_string());
        ensure!(written.etag == Some(md5), "the bytes are others: ETag {:?}", written.etag);
        // What no upload of ours sets, and another's may have.
        copy.carried.expires = Some("Wed, 21 Oct 2026 07:28:00 GMT".into());
        if !self.quirks.loses_redirects {
            copy.carried.website_redirect = Some("/elsewhere".into());
        }
        copy.write_id = WriteId("run-4".into());
        let (etag, version) = (written.etag.ok_or("no ETag")?, written.version);
        let answer = self.store.copy(&copy, &Expect::Unchanged(etag)).await;
        let written = answer.map_err(|error| format!("{error:?}"))?;
        self.is_back(name, &copy, &written, version.as_ref()).await
    }

    /// Whether the answer is a no of either kind.
    fn refused<T: std::fmt::Debug>(answer: &Result<T, PutError>) -> Held {
        match answer {
            Err(PutError::Lost(_) | PutError::Refused(..)) => Ok(()),
            other => Err(format!("answered {other:?}")),
        }
    }

    pub(super) async fn a_copy_over_a_changed_object_is_lost_and_leaves_it_intact(&self) -> Held {
        if self.quirks.unversioned {
            return Ok(());
        }
        let (copy, over) = self.buried_under("k", b"what was there").await?;
        for expect in [Expect::Unchanged(copy.etag.clone()), Expect::Absent] {
            let answer = self.store.copy(&copy, &expect).await;
            if self.quirks.ignores_copy_conditions {
                answer.map_err(|error| format!("{expect:?}: the quirk is gone: {error:?}"))?;
                continue;
            }
            ensure!(matches!(answer, Err(PutError::Lost(_))), "{expect:?}: answered {answer:?}");
            ensure!(self.present("k").await? == over, "{expect:?}: the object is another one");
        }
        Ok(())
    }

    pub(super) async fn a_copy_where_nothing_is_takes_its_place_and_a_second_is_lost(&self) -> Held {
        if self.quirks.unversioned {
            return Ok(());
        }
        let (copy, over) = self.buried_under("k", b"what was there").await?;
        let answer = self.store.delete(&copy.key, &over.etag).await;
        let marker = answer.map_err(|error| format!("delete: {error:?}"))?.version;
        if !self.quirks.ignores_copy_conditions {
            let answer = self.store.copy(&copy, &Expect::Unchanged(over.etag)).await;
            ensure!(matches!(answer, Err(PutError::Lost(_))), "over nothing: answered {answer:?}");
            self.absent("k").await?;
        }
        let written = self.store.copy(&copy, &Expect::Absent).await.map_err(|error| format!("{error:?}"))?;
        // Listings give markers and versions apart, and times only to the second: the marker's place is not known.
        self.is_back("k", &copy, &written, None).await?;
        ensure!(self.past("k").await?.iter().any(|past| Some(&past.id) == marker.as_ref()), "the marker is gone");
        if !self.quirks.ignores_copy_conditions {
            let answer = self.store.copy(&copy, &Expect::Absent).await;
            ensure!(matches!(answer, Err(PutError::Lost(_))), "again: answered {answer:?}");
        }
        Ok(())
    }

    pub(super) async fn a_copy_of_another_version_than_was_seen_stores_nothing(&self) -> Held {
        if self.quirks.unversioned {
            return Ok(());
        }
        let (copy, over) = self.buried_under("k", b"what was there").await?;
        let expect = Expect::Unchanged(over.etag.clone());
        if !self.quirks.ignores_copy_source_conditions {
            let another = Copy { etag: over.etag.clone(), ..copy.clone() };
            Self::refused(&self.store.copy(&another, &expect).await)?;
            ensure!(self.present("k").await? == over, "another ETag: it was copied");
        }
        // A version of another key: there is none of this id here.
        let theirs = self.given("other", b"theirs", "them-1").await?.version.ok_or("no version id")?;
        let gone = Copy { version: theirs.clone(), ..copy };
        Self::refused(&self.store.copy(&gone, &expect).await)?;
        ensure!(self.present("k").await? == over, "a version that is not there: something was copied");
        Ok(())
    }

    /// Begins a copy in parts, and copies them.
    async fn copy_in_parts(&self, copy: &Copy) -> Result<(UploadId, Vec<CopiedPart>), String> {
        let upload = self.store.create_copy(copy).await.map_err(|error| format!("create: {error:?}"))?;
        let mut parts = Vec::new();
        for (number, bytes) in [(1, 0..=PART_BYTES - 1), (2, PART_BYTES..=copy.size - 1)] {
            let part = self.store.copy_part(copy, &upload, number, bytes).await;
            parts.push(part.map_err(|error| format!("part {number}: {error:?}"))?);
        }
        Ok((upload, parts))
    }

    pub(super) async fn a_copy_in_parts_brings_back_the_same(&self) -> Held {
        if self.quirks.unversioned {
            return Ok(());
        }
        let bytes = noise(PART_BYTES + 1000, 9);
        let (mut copy, over) = self.buried_under("k", &bytes).await?;
        if self.quirks.loses_tags_of_uploads {
            Arc::make_mut(&mut copy.properties).tags.clear();
        }
        let (upload, parts) = self.copy_in_parts(&copy).await?;
        ensure!(self.present("k").await? == over, "it is there before it is complete");
        if !self.quirks.ignores_complete_if_none_match {
            let answer = self.store.complete_copy(&copy, &upload, &parts, &Expect::Absent).await;
            ensure!(matches!(answer, Err(PutError::Lost(_))), "over an object: answered {answer:?}");
        }
        if !self.quirks.ignores_complete_if_match {
            let another = Expect::Unchanged(copy.etag.clone());
            let answer = self.store.complete_copy(&copy, &upload, &parts, &another).await;
            ensure!(matches!(answer, Err(PutError::Lost(_))), "over another: answered {answer:?}");
        }
        ensure!(self.present("k").await? == over, "the object is another one");
        let answer = self.store.complete_copy(&copy, &upload, &parts, &Expect::Unchanged(over.etag)).await;
        let written = answer.map_err(|error| format!("complete: {error:?}"))?;
        self.is_back("k", &copy, &written, over.version.as_ref()).await?;
        let mut md5s = md5::Md5::new();
        for part in bytes.chunks(usize::try_from(PART_BYTES).unwrap_or(usize::MAX)) {
            md5s.update(md5::Md5::digest(part));
        }
        let etag = ETag::new(&format!("{}-2", Md5(md5s.finalize().into())));
        let is_known = !self.quirks.names_copied_parts_otherwise;
        ensure!(!is_known || written.etag.as_ref() == Some(&etag), "not {etag}, the bytes are others: {written:?}");
        Ok(())
    }

    pub(super) async fn a_part_of_another_version_than_was_seen_is_not_copied(&self) -> Held {
        if self.quirks.unversioned || self.quirks.ignores_copy_source_conditions {
            return Ok(());
        }
        let (copy, over) = self.buried_under("k", b"what was there").await?;
        let upload = self.store.create_copy(&copy).await.map_err(|error| format!("create: {error:?}"))?;
        let another = Copy { etag: over.etag, ..copy.clone() };
        let answer = self.store.copy_part(&another, &upload, 1, 0..=copy.size - 1).await;
        self.store.abort(&copy.key, &upload).await.map_err(|error| format!("abort: {error:?}"))?;
        Self::refused(&answer)
    }

    pub(super) async fn a_delete_hides_what_was_seen_and_keeps_it(&self) -> Held {
        let seen = self.given("k", b"created", "run-1").await?;
        let key = Key::new(self.key("k"));
        let written = self.store.delete(&key, &seen.etag).await.map_err(|error| format!("{error:?}"))?;
        ensure!(written.etag.is_none(), "a delete has an ETag: {written:?}");
        self.absent("k").await?;
        if self.quirks.unversioned {
            return Ok(());
        }
        let past = self.past("k").await?;
        let [marker, hidden] = &past[..] else { return Err(format!("versions {past:?}")) };
        ensure!(marker.etag.is_none() && written.version.as_ref() == Some(&marker.id), "{marker:?}, said {written:?}");
        ensure!(hidden.etag.as_ref() == Some(&seen.etag) && Some(&hidden.id) == seen.version.as_ref(), "{hidden:?}");
        // And nothing is hidden twice.
        if !self.quirks.ignores_delete_if_match {
            let answer = self.store.delete(&key, &seen.etag).await;
            ensure!(matches!(answer, Err(PutError::Lost(_))), "again: answered {answer:?}");
            ensure!(self.past("k").await?.len() == 2, "a second marker");
        }
        Ok(())
    }

    pub(super) async fn a_delete_of_another_object_or_of_none_is_lost_and_changes_nothing(&self) -> Held {
        if self.quirks.ignores_delete_if_match {
            return Ok(());
        }
        let there = self.given("k", b"theirs", "them-1").await?;
        let another = ETag::new("d41d8cd98f00b204e9800998ecf8427e");
        let answer = self.store.delete(&Key::new(self.key("k")), &another).await;
        ensure!(matches!(answer, Err(PutError::Lost(_))), "answered {answer:?}");
        ensure!(self.present("k").await? == there, "the object is another one");
        let answer = self.store.delete(&Key::new(self.key("none")), &another).await;
        ensure!(matches!(answer, Err(PutError::Lost(_))), "of none: answered {answer:?}");
        ensure!(self.past("none").await?.is_empty(), "a marker stands where nothing was");
        Ok(())
    }

    pub(super) async fn a_buried_version_is_told_apart_from_a_marker_and_from_none(&self) -> Held {
        if self.quirks.unversioned {
            return Ok(());
        }
        let (copy, over) = self.buried_under("k", b"what was there").await?;
        let marker = self.store.delete(&copy.key, &over.etag).await.map_err(|error| format!("{error:?}"))?.version;
        let told = self.store.buried(&copy.key, &marker.ok_or("no marker's id")?).await;
        let wanted = if self.quirks.hides_markers { Buried::Gone } else { Buried::DeleteMarker };
        ensure!(told == Ok(wanted), "a marker is told as {told:?}");
        let theirs = self.given("other", b"theirs", "them-1").await?.version.ok_or("no version id")?;
        let told = self.store.buried(&copy.key, &theirs).await;
        ensure!(told == Ok(Buried::Gone), "none is told as {told:?}");
        Ok(())
    }
}
