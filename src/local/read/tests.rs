//! Every road through a file gives the digests that a plain reading of the definitions gives.
#![allow(clippy::redundant_closure_for_method_calls, reason = "the method alone is of one lifetime only")]

use std::fs::{FileTimes, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crc_fast::CrcAlgorithm;
use md5::Md5 as Md5Hasher;
use proptest::prelude::{Strategy, any, prop, proptest};
use proptest::prop_assert_eq;
use sha2::{Digest as _, Sha256 as Sha256Hasher};

use super::*;
use crate::model::digest::{Md5, Sha256};

type Way<'a> = &'a (dyn Fn(&Reading) -> Result<Digests, FileError> + Sync);
type Strike<'a> = (&'a str, &'a (dyn Fn(&Path) + Sync));

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 31 + (i >> 8) * 7 + (i >> 16)).to_le_bytes()[0]).collect()
}

/// A file whose last write lies an hour back, so that any write from now on moves its mtime.
fn old_file(content: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    set_mtime(file.path(), SystemTime::now() - Duration::from_hours(1));
    file
}

fn set_mtime(path: &Path, to: SystemTime) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(to)).unwrap();
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// By the definitions: the whole, its parts, and the parts' digests.
fn reference(content: &[u8], wanted: &Wanted) -> Digests {
    let parts = |bytes: u64| match content {
        [] => vec![content],
        _ => content.chunks(usize::try_from(bytes).unwrap()).collect::<Vec<_>>(),
    };
    let crc = |algorithm| crc_fast::checksum(algorithm, content);
    let count = |parts: &[&[u8]]| u32::try_from(parts.len()).unwrap();
    let composite = |bytes: &u64| {
        let parts = parts(*bytes);
        let digests: Vec<u8> = parts.iter().flat_map(Sha256Hasher::digest).collect();
        (*bytes, (Sha256(Sha256Hasher::digest(digests).into()), count(&parts)))
    };
    let etag = |bytes: &u64| {
        let parts = parts(*bytes);
        let digests: Vec<u8> = parts.iter().flat_map(Md5Hasher::digest).collect();
        (*bytes, (Md5(Md5Hasher::digest(digests).into()), count(&parts)))
    };
    Digests {
        sha256: wanted.sha256.then(|| Sha256(Sha256Hasher::digest(content).into())),
        md5: wanted.md5.then(|| Md5(Md5Hasher::digest(content).into())),
        crc64nvme: wanted.crc64nvme.then(|| crc(CrcAlgorithm::Crc64Nvme)),
        crc32c: wanted.crc32c.then(|| u32::try_from(crc(CrcAlgorithm::Crc32Iscsi)).unwrap()),
        crc32: wanted.crc32.then(|| u32::try_from(crc(CrcAlgorithm::Crc32IsoHdlc)).unwrap()),
        composites: wanted.composite_at.iter().map(composite).collect(),
        etags: wanted.etag_at.iter().map(etag).collect(),
    }
}

fn wants(parts: impl Strategy<Value = u64> + Clone + 'static) -> impl Strategy<Value = Wanted> {
    let sizes = prop::collection::btree_set(parts, 0..3).prop_map(|sizes| sizes.into_iter().collect::<Vec<u64>>());
    (any::<[bool; 5]>(), sizes.clone(), sizes).prop_map(|(flags, composite_at, etag_at)| {
        let [sha256, md5, crc64nvme, crc32c, crc32] = flags;
        Wanted { sha256, md5, crc64nvme, crc32c, crc32, composite_at, etag_at }
    })
}

/// Runs a road, and sees that every byte was told of once.
fn told_once(
    file: &File,
    size: u64,
    wanted: &Wanted,
    road: impl FnOnce(&Reading) -> Result<Digests, FileError>,
) -> Digests {
    let told = AtomicU64::new(0);
    let advance = |bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
    };
    let digests = road(&Reading { file, size, wanted, advance: &advance }).unwrap();
    assert_eq!(told.into_inner(), size);
    digests
}

fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap()
}

proptest! {
    #[test]
    fn windows_of_any_size_see_every_part_as_it_is(
        size in 0..3000_usize,
        wanted in wants(1..700_u64),
        window in 1..900_u64,
        share in 1..200_u64,
    ) {
        let content = pattern(size);
        let temp = old_file(&content);
        let file = File::open(temp.path()).unwrap();
        let windows = Windows::default();
        let digests = told_once(&file, size as u64, &wanted, |reading| {
            pool().install(|| reading.by_windows(&windows, window, share))
        });
        prop_assert_eq!(digests, reference(&content, &wanted));
    }

    #[test]
    fn a_file_that_must_wait_for_the_windows_goes_on_without(
        size in 0..3000_usize,
        wanted in wants(1..700_u64),
        window in 1..900_u64,
    ) {
        let content = pattern(size);
        let temp = old_file(&content);
        let file = File::open(temp.path()).unwrap();
        let windows = Windows::default();
        let _held = windows.0.lock().unwrap();
        let digests = told_once(&file, size as u64, &wanted, |reading| reading.by_windows(&windows, window, 1));
        prop_assert_eq!(digests, reference(&content, &wanted));
    }

    #[test]
    fn stretches_join_to_the_whole(
        size in 0..5000_usize,
        wanted in wants((0..7_usize).prop_map(|n| [1_u64, 2, 3, 5, 10, 15, 30][n])),
        times in 1..20_u64,
    ) {
        let wanted = Wanted { sha256: false, md5: false, ..wanted };
        let content = pattern(size);
        let temp = old_file(&content);
        let file = File::open(temp.path()).unwrap();
        let digests = told_once(&file, size as u64, &wanted, |reading| {
            pool().install(|| reading.by_stretches(30 * times))
        });
        prop_assert_eq!(digests, reference(&content, &wanted));
    }

    #[test]
    fn one_stream_gives_the_same(size in 0..3000_usize, wanted in wants(1..700_u64)) {
        let content = pattern(size);
        let temp = old_file(&content);
        let file = File::open(temp.path()).unwrap();
        let digests = told_once(&file, size as u64, &wanted, |reading| reading.by_stream());
        prop_assert_eq!(digests, reference(&content, &wanted));
    }

    #[test]
    fn stretches_end_where_every_part_does_and_wholes_have_none(
        size in 0..(1_u64 << 44),
        wanted in wants(1..(200 * MIB)),
        threads in 1..64_usize,
    ) {
        match road(&wanted, size, threads, true) {
            Road::Stretches { bytes } => {
                assert!(!wanted.sha256 && !wanted.md5 && bytes > 0);
                for part in wanted.composite_at.iter().chain(&wanted.etag_at) {
                    prop_assert_eq!(bytes % part, 0);
                }
            }
            Road::Windows { bytes } => assert!((WINDOW_MIN_BYTES..=WINDOW_MAX_BYTES).contains(&bytes)),
            Road::Stream => {}
        }
        assert!(!matches!(road(&wanted, size, threads, false), Road::Windows { .. }));
    }
}

