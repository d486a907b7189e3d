//! What can happen to a cache and its file.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

use rusqlite::Connection;

use super::*;
use crate::local::hash::Told;
use crate::local::{Hashing, Job, hash, mark};
use crate::model::digest::{Md5, Sha256};
use crate::model::local::{LocalFile, Wanted};

const NOW: i128 = 20_000 * DAY_NS;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("digests.db")
    }

    fn open(&self, mode: Mode, now_ns: i128) -> Cache {
        Cache::open(&self.path(), mode, now_ns)
    }

    fn sound(&self) -> Cache {
        let cache = self.open(Mode::Use, NOW);
        assert_eq!(cache.trouble(), None);
        cache
    }

    /// A cache of so many files, closed.
    fn filled(files: u64) -> Self {
        let home = Self::new();
        let cache = home.sound();
        for n in 0..files {
            cache.keep(&path(n), &old(n), &digests(n));
        }
        drop(cache);
        home
    }
}

fn path(n: u64) -> PathBuf {
    PathBuf::from(format!("/data/{}/file-{n}", n % 7))
}

/// Of a file that was written long ago.
fn old(n: u64) -> Mark {
    Mark { device: 7, inode: n, size: 4096, mtime_ns: NOW - DAY_NS, ctime_ns: NOW - DAY_NS + i128::from(n) }
}

fn digests(n: u64) -> Digests {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    Digests { sha256: Some(Sha256(bytes)), ..Digests::default() }
}

fn recall(cache: &Cache, path: &Path, mark: &Mark) -> Option<Digests> {
    cache.recall(&[(path, mark)]).remove(0)
}

fn recall_all(cache: &Cache, files: u64) -> Vec<Option<Digests>> {
    let files: Vec<(PathBuf, Mark)> = (0..files).map(|n| (path(n), old(n))).collect();
    let asked: Vec<(&Path, &Mark)> = files.iter().map(|(path, mark)| (path.as_path(), mark)).collect();
    cache.recall(&asked)
}

/// Every answer is right or missing; returns how many there are.
fn right(cache: &Cache, files: u64) -> usize {
    let known = recall_all(cache, files);
    for (n, known) in (0..).zip(&known) {
        assert!(known.is_none() || *known == Some(digests(n)), "file {n}: {known:?}");
    }
    known.iter().flatten().count()
}

#[test]
fn what_was_kept_is_recalled_by_the_next_run() {
    let home = Home::filled(5000);
    let cache = home.sound();
    assert_eq!(right(&cache, 6000), 5000);
    assert_eq!(cache.counts(), Counts { known: 5000, unknown: 1000 });
}

#[test]
fn any_other_file_or_state_is_unknown() {
    let home = Home::filled(3);
    let cache = home.sound();
    assert_eq!(recall(&cache, &path(1), &old(1)), Some(digests(1)));
    assert_eq!(recall(&cache, &path(2), &old(1)), None);
    let others = [
        Mark { device: 8, ..old(1) },
        Mark { inode: 2, ..old(1) },
        Mark { size: 4097, ..old(1) },
        Mark { mtime_ns: NOW - DAY_NS - 1, ..old(1) },
        Mark { ctime_ns: NOW - DAY_NS, ..old(1) },
    ];
    for other in others {
        assert_eq!(recall(&cache, &path(1), &other), None, "{other:?}");
    }
}

#[test]
fn a_file_too_young_to_trust_is_unknown() {
    let young = |mtime_ns, ctime_ns| Mark { mtime_ns, ctime_ns, ..old(1) };
    let table = [
        (young(NOW - TICK_NS, NOW - TICK_NS), true),
        (young(NOW - TICK_NS + 1, NOW - DAY_NS), false),
        (young(NOW - DAY_NS, NOW - TICK_NS + 1), false),
        (young(NOW + DAY_NS, NOW - DAY_NS), false),
        (young(NOW - DAY_NS, NOW + DAY_NS), false),
        (young(i128::MAX, i128::MIN), false),
        // Before 1970: odd, but settled.
        (young(-1, -1), true),
    ];
    for (mark, kept) in table {
        let home = Home::new();
        home.sound().keep(&path(1), &mark, &digests(1));
        // However late it is asked: the row was never written.
        let later = home.open(Mode::Use, NOW + 10 * DAY_NS);
        assert_eq!(recall(&later, &path(1), &mark).is_some(), kept, "{mark:?}");
    }
}

