//! Steps folded by folder and by what they give their objects. The memory does not grow with the number of steps, of
//! folders or of properties: what is small is merged into its parent, and what is merged is still counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::step::Step;

use super::words::properties;

/// Folders in memory before the smallest are merged into their parents.
const FOLDERS_HELD: usize = 8_192;
/// Folders in the end.
pub const FOLDERS_MAX: usize = 200;
/// Sets of properties in memory.
const SETS_HELD: usize = 1_000;
/// ACLs in memory. S3 knows eight; a plan may hold any text.
const ACLS_HELD: usize = 100;

/// The files of a fold that lie in one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub target: Arc<str>,
    /// With its last `/`; empty for the bucket's root.
    pub path: String,
    pub reach: Reach,
    pub files: u64,
    pub bytes: u64,
}

/// Which files a folder counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Its own alone.
    #[default]
    Own,
    /// Also those of folders below that are not named by themselves.
    Below,
}

#[derive(Debug, Default)]
struct Tally {
    reach: Reach,
    files: u64,
    bytes: u64,
}

/// Counts files by folder.
#[derive(Debug, Default)]
pub(super) struct Folders {
    targets: BTreeMap<Arc<str>, BTreeMap<String, Tally>>,
    folders: usize,
}

impl Folders {
    pub fn add(&mut self, step: &Step) {
        let key = step.key.as_str();
        let folder = key.rfind('/').map_or("", |at| &key[..=at]);
        let bytes = step.size().unwrap_or(0);
        if !self.targets.contains_key(&step.target) {
            self.targets.insert(Arc::clone(&step.target), BTreeMap::new());
        }
        let Some(folders) = self.targets.get_mut(&step.target) else { return };
        let mut at = folder;
        loop {
            // A folder that was merged into one above it stays there.
            if let Some(tally) = folders.get_mut(at)
                && (at.len() == folder.len() || tally.reach == Reach::Below)
            {
                tally.files += 1;
                tally.bytes += bytes;
                return;
            }
            match parent(at) {
                Some(above) => at = above,
                None => break,
            }
        }
        folders.insert(folder.to_owned(), Tally { reach: Reach::Own, files: 1, bytes });
        self.folders += 1;
        if self.folders > FOLDERS_HELD {
            self.merge(FOLDERS_HELD / 2);
        }
    }

    /// At most so many folders, the fullest first.
    pub fn finish(mut self) -> Vec<Folder> {
        self.merge(FOLDERS_MAX);
        let mut folders: Vec<Folder> = self
            .targets
            .into_iter()
            .flat_map(|(target, folders)| {
                folders.into_iter().map(move |(path, Tally { reach, files, bytes })| Folder {
                    target: Arc::clone(&target),
                    path,
                    reach,
                    files,
                    bytes,
                })
            })
            .collect();
        folders.sort_by(|a, b| b.files.cmp(&a.files).then_with(|| (&a.target, &a.path).cmp(&(&b.target, &b.path))));
        folders
    }

    /// Merges folders into their parents until so few are left, if it can be done: the widest families first, and of a
    /// family its smallest folders first, so that what is large keeps its name.
    fn merge(&mut self, most: usize) {
        while self.folders > most {
            // Parents, with the folders in them that have none below: how full each is, and its path.
            let mut families: HashMap<(Arc<str>, String), Family> = HashMap::new();
            for (target, folders) in &self.targets {
                let mut sorted = folders.iter().peekable();
                while let Some((path, tally)) = sorted.next() {
                    // In order, what lies below a folder follows it: that goes first.
                    let is_leaf = sorted.peek().is_none_or(|(next, _)| !next.starts_with(path.as_str()));
                    if let Some(above) = parent(path)
                        && is_leaf
                    {
                        let family = families.entry((Arc::clone(target), above.to_owned())).or_default();
                        family.push((tally.files, path.clone()));
                    }
                }
            }
            if families.is_empty() {
                return;
            }
            let mut families: Vec<_> = families.into_iter().collect();
            families.sort_by(|(a, a_children), (b, b_children)| {
                b_children.len().cmp(&a_children.len()).then_with(|| a.cmp(b))
            });
            for ((target, above), mut children) in families {
                let Some(folders) = self.targets.get_mut(&target) else { continue };
                children.sort();
                for (_, path) in children {
                    if self.folders <= most {
                        return;
                    }
                    let Some(child) = folders.remove(&path) else { continue };
                    self.folders -= 1;
                    let into = folders.entry(above.clone()).or_insert_with(|| {
                        self.folders += 1;
                        Tally::default()
                    });
                    into.reach = Reach::Below;
                    into.files += child.files;
                    into.bytes += child.bytes;
                }
            }
        }
    }
}

type Family = Vec<(u64, String)>;

/// The folder that a folder lies in; `None` for the root.
fn parent(folder: &str) -> Option<&str> {
    let bare = folder.strip_suffix('/')?;
    Some(bare.rfind('/').map_or("", |at| &folder[..=at]))
}

/// What the steps of a group give their objects, and how many give the same.
#[derive(Debug, Clone, Default)]
pub struct Sets {
    /// By their text; the empty one among them.
    pub by_text: BTreeMap<String, u64>,
    /// Steps whose set is not among them, because there were too many.
    pub more: u64,
    /// Apart, because who may read what is written must not drown in other differences.
    pub acls: BTreeMap<String, u64>,
    /// The set of the step before: in most plans also this one's.
    last: Option<(Arc<crate::model::entry::Properties>, String)>,
}