#[test]
fn each_file_takes_the_road_that_keeps_most_threads_busy() {
    let parts = |composite: &[u64], etag: &[u64]| Wanted {
        composite_at: composite.iter().map(|n| n * MIB).collect(),
        etag_at: etag.iter().map(|n| n * MIB).collect(),
        ..Wanted::default()
    };
    let stretches = |mib: u64| Road::Stretches { bytes: mib * MIB };
    let windows = |mib: u64| Road::Windows { bytes: mib * MIB };
    let sha256 = Wanted { sha256: true, ..Wanted::default() };
    let table = [
        // One digest of the whole is one thread's, and a small file any digest.
        (sha256.clone(), 2048, 2, Road::Stream),
        (parts(&[16], &[16]), 7, 2, Road::Stream),
        (parts(&[16], &[16]), 2048, 1, Road::Stream),
        (Wanted { md5: true, ..sha256.clone() }, 2048, 2, windows(32)),
        (Wanted { sha256: true, ..parts(&[16], &[]) }, 2048, 2, windows(32)),
        (parts(&[16], &[16]), 2048, 2, stretches(16)),
        (parts(&[16], &[16]), 2048, 16, stretches(16)),
        (parts(&[16], &[8]), 2048, 2, stretches(16)),
        (parts(&[16], &[5]), 2048, 2, stretches(80)),
        // Three stretches of 240 MiB would leave one of two threads idle for one of them.
        (parts(&[16], &[15]), 720, 2, windows(32)),
        (parts(&[16], &[16]), 20, 2, windows(32)),
        (Wanted { crc64nvme: true, ..Wanted::default() }, 2048, 2, stretches(4)),
    ];
    for (wanted, mib, threads, expected) in table {
        assert_eq!(road(&wanted, mib * MIB, threads, true), expected, "{wanted:?} {mib} MiB {threads}");
    }
}

/// Hashes a file of 3 MiB, by each road, that is struck once while it is read.
fn struck(strike: impl Fn(&Path) + Sync) -> [Result<(Mark, Digests), FileError>; 3] {
    let roads: [Way; 3] = [&|reading| reading.by_stream(), &|reading| reading.by_stretches(MIB), &|reading| {
        reading.by_windows(&Windows::default(), MIB, MIB / 4)
    }];
    roads.map(|road| {
        let file = old_file(&pattern(3 << 20));
        let first = Once::new();
        let advance = |_| first.call_once(|| strike(file.path()));
        let wanted = Wanted { crc32: true, composite_at: vec![MIB], ..Wanted::default() };
        pool().install(|| {
            unmoved(file.path(), |file, size| road(&Reading { file, size, wanted: &wanted, advance: &advance }))
        })
    })
}

#[test]
fn a_file_that_changes_while_it_is_read_has_no_digests() {
    let resize = |path: &Path, bytes: u64| {
        OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
    };
    let strikes: [Strike; 4] = [
        ("grows", &|path| overwrite(path, 3 * MIB, b"x")),
        ("shrinks", &|path| resize(path, 2 * MIB)),
        ("empties", &|path| resize(path, 0)),
        ("same length, other content", &|path| overwrite(path, 5, b"x")),
    ];
    for (name, strike) in strikes {
        for result in struck(strike) {
            assert!(matches!(result, Err(FileError::ChangedWhileRead)), "{name}: {result:?}");
        }
    }
}

#[test]
fn a_change_whose_mtime_was_put_back_is_seen_by_its_ctime() {
    for result in struck(|path| {
        let before = std::fs::metadata(path).unwrap();
        // The kernel's clock ticks; strike until it did.
        loop {
            overwrite(path, 5, b"x");
            set_mtime(path, before.modified().unwrap());
            let now = std::fs::metadata(path).unwrap();
            if (now.ctime(), now.ctime_nsec()) != (before.ctime(), before.ctime_nsec()) {
                break;
            }
        }
    }) {
        assert!(matches!(result, Err(FileError::ChangedWhileRead)), "{result:?}");
    }
}

#[test]
fn a_large_file_is_hashed_right_whatever_is_wanted_of_it() {
    let content = pattern((9 << 20) + 12_345);
    let file = old_file(&content);
    let both = Wanted { composite_at: vec![MIB, 3 * MIB], etag_at: vec![MIB + 1], ..Wanted::default() };
    let all = Wanted { sha256: true, md5: true, crc64nvme: true, crc32c: true, crc32: true, ..both.clone() };
    for wanted in [Wanted { composite_at: vec![MIB], ..Wanted::default() }, both, all] {
        let windows = Windows::default();
        let (_, digests) = pool().install(|| read(file.path(), &wanted, Some(&windows), &|_| ())).unwrap();
        assert_eq!(digests, reference(&content, &wanted), "{wanted:?}");
    }
}
