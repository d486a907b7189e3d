//! Reads files for their digests: each file once, many files and many parts at a time. It never writes, and a file that
//! moves while it is read has no digests.

use std::io;
use std::path::{Path, PathBuf};

use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use super::cache::Cache;
use super::read::{Windows, read};
use super::stat::{FileError, Mark};
use crate::model::local::{Digests, LocalFile, Wanted};

/// Files that are asked of the cache at once.
const BATCH_JOBS: usize = 8192;

/// Computes every wanted digest of a regular file in one read. `advance` is told the bytes as they are read.
pub fn hash(path: &Path, wanted: &Wanted, advance: &(dyn Fn(u64) + Sync)) -> Result<LocalFile, FileError> {
    let (mark, digests) = read(path, wanted, None, advance)?;
    Ok(LocalFile { stat: mark.stat(), digests })
}

/// One file to hash, and the number under which the answer is told.
#[derive(Debug, Clone)]
pub struct Job {
    pub index: usize,
    pub path: PathBuf,
    /// The file as the caller saw it.
    pub mark: Mark,
    pub wanted: Wanted,
}

/// What hashing tells of its progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// So much is to be read; the rest was known.
    Found { files: u64, bytes: u64 },
    /// So many bytes were read.
    Read(u64),
    /// A file that had to be read is done.
    Done,
}

/// Threads that hash, and what they know from earlier runs. Made once: threads are dear.
#[derive(Debug)]
pub struct Hashing {
    pool: rayon::ThreadPool,
    cache: Cache,
    windows: Windows,
}

impl Hashing {
    /// The error is that of the threads, which could not be started.
    pub fn new(threads: usize, cache: Cache) -> io::Result<Self> {
        // Not rayon's global pool: its size is nobody's to choose twice, and a caller's own work must not wait behind ours.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("hash-{i}"))
            .build()
            .map_err(io::Error::other)?;
        Ok(Self { pool, cache, windows: Windows::default() })
    }

    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Answers many files, each in at most one read, and keeps what was computed. `done` is told each answer as it comes,
    /// in no order. A file of which everything is known is not opened, and no work to tell of. One that moved since its
    /// mark was taken is answered as it is now: its stat differs from the caller's.
    pub fn hash_all(
        &self,
        jobs: &[Job],
        tell: impl Fn(Told) + Sync,
        done: impl Fn(usize, Result<LocalFile, FileError>) + Sync,
    ) {
        self.pool.install(|| {
            for batch in jobs.chunks(BATCH_JOBS) {
                let marked: Vec<(&Path, &Mark)> = batch.iter().map(|job| (job.path.as_path(), &job.mark)).collect();
                let known = self.cache.recall(&marked);
                let mut unread = Vec::new();
                for (job, known) in batch.iter().zip(known) {
                    let known = known.unwrap_or_default();
                    if job.wanted.without(&known).is_nothing() && !job.wanted.is_nothing() {
                        done(job.index, Ok(LocalFile { stat: job.mark.stat(), digests: known.only(&job.wanted) }));
                    } else {
                        unread.push((job, known));
                    }
                }
                if unread.is_empty() {
                    continue;
                }
                let (files, bytes) = (unread.len() as u64, unread.iter().map(|(job, _)| job.mark.size).sum());
                tell(Told::Found { files, bytes });
                // Split down to single files: one huge file among small ones must not hold its neighbours back.
                unread.into_par_iter().with_max_len(1).for_each(|(job, known)| {
                    done(job.index, self.answer(job, known, &tell));
                });
            }
        });
        self.windows.close();
        self.cache.flush();
    }

