//! Digests that are kept between runs. A cache costs speed, never correctness: whatever happens to its file, what it
//! recalls is what hashing would say, and what it cannot recall is hashed.
//!
//! - A row is found by path, and holds only for the device, inode, size, mtime and ctime that it was written of. Its
//!   check covers all of these and the digests: damage, or another file, is a row that is not there.
//! - A file that is too young is not kept: a write within the same tick of the file system's clock would leave its times
//!   as they are. Git hashes such a file anew; so do we, by never writing its row. "Young" is by the clock when the cache
//!   was opened, before any hashing began: 2 s (FAT's tick; others are finer) after both times. A time in the future is young.
//! - Several processes share the file (WAL). Whoever is kept waiting goes without.
//! - Rows that no run asked for in 90 days go, which is looked at once a week; a row in use is marked so once in 14 days.
//!   The file never exceeds 2 GiB.

mod db;
mod row;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use rayon::iter::ParallelIterator as _;
use rayon::slice::ParallelSlice as _;

use self::db::{Db, Row, Trouble, lock};
use super::stat::Mark;
use crate::model::local::Digests;

/// The coarsest clock of a file system.
const TICK_NS: i128 = 2_000_000_000;
const DAY_NS: i128 = 86_400_000_000_000;
/// Rows that are written at once; about 1 MB of memory.
const BATCH_ROWS: usize = 8192;
/// Hashed bytes after which rows are written however few they are: work of seconds, which a crash must not take.
const BATCH_BYTES: u64 = 4 << 30;
/// Times in a row that somebody else's lock kept us waiting, before we go without.
const WAITS_AT_MOST: u32 = 3;
/// Below this, a second thread costs more than it saves.
const SHARE_ROWS: usize = 256;

/// What a run does with the digests of earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Use,
    /// Hashes every file and writes what it finds over what was there.
    Rehash,
    Off,
}

/// What became of the files that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Files of which a row was found; it may lack a digest that is wanted now.
    pub known: u64,
    pub unknown: u64,
}

/// The digests of earlier runs. It never fails; `trouble` says why it is not what it should be.
pub struct Cache {
    path: PathBuf,
    mode: Mode,
    now_ns: i128,
    /// Read to use it, written to replace it.
    db: RwLock<Option<Db>>,
    reads: AtomicBool,
    writes: AtomicBool,
    read_waits: AtomicU32,
    write_waits: AtomicU32,
    /// How often the file was begun anew, so that one damage is dealt with once.
    begun: AtomicU32,
    trouble: Mutex<Option<String>>,
    pending: Mutex<Pending>,
    known: AtomicU64,
    unknown: AtomicU64,
}

/// What the next write takes.
#[derive(Default)]
struct Pending {
    rows: Vec<Row>,
    seen: Vec<i64>,
    hashed_bytes: u64,
}

