//! The history of one key, with what a HEAD of each version tells.

use futures_util::{StreamExt as _, stream};

use crate::flow::cancel::Cancel;
use crate::model::entry::Key;
use crate::model::head::{Head, Remote};
use crate::model::write::LookError;
use crate::store::{Store, Version};

/// Versions asked for at once.
const LOOKS: usize = 16;

/// What a bucket knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// There is no such key, and never was as far as it is known.
    Nothing,
    /// The server would not say (403).
    Unseen,
    /// The bucket keeps no versions: this is what is there.
    Unversioned(Box<Head>),
    /// Newest first; `is_cut` says that there are more, older ones.
    Versions { past: Vec<Past>, is_cut: bool },
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    pub version: Version,
    pub head: Told,
}

/// What a HEAD of a version told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A delete marker has none.
    Marker,
    Head(Box<Head>),
    /// Not allowed, gone meanwhile, or no answer: why.
    Not(String),
}

/// Reads a key's history. `None` where somebody wished to stop.
pub async fn history<S: Store>(
    store: &S,
    key: &Key,
    most: usize,
    cancel: &Cancel,
) -> Result<Option<History>, LookError> {
    let mut versions = store.versions(key, most.saturating_add(1)).await?;
    if versions.is_empty() {
        return Ok(Some(match store.head(key).await? {
            Remote::Absent => History::Nothing,
            Remote::Unseen => History::Unseen,
            Remote::Present(head) => History::Unversioned(head),
        }));
    }
    let is_cut = versions.len() > most;
    versions.truncate(most);
    let mut told = stream::iter(versions)
        .take_while(|_| std::future::ready(!cancel.is_set()))
        .map(|version| async move {
            let head = if version.etag.is_none() { Ok(Told::Marker) } else { head(store, key, &version).await };
            head.map(|head| Past { version, head })
        })
        .buffered(LOOKS);
    let mut past = Vec::new();
    while let Some(one) = told.next().await {
        past.push(one?);
    }
    Ok((!cancel.is_set()).then_some(History::Versions { past, is_cut }))
}

async fn head<S: Store>(store: &S, key: &Key, version: &Version) -> Result<Told, LookError> {
    Ok(match store.head_version(key, &version.id).await {
        Ok(Remote::Present(head)) => Told::Head(head),
        Ok(Remote::Absent) => Told::Not("it went meanwhile".to_owned()),
        Ok(Remote::Unseen) => Told::Not("not allowed to look: s3:GetObjectVersion".to_owned()),
        Err(error) if error.stop => return Err(error),
        Err(error) => Told::Not(error.to_string()),
    })
}
