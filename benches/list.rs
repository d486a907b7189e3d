//! What long lists cost: a list file, a listing, and the files that a list or a glob names.

// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::civil::Date;
use noclobber::local::find::{Base, Outside};
use noclobber::manifest::{key, list, template};
use noclobber::model::target::{Addressing, ConditionalWrites, Target};
use noclobber::store::Store as _;
use noclobber::store::s3::{Keys, S3};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ROWS: usize = 1_000_000;
const FILES: usize = 100_000;
const PAGE_KEYS: usize = 1000;

/// Reading the rows of a list file, against the csv crate alone.
fn file(c: &mut Criterion) {
    let mut text = "source,key,overwrite\n".to_owned();
    for n in 0..ROWS {
        let _ = writeln!(text, "data/{:03}/{n:07}.bin,reports/2026/{:03}/{n:07}.bin,if-changed", n % 1000, n % 1000);
    }
    let name: Arc<str> = "list.csv".into();
    let mut group = c.benchmark_group("list file");
    group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("the csv crate alone", |b| {
        b.iter(|| {
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let mut record = csv::ByteRecord::new();
            let mut bytes = 0;
            while reader.read_byte_record(&mut record).unwrap() {
                bytes += record.as_slice().len();
            }
            black_box(bytes)
        });
    });
    group.bench_function("rows that are lent", |b| {
        b.iter(|| {
            let mut rows = list::rows(&name, text.as_bytes());
            let mut bytes = 0;
            while let Some(row) = rows.next_row() {
                bytes += row.map_or(0, |row| row.source.len() + row.key.len());
            }
            black_box(bytes)
        });
    });
    group.bench_function("rows that are owned", |b| {
        b.iter(|| {
            let rows = list::rows(&name, text.as_bytes());
            black_box(rows.map(|row| row.map_or(0, |row| row.source.len() + row.key.len())).sum::<usize>())
        });
    });
    group.finish();
}

/// Answers every request with the same page, over and over.
async fn listing_server() -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                   <Name>b</Name><Prefix></Prefix><KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys>\
                   <EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
        .to_owned();
    for n in 0..PAGE_KEYS {
        let _ = write!(
            xml,
            "<Contents><Key>reports/2026/{n:07}.bin</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>\
             <ETag>&quot;{n:032x}&quot;</ETag><Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>"
        );
    }
    xml.push_str("</ListBucketResult>");
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{xml}", xml.len());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut buffer = [0; 8192];
            // A LIST fits one segment, so that each read is one request.
            while connection.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                if connection.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    format!("http://{address}")
}

/// One page of a listing, from the socket to our own types. Includes the server's writing of it.
fn page(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async {
        let target = Target {
            name: "default".into(),
            bucket: "b".into(),
            endpoint: listing_server().await,
            region: "us-east-1".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        let keys = Keys::Static { access_key: "a".into(), secret_key: "s".into() };
        S3::connect(&target, keys).await.unwrap()
    });
    let mut group = c.benchmark_group("listing");
    group.throughput(Throughput::Elements(PAGE_KEYS as u64));
    group.bench_function("a page of 1,000 keys", |b| {
        b.iter(|| black_box(runtime.block_on(store.list("", None)).unwrap().objects.len()));
    });
    group.finish();
}

fn tree(folder: &Path) -> Vec<String> {
    let names: Vec<String> = (0..FILES).map(|n| format!("data/{:03}/{n:07}.bin", n / 1000)).collect();
    for (n, name) in names.iter().enumerate() {
        let path = folder.join(name);
        if n % 1000 == 0 {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        std::fs::write(path, name).unwrap();
    }
    names
}

/// Finding files, one by one and by a glob, and making their keys.
fn sources(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let names = tree(folder.path());
    let mut group = c.benchmark_group("sources");
    group.sample_size(10).throughput(Throughput::Elements(FILES as u64));
    let base = Base::new(folder.path(), Outside::Refused).unwrap();
    group.bench_function("stat alone", |b| {
        b.iter(|| names.iter().filter(|name| std::fs::symlink_metadata(folder.path().join(name)).is_ok()).count());
    });
    group.bench_function("literal", |b| {
        b.iter(|| names.iter().filter(|name| base.literal(name).is_ok_and(|found| found.flaw.is_none())).count());
    });
    group.bench_function("glob", |b| b.iter(|| base.glob("data/**/*.bin").unwrap().found.len()));
    let engine = template::Engine::new(Date::constant(2026, 1, 31), &BTreeMap::new(), &BTreeMap::new());
    for (name, text) in [
        ("key: path", "reports/{{ date }}/{{ path }}"),
        ("key: filters", "reports/{{ date | datefmt('%Y/%m/%d') }}/{{ stem | upper }}.{{ ext }}"),
    ] {
        group.bench_function(name, |b| {
            let compiled = engine.compile(text).unwrap();
            b.iter(|| {
                let render = |path| engine.render(&compiled, &engine.scope_of(path)).unwrap().len();
                names.iter().map(|name| render(name)).sum::<usize>()
            });
        });
    }
    group.bench_function("key: flaws", |b| {
        b.iter(|| names.iter().filter(|name| key::flaw(name, false).is_some()).count());
    });
    group.finish();
}

criterion_group!(benches, file, page, sources);
criterion_main!(benches);
