//! How fast local files are hashed, in bytes a second: `cargo bench --bench hash`. The file is read from the page cache,
//! so this measures digests and not disks.

// A benchmark that cannot make its files has nothing to measure.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::io::Write as _;
use std::num::NonZero;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use noclobber::local::{Cache, Hashing, Job, hash, mark};
use noclobber::model::local::Wanted;
use noclobber::model::part::MIB;

const PART_BYTES: u64 = 16 * MIB;

/// 512 MiB, or so many as `NOCLOBBER_BENCH_MIB` says.
fn file_bytes() -> u64 {
    std::env::var("NOCLOBBER_BENCH_MIB").ok().and_then(|mib| mib.parse::<u64>().ok()).unwrap_or(512) * MIB
}

fn file(bytes: u64) -> std::io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    let block: Vec<u8> = (0u32..1 << 18).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for _ in 0..bytes / MIB {
        file.write_all(&block)?;
    }
    Ok(file)
}

/// Hashes one file on a pool of so many threads.
fn on(hashing: &Hashing, path: &Path, wanted: &Wanted) {
    let mark = mark(path).expect("a file");
    let job = Job { index: 0, path: path.to_owned(), mark, wanted: wanted.clone() };
    hashing.hash_all(
        &[job],
        |_| (),
        |_, result| {
            black_box(&result);
        },
    );
}

fn pool(threads: usize) -> Hashing {
    Hashing::new(threads, Cache::off()).expect("threads")
}

fn one_file(criterion: &mut Criterion) {
    let file = file(file_bytes()).expect("a temporary file");
    let path = file.path();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut group = criterion.benchmark_group("one file");
    group.throughput(Throughput::Bytes(file_bytes())).sample_size(10);

    let sha256 = Wanted { sha256: true, ..Wanted::default() };
    let with_md5 = Wanted { md5: true, ..sha256.clone() };
    let crcs = Wanted { crc64nvme: true, crc32c: true, crc32: true, ..Wanted::default() };
    let composite = Wanted { composite_at: vec![PART_BYTES], ..Wanted::default() };
    let with_etag = Wanted { etag_at: vec![PART_BYTES], ..composite.clone() };
    for (name, wanted) in
        [("sha256", &sha256), ("sha256 and md5 in one read", &with_md5), ("three CRCs in one read", &crcs)]
    {
        group.bench_function(name, |bencher| bencher.iter(|| black_box(hash(path, wanted, &|_| ()))));
    }
    let misaligned = Wanted { etag_at: vec![15 * MIB], ..composite.clone() };
    let whole = Wanted { sha256: true, ..with_etag.clone() };
    for threads in [1, cores] {
        let hashing = pool(threads);
        for (name, wanted) in [
            ("composite", &composite),
            ("composite and multipart ETag", &with_etag),
            ("composite and an ETag of 15 MiB parts", &misaligned),
            ("sha256, composite and multipart ETag", &whole),
            ("sha256 and md5", &with_md5),
            ("three CRCs", &crcs),
        ] {
            group.bench_function(format!("{name}, {threads} threads"), |bencher| {
                bencher.iter(|| on(&hashing, path, wanted));
            });
        }
    }
    group.finish();
}

fn many_files(criterion: &mut Criterion) {
    let files: Vec<_> = (0..1000).map(|_| tempfile::NamedTempFile::new().expect("a temporary file")).collect();
    for file in &files {
        std::fs::write(file.path(), [7; 4096]).expect("a written file");
    }
    let wanted = Wanted { sha256: true, ..Wanted::default() };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut group = criterion.benchmark_group("1,000 files of 4 KiB");
    group.throughput(Throughput::Elements(1000)).sample_size(10);
    group.bench_function("sha256", |bencher| {
        let hashing = pool(cores);
        bencher.iter(|| {
            let job = |(index, file): (usize, &tempfile::NamedTempFile)| Job {
                index,
                path: file.path().to_owned(),
                mark: mark(file.path()).expect("a file"),
                wanted: wanted.clone(),
            };
            let jobs: Vec<Job> = files.iter().enumerate().map(job).collect();
            hashing.hash_all(
                &jobs,
                |_| (),
                |_, result| {
                    black_box(&result);
                },
            );
        });
    });
    group.finish();
}

criterion_group!(benches, one_file, many_files);
criterion_main!(benches);
