//! One row of the cache: where it lies, what it says, and the check that it says it of this very file.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crc_fast::CrcAlgorithm;
use sha2::{Digest as _, Sha256 as Sha256Hasher};

use crate::local::stat::Mark;
use crate::model::digest::{Md5, Sha256};
use crate::model::local::Digests;

const CHECK_BYTES: usize = 16;
/// Changes whenever the same bytes would mean something else.
const FORM: &[u8] = b"noclobber digests 1";

const SHA256: u8 = 1;
const MD5: u8 = 2;
const CRC64NVME: u8 = 4;
const CRC32C: u8 = 8;
const CRC32: u8 = 16;

/// Where the row of a path lies. Two paths that share a number take turns: that costs speed and nothing else.
///
/// Neighbours in a folder, numbered names in their order, and names such as UUIDs in theirs get neighbouring numbers, so
/// that a batch reads and writes few pages: a plain hash would spread 8,000 rows over 8,000 pages. 16 bits are the
/// folder's, 16 the name's beginning, 32 the whole path's, mixed with the name's number.
pub(super) fn id(path: &Path) -> i64 {
    let path = path.as_os_str().as_bytes();
    let name_at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (folder, name) = path.split_at(name_at);
    // The digits of an ending such as `.mp3` tell no two names apart.
    let stem = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0).unwrap_or(name.len());
    let end = name[..stem].iter().rposition(u8::is_ascii_digit).map_or(0, |at| at + 1);
    let digits = name[..end].iter().rev().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let (start, number) = (end - digits, &name[end - digits..end]);
    let number = number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let mut rest = crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme);
    rest.update(folder);
    let folder = rest.finalize();
    rest.update(&name[..start]);
    rest.update(b"/");
    rest.update(&name[end..]);
    let rest = rest.finalize();
    let begins = random_start(name).unwrap_or(rest >> 48);
    ((folder & 0xffff) << 48 | begins << 32 | ((rest ^ number) & 0xffff_ffff)).cast_signed()
}

