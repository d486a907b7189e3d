//! Heads by LIST, where that costs less than a HEAD for each key.
//!
//! A LIST page of 1,000 keys costs about as much as 12.5 HEADs (S3's prices: $0.005 against $0.0004 a thousand). Keys are
//! grouped by folder as long as that adds few requests: a narrow prefix meets fewer strangers, and several are listed at
//! once. Of each, pages are read only while they stay cheaper than asking for each wanted key; where there are too many
//! strangers its folders are tried, then it is given up. The order of the pages is never relied on, so only a listing
//! that was read to its end proves an absence.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::flow::cancel::Cancel;
use crate::model::entry::Key;
use crate::store::{Listed, Store};

/// What a LIST page costs, in HEADs.
const PAGE_COSTS_HEADS: f64 = 12.5;
/// Pages that may be read beyond what they have saved so far.
const PAGES_ON_CREDIT: f64 = 4.0;
/// Folders that are listed for themselves cost at most one more page for so many keys.
const KEYS_A_FOLDER: usize = 100;
/// A folder of a group that was given up is tried from so many keys on.
const KEYS_WORTH_ANOTHER_TRY: usize = 50;
/// Listings under way at once.
const LISTINGS: usize = 8;

/// When to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// While it is cheaper than HEADs.
    WhileCheaper,
    /// To the end.
    ToTheEnd,
}

/// What is known of the wanted keys.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By the key's place among the wanted: listed to the end, so that what was not found is not there.
    pub is_covered: Vec<bool>,
    pub requests: u64,
}

/// Lists what is under the prefixes of `keys`, no two of which are equal. `take` gets each wanted object that was found, with
/// the key's place among `keys`; those of a listing that was given up too. A LIST that fails or is forbidden proves
/// nothing, and ends them all.
pub(super) async fn list<S: Store>(
    store: &Arc<S>,
    keys: &[&Key],
    effort: Effort,
    cancel: &Cancel,
    mut take: impl FnMut(usize, Listed),
) -> Listing {
    let mut listing = Listing { is_covered: vec![false; keys.len()], requests: 0 };
    if keys.is_empty() {
        return listing;
    }
    let index = Index::new(keys);
    let mut order: Vec<u32> = (0..).take(keys.len()).collect();
    order.sort_unstable_by_key(|at| keys[*at as usize]);
    let mut groups = Vec::new();
    split(keys, Group { members: order, credit: PAGES_ON_CREDIT }, KEYS_A_FOLDER, &mut groups);
    while !groups.is_empty() {
        let worth = |group: &Group| effort == Effort::ToTheEnd || group.members.len() as f64 > PAGE_COSTS_HEADS;
        groups.retain(worth);
        let mut again = Vec::new();
        let mut broken = false;
        let mut listings = stream::iter(groups)
            .map(|group| under_way(store, keys, &index, group, effort, cancel))
            .buffer_unordered(LISTINGS);
        while let Some(done) = listings.next().await {
            listing.requests += done.requests;
            done.found.into_iter().for_each(|(at, listed)| take(at, listed));
            match done.end {
                End::Complete => done.group.members.iter().for_each(|at| listing.is_covered[*at as usize] = true),
                End::TooManyStrangers => folders(keys, &done.group, &mut again),
                End::Broken => {
                    broken = true;
                    break;
                }
            }
        }
        drop(listings);
        if broken || cancel.is_set() {
            break;
        }
        groups = again;
    }
    listing
}

/// Keys that are listed under their common prefix.
#[derive(Debug)]
struct Group {
    /// Places among the wanted keys, in the order of the keys.
    members: Vec<u32>,
    credit: f64,
}

impl Group {
    fn prefix<'a>(&self, keys: &[&'a Key]) -> &'a str {
        // Between the first and the last in order lie all others.
        let (Some(first), Some(last)) = (self.members.first(), self.members.last()) else { return "" };
        common_prefix(keys[*first as usize].as_str(), keys[*last as usize].as_str())
    }
}

/// How the listing of a group ended.
enum End {
    Complete,
    TooManyStrangers,
    Broken,
}

struct Done {
    group: Group,
    end: End,
    found: Vec<(usize, Listed)>,
    requests: u64,
}

