//! The behaviours of uploads in parts.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use sha2::Digest as _;

use super::{Case, Held, is_source_changed, noise, object, sha256};
use crate::model::digest::{Checksum, ETag, Sha256};
use crate::model::entry::{Key, Properties};
use crate::model::head::HeldSha256;
use crate::model::part::MIB;
use crate::model::write::{Expect, Object, PutError, Refusal};
use crate::store::{Part, PartContent, PartTaken, Store, UploadId};

impl<S: Store + Clone> Case<'_, S> {
    /// Uploads everything but the Complete.
    async fn upload(&self, object: &Object, bytes: &[u8]) -> Result<(UploadId, Vec<PartTaken>), String> {
        let upload = self.store.create_upload(object).await.map_err(|error| format!("create: {error:?}"))?;
        let mut taken = Vec::new();
        for (number, part) in (1..).zip(parts(bytes)) {
            let part = Part { number, sha256: sha256(part), content: PartContent::Bytes(Bytes::copy_from_slice(part)) };
            taken.push(self.store.put_part(object, &upload, part).await.map_err(|error| format!("part: {error:?}"))?);
        }
        Ok((upload, taken))
    }

    pub(super) async fn an_upload_in_parts_creates(&self) -> Held {
        let bytes = noise(PART_BYTES + 1000, 3);
        let properties = Properties {
            content_type: Some("application/x-parts".into()),
            metadata: BTreeMap::from([("team".into(), "finance".into())]),
            ..Properties::default()
        };
        let object = Object { properties: Arc::new(properties), ..in_parts(&self.key("k"), &bytes, "run-1") };
        let (upload, taken) = self.upload(&object, &bytes).await?;
        self.absent("k").await?;
        let answer = self.store.complete(&object, &upload, &taken, &Expect::Absent).await;
        let written = answer.map_err(|error| format!("complete: {error:?}"))?;
        let head = self.present("k").await?;
        ensure!(head.size == object.size, "size {}", head.size);
        ensure!(written.etag == Some(head.etag.clone()), "Complete said {:?}, HEAD {:?}", written.etag, head.etag);
        ensure!(head.etag.as_multipart().map(|(_, n)| n) == Some(2), "ETag {:?}", head.etag);
        ensure!(head.write_id.as_deref() == Some("run-1"), "write id {:?}", head.write_id);
        ensure!(head.claim == Some(object.checksum.to_string()), "claim {:?}", head.claim);
        ensure!(head.properties.content_type.as_deref() == Some("application/x-parts"), "{:?}", head.properties);
        ensure!(head.properties.metadata.len() == 1, "{:?}", head.properties);
        let Checksum::Composite { digest, parts, .. } = object.checksum else { return Err("no composite".into()) };
        let wanted = Some(HeldSha256::Composite { digest, parts });
        ensure!(self.quirks.hides_composites || head.checksums.sha256 == wanted, "holds {:?}", head.checksums);
        Ok(())
    }

    pub(super) async fn the_first_part_is_told_of_an_object_in_parts_and_of_no_other(&self) -> Held {
        let told = async |name: &str, etag: &ETag| {
            let told = self.store.first_part(&Key::new(self.key(name)), etag).await;
            told.map_err(|error| format!("{name}: {error:?}"))
        };
        let bytes = noise(PART_BYTES + 1000, 6);
        let object = in_parts(&self.key("parts"), &bytes, "run-1");
        let (upload, taken) = self.upload(&object, &bytes).await?;
        let answer = self.store.complete(&object, &upload, &taken, &Expect::Absent).await;
        answer.map_err(|error| format!("complete: {error:?}"))?;
        let head = self.present("parts").await?;
        ensure!(head.first_part.is_none(), "HEAD alone tells {:?}", head.first_part);
        let first = told("parts", &head.etag).await?;
        let wanted = (!self.quirks.hides_first_parts).then_some(PART_BYTES);
        ensure!(first == wanted, "told {first:?}");
        let other = ETag::new("d41d8cd98f00b204e9800998ecf8427e-2");
        let first = told("parts", &other).await?;
        ensure!(first.is_none(), "told {first:?} of an object that is not there");
        let whole = self.given("whole", b"in one piece", "run-1").await?;
        for (name, etag) in [("whole", &whole.etag), ("none", &head.etag)] {
            let first = told(name, etag).await?;
            ensure!(first.is_none(), "{name}: told {first:?}");
        }
        Ok(())
    }

    pub(super) async fn an_upload_in_parts_replaces_what_was_seen(&self) -> Held {
        let before = self.given("k", b"old", "run-1").await?;
        let bytes = noise(PART_BYTES + 1, 4);
        let object = in_parts(&self.key("k"), &bytes, "run-2");
        let (upload, taken) = self.upload(&object, &bytes).await?;
        let answer = self.store.complete(&object, &upload, &taken, &Expect::Unchanged(before.etag)).await;
        answer.map_err(|error| format!("complete: {error:?}"))?;
        let head = self.present("k").await?;
        ensure!(head.write_id.as_deref() == Some("run-2"), "{head:?}");
        Ok(())
    }

    pub(super) async fn a_lost_complete_leaves_the_object_intact(&self) -> Held {
        let bytes = noise(PART_BYTES + 1, 5);
        let other = Expect::Unchanged(ETag::new("d41d8cd98f00b204e9800998ecf8427e"));
        let cases = [
            ("create", Expect::Absent, self.quirks.ignores_complete_if_none_match),
            ("replace", other.clone(), self.quirks.ignores_complete_if_match),
        ];
        for (name, expect, ignored) in cases {
            let before = self.given(name, b"theirs", "them-1").await?;
            let object = in_parts(&self.key(name), &bytes, "run-1");
            let (upload, taken) = self.upload(&object, &bytes).await?;
            let answer = self.store.complete(&object, &upload, &taken, &expect).await;
            if ignored {
                answer.map_err(|error| format!("{name}: the quirk is gone: {error:?}"))?;
                continue;
            }
            ensure!(matches!(answer, Err(PutError::Lost(_))), "{name}: answered {answer:?}");
            ensure!(self.present(name).await? == before, "{name}: the object is another one");
            self.store.abort(&object.key, &upload).await.map_err(|error| format!("{name}: abort: {error:?}"))?;
        }
        if self.quirks.ignores_complete_if_match {
            return Ok(());
        }
        let object = in_parts(&self.key("none"), &bytes, "run-1");
        let (upload, taken) = self.upload(&object, &bytes).await?;
        let answer = self.store.complete(&object, &upload, &taken, &other).await;
        ensure!(matches!(answer, Err(PutError::Lost(_))), "replace of nothing: answered {answer:?}");
        self.store.abort(&object.key, &upload).await.map_err(|error| format!("abort: {error:?}"))?;
        self.absent("none").await
    }

    pub(super) async fn of_racing_completes_one_wins(&self) -> Held {
        if self.quirks.racing_completes_all_win || self.quirks.ignores_complete_if_none_match {
            return Ok(());
        }
        let mut ready = Vec::new();
        for n in 0..4 {
            let bytes = noise(1000, 10 + n);
            let object = in_parts(&self.key("k"), &bytes, &format!("racer-{n}"));
            let (upload, taken) = self.upload(&object, &bytes).await?;
            ready.push((n, object, upload, taken));
        }
        let answers = stream::iter(&ready)
            .map(|(n, object, upload, taken)| async move {
                (*n, self.store.complete(object, upload, taken, &Expect::Absent).await)
            })
            .buffer_unordered(4)
            .collect()
            .await;
        self.one_won(answers).await
    }

    pub(super) async fn a_part_with_another_checksum_is_refused(&self) -> Held {
        if self.quirks.trusts_part_checksums {
            return Ok(());
        }
        let object = in_parts(&self.key("k"), b"planned", "run-1");
        let upload = self.store.create_upload(&object).await.map_err(|error| format!("create: {error:?}"))?;
        let content = PartContent::Bytes(Bytes::from_static(b"changed"));
        let part = Part { number: 1, content, sha256: sha256(b"planned") };
        let answer = self.store.put_part(&object, &upload, part).await;
        ensure!(matches!(answer, Err(PutError::Refused(Refusal::SourceChanged, _))), "answered {answer:?}");
        self.store.abort(&object.key, &upload).await.map_err(|error| format!("abort: {error:?}"))
    }

    pub(super) async fn other_parts_than_planned_are_not_put_together(&self) -> Held {
        let object = in_parts(&self.key("k"), b"planned", "run-1");
        let (upload, taken) = self.upload(&object, b"changed").await?;
        let answer = self.store.complete(&object, &upload, &taken, &Expect::Absent).await;
        ensure!(is_source_changed(&answer), "answered {answer:?}");
        self.absent("k").await?;
        self.store.abort(&object.key, &upload).await.map_err(|error| format!("abort: {error:?}"))
    }

    pub(super) async fn an_aborted_upload_takes_no_more_parts(&self) -> Held {
        let object = in_parts(&self.key("k"), b"planned", "run-1");
        let (upload, taken) = self.upload(&object, b"planned").await?;
        for _ in 0..2 {
            self.store.abort(&object.key, &upload).await.map_err(|error| format!("abort: {error:?}"))?;
        }
        let stumbles = self.quirks.stumbles_over_aborted_uploads;
        let content = PartContent::Bytes(Bytes::from_static(b"planned"));
        let part = Part { number: 1, content, sha256: sha256(b"planned") };
        let answer = self.store.put_part(&object, &upload, part).await;
        let refused = matches!(answer, Err(PutError::Refused(Refusal::NoSuchUpload, _)));
        ensure!(refused || (stumbles && matches!(answer, Err(PutError::Unknown(_)))), "part: answered {answer:?}");
        // It could as well have been completed, as far as anybody can tell from this answer.
        let answer = self.store.complete(&object, &upload, &taken, &Expect::Absent).await;
        ensure!(matches!(answer, Err(PutError::Unknown(_))), "complete: answered {answer:?}");
        self.absent("k").await
    }
}

