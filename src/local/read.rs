//! Reads one file for its digests, each byte once, by the road that keeps most threads busy. It never trusts the size it
//! was told: a file that ends early, or late, has no digests.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::digests::{Hashers, Splits};
use super::stat::{FileError, Mark, open};
use crate::model::local::{Digests, Wanted};
use crate::model::part::MIB;

/// One read. Each thread holds one, whatever the files' sizes.
const BUFFER_BYTES: u64 = MIB;
/// Below this, sharing costs more than it saves.
const SHARED_FROM_BYTES: u64 = 8 * MIB;
/// What a thread takes of a window at once where the digest does not say.
const SHARE_BYTES: u64 = 4 * MIB;
/// A window's bytes for each thread, and its bounds: two parts of the usual size, and what memory is worth.
const WINDOW_BYTES_A_THREAD: u64 = 16 * MIB;
const WINDOW_MIN_BYTES: u64 = 32 * MIB;
const WINDOW_MAX_BYTES: u64 = 64 * MIB;

/// Two windows of memory, which one file at a time looks through: one is hashed while the next is read.
#[derive(Default)]
pub(super) struct Windows(Mutex<[Vec<u8>; 2]>);

impl Windows {
    /// Gives the memory back, unless it is in use.
    pub fn close(&self) {
        if let Ok(mut windows) = self.0.try_lock() {
            *windows = Default::default();
        }
    }
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windows").finish_non_exhaustive()
    }
}

/// Reads a regular file for every wanted digest. A change that shows in its mark leaves it without. Without windows,
/// what needs them takes a slower road. `advance` is told every byte once.
pub(super) fn read(
    path: &Path,
    wanted: &Wanted,
    windows: Option<&Windows>,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<(Mark, Digests), FileError> {
    unmoved(path, |file, size| Reading { file, size, wanted, advance }.digests(windows))
}

fn unmoved(
    path: &Path,
    look: impl FnOnce(&File, u64) -> Result<Digests, FileError>,
) -> Result<(Mark, Digests), FileError> {
    let (file, before) = open(path)?;
    let digests = look(&file, before.size)?;
    if Mark::of_open(&file)? == before { Ok((before, digests)) } else { Err(FileError::ChangedWhileRead) }
}

/// One file that is open, and what is wanted of it.
struct Reading<'a> {
    file: &'a File,
    size: u64,
    wanted: &'a Wanted,
    advance: &'a (dyn Fn(u64) + Sync),
}

/// How a file is shared out among threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Road {
    /// One thread reads from start to end.
    Stream,
    /// Each thread reads stretches of its own, which end where parts of every size do. Needs next to no memory, and can
    /// serve no digest of the whole file in one piece.
    Stretches { bytes: u64 },
    /// All threads share a window that moves through the file.
    Windows { bytes: u64 },
}

