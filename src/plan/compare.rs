//! Same or different: the ladder. The first rung that can speak decides.
//!
//! Never by size and modification time, and never equal by default: what no rung can tell is `Unknown`.

use crate::model::digest::Checksum;
use crate::model::entry::Rule;
use crate::model::head::{Head, HeldSha256, Remote};
use crate::model::local::{LocalFile, Wanted};
use crate::model::part::{MIB, part_bytes, part_count};
use crate::model::step::Proof;

/// What is known of a file and an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Same(Proof),
    Different(Proof),
    Unknown,
}

/// Compares a file with an object of the same bucket.
///
/// | rung | speaks when | says |
/// |---|---|---|
/// | 1 | sizes differ / both are empty | different / same |
/// | 2 | the server holds a SHA-256, full or composite | same or different; a composite can only say same, unless every part's size is known |
/// | 3 | it holds a CRC of the full object | same or different |
/// | 4 | the ETag is 32 hex digits | same under any encryption; different only where the encryption says that it is an MD5 |
/// | 5 | the ETag is of N parts | same at a part size that gives N parts; different only where every part's size is known and the encryption says that it is made of MD5s |
/// | 6 | our own metadata claims a digest, and the target trusts it | same or different |
///
/// Every part's size is known of one part, which is the whole, and of two once the first is known: the second is the
/// rest. Of three or more the first says nothing sure of the others, since S3 takes parts of any sizes: at its size a
/// match proves, and a mismatch may only mean that the parts were cut otherwise.
///
/// Rungs whose digest was not computed are silent, so `local` must carry what [`wanted`] asked for.
#[must_use]
pub fn compare(local: &LocalFile, head: &Head, trust_metadata: bool) -> Compared {
    let verdict = |same: bool, proof| if same { Compared::Same(proof) } else { Compared::Different(proof) };
    if local.stat.size != head.size {
        return Compared::Different(Proof::Size);
    }
    if head.size == 0 {
        return Compared::Same(Proof::Empty);
    }
    let digests = &local.digests;

    match head.checksums.sha256 {
        Some(HeldSha256::Full(theirs)) => {
            if let Some(ours) = digests.sha256 {
                return verdict(ours == theirs, Proof::Sha256);
            }
        }
        Some(HeldSha256::Composite { digest: theirs, parts }) => {
            if digests.composites.values().any(|ours| *ours == (theirs, parts)) {
                return Compared::Same(Proof::Sha256Composite);
            }
            if sure_part(head, parts).is_some_and(|bytes| digests.composites.contains_key(&bytes)) {
                return Compared::Different(Proof::Sha256Composite);
            }
        }
        None => {}
    }

    if let (Some(ours), Some(theirs)) = (digests.crc64nvme, head.checksums.crc64nvme) {
        return verdict(ours == theirs, Proof::Crc64nvme);
    }
    if let (Some(ours), Some(theirs)) = (digests.crc32c, head.checksums.crc32c) {
        return verdict(ours == theirs, Proof::Crc32c);
    }
    if let (Some(ours), Some(theirs)) = (digests.crc32, head.checksums.crc32) {
        return verdict(ours == theirs, Proof::Crc32);
    }

    if let (Some(ours), Some(theirs)) = (digests.md5, head.etag.as_md5()) {
        if ours == theirs {
            return Compared::Same(Proof::EtagMd5);
        }
        if head.encryption.etag_is_md5() {
            return Compared::Different(Proof::EtagMd5);
        }
    }
    if let Some((theirs, parts)) = head.etag.as_multipart() {
        if digests.etags.values().any(|ours| *ours == (theirs, parts)) {
            return Compared::Same(Proof::EtagParts);
        }
        let hashed = |bytes| digests.etags.contains_key(&bytes);
        if head.encryption.etag_is_md5() && sure_part(head, parts).is_some_and(hashed) {
            return Compared::Different(Proof::EtagParts);
        }
    }

    if trust_metadata && let Some(claim) = &head.claim {
        let ours = match claim.parse() {
            // The server's own word says that the claim is of another object.
            Ok(claimed) if head.belies(head.size, &claimed).is_some() => None,
            Ok(Checksum::Full(theirs)) => digests.sha256.map(|ours| ours == theirs),
            Ok(Checksum::Composite { digest, parts, part_bytes }) => {
                digests.composites.get(&part_bytes).map(|ours| *ours == (digest, parts))
            }
            Err(_) => None,
        };
        if let Some(same) = ours {
            return verdict(same, Proof::Claim);
        }
    }
    Compared::Unknown
}

