//! What LIST tells of the bucket before anything is asked key by key, in little memory: a million heads at 48 bytes each.

use std::collections::HashMap;
use std::sync::Arc;

use crate::flow::cancel::Cancel;
use crate::flow::list::{Effort, list};
use crate::model::digest::{ETag, Md5};
use crate::model::entry::{Entry, Key, Properties};
use crate::model::head::{Encryption, Head, HeldChecksums, Remote};
use crate::model::target::Target;
use crate::store::{Listed, Store, Time};

/// How heads are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discovery {
    #[default]
    Auto,
    List,
    Head,
}

/// What is known of an entry's key.
#[derive(Debug, Default)]
pub(super) enum Known {
    /// Nothing: it must be asked for.
    #[default]
    Nothing,
    /// A LIST that was read to its end did not show it.
    Absent,
    There(Brief),
}

impl Known {
    /// As a look would have told it; `None` where one is needed.
    pub fn remote(&self) -> Option<Remote> {
        match self {
            Self::Nothing => None,
            Self::Absent => Some(Remote::Absent),
            Self::There(brief) => Some(Remote::Present(Box::new(brief.head()))),
        }
    }
}

/// Lists the keys of the entries of each target; gives one answer an entry and counts the requests.
pub(super) async fn look<S: Store>(
    entries: &[Entry],
    targets: &HashMap<String, (Target, Arc<S>)>,
    discovery: Discovery,
    cancel: &Cancel,
    requests: &mut u64,
    mut found: impl FnMut(),
) -> Vec<Known> {
    let effort = match discovery {
        Discovery::Auto => Effort::WhileCheaper,
        Discovery::List => Effort::ToTheEnd,
        Discovery::Head => return Vec::new(),
    };
    let mut by_target: HashMap<&str, Vec<u32>> = HashMap::new();
    for (entry, at) in entries.iter().zip(0u32..) {
        if entry.flaw.is_none() {
            by_target.entry(&*entry.terms.target).or_default().push(at);
        }
    }
    let mut known: Vec<Known> = Vec::new();
    known.resize_with(entries.len(), Known::default);
    for (name, members) in by_target {
        let Some((_, store)) = targets.get(name) else { continue };
        let keys: Vec<&Key> = members.iter().map(|at| &entries[*at as usize].key).collect();
        let take = |place: usize, listed: Listed| {
            known[members[place] as usize] = Known::There(Brief::of(listed));
            found();
        };
        let listing = list(store, &keys, effort, cancel, take).await;
        *requests += listing.requests;
        for (at, is_covered) in members.iter().zip(listing.is_covered) {
            let known = &mut known[*at as usize];
            if is_covered && matches!(known, Known::Nothing) {
                *known = Known::Absent;
            }
        }
    }
    known
}

/// What a LIST tells of an object: no encryption, no checksum, no version, no metadata.
#[derive(Debug)]
pub(super) struct Brief {
    size: u64,
    modified: Option<Time>,
    tag: Tag,
}

/// An ETag without a text of its own where it is hex, as nearly all are.
#[derive(Debug)]
enum Tag {
    Plain(Md5),
    Parts(Md5, u16),
    Other(Box<str>),
}

impl Brief {
    fn of(listed: Listed) -> Self {
        let Listed { key: _, size, etag, last_modified } = listed;
        Self { size, modified: last_modified, tag: Tag::of(&etag) }
    }

    fn head(&self) -> Head {
        Head {
            size: self.size,
            etag: self.tag.etag(),
            version: None,
            last_modified: self.modified.map(|time| time.to_string()),
            encryption: Encryption::Unknown,
            checksums: HeldChecksums::default(),
            properties: Properties::default(),
            claim: None,
            write_id: None,
            first_part: None,
        }
    }
}

impl Tag {
    fn of(etag: &ETag) -> Self {
        let parts = etag.as_multipart().and_then(|(md5, parts)| Some(Self::Parts(md5, u16::try_from(parts).ok()?)));
        let short = etag.as_md5().map(Self::Plain).or(parts);
        // Only what comes back as it was: the text is what a precondition will name.
        short.filter(|short| short.etag() == *etag).unwrap_or_else(|| Self::Other(etag.as_str().into()))
    }

    fn etag(&self) -> ETag {
        match self {
            Self::Plain(md5) => ETag::new(&md5.to_string()),
            Self::Parts(md5, parts) => ETag::new(&format!("{md5}-{parts}")),
            Self::Other(text) => ETag::new(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_etag_comes_back_as_it_was() {
        assert!(size_of::<Known>() <= 48);
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let upper = md5.to_uppercase();
        let long = format!("{md5}-00012");
        for text in [md5, &upper, &long, &format!("{md5}-12"), &format!("{md5}-10000"), "", "opaque", "a-1"] {
            assert_eq!(Tag::of(&ETag::new(text)).etag().as_str(), text);
        }
        assert!(matches!(Tag::of(&ETag::new(md5)), Tag::Plain(_)));
        assert!(matches!(Tag::of(&ETag::new(&upper)), Tag::Other(_)));
        assert!(matches!(Tag::of(&ETag::new(&long)), Tag::Other(_)));
    }
}