#[test]
fn a_clock_that_went_back_makes_files_young_again() {
    let home = Home::filled(1);
    let before = home.open(Mode::Use, old(0).mtime_ns + 1);
    assert_eq!(recall(&before, &path(0), &old(0)), None);
}

#[test]
fn random_bytes_are_put_aside_and_a_new_cache_begins() {
    for bytes in [b"x".to_vec(), b"noise ".repeat(10_000), [0; 5000].to_vec()] {
        let home = Home::new();
        std::fs::write(home.path(), &bytes).unwrap();
        let cache = home.open(Mode::Use, NOW);
        let trouble = cache.trouble().unwrap();
        assert!(trouble.contains("damaged-1, and a new one was begun"), "{trouble}");
        assert_eq!(std::fs::read(home.folder.path().join("digests.db.damaged-1")).unwrap(), bytes);
        cache.keep(&path(0), &old(0), &digests(0));
        drop(cache);
        assert_eq!(right(&home.sound(), 2), 1);
    }
}

#[test]
fn what_was_put_aside_is_never_overwritten() {
    let home = Home::new();
    for n in 1..12 {
        std::fs::write(home.path(), format!("mistake {n}")).unwrap();
        let cache = home.open(Mode::Use, NOW);
        assert_eq!(cache.trouble().unwrap().contains("is not used"), n > 9, "{n}");
    }
    for n in 1..10 {
        let aside = home.folder.path().join(format!("digests.db.damaged-{n}"));
        assert_eq!(std::fs::read_to_string(aside).unwrap(), format!("mistake {n}"));
    }
    assert_eq!(std::fs::read_to_string(home.path()).unwrap(), "mistake 11");
}

#[test]
fn a_file_cut_short_anywhere_never_gives_a_wrong_digest() {
    let whole = std::fs::read(Home::filled(600).path()).unwrap();
    let (mut fewer, mut anew) = (0, 0);
    for cut in (0..whole.len()).step_by(whole.len() / 20) {
        let home = Home::new();
        std::fs::write(home.path(), &whole[..cut]).unwrap();
        let cache = home.open(Mode::Use, NOW);
        fewer += u32::from(right(&cache, 600) < 600);
        anew += u32::from(cache.trouble().is_some_and(|text| text.contains("a new one was begun")));
        cache.keep(&path(0), &old(0), &digests(0));
        drop(cache);
        let next = home.sound();
        assert!(right(&next, 600) >= 1, "cut at {cut}: what was hashed since is not kept");
    }
    assert!(fewer >= 20 && anew >= 15, "{fewer} {anew}");
}