    fn answer(&self, job: &Job, known: Digests, tell: &(impl Fn(Told) + Sync)) -> Result<LocalFile, FileError> {
        let Job { path, mark, wanted, .. } = job;
        let missing = wanted.without(&known);
        if wanted.is_nothing() {
            return hash(path, wanted, &|_| ());
        }
        let advance = |bytes| tell(Told::Read(bytes));
        let read = |wanted| read(path, wanted, Some(&self.windows), &advance);
        let answer = read(&missing);
        tell(Told::Done);
        let (mut now, mut digests) = answer?;
        if now == *mark {
            digests.add(known);
        } else if missing != *wanted {
            // What is known is of another state than what was read just now.
            (now, digests) = read(wanted)?;
        }
        self.cache.keep(path, &now, &digests);
        Ok(LocalFile { stat: now.stat(), digests: digests.only(wanted) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::part::part_count;

    const MIB: usize = 1 << 20;
    /// Of no file.
    const MARK: Mark = Mark { device: 0, inode: 0, size: 0, mtime_ns: 0, ctime_ns: 0 };

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i * 31 + (i >> 8) * 7 + (i >> 16)).to_le_bytes()[0]).collect()
    }

    fn everything(parts: &[u64]) -> Wanted {
        Wanted {
            sha256: true,
            md5: true,
            crc64nvme: true,
            crc32c: true,
            crc32: true,
            composite_at: parts.to_vec(),
            etag_at: parts.to_vec(),
        }
    }

    fn pin(part_bytes: usize) -> Wanted {
        Wanted { composite_at: vec![part_bytes as u64], ..Wanted::default() }
    }