/// The part sizes that other tools upload with, in MiB: minio-go and rclone 5, the aws CLI and boto3 8, rclone and
/// others 15, 16 (ours), s5cmd 50, 64, 100.
const USUAL_PART_MIB: [u64; 7] = [5, 8, 15, 16, 50, 64, 100];

/// The part sizes in bytes at which an object may have been cut into `parts` parts: of one part its own size; else the
/// one that it told, or as long as it was not asked those that are usual, and ours.
fn part_sizes(head: &Head, parts: u32) -> Vec<u64> {
    let mut sizes: Vec<u64> = match (parts, head.first_part) {
        (1, _) => vec![head.size],
        (_, Some(told)) => vec![told],
        (_, None) => USUAL_PART_MIB.iter().map(|mib| mib * MIB).chain(part_bytes(head.size)).collect(),
    };
    sizes.sort_unstable();
    sizes.dedup();
    sizes.retain(|bytes| *bytes > 0 && part_count(head.size, *bytes) == u64::from(parts));
    sizes
}

/// The part size in bytes at which an object is known to have been cut, for every one of its parts: at another digest
/// its content is another.
fn sure_part(head: &Head, parts: u32) -> Option<u64> {
    match parts {
        1 => Some(head.size),
        // The last part may be the shorter one, so a first that is shorter than the rest is no such size.
        2 => head.first_part.filter(|first| *first > 0 && part_count(head.size, *first) == 2),
        _ => None,
    }
}

/// Whether it is worth a request to ask an object of several parts for its first ([`Head::first_part`]): what is known
/// by now does not decide, the answer could, and something depends on it.
#[must_use]
pub fn asks_first_part(local: &LocalFile, head: &Head, rule: Rule, trust_metadata: bool) -> bool {
    let of_parts = |parts: u32| parts > 1;
    let composite = match head.checksums.sha256 {
        Some(HeldSha256::Composite { parts, .. }) => of_parts(parts),
        Some(HeldSha256::Full(_)) | None => false,
    };
    // Where it cannot be made of MD5s, no part size makes it match.
    let etag = head.encryption.etag_is_md5() && head.etag.as_multipart().is_some_and(|(_, parts)| of_parts(parts));
    rule != Rule::Always
        && head.first_part.is_none()
        && (composite || etag)
        && compare(local, head, trust_metadata) == Compared::Unknown
}

/// The digests of a file of `size` bytes that [`compare`] or the upload itself will need, and no more: rungs below the
/// first one that is sure to speak ask for nothing.
#[must_use]
pub fn wanted(size: u64, remote: &Remote, rule: Rule, trust_metadata: bool) -> Wanted {
    let mut wanted = Wanted::default();
    let head = match remote {
        Remote::Absent => {
            pin(&mut wanted, size);
            return wanted;
        }
        Remote::Unseen => {
            if !rule.may_replace() {
                pin(&mut wanted, size);
            }
            return wanted;
        }
        Remote::Present(head) => head,
    };
    if rule.may_replace() {
        pin(&mut wanted, size);
    }
    if head.size == size && size > 0 {
        climb(&mut wanted, size, head, trust_metadata);
    }
    wanted.composite_at.sort_unstable();
    wanted.composite_at.dedup();
    wanted
}

fn pin(wanted: &mut Wanted, size: u64) {
    match part_bytes(size) {
        None => wanted.sha256 = true,
        Some(part_bytes) => wanted.composite_at.push(part_bytes),
    }
}