/// The first four hex digits of a name that begins like a hash or a UUID. Dates and words do not.
fn random_start(name: &[u8]) -> Option<u64> {
    let start = name.first_chunk::<8>()?;
    let is_random = start.iter().all(u8::is_ascii_hexdigit)
        && start.iter().any(u8::is_ascii_digit)
        && start.iter().any(u8::is_ascii_alphabetic);
    let digits = std::str::from_utf8(&start[..4]).ok()?;
    is_random.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// The row's bytes: the check, then the digests.
pub(super) fn encode(path: &Path, mark: &Mark, digests: &Digests) -> Vec<u8> {
    let Digests { sha256, md5, crc64nvme, crc32c, crc32, composites, etags } = digests;
    let mut row = vec![0; CHECK_BYTES];
    let flag = |there: bool, bit: u8| if there { bit } else { 0 };
    row.push(
        flag(sha256.is_some(), SHA256)
            | flag(md5.is_some(), MD5)
            | flag(crc64nvme.is_some(), CRC64NVME)
            | flag(crc32c.is_some(), CRC32C)
            | flag(crc32.is_some(), CRC32),
    );
    // No plan asks for hundreds of part sizes; what is left out is hashed again.
    let count = |len: usize| u8::try_from(len).unwrap_or(u8::MAX);
    row.push(count(composites.len()));
    row.push(count(etags.len()));
    row.extend(sha256.iter().flat_map(|digest| digest.0));
    row.extend(md5.iter().flat_map(|digest| digest.0));
    row.extend(crc64nvme.iter().flat_map(|crc| crc.to_le_bytes()));
    row.extend(crc32c.iter().flat_map(|crc| crc.to_le_bytes()));
    row.extend(crc32.iter().flat_map(|crc| crc.to_le_bytes()));
    for (part_bytes, (digest, parts)) in composites.iter().take(u8::MAX.into()) {
        row.extend(part_bytes.to_le_bytes());
        row.extend(parts.to_le_bytes());
        row.extend(digest.0);
    }
    for (part_bytes, (digest, parts)) in etags.iter().take(u8::MAX.into()) {
        row.extend(part_bytes.to_le_bytes());
        row.extend(parts.to_le_bytes());
        row.extend(digest.0);
    }
    let check = check(path, mark, &row[CHECK_BYTES..]);
    row[..CHECK_BYTES].copy_from_slice(&check);
    row
}

/// What the row says of this file in this state; `None` where it is of another file or state, or damaged.
pub(super) fn decode(path: &Path, mark: &Mark, row: &[u8]) -> Option<Digests> {
    let (said, body) = row.split_first_chunk::<CHECK_BYTES>()?;
    if *said != check(path, mark, body) {
        return None;
    }
    let mut body = body;
    let [flags, composites, etags] = take(&mut body)?;
    let mut digests = Digests::default();
    if flags & SHA256 != 0 {
        digests.sha256 = Some(Sha256(take(&mut body)?));
    }
    if flags & MD5 != 0 {
        digests.md5 = Some(Md5(take(&mut body)?));
    }
    if flags & CRC64NVME != 0 {
        digests.crc64nvme = Some(u64::from_le_bytes(take(&mut body)?));
    }
    if flags & CRC32C != 0 {
        digests.crc32c = Some(u32::from_le_bytes(take(&mut body)?));
    }
    if flags & CRC32 != 0 {
        digests.crc32 = Some(u32::from_le_bytes(take(&mut body)?));
    }
    for _ in 0..composites {
        let (part_bytes, parts) = (take(&mut body)?, take(&mut body)?);
        let digest = (Sha256(take(&mut body)?), u32::from_le_bytes(parts));
        digests.composites.insert(u64::from_le_bytes(part_bytes), digest);
    }
    for _ in 0..etags {
        let (part_bytes, parts) = (take(&mut body)?, take(&mut body)?);
        let digest = (Md5(take(&mut body)?), u32::from_le_bytes(parts));
        digests.etags.insert(u64::from_le_bytes(part_bytes), digest);
    }
    body.is_empty().then_some(digests)
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(*head)
}

/// Covers what the row is of and what it says, so that neither needs to be compared, nor the first to be stored.
/// Half a SHA-256: no two of some billions of rows share it by accident.
fn check(path: &Path, mark: &Mark, body: &[u8]) -> [u8; CHECK_BYTES] {
    let Mark { device, inode, size, mtime_ns, ctime_ns } = mark;
    let path = path.as_os_str().as_bytes();
    let mut hasher = Sha256Hasher::new();
    hasher.update(FORM);
    hasher.update((path.len() as u64).to_le_bytes());
    hasher.update(path);
    for field in [device, inode, size] {
        hasher.update(field.to_le_bytes());
    }
    for field in [mtime_ns, ctime_ns] {
        hasher.update(field.to_le_bytes());
    }
    hasher.update(body);
    let digest: [u8; 32] = hasher.finalize().into();
    let (half, _) = digest.split_at(CHECK_BYTES);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(half);
    check
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all() -> Digests {
        Digests {
            sha256: Some(Sha256([1; 32])),
            md5: Some(Md5([2; 16])),
            crc64nvme: Some(3),
            crc32c: Some(4),
            crc32: Some(5),
            composites: [(16 << 20, (Sha256([6; 32]), 7)), (8 << 20, (Sha256([8; 32]), 9))].into(),
            etags: [(5 << 20, (Md5([10; 16]), 11))].into(),
        }
    }

    fn mark() -> Mark {
        Mark { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 }
    }

    #[test]
    fn digests_survive_their_row() {
        let alone = Digests { md5: Some(Md5([2; 16])), ..Digests::default() };
        for digests in [Digests::default(), alone, all()] {
            let row = encode(Path::new("a"), &mark(), &digests);
            assert_eq!(decode(Path::new("a"), &mark(), &row), Some(digests));
        }
    }

    #[test]
    fn a_row_is_of_one_file_in_one_state() {
        let path = Path::new("/a/b");
        let row = encode(path, &mark(), &all());
        assert_eq!(decode(Path::new("/a/c"), &mark(), &row), None);
        let others = [
            Mark { device: 0, ..mark() },
            Mark { inode: 0, ..mark() },
            Mark { size: 0, ..mark() },
            Mark { mtime_ns: 0, ..mark() },
            Mark { ctime_ns: 0, ..mark() },
        ];
        for other in others {
            assert_eq!(decode(path, &other, &row), None, "{other:?}");
        }
    }

    #[test]
    fn a_row_with_one_flipped_bit_says_nothing() {
        let row = encode(Path::new("a"), &mark(), &all());
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(Path::new("a"), &mark(), &flipped), None, "bit {bit}");
        }
        for short in 0..row.len() {
            assert_eq!(decode(Path::new("a"), &mark(), &row[..short]), None, "{short} bytes");
        }
    }

    #[test]
    fn names_get_numbers_of_their_own_and_numbered_ones_lie_together() {
        let mut ids = HashSet::new();
        for n in 0..10_000_u32 {
            let names = [
                format!("/d/part-{n:07}.parquet"),
                format!("/d/{:08x}-1.json", n.wrapping_mul(2_654_435_761)),
                format!("/d{n}/2026-11-22.csv"),
                format!("{n}"),
            ];
            for name in names {
                assert!(ids.insert(id(Path::new(&name))), "{name}");
            }
        }
        let low = |n: u32| id(Path::new(&format!("/d/part-{n:07}.parquet"))) >> 12;
        let blocks: HashSet<i64> = (0..8192).map(low).collect();
        assert!(blocks.len() <= 3, "8192 numbered names lie in {} blocks of 4096", blocks.len());
        // UUIDs keep their order, as far as their first digits go.
        let uuid = |start: &str| id(Path::new(&format!("/d/{start}-5717-4562-b3fc-2c963f66afa6.json"))) >> 32;
        let steps = ["0f00aaaa", "0f01aaaa", "0f02aaaa"].map(uuid);
        assert_eq!([steps[1] - steps[0], steps[2] - steps[1]], [1, 1]);
    }

    #[test]
    fn odd_paths_have_a_number() {
        for path in ["", "/", "a", "/.1", "1", ".", "..", "/a/1.2.3", "99999999999999999999999", "/a/\u{fffd}9.x"] {
            let _ = id(Path::new(path));
        }
    }
}