    fn file_of(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    // Computed with Python's hashlib and zlib, and with bitwise CRC-32C and CRC-64/NVME that give the check values of
    // the catalogue for "123456789".
    #[test]
    fn digests_equal_those_of_an_independent_implementation() {
        let cases = [
            (
                Vec::new(),
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "d41d8cd98f00b204e9800998ecf8427e",
                0,
                0,
                0,
            ),
            (
                b"123456789".to_vec(),
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
                "25f9e794323b453885f5181f1b624d0b",
                0xae8b_1486_0a79_9888,
                0xe306_9283,
                0xcbf4_3926,
            ),
            (
                pattern(1000),
                "67c95b2fe37807a4897fb9ad871d51f033a14d8f3e4c8edf38ec8312238b5ed2",
                "4334b5638e2807fc3700cb5880c971ef",
                0xff20_2148_ec36_9c49,
                0xdd5b_ad35,
                0x421e_e648,
            ),
            (
                pattern(3 * MIB),
                "8771b38d66fee936d4cd24012166fc89f64be172bbad92e72cb388cdedab9a19",
                "c253377124c2288b424cd24ffe90f7c1",
                0x5a5a_d5cb_6cc3_365c,
                0x0ca8_d2d6,
                0x975e_bc87,
            ),
            (
                pattern(3 * MIB + 1),
                "333c1af0dfc7772793dbc649d16e73759b3d5b8f4c169ab2a89ac0e4b5d52304",
                "0084451a77033f2329d92e0286d3b937",
                0x9c65_279f_bfc7_fe89,
                0x97e0_b471,
                0x8790_971e,
            ),
        ];
        for (content, sha256, md5, crc64nvme, crc32c, crc32) in cases {
            let file = file_of(&content);
            let read = AtomicU64::new(0);
            let advance = |bytes| {
                read.fetch_add(bytes, Ordering::Relaxed);
            };
            let hashed = hash(file.path(), &everything(&[]), &advance).unwrap();
            let expected = Digests {
                sha256: Some(sha256.parse().unwrap()),
                md5: Some(md5.parse().unwrap()),
                crc64nvme: Some(crc64nvme),
                crc32c: Some(crc32c),
                crc32: Some(crc32),
                ..Digests::default()
            };
            assert_eq!(hashed.digests, expected, "{} bytes", content.len());
            assert_eq!(hashed.stat, super::super::stat(file.path()).unwrap());
            // One read, whatever the number of digests.
            assert_eq!(read.into_inner(), content.len() as u64);
        }
    }

    // (file, part size, composite SHA-256, parts, ETag's MD5), computed with Python's hashlib.
    #[rustfmt::skip]
    const PARTS: [(usize, usize, &str, u32, &str); 9] = [
        (0, MIB, "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456", 1, "59adb24ef3cdbe0297f05b395827453f"),
        (1000, 7, "96a8214ae1f41a045e9216acb3cfc3d2ac60fd56e352added4e9052953bbf9a5", 143, "65774098eee0b6c5bba2c968abb25319"),
        (1000, 500, "f5ffba2f108ea92d0362743198735786fe47596f5fbf932a1b9750f53e95700e", 2, "376660386fbc9a93163e66acf2989d32"),
        (1000, MIB, "5310e17abd27ea9e1793198a8f50e9ef5009c3c566cce6c26b5e810151343966", 1, "5bdebab3f7412777d3f5ce9792bda00a"),
        (3 * MIB, 500, "d74315b02fa5ac2856b8d284731e359a9018676d98ed181524fe5576dcfac398", 6292, "f6d4846949993d24cf6959e3d5d3956b"),
        (3 * MIB, MIB, "0a77339a8204f3357b1a5168bdc75ada58415f25329a70a2caff06097b0e3cd9", 3, "a5f7bebee1df1b63a4a1da5f81a3766c"),
        (3 * MIB, MIB + MIB / 2, "6bdf4efdb43817de3fb42e184f3ad48ac830e170d9a7f83e16a72b91f0624daa", 2, "d1abdba8fdccf19d55749bc903853f04"),
        (3 * MIB + 1, MIB, "53d466fb121e77fb0611c74adda4229a65c1c9bff161fa87857ad685d08db3ea", 4, "224c3e5747aeabe372f659c1966d52bc"),
        (3 * MIB + 1, MIB + MIB / 2, "96b3095f628d599d904f4bc0d81e8510a75026b55c5961db0ed69a996b4a297f", 3, "0a440eb8df776403a139abfbeaa696b1"),
    ];

    #[test]
    fn parts_end_where_s3_ends_them() {
        for (bytes, part, composite, count, etag) in PARTS {
            let file = file_of(&pattern(bytes));
            let part = part as u64;
            let digests = hash(file.path(), &everything(&[part]), &|_| ()).unwrap().digests;
            assert_eq!(digests.composites[&part], (composite.parse().unwrap(), count), "{bytes} in {part}");
            assert_eq!(digests.etags[&part], (etag.parse().unwrap(), count), "{bytes} in {part}");
            assert_eq!(u64::from(count), part_count(bytes as u64, part));
        }
    }

    #[test]
    fn a_file_that_is_longer_than_it_says_is_refused() {
        let result = hash(Path::new("/proc/self/status"), &everything(&[]), &|_| ());
        assert!(matches!(result, Err(FileError::ChangedWhileRead)), "{result:?}");
    }

    #[test]
    fn nothing_wanted_reads_nothing() {
        let file = file_of(b"x");
        let hashed = hash(file.path(), &Wanted::default(), &|_| panic!("read")).unwrap();
        assert_eq!((hashed.stat.size, hashed.digests), (1, Digests::default()));
    }

    #[test]
    fn every_job_is_answered_once_under_its_own_number() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = (0..40)
            .map(|index| {
                let path = dir.path().join(index.to_string());
                // One in ten is missing, two are in parts.
                if index % 10 != 0 {
                    let bytes = if index % 17 == 1 { 2 * MIB + index } else { index };
                    std::fs::write(&path, pattern(bytes)).unwrap();
                }
                let wanted = if index % 17 == 1 { pin(MIB) } else { everything(&[]) };
                let mark = super::super::mark(&path).unwrap_or(MARK);
                Job { index, path, mark, wanted }
            })
            .collect::<Vec<_>>();
        let expected: Vec<_> = jobs.iter().map(|job| hash(&job.path, &job.wanted, &|_| ()).ok()).collect();
        let answers = Mutex::new(vec![Vec::new(); jobs.len()]);
        let hashing = Hashing::new(3, Cache::off()).unwrap();
        hashing.hash_all(&jobs, |_| (), |index, result| answers.lock().unwrap()[index].push(result.ok()));
        let answers = answers.into_inner().unwrap();
        assert!(answers.iter().all(|answers| answers.len() == 1));
        assert_eq!(answers.concat(), expected);
        assert_eq!(expected.iter().filter(|answer| answer.is_none()).count(), 4);
    }
}