async fn under_way<S: Store>(
    store: &Arc<S>,
    keys: &[&Key],
    index: &Index<'_>,
    group: Group,
    effort: Effort,
    cancel: &Cancel,
) -> Done {
    let prefix = group.prefix(keys);
    let mut done = Done { group, end: End::Broken, found: Vec::new(), requests: 0 };
    let mut after = None;
    while !cancel.is_set() {
        done.requests += 1;
        let (from, under, last) = (Arc::clone(store), prefix.to_owned(), after);
        // A task of its own, so that every core reads pages.
        let page = tokio::spawn(async move { from.list(&under, last.as_deref()).await }).await;
        let Ok(Ok(page)) = page else { break };
        let wanted = page.objects.into_iter().filter_map(|listed| Some((index.place(&listed.key)?, listed)));
        done.found.extend(wanted);
        if page.next.is_none() {
            done.end = End::Complete;
            break;
        }
        after = page.next;
        let spent = done.requests as f64 * PAGE_COSTS_HEADS;
        let saved = done.found.len() as f64;
        if effort == Effort::WhileCheaper && spent > saved + done.group.credit * PAGE_COSTS_HEADS {
            done.end = End::TooManyStrangers;
            break;
        }
    }
    done
}

/// Takes a group apart by folder, as deep as each folder has `keys_a_folder` keys on average.
fn split(keys: &[&Key], group: Group, keys_a_folder: usize, into: &mut Vec<Group>) {
    let prefix = group.prefix(keys).len();
    let parts = parts(keys, &group, prefix);
    // Files beside folders share the folders' prefix: alone they would list everything again.
    let is_narrower =
        parts.iter().all(|part| part.prefix(keys).len() > prefix || (part.members.len() as f64) < PAGE_COSTS_HEADS);
    if parts.len() < 2 || parts.len() * keys_a_folder > group.members.len() || !is_narrower {
        into.push(group);
        return;
    }
    for part in parts {
        split(keys, part, keys_a_folder, into);
    }
}

/// The folders of a group that are worth another try.
fn folders(keys: &[&Key], group: &Group, into: &mut Vec<Group>) {
    let prefix = group.prefix(keys).len();
    let again = parts(keys, group, prefix)
        .into_iter()
        .filter(|part| part.members.len() >= KEYS_WORTH_ANOTHER_TRY && part.prefix(keys).len() > prefix);
    into.extend(again.map(|part| Group { credit: 1.0, ..part }));
}

/// A group by what follows its prefix up to the next slash; the files beside the folders are one part.
fn parts(keys: &[&Key], group: &Group, prefix: usize) -> Vec<Group> {
    let mut parts: Vec<Group> = Vec::new();
    let mut files = Group { members: Vec::new(), credit: group.credit };
    let mut open: Option<&str> = None;
    for at in &group.members {
        let rest = &keys[*at as usize].as_str()[prefix..];
        let Some(slash) = rest.find('/') else {
            files.members.push(*at);
            continue;
        };
        let folder = &rest[..=slash];
        match parts.last_mut() {
            // In the order of the keys a folder's lie together, but for files between them.
            Some(part) if open == Some(folder) => part.members.push(*at),
            Some(_) | None => {
                open = Some(folder);
                parts.push(Group { members: vec![*at], credit: group.credit });
            }
        }
    }
    if !files.members.is_empty() {
        parts.push(files);
    }
    parts
}

/// Finds a key's place without a second copy of the key.
struct Index<'a> {
    keys: &'a [&'a Key],
    table: HashTable<u32>,
    random: DefaultHashBuilder,
}

impl<'a> Index<'a> {
    fn new(keys: &'a [&'a Key]) -> Self {
        let random = DefaultHashBuilder::default();
        let mut table = HashTable::with_capacity(keys.len());
        for (key, at) in keys.iter().zip(0u32..) {
            table.insert_unique(random.hash_one(key.as_str()), at, |at| random.hash_one(keys[*at as usize].as_str()));
        }
        Self { keys, table, random }
    }

    fn place(&self, key: &Key) -> Option<usize> {
        let hash = self.random.hash_one(key.as_str());
        self.table.find(hash, |at| self.keys[*at as usize] == key).map(|at| *at as usize)
    }
}