impl Cache {
    /// Opens the cache in this file, or begins it. `now_ns` is the wall clock, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn open(path: &Path, mode: Mode, now_ns: i128) -> Self {
        let mut cache = Self {
            path: path.to_owned(),
            mode,
            now_ns,
            db: RwLock::new(None),
            reads: AtomicBool::new(mode == Mode::Use),
            writes: AtomicBool::new(mode != Mode::Off),
            read_waits: AtomicU32::new(0),
            write_waits: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            trouble: Mutex::default(),
            pending: Mutex::default(),
            known: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        };
        if mode == Mode::Off {
            return cache;
        }
        // SQLite takes relative names such as `file:x` or `:memory:` for something else.
        match std::path::absolute(path) {
            Ok(path) => cache.path = path,
            Err(error) => {
                cache.go_without(&error.to_string());
                return cache;
            }
        }
        match Db::open(&cache.path, cache.today()) {
            Ok(db) => cache.db = RwLock::new(Some(db)),
            Err(Trouble::Busy) => cache.go_without("another process holds it"),
            Err(Trouble::Damaged(why)) => cache.begin_anew(0, &why),
            Err(Trouble::Foreign(why) | Trouble::Refused(why)) => cache.go_without(&why),
        }
        cache
    }

    /// Recalls nothing and keeps nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::open(Path::new(""), Mode::Off, 0)
    }

    /// Why the cache is not used, not written, or was begun anew: one sentence for a person.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { known: self.known.load(Ordering::Relaxed), unknown: self.unknown.load(Ordering::Relaxed) }
    }

    /// What is known of each file, in the same order. Within a pool of threads, these share the work.
    #[must_use]
    pub fn recall(&self, files: &[(&Path, &Mark)]) -> Vec<Option<Digests>> {
        let mut known = vec![None; files.len()];
        if !self.reads.load(Ordering::Relaxed) {
            return known;
        }
        let mut sought: Vec<(i64, usize)> = (0..)
            .zip(files)
            .filter(|(_, (_, mark))| self.is_settled(mark))
            .map(|(at, (path, _))| (row::id(path), at))
            .collect();
        sought.sort_unstable();
        let share = sought.len().div_ceil(rayon::current_num_threads()).max(SHARE_ROWS);
        let found: Vec<Vec<(usize, Digests)>> =
            sought.par_chunks(share).map(|share| self.recall_share(share, files)).collect();
        for (at, digests) in found.into_iter().flatten() {
            known[at] = Some(digests);
        }
        let hits = known.iter().filter(|known| known.is_some()).count() as u64;
        self.known.fetch_add(hits, Ordering::Relaxed);
        self.unknown.fetch_add(files.len() as u64 - hits, Ordering::Relaxed);
        known
    }

    fn recall_share(&self, share: &[(i64, usize)], files: &[(&Path, &Mark)]) -> Vec<(usize, Digests)> {
        let today = self.today();
        let ids: Vec<i64> = share.iter().map(|(id, _)| *id).collect();
        let (mut found, mut stale) = (Vec::with_capacity(share.len()), Vec::new());
        self.with_db(&self.read_waits, |db| {
            db.read(&ids, &mut |place, seen, bytes| {
                let (id, at) = share[place];
                let (path, mark) = files[at];
                if let Some(digests) = row::decode(path, mark, bytes) {
                    found.push((at, digests));
                    if today.abs_diff(seen) >= db::SEEN_EVERY_DAYS.unsigned_abs() {
                        stale.push(id);
                    }
                }
            })
        });
        if !stale.is_empty() && self.writes.load(Ordering::Relaxed) {
            lock(&self.pending).seen.append(&mut stale);
        }
        found
    }

    /// Keeps what was computed of a file in this state since the cache was opened, unless the file is too young. It is
    /// written with others, later.
    pub fn keep(&self, path: &Path, mark: &Mark, digests: &Digests) {
        if !self.writes.load(Ordering::Relaxed) || !self.is_settled(mark) {
            return;
        }
        let row = Row { id: row::id(path), bytes: row::encode(path, mark, digests) };
        let is_full = {
            let mut pending = lock(&self.pending);
            pending.rows.push(row);
            pending.hashed_bytes = pending.hashed_bytes.saturating_add(mark.size);
            pending.rows.len() >= BATCH_ROWS || pending.hashed_bytes >= BATCH_BYTES
        };
        if is_full {
            self.flush();
        }
    }

    /// Writes what is pending. Dropping the cache does so too.
    pub fn flush(&self) {
        let Pending { mut rows, mut seen, .. } = std::mem::take(&mut *lock(&self.pending));
        if rows.is_empty() && seen.is_empty() || !self.writes.load(Ordering::Relaxed) {
            return;
        }
        rows.sort_unstable_by_key(|row| row.id);
        seen.sort_unstable();
        let today = self.today();
        self.with_db(&self.write_waits, |db| db.write(&rows, &seen, today));
    }

    /// Whether a later write would have moved the file's times.
    fn is_settled(&self, mark: &Mark) -> bool {
        mark.mtime_ns.max(mark.ctime_ns).saturating_add(TICK_NS) <= self.now_ns
    }

    fn today(&self) -> i64 {
        i64::try_from(self.now_ns.div_euclid(DAY_NS)).unwrap_or(0)
    }

    fn with_db(&self, waits: &AtomicU32, act: impl FnOnce(&Db) -> Result<(), Trouble>) {
        let (begun, result) = {
            let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
            let Some(db) = &*db else { return };
            (self.begun.load(Ordering::Relaxed), act(db))
        };
        match result {
            Ok(()) => waits.store(0, Ordering::Relaxed),
            Err(Trouble::Busy) => {
                if waits.fetch_add(1, Ordering::Relaxed) + 1 >= WAITS_AT_MOST {
                    self.go_without("another process holds it");
                }
            }
            Err(Trouble::Damaged(why)) => self.begin_anew(begun, &why),
            Err(Trouble::Foreign(why) | Trouble::Refused(why)) => self.go_without(&why),
        }
    }

    /// Nothing more is recalled or kept in this run.
    fn go_without(&self, why: &str) {
        self.reads.store(false, Ordering::Relaxed);
        self.writes.store(false, Ordering::Relaxed);
        self.say(format!("the hash cache {} is not used: {why}", self.path.display()));
    }

    /// Puts a damaged file aside and begins another.
    fn begin_anew(&self, begun: u32, why: &str) {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if self.begun.load(Ordering::Relaxed) != begun {
            return;
        }
        self.begun.store(begun + 1, Ordering::Relaxed);
        // Closed first: SQLite removes the file's companions by name, which would be the new one's.
        *db = None;
        // Once: a disk that damages a file twice in one run is not to be trusted.
        let aside = if begun == 0 { db::put_aside(&self.path) } else { None };
        let Some(aside) = aside else {
            return self.go_without(&format!("it is damaged: {why}"));
        };
        match Db::open(&self.path, self.today()) {
            Ok(new) => {
                *db = Some(new);
                let (path, aside) = (self.path.display(), aside.display());
                self.say(format!(
                    "the hash cache {path} was damaged ({why}); it is now {aside}, and a new one was begun"
                ));
            }
            Err(Trouble::Busy) => self.go_without("another process holds it"),
            Err(Trouble::Damaged(why) | Trouble::Foreign(why) | Trouble::Refused(why)) => self.go_without(&why),
        }
    }

    /// The first trouble is the cause of the others.
    fn say(&self, text: String) {
        lock(&self.trouble).get_or_insert(text);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}