impl<S: Store + Clone> Case<'_, S> {
    pub(super) async fn the_parts_of_an_upload_are_told_until_it_is_over(&self) -> Held {
        let bytes = noise(PART_BYTES + 1000, 7);
        let object = in_parts(&self.key("k"), &bytes, "run-1");
        let told = async |upload: &UploadId| {
            let told = self.store.list_parts(&object.key, upload).await;
            told.map_err(|error| format!("ListParts: {error:?}"))
        };
        let empty = self.store.create_upload(&object).await.map_err(|error| format!("create: {error:?}"))?;
        if self.quirks.tells_no_parts {
            ensure!(told(&empty).await.is_err(), "the quirk is gone");
            return self.store.abort(&object.key, &empty).await.map_err(|error| format!("abort: {error:?}"));
        }
        ensure!(told(&empty).await? == Some(Vec::new()), "parts before any was sent");
        self.store.abort(&object.key, &empty).await.map_err(|error| format!("abort: {error:?}"))?;
        ensure!(told(&empty).await?.is_none(), "an aborted upload still has parts");

        let (upload, taken) = self.upload(&object, &bytes).await?;
        let held = told(&upload).await?.ok_or("an open upload is not told")?;
        let seen: Vec<_> = held.iter().map(|part| (part.number, part.size, part.etag.clone())).collect();
        let sizes = [PART_BYTES, 1000];
        let sent: Vec<_> = taken.iter().zip(sizes).map(|(part, size)| (part.number, size, part.etag.clone())).collect();
        ensure!(seen == sent, "told {seen:?}, sent {sent:?}");
        let digest = |part: &PartTaken| (!self.quirks.hides_part_checksums).then_some(part.sha256);
        ensure!(held.iter().map(|part| part.sha256).eq(taken.iter().map(digest)), "told {held:?}");
        let answer = self.store.complete(&object, &upload, &taken, &Expect::Absent).await;
        answer.map_err(|error| format!("complete: {error:?}"))?;
        ensure!(told(&upload).await?.is_none(), "a completed upload still has parts");
        Ok(())
    }

    pub(super) async fn a_part_from_disk_is_taken_only_as_it_was_hashed(&self) -> Held {
        let bytes = noise(PART_BYTES + 1000, 8);
        let object = in_parts(&self.key("k"), &bytes, "run-1");
        let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        file.write_all(&bytes).map_err(|error| error.to_string())?;
        let upload = self.store.create_upload(&object).await.map_err(|error| format!("create: {error:?}"))?;
        let from_disk = |number: u32, offset: u64, length: u64, sha256: Sha256| Part {
            number,
            content: PartContent::File { path: file.path().to_owned(), offset, length },
            sha256,
        };
        let wrong = self.store.put_part(&object, &upload, from_disk(2, PART_BYTES, 1000, sha256(b"other"))).await;
        ensure!(matches!(wrong, Err(PutError::Refused(Refusal::SourceChanged, _))), "answered {wrong:?}");
        let there = match self.store.list_parts(&object.key, &upload).await {
            Err(_) if self.quirks.tells_no_parts => Some(Vec::new()),
            there => there.map_err(|error| format!("{error:?}"))?,
        };
        ensure!(there.as_deref() == Some(&[]), "a part with another digest is there: {there:?}");
        let mut taken = Vec::new();
        for (number, part) in (1u32..).zip(parts(&bytes)) {
            let part = from_disk(number, u64::from(number - 1) * PART_BYTES, part.len() as u64, sha256(part));
            taken.push(self.store.put_part(&object, &upload, part).await.map_err(|error| format!("part: {error:?}"))?);
        }
        let answer = self.store.complete(&object, &upload, &taken, &Expect::Absent).await;
        answer.map_err(|error| format!("complete: {error:?}"))?;
        let head = self.present("k").await?;
        ensure!(head.size == object.size, "size {}", head.size);
        Ok(())
    }

    pub(super) async fn open_uploads_are_listed_by_prefix_and_no_others(&self) -> Held {
        let mut begun = Vec::new();
        let odd = if self.quirks.lists_upload_keys_raw { "in/b &\u{fc}" } else { "in/b +&\u{fc}" };
        for name in ["in/a", "in/a", odd, "out/c"] {
            let object = in_parts(&self.key(name), b"planned", "run-1");
            let upload = self.store.create_upload(&object).await.map_err(|error| format!("create: {error:?}"))?;
            begun.push((object.key, upload));
        }
        let prefix = self.key("in/");
        let list = async || {
            let (mut found, mut mark) = (Vec::new(), None);
            loop {
                let page = self.store.uploads(&prefix, mark.as_ref()).await;
                let page = page.map_err(|error| format!("ListMultipartUploads: {error:?}"))?;
                found.extend(page.uploads.into_iter().map(|open| (open.key, open.upload)));
                ensure!(found.len() < 10, "it never ends: {found:?}");
                mark = page.next;
                if mark.is_none() {
                    found.sort();
                    return Ok::<_, String>(found);
                }
            }
        };
        let outside = begun.pop();
        begun.sort();
        let found = list().await?;
        ensure!(found == begun, "begun {begun:?}, listed {found:?}");
        for (key, upload) in begun.into_iter().chain(outside) {
            self.store.abort(&key, &upload).await.map_err(|error| format!("abort: {error:?}"))?;
        }
        let found = list().await?;
        ensure!(found.is_empty(), "aborted, and still listed: {found:?}");
        Ok(())
    }
}

/// S3's smallest part but for the last.
const PART_BYTES: u64 = 5 * MIB;

fn parts(bytes: &[u8]) -> std::slice::Chunks<'_, u8> {
    bytes.chunks(usize::try_from(PART_BYTES).unwrap_or(usize::MAX))
}

fn in_parts(key: &str, bytes: &[u8], write_id: &str) -> Object {
    let (mut composite, mut count) = (sha2::Sha256::new(), 0);
    for part in parts(bytes) {
        composite.update(sha256(part).0);
        count += 1;
    }
    let checksum =
        Checksum::Composite { digest: Sha256(composite.finalize().into()), parts: count, part_bytes: PART_BYTES };
    Object { checksum, ..object(key, bytes, write_id) }
}