/// The longest common prefix, cut at a character's boundary.
fn common_prefix<'a>(one: &'a str, other: &str) -> &'a str {
    let mut same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    while !one.is_char_boundary(same) {
        same -= 1;
    }
    &one[..same]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    #[test]
    fn the_common_prefix_never_cuts_a_character() {
        assert_eq!(common_prefix("a/b", "a/b"), "a/b");
        assert_eq!(common_prefix("a/b", "a/c"), "a/");
        assert_eq!(common_prefix("a/é", "a/è"), "a/");
        assert_eq!(common_prefix("x", "y"), "");
    }

    fn prefixes(keys: &[&str]) -> Vec<(String, usize)> {
        let keys: Vec<Key> = keys.iter().map(|key| Key::new(*key)).collect();
        let keys: Vec<&Key> = keys.iter().collect();
        let mut order: Vec<u32> = (0..).take(keys.len()).collect();
        order.sort_unstable_by_key(|at| keys[*at as usize]);
        let mut groups = Vec::new();
        split(&keys, Group { members: order, credit: 1.0 }, 3, &mut groups);
        groups.iter().map(|group| (group.prefix(&keys).to_owned(), group.members.len())).collect()
    }

    #[test]
    fn keys_are_grouped_by_folder_while_that_is_cheap() {
        let many = |folder: &str| (0..20).map(|n| format!("{folder}{n:02}")).collect::<Vec<_>>();
        let all = [many("in/a/"), many("in/b/"), many("in/c/x/"), vec!["in/_SUCCESS".into(), "in/a.z".into()]].concat();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let expected = [("in/a/", 20), ("in/b/", 20), ("in/c/x/", 20), ("in/", 2)];
        assert_eq!(prefixes(&all), expected.map(|(prefix, n)| (prefix.to_owned(), n)));
        // One key a folder: a listing each would cost more than the keys.
        let thin: Vec<String> = (0..30).map(|n| format!("in/{n:02}/k")).collect();
        assert_eq!(prefixes(&thin.iter().map(String::as_str).collect::<Vec<_>>()), [("in/".to_owned(), 30)]);
        assert_eq!(prefixes(&[]), [(String::new(), 0)]);
    }

    struct Seen {
        found: usize,
        covered: usize,
        requests: u64,
    }

    async fn listed(store: &Arc<Memory>, keys: &[String], effort: Effort) -> Seen {
        let keys: Vec<Key> = keys.iter().map(|key| Key::new(key.as_str())).collect();
        let keys: Vec<&Key> = keys.iter().collect();
        let mut found = 0;
        let take = |at: usize, listed: Listed| {
            assert_eq!(*keys[at], listed.key);
            found += 1;
        };
        let listing = list(store, &keys, effort, &Cancel::default(), take).await;
        let covered = listing.is_covered.iter().filter(|is| **is).count();
        Seen { found, covered, requests: listing.requests }
    }

    async fn among_strangers(wanted: usize, strangers: usize, effort: Effort) -> (usize, usize, u64) {
        let store = Arc::new(Memory::new().with_pages_of(10));
        for n in 0..strangers {
            store.stranger_put(&Key::new(format!("p/w00/{n:04}")), "x");
        }
        for n in 0..wanted / 2 {
            store.stranger_put(&Key::new(format!("p/w{n:04}")), "x");
        }
        let keys: Vec<String> = (0..wanted).map(|n| format!("p/w{n:04}")).collect();
        let Seen { found, covered, requests } = listed(&store, &keys, effort).await;
        (found, covered, requests)
    }

    #[tokio::test]
    async fn only_a_listing_that_reached_its_end_proves_an_absence() {
        assert_eq!(among_strangers(40, 20, Effort::WhileCheaper).await, (20, 40, 4));
        assert_eq!(among_strangers(40, 500, Effort::WhileCheaper).await, (0, 0, 5));
        let (found, covered, _) = among_strangers(40, 500, Effort::ToTheEnd).await;
        assert_eq!((found, covered), (20, 40));
        assert_eq!(among_strangers(12, 0, Effort::WhileCheaper).await, (0, 0, 0));
    }

    #[tokio::test]
    async fn strangers_in_one_folder_do_not_spoil_the_others() {
        let store = Arc::new(Memory::new().with_pages_of(1000));
        for n in 0..20_000 {
            store.stranger_put(&Key::new(format!("in/b/w{n:05}")), "x");
        }
        let of = |folder: &str, n: usize| (0..n).map(|n| format!("in/{folder}/w{n:03}")).collect::<Vec<_>>();
        // Too few keys to be taken apart at first; the strangers are met, and then each folder is tried alone.
        let keys = [of("a", 60), of("b", 60), of("c", 60)].concat();
        let seen = listed(&store, &keys, Effort::WhileCheaper).await;
        assert_eq!(seen.covered, 120, "all but those beside the strangers");
        assert!(seen.requests < 25, "{} requests", seen.requests);
    }
}
