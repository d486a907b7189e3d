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