impl Sets {
    pub(super) fn add(&mut self, step: &Step) {
        if !step.action.writes() {
            *self.by_text.entry(String::new()).or_default() += 1;
            return;
        }
        let text = match self.last.take() {
            Some((same, text)) if same == step.properties => text,
            Some(_) | None => properties(step),
        };
        match self.by_text.get_mut(&text) {
            Some(steps) => *steps += 1,
            None => {
                self.by_text.insert(text.clone(), 1);
            }
        }
        if self.by_text.len() > SETS_HELD
            && let Some((_, steps)) = self.by_text.pop_last()
        {
            // What was popped once is greater than all that stay: it is popped each time, and the others' counts hold.
            self.more += steps;
        }
        if let Some(acl) = &step.properties.acl {
            let is_known = self.acls.contains_key(acl) || self.acls.len() < ACLS_HELD;
            let acl = if is_known { acl.as_str() } else { "(another)" };
            *self.acls.entry(acl.to_owned()).or_default() += 1;
        }
        self.last = Some((Arc::clone(&step.properties), text));
    }

    /// The one set that all have, if it is one.
    #[must_use]
    pub fn shared(&self) -> Option<&str> {
        match self.by_text.first_key_value() {
            Some((text, _)) if self.by_text.len() == 1 && self.more == 0 => Some(text),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Properties;
    use crate::model::step::Action;
    use crate::plan::samples;

    fn step(key: &str) -> Step {
        samples::step(1, key, Action::Create)
    }

    fn folded(keys: impl Iterator<Item = String>) -> Vec<(String, Reach, u64)> {
        let mut folders = Folders::default();
        for key in keys {
            folders.add(&step(&key));
            assert!(folders.folders <= FOLDERS_HELD);
        }
        folders.finish().into_iter().map(|folder| (folder.path, folder.reach, folder.files)).collect()
    }

    #[test]
    fn a_few_folders_keep_their_names_the_fullest_first() {
        let keys = ["a/1", "b/c/1", "b/c/2", "top", "b/1", "a/x/1", "a/x/2", "a/x/3"];
        let found = folded(keys.into_iter().map(str::to_owned));
        let found: Vec<_> = found.iter().map(|(path, reach, files)| (path.as_str(), *reach, *files)).collect();
        assert_eq!(
            found,
            [
                ("a/x/", Reach::Own, 3),
                ("b/c/", Reach::Own, 2),
                ("", Reach::Own, 1),
                ("a/", Reach::Own, 1),
                ("b/", Reach::Own, 1)
            ]
        );
    }

    #[test]
    fn a_hundred_thousand_folders_become_a_page_on_which_every_file_is_counted() {
        let wide = (0..100_000).map(|n| format!("users/u{n}/inbox/mail"));
        let large = (0..20_000).map(|n| format!("log/{}/{n}", n % 3));
        let found = folded(wide.chain(large));
        assert!(found.len() <= FOLDERS_MAX, "{}", found.len());
        assert_eq!(found.iter().map(|(_, _, files)| files).sum::<u64>(), 120_000);
        for n in 0..3 {
            assert!(found.iter().any(|(path, reach, files)| {
                *path == format!("log/{n}/") && *reach == Reach::Own && *files > 6_000
            }));
        }
        let users = found.iter().filter(|(path, ..)| path.starts_with("users/"));
        assert_eq!(users.map(|(_, _, files)| files).sum::<u64>(), 100_000, "{found:?}");
    }

    #[test]
    fn of_a_wide_family_the_largest_keep_their_names() {
        let small = (0..1_000).map(|n| format!("in/{n:04}/a"));
        let large = (0..500).map(|n| format!("in/{:04}/b{n}", n % 5));
        let found = folded(small.chain(large));
        assert_eq!(found.len(), FOLDERS_MAX);
        let largest: Vec<_> = found.iter().filter(|(_, _, files)| *files == 101).map(|(path, ..)| &**path).collect();
        assert_eq!(largest, ["in/0000/", "in/0001/", "in/0002/", "in/0003/", "in/0004/"]);
        assert_eq!(found[0], ("in/".to_owned(), Reach::Below, 1_500 - 505 - (FOLDERS_MAX as u64 - 6)));
    }

    #[test]
    fn keys_like_a_ladder_end_on_a_page_too() {
        let found = folded((1..500).map(|depth| format!("{}x", "a/".repeat(depth))));
        assert!(found.len() <= FOLDERS_MAX);
        assert_eq!(found.iter().map(|(_, _, files)| files).sum::<u64>(), 499);
    }

    #[test]
    fn no_number_of_properties_hides_an_acl() {
        let mut sets = Sets::default();
        for n in 0..5_000 {
            let mut step = step("k");
            step.properties = Arc::new(Properties {
                acl: Some(if n == 4_000 { "public-read" } else { "private" }.to_owned()),
                metadata: [("n".to_owned(), n.to_string())].into(),
                ..Properties::default()
            });
            sets.add(&step);
        }
        assert_eq!(sets.by_text.len(), SETS_HELD);
        assert_eq!(sets.by_text.values().sum::<u64>() + sets.more, 5_000);
        assert_eq!(sets.acls.get("public-read"), Some(&1));
    }
}