fn climb(wanted: &mut Wanted, size: u64, head: &Head, trust_metadata: bool) {
    match head.checksums.sha256 {
        Some(HeldSha256::Full(_)) => {
            wanted.sha256 = true;
            return;
        }
        Some(HeldSha256::Composite { parts, .. }) => {
            wanted.composite_at.extend(part_sizes(head, parts));
            if sure_part(head, parts).is_some() {
                return;
            }
        }
        None => {}
    }
    if head.checksums.crc64nvme.is_some() {
        wanted.crc64nvme = true;
        return;
    }
    if head.checksums.crc32c.is_some() {
        wanted.crc32c = true;
        return;
    }
    if head.checksums.crc32.is_some() {
        wanted.crc32 = true;
        return;
    }
    if head.etag.as_md5().is_some() {
        wanted.md5 = true;
        if head.encryption.etag_is_md5() {
            return;
        }
    }
    if let Some((_, parts)) = head.etag.as_multipart() {
        wanted.etag_at = part_sizes(head, parts);
        if sure_part(head, parts).is_some() && head.encryption.etag_is_md5() {
            return;
        }
    }
    if trust_metadata && let Some(claim) = &head.claim {
        match claim.parse() {
            Ok(Checksum::Full(_)) => wanted.sha256 = true,
            // A part size from outside is believed only as far as S3 could have used it.
            Ok(Checksum::Composite { part_bytes, parts, .. })
                if part_bytes > 0 && part_count(size, part_bytes) == u64::from(parts) =>
            {
                wanted.composite_at.push(part_bytes);
            }
            Ok(Checksum::Composite { .. }) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::{ETag, Md5, Sha256};
    use crate::model::entry::Properties;
    use crate::model::head::{Encryption, HeldChecksums};
    use crate::model::local::{Digests, Stat};

    const SIZE: u64 = 100 * MIB;
    const SHA: Sha256 = Sha256([1; 32]);
    const OTHER_SHA: Sha256 = Sha256([2; 32]);
    const MD5: Md5 = Md5([3; 16]);
    const OTHER_MD5: Md5 = Md5([4; 16]);
    /// 100 MiB in parts of 16 MiB.
    const PARTS: u32 = 7;
    /// The part sizes at which our file was hashed, and the parts that they make.
    const CUTS: [(u64, u32); 4] = [(16 * MIB, PARTS), (40 * MIB, 3), (60 * MIB, 2), (SIZE, 1)];

    /// A file of which everything is known.
    fn local() -> LocalFile {
        LocalFile {
            stat: Stat { size: SIZE, mtime_ns: 0 },
            digests: Digests {
                sha256: Some(SHA),
                md5: Some(MD5),
                crc64nvme: Some(64),
                crc32c: Some(33),
                crc32: Some(32),
                composites: CUTS.map(|(bytes, parts)| (bytes, (SHA, parts))).into(),
                etags: CUTS.map(|(bytes, parts)| (bytes, (MD5, parts))).into(),
            },
        }
    }

    fn head(etag: &str, encryption: Encryption) -> Head {
        Head {
            size: SIZE,
            etag: ETag::new(etag),
            version: None,
            last_modified: None,
            encryption,
            checksums: HeldChecksums::default(),
            first_part: None,
            properties: Properties::default(),
            claim: None,
            write_id: None,
        }
    }

    fn opaque() -> Head {
        head("opaque", Encryption::Kms)
    }

    fn with(change: impl FnOnce(&mut Head)) -> Head {
        let mut head = opaque();
        change(&mut head);
        head
    }

    fn held(checksums: HeldChecksums) -> Head {
        with(|head| head.checksums = checksums)
    }

    fn composite(digest: Sha256, parts: u32) -> Head {
        held(HeldChecksums { sha256: Some(HeldSha256::Composite { digest, parts }), ..Default::default() })
    }

    fn told(mut head: Head, first_part: u64) -> Head {
        head.first_part = Some(first_part);
        head
    }

    #[test]
    fn the_first_rung_that_can_speak_decides() {
        use Compared::{Different, Same, Unknown};
        let sha = |sha256| held(HeldChecksums { sha256: Some(sha256), ..Default::default() });
        let etag = |md5: Md5, parts: u32, encryption: &Encryption| head(&format!("{md5}-{parts}"), encryption.clone());
        let claim = |text: String| with(|head| head.claim = Some(text));
        let pinned = |digest| Checksum::Composite { digest, parts: PARTS, part_bytes: 16 * MIB }.to_string();
        let (none, aes, kms, customer, listed) =
            (Encryption::None, Encryption::Aes256, Encryption::Kms, Encryption::Customer, Encryption::Unknown);
        let table: Vec<(&str, Head, Compared)> = vec![
            ("1 size", with(|head| head.size += 1), Different(Proof::Size)),
            ("2 full, same", sha(HeldSha256::Full(SHA)), Same(Proof::Sha256)),
            ("2 full, other", sha(HeldSha256::Full(OTHER_SHA)), Different(Proof::Sha256)),
            ("2 composite, same", composite(SHA, PARTS), Same(Proof::Sha256Composite)),
            ("2 composite, other: the parts may be others", composite(OTHER_SHA, PARTS), Unknown),
            ("2 composite of one part, other", composite(OTHER_SHA, 1), Different(Proof::Sha256Composite)),
            ("2 composite of a count we have not", composite(SHA, 4), Unknown),
            ("2 composite of two parts, same", told(composite(SHA, 2), 60 * MIB), Same(Proof::Sha256Composite)),
            (
                "2 composite of two parts, other",
                told(composite(OTHER_SHA, 2), 60 * MIB),
                Different(Proof::Sha256Composite),
            ),
            ("2 composite of two parts, other, the first not told", composite(OTHER_SHA, 2), Unknown),
            ("2 composite of two parts, other, not hashed so", told(composite(OTHER_SHA, 2), 61 * MIB), Unknown),
            ("2 composite of two parts, the second longer", told(composite(OTHER_SHA, 2), 40 * MIB), Unknown),
            ("2 composite of three parts, same", told(composite(SHA, 3), 40 * MIB), Same(Proof::Sha256Composite)),
            (
                "2 composite of three parts, other: the second is not told",
                told(composite(OTHER_SHA, 3), 40 * MIB),
                Unknown,
            ),
            (
                "3 crc64nvme, same",
                held(HeldChecksums { crc64nvme: Some(64), ..Default::default() }),
                Same(Proof::Crc64nvme),
            ),
            (
                "3 crc64nvme, other",
                held(HeldChecksums { crc64nvme: Some(1), crc32: Some(32), ..Default::default() }),
                Different(Proof::Crc64nvme),
            ),
            ("3 crc32c, same", held(HeldChecksums { crc32c: Some(33), ..Default::default() }), Same(Proof::Crc32c)),
            (
                "3 crc32c, other",
                held(HeldChecksums { crc32c: Some(1), ..Default::default() }),
                Different(Proof::Crc32c),
            ),
            ("3 crc32, same", held(HeldChecksums { crc32: Some(32), ..Default::default() }), Same(Proof::Crc32)),
            ("3 crc32, other", held(HeldChecksums { crc32: Some(1), ..Default::default() }), Different(Proof::Crc32)),
            ("4 plain, same", head(&MD5.to_string(), none.clone()), Same(Proof::EtagMd5)),
            ("4 plain, other", head(&OTHER_MD5.to_string(), none.clone()), Different(Proof::EtagMd5)),
            ("4 aes256, same", head(&MD5.to_string(), aes.clone()), Same(Proof::EtagMd5)),
            ("4 aes256, other", head(&OTHER_MD5.to_string(), aes), Different(Proof::EtagMd5)),
            ("4 kms, same", head(&MD5.to_string(), kms.clone()), Same(Proof::EtagMd5)),
            ("4 kms, other", head(&OTHER_MD5.to_string(), kms), Unknown),
            ("4 sse-c, same", head(&MD5.to_string(), customer.clone()), Same(Proof::EtagMd5)),
            ("4 sse-c, other", head(&OTHER_MD5.to_string(), customer), Unknown),
            ("4 listed, same", head(&MD5.to_string(), listed.clone()), Same(Proof::EtagMd5)),
            ("4 listed, other", head(&OTHER_MD5.to_string(), listed), Unknown),
            ("5 parts, same", etag(MD5, PARTS, &none), Same(Proof::EtagParts)),
            ("5 parts, same, kms", etag(MD5, PARTS, &Encryption::Kms), Same(Proof::EtagParts)),
            ("5 parts, other", etag(OTHER_MD5, PARTS, &none), Unknown),
            ("5 one part, other", etag(OTHER_MD5, 1, &none), Different(Proof::EtagParts)),
            ("5 one part, other, kms", etag(OTHER_MD5, 1, &Encryption::Kms), Unknown),
            ("5 two parts, same", told(etag(MD5, 2, &none), 60 * MIB), Same(Proof::EtagParts)),
            ("5 two parts, other", told(etag(OTHER_MD5, 2, &none), 60 * MIB), Different(Proof::EtagParts)),
            ("5 two parts, other, the first not told", etag(OTHER_MD5, 2, &none), Unknown),
            ("5 two parts, other, not hashed so", told(etag(OTHER_MD5, 2, &none), 61 * MIB), Unknown),
            ("5 two parts, other, sse-c", told(etag(OTHER_MD5, 2, &Encryption::Customer), 60 * MIB), Unknown),
            ("5 two parts, the second longer", told(etag(OTHER_MD5, 2, &none), 40 * MIB), Unknown),
            ("5 three parts, same", told(etag(MD5, 3, &none), 40 * MIB), Same(Proof::EtagParts)),
            ("5 three parts, other: the second is not told", told(etag(OTHER_MD5, 3, &none), 40 * MIB), Unknown),
            ("5 a count we have not", etag(MD5, 4, &none), Unknown),
            ("6 claim, same", claim(pinned(SHA)), Same(Proof::Claim)),
            ("6 claim, other", claim(pinned(OTHER_SHA)), Different(Proof::Claim)),
            ("6 full claim, same", claim(Checksum::Full(SHA).to_string()), Same(Proof::Claim)),
            ("6 claim that is no checksum", claim("sha256:oops".into()), Unknown),
            ("7 nothing to go by", opaque(), Unknown),
        ];
        for (name, head, expected) in table {
            assert_eq!(compare(&local(), &head, true), expected, "{name}");
        }
    }

    #[test]
    fn an_object_is_asked_for_its_first_part_only_where_the_answer_could_decide() {
        let etag = |parts: u32| head(&format!("{OTHER_MD5}-{parts}"), Encryption::None);
        let but = |mut head: Head, change: fn(&mut Head)| {
            change(&mut head);
            head
        };
        let table = [
            ("an ETag of parts that matches at no usual size", etag(PARTS), true),
            ("an ETag of parts that no usual size makes", etag(9999), true),
            ("a composite that matches at no usual size", composite(OTHER_SHA, PARTS), true),
            ("another claim than ours", but(etag(PARTS), |head| head.claim = Some("sha256:oops".into())), true),
            ("one part, which is the whole", etag(1), false),
            ("a composite of one part", composite(OTHER_SHA, 1), false),
            ("it was told", told(etag(PARTS), 16 * MIB), false),
            ("the usual sizes say same", head(&format!("{MD5}-{PARTS}"), Encryption::None), false),
            ("another size", but(etag(PARTS), |head| head.size += 1), false),
            ("a rung above decides", but(etag(PARTS), |head| head.checksums.crc32 = Some(1)), false),
            ("a claim decides", but(etag(PARTS), |head| head.claim = Some(Checksum::Full(SHA).to_string())), false),
            ("not made of MD5s", but(etag(PARTS), |head| head.encryption = Encryption::Kms), false),
            ("a LIST, which a HEAD follows", but(etag(PARTS), |head| head.encryption = Encryption::Unknown), false),
            ("a plain ETag", head(&OTHER_MD5.to_string(), Encryption::Kms), false),
            ("nothing to go by", opaque(), false),
        ];
        for (name, head, asked) in table {
            for rule in Rule::ALL {
                // `always` replaces whatever the answer is.
                let expected = asked && rule != Rule::Always;
                assert_eq!(asks_first_part(&local(), &head, rule, true), expected, "{rule}: {name}");
            }
        }
        let claimed = but(etag(PARTS), |head| head.claim = Some(Checksum::Full(SHA).to_string()));
        assert!(asks_first_part(&local(), &claimed, Rule::Never, false), "a claim that nobody trusts");
    }

    #[test]
    fn what_the_server_holds_is_believed_before_a_claim() {
        let mut head = held(HeldChecksums { sha256: Some(HeldSha256::Full(OTHER_SHA)), ..Default::default() });
        head.claim = Some(Checksum::Full(SHA).to_string());
        assert_eq!(compare(&local(), &head, true), Compared::Different(Proof::Sha256));
    }

    #[test]
    fn a_claim_that_the_server_contradicts_counts_for_nothing() {
        let claimed = |mut head: Head| {
            head.claim = Some(Checksum::Composite { digest: SHA, parts: PARTS, part_bytes: 16 * MIB }.to_string());
            compare(&local(), &head, true)
        };
        assert_eq!(claimed(opaque()), Compared::Same(Proof::Claim));
        // Another composite might be of other parts; but an object of ours has the very one that it claims.
        assert_eq!(claimed(composite(OTHER_SHA, PARTS)), Compared::Unknown);
        assert_eq!(claimed(head(&format!("{}-{}", Md5([9; 16]), PARTS + 1), Encryption::Kms)), Compared::Unknown);
    }

    #[test]
    fn a_claim_counts_for_nothing_where_metadata_is_not_trusted() {
        let head = with(|head| head.claim = Some(Checksum::Full(SHA).to_string()));
        assert_eq!(compare(&local(), &head, false), Compared::Unknown);
        assert!(wanted(SIZE, &Remote::Present(Box::new(head)), Rule::Never, false).is_nothing());
    }

    #[test]
    fn two_empty_things_are_the_same() {
        let mut empty = opaque();
        empty.size = 0;
        let local = LocalFile { stat: Stat { size: 0, mtime_ns: 0 }, digests: Digests::default() };
        assert_eq!(compare(&local, &empty, true), Compared::Same(Proof::Empty));
    }

    #[test]
    fn a_digest_is_wanted_only_when_something_needs_it() {
        let present = |head: Head| Remote::Present(Box::new(head));
        let md5 = || head(&MD5.to_string(), Encryption::None);
        let small = 5;
        let at = |size, mut head: Head| {
            head.size = size;
            present(head)
        };
        let full = Wanted { sha256: true, ..Wanted::default() };
        let nothing = Wanted::default();
        assert_eq!(wanted(small, &Remote::Absent, Rule::Never, true), full);
        assert_eq!(
            wanted(SIZE, &Remote::Absent, Rule::Keep, true),
            Wanted { composite_at: vec![16 * MIB], ..Wanted::default() }
        );
        assert_eq!(wanted(small, &Remote::Unseen, Rule::Never, true), full);
        assert_eq!(wanted(small, &Remote::Unseen, Rule::Always, true), nothing);
        // Another size is different without a look inside; only what may be written is hashed.
        assert_eq!(wanted(small + 1, &at(small, md5()), Rule::Never, true), nothing);
        assert_eq!(wanted(small + 1, &at(small, md5()), Rule::IfChanged, true), full);
        assert_eq!(wanted(small, &at(small, md5()), Rule::Never, true), Wanted { md5: true, ..Wanted::default() });
        assert_eq!(
            wanted(small, &at(small, md5()), Rule::IfChanged, true),
            Wanted { md5: true, sha256: true, ..Wanted::default() }
        );
        assert_eq!(
            wanted(SIZE, &present(head(&format!("{MD5}-7"), Encryption::None)), Rule::Never, true),
            Wanted { etag_at: vec![15 * MIB, 16 * MIB], ..Wanted::default() }
        );
        let md5_at = |etag_at| Wanted { etag_at, ..Wanted::default() };
        let sha_at = |composite_at| Wanted { composite_at, ..Wanted::default() };
        let claimed = |mut head: Head| {
            head.claim = Some(Checksum::Full(SHA).to_string());
            head
        };
        let of_parts = |parts: u32| head(&format!("{MD5}-{parts}"), Encryption::None);
        let table = [
            ("the told size and no other", told(of_parts(7), 15 * MIB), md5_at(vec![15 * MIB])),
            ("none that makes other parts", told(of_parts(7), 30 * MIB), nothing.clone()),
            ("no zero", told(of_parts(7), 0), nothing.clone()),
            ("a composite at the told size", told(composite(SHA, 2), 60 * MIB), sha_at(vec![60 * MIB])),
            ("no claim where the parts decide", claimed(told(of_parts(2), 60 * MIB)), md5_at(vec![60 * MIB])),
            (
                "the claim too where they may not",
                claimed(told(of_parts(3), 40 * MIB)),
                Wanted { sha256: true, ..md5_at(vec![40 * MIB]) },
            ),
        ];
        for (name, head, expected) in table {
            assert_eq!(wanted(SIZE, &present(head), Rule::Never, true), expected, "{name}");
        }
    }
}