impl Reading<'_> {
    fn digests(&self, windows: Option<&Windows>) -> Result<Digests, FileError> {
        if self.wanted.is_nothing() {
            return Ok(Digests::default());
        }
        // A file of a few bytes must not start the global pool to learn its size.
        let threads = if self.size < SHARED_FROM_BYTES { 1 } else { rayon::current_num_threads() };
        match (road(self.wanted, self.size, threads, windows.is_some()), windows) {
            (Road::Stretches { bytes }, _) => self.by_stretches(bytes),
            (Road::Windows { bytes }, Some(windows)) => self.by_windows(windows, bytes, SHARE_BYTES),
            (Road::Stream | Road::Windows { .. }, _) => self.by_stream(),
        }
    }

    fn by_stream(&self) -> Result<Digests, FileError> {
        let mut hashers = Hashers::new(self.wanted);
        // One byte more than expected: a file that is longer than it says (it grew, or /proc made it) must not pass.
        let end = self.read(0, self.size.saturating_add(1), &mut |data| hashers.update(data))?;
        if end == self.size { Ok(hashers.finish()) } else { Err(FileError::ChangedWhileRead) }
    }

    fn by_stretches(&self, bytes: u64) -> Result<Digests, FileError> {
        let count = usize::try_from(self.size.div_ceil(bytes.max(1))).unwrap_or(usize::MAX);
        (0..count)
            .into_par_iter()
            .with_max_len(1)
            .map(|n| {
                let mut splits = Splits::new(self.wanted);
                let from = n as u64 * bytes;
                self.read_exact(from, self.size.min(from + bytes), &mut |data| splits.update(data))?;
                Ok(splits)
            })
            .try_reduce_with(|splits, next| Ok(splits.append(next)))
            .unwrap_or_else(|| Ok(Splits::new(self.wanted)))
            .map(Splits::finish)
    }

    fn by_windows(&self, windows: &Windows, bytes: u64, share_bytes: u64) -> Result<Digests, FileError> {
        let mut hashers = Hashers::new(self.wanted);
        let mut at = 0;
        while at < self.size {
            // Another file has them: every thread has work then, and waiting for them would waste one.
            if let Ok(windows) = windows.0.try_lock() {
                self.through_windows(windows, at, bytes, share_bytes, &mut hashers)?;
                break;
            }
            let to = self.size.min(at.saturating_add(bytes));
            self.read_exact(at, to, &mut |data| hashers.update(data))?;
            at = to;
        }
        Ok(hashers.finish())
    }

    fn through_windows(
        &self,
        mut windows: MutexGuard<'_, [Vec<u8>; 2]>,
        mut at: u64,
        bytes: u64,
        share_bytes: u64,
        hashers: &mut Hashers,
    ) -> Result<(), FileError> {
        let as_len = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (bytes, share) = (bytes.clamp(1, self.size.max(1)), as_len(share_bytes));
        let [now, next] = &mut *windows;
        for window in [&mut *now, &mut *next] {
            window.resize(window.len().max(as_len(bytes)), 0);
        }
        let len_at = |at: u64| as_len(bytes.min(self.size.saturating_sub(at)));
        self.fill(at, &mut now[..len_at(at)], share)?;
        while at < self.size {
            let len = len_at(at);
            let then = at + len as u64;
            let (filled, ()) = rayon::join(
                || self.fill(then, &mut next[..len_at(then)], share),
                || hashers.update_shared(&now[..len], share),
            );
            filled?;
            std::mem::swap(now, next);
            at = then;
        }
        Ok(())
    }

    /// Fills a window from here on, the threads of the pool sharing it.
    fn fill(&self, from: u64, window: &mut [u8], share: usize) -> Result<(), FileError> {
        let share = share.max(1);
        window.par_chunks_mut(share).enumerate().try_for_each(|(n, mut rest)| {
            let mut at = from + (n * share) as u64;
            while !rest.is_empty() {
                let got = self.read_at(rest, at)?;
                if got == 0 {
                    return Err(FileError::ChangedWhileRead);
                }
                (self.advance)(got as u64);
                at += got as u64;
                rest = &mut rest[got..];
            }
            Ok(())
        })
    }

    /// Growth shows in the second look at the file's size.
    fn read_exact(&self, from: u64, to: u64, take: &mut dyn FnMut(&[u8])) -> Result<(), FileError> {
        if self.read(from, to, take)? == to { Ok(()) } else { Err(FileError::ChangedWhileRead) }
    }

    /// Reads `from..to`, or up to the file's end, by position: threads share the descriptor. Returns where it stopped.
    fn read(&self, from: u64, to: u64, take: &mut dyn FnMut(&[u8])) -> Result<u64, FileError> {
        let mut buffer = vec![0; usize::try_from(BUFFER_BYTES.min(to - from)).unwrap_or(usize::MAX)];
        let mut at = from;
        while at < to {
            let want = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
            let got = self.read_at(&mut buffer[..want], at)?;
            if got == 0 {
                break;
            }
            at += got as u64;
            take(&buffer[..got]);
            (self.advance)(got as u64);
        }
        Ok(at)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize, FileError> {
        loop {
            match self.file.read_at(buffer, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(FileError::Unreadable),
            }
        }
    }
}

/// The road that keeps most threads busy; of two that do equally well, the one that takes less memory.
fn road(wanted: &Wanted, size: u64, threads: usize, may_use_windows: bool) -> Road {
    if threads < 2 || size < SHARED_FROM_BYTES {
        return Road::Stream;
    }
    let Wanted { sha256, md5, crc64nvme, crc32c, crc32, composite_at, etag_at } = wanted;
    let threads = threads as u64;
    let wholes = u64::from(*sha256) + u64::from(*md5);
    let parts = || composite_at.iter().chain(etag_at).map(|bytes| (*bytes).max(1));
    let busy = |work: u64, longest: u64| threads.min(work / longest.max(1));

    let bytes = (WINDOW_BYTES_A_THREAD * threads).clamp(WINDOW_MIN_BYTES, WINDOW_MAX_BYTES);
    // What can go on side by side within one window.
    let crcs = u64::from(*crc64nvme || *crc32c || *crc32);
    let abreast = wholes + crcs + parts().map(|part| bytes.div_ceil(part)).sum::<u64>();
    let by_windows = if may_use_windows { busy(abreast, 1) * 100 } else { 0 };

    // Where parts of every size end together.
    let grid = parts().try_fold(1, lcm).filter(|_| wholes == 0);
    let stretch = grid.and_then(|grid| SHARE_BYTES.div_ceil(grid).checked_mul(grid));
    let by_stretches = stretch.map_or(0, |stretch| {
        let turns = size.div_ceil(stretch).div_ceil(threads);
        u64::try_from(u128::from(size) * 100 / u128::from(turns.saturating_mul(stretch))).unwrap_or(u64::MAX)
    });
    match stretch {
        // A fifth goes to threads that wait for each other at the end of each window.
        Some(bytes) if by_stretches > 100 && by_stretches >= by_windows / 5 * 4 => Road::Stretches { bytes },
        _ if by_windows > 100 => Road::Windows { bytes },
        _ => Road::Stream,
    }
}

/// The least common multiple, where it fits.
fn lcm(a: u64, b: u64) -> Option<u64> {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (a / divisor).checked_mul(b)
}

#[cfg(test)]
mod tests;
