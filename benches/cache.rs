//! What it costs to recall the digests of a million files, in batches as a plan asks for them: `cargo bench --bench cache`.

// A benchmark that cannot make its files has nothing to measure.
#![allow(clippy::expect_used, clippy::print_stderr)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Instant, UNIX_EPOCH};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use noclobber::local::cache::{Cache, Mode};
use noclobber::local::{Mark, mark};
use noclobber::model::digest::Sha256;
use noclobber::model::local::Digests;

const FILES: usize = 1_000_000;
const BATCH: usize = 8192;

type PathOf = fn(usize) -> PathBuf;

/// How names lie in their folders.
const TREES: [(&str, PathOf); 2] = [
    ("numbered, 1,000 a folder", |n| format!("/srv/data/exports/{:04}/part-{:06}.parquet", n / 1000, n % 1000).into()),
    ("random names in one folder", |n| {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("/srv/data/exports/{random:016x}-{:08x}.json", random >> 13).into()
    }),
];

fn million(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mark = mark(Path::new(file!())).expect("this file");
    // A day from now, this file is old enough.
    let now = UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos().cast_signed()) + 86_400_000_000_000;
    let mut group = criterion.benchmark_group("a million files");
    group.sample_size(10).throughput(Throughput::Elements(FILES as u64));
    for (tree, path) in TREES {
        let place = folder.path().join(tree);
        let mut paths: Vec<PathBuf> = (0..FILES).map(path).collect();
        paths.sort();
        let began = Instant::now();
        fill(&place, now, &paths, &mark);
        let bytes = std::fs::metadata(&place).map_or(0, |meta| meta.len());
        eprintln!("{tree}: written in {:?}, {} MiB", began.elapsed(), bytes >> 20);
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let cache = Cache::open(&place, Mode::Use, now);
            group.bench_function(format!("{tree}, {threads} threads"), |bencher| {
                bencher.iter(|| pool.install(|| assert_eq!(recall(&cache, &paths, &mark), FILES)));
            });
        }
    }
    group.finish();
}

fn fill(place: &Path, now: i128, paths: &[PathBuf], mark: &Mark) {
    let cache = Cache::open(place, Mode::Use, now);
    for (n, path) in paths.iter().enumerate() {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        cache.keep(path, mark, &Digests { sha256: Some(Sha256(bytes)), ..Digests::default() });
    }
}

/// How many are known.
fn recall(cache: &Cache, paths: &[PathBuf], mark: &Mark) -> usize {
    let batch = |paths: &[PathBuf]| {
        let asked: Vec<(&Path, &Mark)> = paths.iter().map(|path| (path.as_path(), mark)).collect();
        black_box(cache.recall(&asked)).into_iter().flatten().count()
    };
    paths.chunks(BATCH).map(batch).sum()
}

criterion_group!(benches, million);
criterion_main!(benches);