#[test]
fn a_flipped_byte_never_gives_a_wrong_digest() {
    let whole = std::fs::read(Home::filled(300).path()).unwrap();
    let home = Home::new();
    let mut lost = 0;
    // All of the header, and a sample of the rest that meets pages at every offset.
    for at in (0..120).chain((120..whole.len()).step_by(397)) {
        for entry in std::fs::read_dir(home.folder.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        std::fs::write(home.path(), &flipped).unwrap();
        let cache = home.open(Mode::Use, NOW);
        lost += u32::from(right(&cache, 300) < 300);
        if at % 16 == 0 {
            cache.keep(&path(300), &old(300), &digests(300));
            drop(cache);
            right(&home.open(Mode::Use, NOW), 301);
        }
    }
    assert!(lost > 30, "only {lost} flips were met");
}

#[test]
fn damage_found_while_reading_is_put_aside_once_and_the_run_goes_on() {
    let home = Home::filled(2000);
    let cache = home.sound();
    // Every page but the first, under the open cache.
    let file = std::fs::OpenOptions::new().write(true).open(home.path()).unwrap();
    for page in 1..file.metadata().unwrap().len() / 4096 {
        file.write_all_at(&[0x55; 4096], page * 4096).unwrap();
    }
    assert_eq!(right(&cache, 2000), 0);
    let trouble = cache.trouble().unwrap();
    assert!(trouble.contains("was damaged") && trouble.contains("a new one was begun"), "{trouble}");
    cache.keep(&path(1), &old(1), &digests(1));
    cache.flush();
    assert_eq!(right(&cache, 2000), 1);
    drop(cache);
    assert_eq!(right(&home.sound(), 2000), 1);
}

#[test]
fn a_cache_that_another_process_locked_is_done_without() {
    let home = Home::filled(10);
    let other = Connection::open(home.path()).unwrap();
    other.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; DELETE FROM pruned; COMMIT").unwrap();
    let cache = home.open(Mode::Use, NOW);
    assert_eq!(right(&cache, 10), 0);
    assert!(cache.trouble().unwrap().contains("another process holds it"), "{:?}", cache.trouble());
    drop((cache, other));
    assert!(!home.folder.path().join("digests.db.damaged-1").exists());
}

#[test]
fn a_writer_that_never_ends_is_waited_for_a_few_times_only() {
    let home = Home::filled(10);
    let cache = home.sound();
    let other = Connection::open(home.path()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for n in 10..20 {
        assert_eq!(right(&cache, 10), if n < 13 { 10 } else { 0 }, "write {n}");
        cache.keep(&path(n), &old(n), &digests(n));
        cache.flush();
    }
    assert!(cache.trouble().unwrap().contains("another process holds it"));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(right(&home.sound(), 20), 10);
}

#[test]
fn a_cache_that_cannot_be_made_is_done_without() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    // Root heeds no permissions; a file where a folder should be stops everybody.
    for place in [folder.path().join("file/digests.db"), folder.path().to_owned(), "/dev/null".into()] {
        let cache = Cache::open(&place, Mode::Use, NOW);
        let trouble = cache.trouble().unwrap();
        assert!(trouble.contains("is not used") && trouble.contains(place.to_str().unwrap()), "{trouble}");
        cache.keep(&path(0), &old(0), &digests(0));
        assert_eq!(right(&cache, 1), 0);
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "x");
}

#[test]
fn databases_of_others_and_of_the_future_are_left_as_they_are() {
    let setups = [
        ("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)", "another program's database"),
        ("PRAGMA application_id = 42", "another program's database"),
        (&format!("PRAGMA application_id = {}; PRAGMA user_version = 2", 0x6e6f_636c), "a newer noclobber wrote it"),
    ];
    for (setup, said) in setups {
        let home = Home::new();
        Connection::open(home.path()).unwrap().execute_batch(setup).unwrap();
        let before = std::fs::read(home.path()).unwrap();
        let cache = home.open(Mode::Use, NOW);
        assert!(cache.trouble().unwrap().contains(said), "{:?}", cache.trouble());
        cache.keep(&path(0), &old(0), &digests(0));
        assert_eq!(right(&cache, 1), 0);
        drop(cache);
        assert_eq!(std::fs::read(home.path()).unwrap(), before);
    }
}

#[test]
fn a_full_cache_refuses_rows_and_no_run() {
    let home = Home::filled(10);
    let cache = home.sound();
    // As a full disk does: SQLITE_FULL.
    cache.with_db(&AtomicU32::new(0), |db| db.limit_to(1));
    for n in 10..3000 {
        cache.keep(&path(n), &old(n), &digests(n));
    }
    cache.flush();
    assert!(cache.trouble().unwrap().contains("full"), "{:?}", cache.trouble());
    drop(cache);
    assert_eq!(right(&home.sound(), 3000), 10);
}

#[test]
fn caches_and_threads_share_one_file() {
    let home = Home::new();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (home, start) = (&home, &start);
            scope.spawn(move || {
                start.wait();
                let cache = home.open(Mode::Use, NOW);
                for round in 0..10 {
                    for n in 0..100 {
                        let n = worker * 1000 + round * 100 + n;
                        cache.keep(&path(n), &old(n), &digests(n));
                    }
                    cache.flush();
                    right(&cache, 4000);
                }
            });
        }
    });
    // Whoever waits too long goes without; what there is is right, and somebody got through.
    assert!(right(&home.sound(), 4000) >= 100);
}

