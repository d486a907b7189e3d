//! The one rule for parts, shared by planner and executor and frozen in every step.

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;
/// CopyObject takes no more in one request (S3 user guide, "Copying, moving, and renaming objects"): 5 GB.
pub const COPY_MAX_BYTES: u64 = 5_000_000_000;
/// Parts of a copy are as large, where nothing speaks against it: each is one request, and none of its bytes travel.
pub const COPY_PART_BYTES: u64 = 1024 * MIB;
/// S3 puts no smaller part together, but for the last.
pub const COPY_PART_MIN_BYTES: u64 = 5 * MIB;
/// From this size on, a file is uploaded in parts.
pub const MULTIPART_FROM_BYTES: u64 = 64 * MIB;
/// No part is smaller, but for the last.
pub const PART_MIN_BYTES: u64 = 16 * MIB;
/// S3's limit on parts of one upload.
pub const PARTS_MAX: u64 = 10_000;
/// S3's limit on one object: 48.8 TiB, 10,000 parts of 5 GiB.
pub const OBJECT_MAX_BYTES: u64 = PARTS_MAX * 5 * 1024 * MIB;

/// The part size in bytes for a file of this size: `max(16 MiB, size / 10,000 rounded up to a MiB)`; `None` below
/// the size from which parts are used.
#[must_use]
pub fn part_bytes(size_bytes: u64) -> Option<u64> {
    (size_bytes >= MULTIPART_FROM_BYTES).then(|| PART_MIN_BYTES.max(size_bytes.div_ceil(PARTS_MAX).div_ceil(MIB) * MIB))
}

/// The part size in bytes for a copy of `size_bytes`, where one request may copy `limit_bytes`.
#[must_use]
pub fn copy_part_bytes(size_bytes: u64, limit_bytes: u64) -> u64 {
    let few_enough = size_bytes.div_ceil(PARTS_MAX).div_ceil(MIB) * MIB;
    COPY_PART_BYTES.min(limit_bytes).max(COPY_PART_MIN_BYTES).max(few_enough)
}

/// How many parts of `part_bytes` a file of `size_bytes` has. An empty file has one, empty part.
#[must_use]
pub fn part_count(size_bytes: u64, part_bytes: u64) -> u64 {
    size_bytes.div_ceil(part_bytes.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_at_64_mib_and_never_exceed_ten_thousand() {
        assert_eq!(part_bytes(0), None);
        assert_eq!(part_bytes(64 * MIB - 1), None);
        assert_eq!(part_bytes(64 * MIB), Some(16 * MIB));
        assert_eq!(part_bytes(160_000 * MIB), Some(16 * MIB));
        assert_eq!(part_bytes(160_000 * MIB + 1), Some(17 * MIB));
        for size in [64 * MIB, 5_000_000 * MIB + 7, OBJECT_MAX_BYTES] {
            let bytes = part_bytes(size).unwrap_or(1);
            assert!(part_count(size, bytes) <= PARTS_MAX, "{size}");
        }
        for (size, limit, bytes) in [
            (6 * 1024 * MIB, COPY_MAX_BYTES, 1024 * MIB),
            (20 * MIB, 7 * MIB, 7 * MIB),
            (20 * MIB, 1, 5 * MIB),
            (OBJECT_MAX_BYTES, COPY_MAX_BYTES, 5 * 1024 * MIB),
        ] {
            assert_eq!(copy_part_bytes(size, limit), bytes, "{size} by {limit}");
            assert!(part_count(size, bytes) <= PARTS_MAX, "{size}");
        }
        assert_eq!(part_count(0, 16), 1);
        assert_eq!(part_count(16, 16), 1);
        assert_eq!(part_count(17, 16), 2);
    }
}
