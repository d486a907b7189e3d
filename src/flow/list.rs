//! Heads by LIST, where that costs less than a HEAD for each key.
//!
//! A LIST page of 1,000 keys costs about as much as 12.5 HEADs (S3's prices: $0.005 against $0.0004 a thousand). Pages
//! are read only while they stay cheaper than asking for each wanted key; when there are too many strangers under the
//! prefix, it is given up. The order of the pages is never relied on, so only a listing that was read to its end proves an
//! absence.

use std::collections::HashSet;

use crate::flow::cancel::Cancel;
use crate::model::entry::Key;
use crate::store::{Listed, Store};

/// What a LIST page costs, in HEADs.
const PAGE_COSTS_HEADS: f64 = 12.5;
/// Pages that may be read beyond what they have saved so far.
const PAGES_ON_CREDIT: f64 = 4.0;

/// When to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// While it is cheaper than HEADs.
    WhileCheaper,
    /// To the end.
    ToTheEnd,
}

/// What was listed of the wanted keys.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub found: Vec<Listed>,
    /// Read to its end: a wanted key that was not found is not there.
    pub is_complete: bool,
    pub requests: u64,
}

/// Lists what is under the common prefix of `keys`. Not at all where even one page costs more than the HEADs; a LIST that
/// fails or is forbidden proves nothing and ends it. `found` is told how many wanted keys each page had.
pub(super) async fn list<S: Store>(
    store: &S,
    keys: &HashSet<&Key>,
    effort: Effort,
    cancel: &Cancel,
    found: impl Fn(u64),
) -> Listing {
    let mut listing = Listing::default();
    if keys.is_empty() || (effort == Effort::WhileCheaper && keys.len() as f64 <= PAGE_COSTS_HEADS) {
        return listing;
    }
    let prefix = common_prefix(keys.iter().map(|key| key.as_str()));
    let mut after = None;
    while !cancel.is_set() {
        listing.requests += 1;
        let Ok(page) = store.list(prefix, after.as_deref()).await else { break };
        let before = listing.found.len();
        listing.found.extend(page.objects.into_iter().filter(|listed| keys.contains(&listed.key)));
        found((listing.found.len() - before) as u64);
        if page.next.is_none() {
            listing.is_complete = true;
            break;
        }
        after = page.next;
        let spent = listing.requests as f64 * PAGE_COSTS_HEADS;
        let saved = listing.found.len() as f64;
        if effort == Effort::WhileCheaper && spent > saved + PAGES_ON_CREDIT * PAGE_COSTS_HEADS {
            break;
        }
    }
    listing
}

/// The longest prefix of all keys, cut at a character's boundary.
fn common_prefix<'a>(mut keys: impl Iterator<Item = &'a str>) -> &'a str {
    let Some(mut prefix) = keys.next() else { return "" };
    for key in keys {
        let mut same = prefix.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
        while !prefix.is_char_boundary(same) {
            same -= 1;
        }
        prefix = &prefix[..same];
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    #[test]
    fn the_common_prefix_never_cuts_a_character() {
        assert_eq!(common_prefix([].into_iter()), "");
        assert_eq!(common_prefix(["a/b"].into_iter()), "a/b");
        assert_eq!(common_prefix(["a/b", "a/c"].into_iter()), "a/");
        assert_eq!(common_prefix(["a/é", "a/è"].into_iter()), "a/");
        assert_eq!(common_prefix(["x", "y"].into_iter()), "");
    }

    async fn listed(wanted: usize, strangers: usize, effort: Effort) -> Listing {
        let store = Memory::new().with_pages_of(10);
        for n in 0..strangers {
            store.stranger_put(&Key::new(format!("p/w00/{n:04}")), "x");
        }
        for n in 0..wanted / 2 {
            store.stranger_put(&Key::new(format!("p/w{n:04}")), "x");
        }
        let keys: Vec<Key> = (0..wanted).map(|n| Key::new(format!("p/w{n:04}"))).collect();
        list(&store, &keys.iter().collect(), effort, &Cancel::default(), |_| {}).await
    }

    #[tokio::test]
    async fn only_a_listing_that_reached_its_end_is_complete() {
        let whole = listed(40, 20, Effort::WhileCheaper).await;
        assert_eq!((whole.found.len(), whole.is_complete, whole.requests), (20, true, 4));
        let given_up = listed(40, 500, Effort::WhileCheaper).await;
        assert_eq!((given_up.found.len(), given_up.is_complete, given_up.requests), (0, false, 5));
        let insisted = listed(40, 500, Effort::ToTheEnd).await;
        assert_eq!((insisted.found.len(), insisted.is_complete), (20, true));
        let few = listed(12, 0, Effort::WhileCheaper).await;
        assert_eq!((few.is_complete, few.requests), (false, 0));
    }
}