#[test]
fn one_cache_serves_many_threads() {
    let home = Home::filled(4000);
    let hashing = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let cache = home.sound();
    assert_eq!(hashing.install(|| right(&cache, 4000)), 4000);
}

#[test]
fn only_the_owner_may_read_it() {
    let home = Home::new();
    let path = home.folder.path().join("a/b/digests.db");
    let cache = Cache::open(&path, Mode::Use, NOW);
    cache.keep(&path, &old(0), &digests(0));
    cache.flush();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_file_name("digests.db-wal")), 0o600);
    for folder in ["a", "a/b"] {
        assert_eq!(mode(&home.folder.path().join(folder)), 0o700);
    }
}

#[test]
fn rows_that_nobody_asks_for_go_and_rows_in_use_stay() {
    let home = Home::filled(100);
    let day = |days: i128| NOW + days * DAY_NS;
    // Every 20 days, half of them are asked for.
    for days in (20..=140).step_by(20) {
        let cache = home.open(Mode::Use, day(days));
        assert_eq!(right(&cache, 50), 50, "day {days}");
    }
    let rows: i64 =
        Connection::open(home.path()).unwrap().query_row("SELECT count(*) FROM file", (), |row| row.get(0)).unwrap();
    assert_eq!(rows, 50);
    assert_eq!(right(&home.open(Mode::Use, day(141)), 100), 50);
    // After a year nobody's are left.
    assert_eq!(right(&home.open(Mode::Use, day(600)), 100), 0);
}

