//! Multipart uploads that nobody completed or aborted: whose they are, and an end to them. Only a journal makes one ours;
//! a key or a time never does.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::flow::cancel::Cancel;
use crate::journal::Noted;
use crate::model::write::{Cause, LookError};
use crate::store::{OpenUpload, Store};

/// Aborts under way at once.
const ABORTS: usize = 16;

/// An open upload, and the run in whose journal it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub open: OpenUpload,
    /// `None` where no journal that was given knows it.
    pub run_id: Option<Arc<str>>,
}

/// Lists the open uploads under a prefix, in the server's order. `None` where somebody wished to stop.
pub async fn list<S: Store>(
    store: &S,
    prefix: &str,
    noted: &[Noted],
    cancel: &Cancel,
) -> Result<Option<Vec<Found>>, LookError> {
    let mut runs = HashMap::new();
    for journal in noted {
        let run_id: Arc<str> = journal.run_id.as_str().into();
        for upload in &journal.uploads {
            runs.insert((upload.key.as_str(), upload.upload_id.as_str()), Arc::clone(&run_id));
        }
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = tokio::select! {
            page = store.uploads(prefix, after.as_ref()) => page?,
            () = cancel.wished() => return Ok(None),
        };
        found.extend(page.uploads.into_iter().map(|open| {
            let run_id = runs.get(&(open.key.as_str(), open.upload.0.as_str())).cloned();
            Found { open, run_id }
        }));
        match page.next {
            None => return Ok(Some(found)),
            // It would go round for ever.
            Some(next) if after.as_ref() == Some(&next) => return Err(stands_still()),
            Some(next) => after = Some(next),
        }
    }
}

/// Aborts uploads, and says of each what became of it. Once somebody wishes to stop, none is begun that was not.
pub async fn abort<'a, S: Store>(
    store: &S,
    uploads: impl IntoIterator<Item = &'a Found>,
    cancel: &Cancel,
    mut told: impl FnMut(&'a Found, Result<(), LookError>),
) {
    let mut aborts = stream::iter(uploads)
        .take_while(|_| std::future::ready(!cancel.is_set()))
        .map(|found| async move { (found, store.abort(&found.open.key, &found.open.upload).await) })
        .buffer_unordered(ABORTS);
    while let Some((found, aborted)) = aborts.next().await {
        told(found, aborted);
    }
}

fn stands_still() -> LookError {
    let message = "a page of the open uploads names itself as the next one".to_owned();
    LookError { cause: Cause { code: "Listing".to_owned(), message, ..Cause::default() }, stop: false }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::journal::{Hold, Journal, Upload, noted};
    use crate::model::digest::{Checksum, Sha256};
    use crate::model::entry::Key;
    use crate::model::write::{Object, WriteId};
    use crate::store::UploadId;
    use crate::store::memory::Memory;

    /// Five open uploads, on pages of two.
    async fn bucket() -> (Memory, Vec<UploadId>) {
        let store = Memory::new().with_pages_of(2);
        let mut ids = Vec::new();
        for key in ["a/1", "a/2", "a/2", "a/3", "b/1"] {
            let object = Object {
                key: Key::new(key),
                size: 1,
                checksum: Checksum::Composite { digest: Sha256([0; 32]), parts: 1, part_bytes: 1 << 24 },
                properties: Arc::default(),
                write_id: WriteId::new("run", 1),
            };
            ids.push(store.create_upload(&object).await.unwrap());
        }
        (store, ids)
    }

    fn journal(folder: &Path, uploads: &[(&str, &UploadId)]) -> Noted {
        let report = folder.join("r.csv");
        let mut journal = Journal::open(&report, "sha256:aa", || "run".into()).unwrap().journal;
        for (key, id) in uploads {
            journal.note_upload(&Upload { n: 1, key: Key::new(*key), upload_id: id.0.clone() }).unwrap();
        }
        drop(journal);
        noted(&report, Hold::Nothing).unwrap().unwrap()
    }

    #[tokio::test]
    async fn an_upload_is_ours_by_its_id_and_its_key_together_on_every_page() {
        let (store, ids) = bucket().await;
        let folder = tempfile::tempdir().unwrap();
        let ours = [journal(folder.path(), &[("a/2", &ids[2]), ("a/3", &ids[0]), ("b/1", &ids[4])])];
        let found = list(&store, "a/", &ours, &Cancel::default()).await.unwrap().unwrap();
        let told: Vec<_> = found.iter().map(|found| (found.open.key.as_str(), found.run_id.as_deref())).collect();
        assert_eq!(told, [("a/1", None), ("a/2", None), ("a/2", Some("run")), ("a/3", None)]);
        assert_eq!(found[2].open.upload, ids[2]);

        let mut aborted = Vec::new();
        let ours = found.iter().filter(|found| found.run_id.is_some());
        abort(&store, ours, &Cancel::default(), |found, end| aborted.push((found.open.upload.clone(), end))).await;
        assert_eq!(aborted, [(ids[2].clone(), Ok(()))]);
        assert_eq!(list(&store, "", &[], &Cancel::default()).await.unwrap().unwrap().len(), 4);
    }

    #[tokio::test]
    async fn who_wishes_to_stop_has_nothing_aborted() {
        let (store, _) = bucket().await;
        let found = list(&store, "", &[], &Cancel::default()).await.unwrap().unwrap();
        let stop = Cancel::default();
        stop.set();
        abort(&store, &found, &stop, |found, _| panic!("{found:?}")).await;
        assert_eq!(store.open_uploads(), 5);
    }
}
