//! What deciding costs: the ladder and the rule table over a million entries of every kind.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use noclobber::model::digest::{ETag, Md5, Sha256};
use noclobber::model::entry::{Compare, Properties, Rule};
use noclobber::model::head::{Encryption, Head, HeldChecksums, HeldSha256, Remote};
use noclobber::model::local::{Digests, LocalFile, Stat};
use noclobber::plan::diff;

const ENTRIES: usize = 1_000_000;

fn case(n: usize) -> (LocalFile, Remote, Rule) {
    let byte = u8::try_from(n % 251).unwrap_or(0);
    let local = LocalFile {
        stat: Stat { size: 4096, mtime_ns: 0 },
        digests: Digests { sha256: Some(Sha256([byte; 32])), md5: Some(Md5([byte; 16])), ..Digests::default() },
    };
    let theirs = if n.is_multiple_of(3) { byte } else { byte.wrapping_add(1) };
    let head = Head {
        size: 4096 + u64::from(n.is_multiple_of(7)),
        etag: ETag::new(&Md5([theirs; 16]).to_string()),
        version: None,
        last_modified: None,
        encryption: Encryption::Aes256,
        checksums: HeldChecksums {
            sha256: n.is_multiple_of(2).then_some(HeldSha256::Full(Sha256([theirs; 32]))),
            ..HeldChecksums::default()
        },
        first_part: None,
        properties: Properties::default(),
        claim: None,
        write_id: None,
    };
    let remote = if n.is_multiple_of(5) { Remote::Absent } else { Remote::Present(Box::new(head)) };
    (local, remote, Rule::ALL[n % 4])
}

fn million(c: &mut Criterion) {
    let cases: Vec<_> = (0..ENTRIES).map(case).collect();
    let mut group = c.benchmark_group("diff");
    group.sample_size(10).throughput(Throughput::Elements(ENTRIES as u64));
    group.bench_function("a million entries", |b| {
        b.iter(|| {
            let writes = cases.iter().filter(|(local, remote, rule)| {
                diff(local, remote, *rule, Compare::Content, true, false).action.writes()
            });
            black_box(writes.count())
        });
    });
    group.finish();
}

criterion_group!(benches, million);
criterion_main!(benches);