#[test]
fn a_row_in_use_is_marked_so_rarely() {
    let home = Home::filled(10);
    let seen = || -> Vec<i64> {
        let other = Connection::open(home.path()).unwrap();
        let mut rows = other.prepare("SELECT DISTINCT seen FROM file").unwrap();
        rows.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    for (days, marked) in [(0, 20_000), (13, 20_000), (14, 20_014), (27, 20_014), (28, 20_028)] {
        right(&home.open(Mode::Use, NOW + days * DAY_NS), 10);
        assert_eq!(seen(), [marked], "day {days}");
    }
}

/// Real files, and a cache that was opened an hour after they were written.
struct Files {
    home: Home,
    jobs: Vec<Job>,
    now_ns: i128,
}

impl Files {
    fn new(files: usize, wanted: &Wanted) -> Self {
        let home = Home::new();
        let jobs: Vec<Job> = (0..files)
            .map(|index| {
                let path = home.folder.path().join(index.to_string());
                std::fs::write(&path, [b'x'].repeat(index + 1)).unwrap();
                Job { index, mark: mark(&path).unwrap(), path, wanted: wanted.clone() }
            })
            .collect();
        let now_ns = jobs.iter().map(|job| job.mark.ctime_ns).max().unwrap() + 3_600_000_000_000;
        Self { home, jobs, now_ns }
    }

    /// The answers, and how many bytes were read for them. Each is what hashing says.
    fn run(&self, mode: Mode) -> (Vec<LocalFile>, u64) {
        let hashing = Hashing::new(2, self.home.open(mode, self.now_ns)).unwrap();
        let (read, answers) = (AtomicU64::new(0), Mutex::new(vec![None; self.jobs.len()]));
        let tell = |told| {
            if let Told::Read(bytes) = told {
                read.fetch_add(bytes, Ordering::Relaxed);
            }
        };
        hashing.hash_all(&self.jobs, tell, |index, answer| answers.lock().unwrap()[index] = Some(answer.unwrap()));
        assert_eq!(hashing.cache().trouble(), None);
        let answers: Vec<LocalFile> = answers.into_inner().unwrap().into_iter().flatten().collect();
        let hashed: Vec<LocalFile> =
            self.jobs.iter().map(|job| hash(&job.path, &job.wanted, &|_| ()).unwrap()).collect();
        assert_eq!(answers, hashed);
        (answers, read.into_inner())
    }

    fn bytes(&self) -> u64 {
        (1..=self.jobs.len() as u64).sum()
    }
}

fn sha256() -> Wanted {
    Wanted { sha256: true, ..Wanted::default() }
}

#[test]
fn known_files_are_not_read_again() {
    let files = Files::new(40, &sha256());
    assert_eq!(files.run(Mode::Use).1, files.bytes());
    assert_eq!(files.run(Mode::Use).1, 0);
    assert_eq!(files.run(Mode::Off).1, files.bytes());
}

#[test]
fn what_is_missing_is_hashed_in_one_read_and_kept_beside_the_rest() {
    let mut files = Files::new(10, &sha256());
    files.run(Mode::Use);
    let both = Wanted { md5: true, composite_at: vec![3], etag_at: vec![3, 4], ..sha256() };
    for job in &mut files.jobs {
        job.wanted = Wanted { sha256: false, ..both.clone() };
    }
    assert_eq!(files.run(Mode::Use).1, files.bytes());
    for job in &mut files.jobs {
        job.wanted = both.clone();
    }
    assert_eq!(files.run(Mode::Use).1, 0);
}

#[test]
fn a_partial_recall_reads_for_the_missing_digests_alone() {
    let home = Home::new();
    let file = home.folder.path().join("a");
    std::fs::write(&file, "content").unwrap();
    let mark = mark(&file).unwrap();
    let now_ns = mark.ctime_ns + DAY_NS;
    // A digest that hashing would not give shows where the answer came from.
    home.open(Mode::Use, now_ns).keep(&file, &mark, &digests(1));
    let wanted = Wanted { md5: true, ..sha256() };
    let job = Job { index: 0, path: file, mark, wanted };
    for reads in [7, 0] {
        let hashing = Hashing::new(1, home.open(Mode::Use, now_ns)).unwrap();
        let (read, answer) = (AtomicU64::new(0), Mutex::new(None));
        let told = Mutex::new(Vec::new());
        let tell = |now| {
            if let Told::Read(bytes) = now {
                read.fetch_add(bytes, Ordering::Relaxed);
            }
            told.lock().unwrap().push(now);
        };
        hashing.hash_all(std::slice::from_ref(&job), tell, |_, result| *answer.lock().unwrap() = result.ok());
        let digests_now = answer.into_inner().unwrap().unwrap().digests;
        assert_eq!(digests_now.sha256, digests(1).sha256);
        let md5: Md5 = "9a0364b9e99bb480dd25e1f0284c8555".parse().unwrap();
        assert_eq!(digests_now.md5, Some(md5));
        // What was known is no work to tell of.
        let work = [Told::Found { files: 1, bytes: 7 }, Told::Read(7), Told::Done];
        assert_eq!(told.into_inner().unwrap(), work[..if reads == 0 { 0 } else { 3 }]);
        assert_eq!(read.into_inner(), reads);
    }
}

#[test]
fn a_rehash_ignores_what_is_there_and_writes_over_it() {
    let files = Files::new(10, &sha256());
    let cache = files.home.open(Mode::Use, files.now_ns);
    for job in &files.jobs {
        cache.keep(&job.path, &job.mark, &digests(9));
    }
    drop(cache);
    // `run` holds every answer against the file.
    assert_eq!(files.run(Mode::Rehash).1, files.bytes());
    assert_eq!(files.run(Mode::Use).1, 0);
}

#[test]
fn a_file_that_moved_since_its_mark_is_answered_as_it_is_now() {
    let mut files = Files::new(2, &sha256());
    files.run(Mode::Use);
    let path = files.jobs[0].path.clone();
    std::fs::write(&path, "other and longer").unwrap();
    // The mark is known, so the file is not looked at; with a digest more it is, and nothing old is mixed in.
    files.jobs[0].wanted.md5 = true;
    let (answers, read) = files.run(Mode::Use);
    assert_eq!(answers[0].stat.size, 16);
    // Once for the missing digest, once for all of them.
    assert_eq!(read, 32);
    files.jobs[0].mark = mark(&path).unwrap();
    assert_eq!(files.run(Mode::Use).1, 0);
}
