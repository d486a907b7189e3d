//! One claim against one look at its key. The tables above the functions are the tests.

use super::claim::{Claim, Doubt, Stored, Subject, Wanted, names_one_write};
use super::{Audit, Current, Proof, Settled, Writer};
use crate::model::digest::ETag;
use crate::model::head::{Head, VersionId};
use crate::model::row::SKEW_SECONDS;

/// An object as LIST tells it.
#[derive(Debug, Clone, Copy)]
pub struct Glimpse<'a> {
    pub etag: &'a ETag,
    pub size: u64,
    /// In whole seconds since 1970 began.
    pub modified: Option<i64>,
}

/// What a HEAD said of a key.
#[derive(Debug, Clone, Copy)]
pub enum Now<'a> {
    Absent,
    There(&'a Head),
    Unseen,
    Failed(&'a str),
}

/// Whether a claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Intact(Proof),
    /// Another object is current; the flag says whether it has the same ETag and size.
    Other {
        same_bytes: bool,
    },
    Absent,
    NotAllowed,
    Unreachable,
}

/// Whether LIST alone shows that a claim holds. `None` is a key that a LIST which was read to its end did not show.
///
/// LIST names no version: an object that was written anew with the same bytes has the same ETag and size, but not the
/// same time. Only a time within the row's own, to the second, is believed; any other asks for a HEAD, and so do clocks
/// that differ by more than the write took. For an `unchanged` row the run's beginning is the limit; one that names a
/// version gets a HEAD, since an older version with the same bytes may have come up again.
#[must_use]
pub fn glance(claim: &Claim, listed: Option<Glimpse<'_>>) -> bool {
    match (&claim.wanted, listed) {
        (Wanted::Nothing { .. }, None) => true,
        (Wanted::Nothing { .. }, Some(_)) | (Wanted::Object(_), None) => false,
        (Wanted::Object(stored), Some(Glimpse { etag, size, modified })) => {
            let (Some(modified), Some(until)) = (modified, claim.until) else { return false };
            // What a row wrote was written after it was begun: an older version that came up again was not.
            let is_late_enough = match claim.since {
                Some(since) => since <= modified,
                None => !claim.moved() && stored.version.is_none(),
            };
            has_bytes(stored, etag, size) && modified <= until && is_late_enough
        }
    }
}

/// Whether a claim holds, by a HEAD.
///
/// | the row's version | the current one | ETag, size | write id | written | |
/// |---|---|---|---|---|---|
/// | known | the same | | | | intact: version |
/// | known | another | same or not | | | other |
/// | not known, or `null` on both sides | | differ | | | other |
/// | | | same | the row's own | in its time | intact: write id |
/// | | | same | another, or none | | other |
/// | | | same | the row wrote none | in its time | intact: ETag |
/// | | | same | | a minute later | other |
#[must_use]
pub fn hold(claim: &Claim, now: Now<'_>) -> Held {
    match (&claim.wanted, now) {
        (_, Now::Unseen) => Held::NotAllowed,
        (_, Now::Failed(_)) => Held::Unreachable,
        (Wanted::Nothing { .. }, Now::Absent) => Held::Intact(Proof::Absent),
        (Wanted::Nothing { .. }, Now::There(_)) => Held::Other { same_bytes: false },
        (Wanted::Object(_), Now::Absent) => Held::Absent,
        (Wanted::Object(stored), Now::There(head)) => {
            let same_bytes = has_bytes(stored, &head.etag, head.size);
            match by_version(stored, head) {
                Some(true) => Held::Intact(Proof::Version),
                Some(false) => Held::Other { same_bytes },
                None if !same_bytes => Held::Other { same_bytes },
                None => by_write(claim, stored, head),
            }
        }
    }
}

/// Whether the version ids are one write's. `None` where they cannot tell.
fn by_version(stored: &Stored, head: &Head) -> Option<bool> {
    let now = head.version.as_ref()?;
    let Some(then) = &stored.version else {
        // The bucket kept no versions when the run wrote: what has one now was written since. Of what was left unchanged a
        // listing told none.
        return (stored.write_id.is_some() && names_one_write(now)).then_some(false);
    };
    match (names_one_write(then), names_one_write(now)) {
        // Both are `null`: every write to a bucket whose versioning is off or suspended goes there.
        (false, false) => None,
        (true, _) | (_, true) => Some(then == now),
    }
}

fn by_write(claim: &Claim, stored: &Stored, head: &Head) -> Held {
    let modified = head.last_modified.as_deref().and_then(seconds);
    let is_later = modified.zip(claim.until).is_some_and(|(modified, until)| modified > until + SKEW_SECONDS);
    match &stored.write_id {
        // A copy over itself keeps the write id, and not the time.
        _ if is_later => Held::Other { same_bytes: true },
        Some(own) if head.write_id.as_deref() == Some(own) => Held::Intact(Proof::WriteId),
        Some(_) => Held::Other { same_bytes: true },
        None => Held::Intact(Proof::Etag),
    }
}

fn has_bytes(stored: &Stored, etag: &ETag, size: u64) -> bool {
    stored.etag.as_ref() == Some(etag) && stored.size.is_none_or(|stored| stored == size)
}

/// Whether a version of a key's history may be what a row left that names no version of its own.
#[must_use]
pub fn may_be(claim: &Claim, id: &VersionId, etag: Option<&ETag>, modified: Option<&str>) -> bool {
    let Wanted::Object(stored) = &claim.wanted else { return false };
    let named = stored.version.as_ref().is_none_or(|version| version == id);
    let modified = modified.and_then(seconds);
    let in_time = modified.zip(claim.until).is_none_or(|(modified, until)| modified <= until + SKEW_SECONDS);
    named && in_time && stored.etag.is_some() && stored.etag.as_ref() == etag
}

/// Whether the head of such a version is that of what the row left.
#[must_use]
pub fn is_it(claim: &Claim, head: &Head) -> bool {
    let Wanted::Object(stored) = &claim.wanted else { return false };
    match by_version(stored, head) {
        Some(same) => same,
        None => has_bytes(stored, &head.etag, head.size) && matches!(by_write(claim, stored, head), Held::Intact(_)),
    }
}

/// Who wrote what is current.
#[must_use]
pub fn writer(audit: &Audit, subject: &Subject, claim: &Claim, current: &Current) -> Writer {
    let Some(write_id) = &current.write_id else { return Writer::Stranger };
    if matches!(&claim.wanted, Wanted::Object(stored) if stored.write_id.as_deref() == Some(write_id)) {
        return Writer::Copy;
    }
    let Some(run_id) = run_of(write_id) else { return Writer::Odd(write_id.clone()) };
    let of_run = |run: u32| audit.run(run).is_some_and(|run| run.id == run_id);
    let own = |claim: &&Claim| {
        matches!(&claim.wanted, Wanted::Object(stored) if stored.write_id.as_deref() == Some(write_id))
            && of_run(claim.run)
    };
    let row = subject.claims.iter().find(own).map(|claim| (claim.place.to_string(), claim.outcome));
    let doubted = || {
        let doubt = subject.doubts.iter().find(|doubt| *doubt.write_id == **write_id)?;
        Some((doubt.place.to_string(), crate::model::row::Outcome::Unknown))
    };
    Writer::Run { run_id: run_id.to_owned(), row: row.or_else(doubted) }
}

/// The run of a write id, `<run id>-<n>`.
#[must_use]
pub fn run_of(write_id: &str) -> Option<&str> {
    let (run_id, n) = write_id.rsplit_once('-')?;
    let is_ours = uuid::Uuid::parse_str(run_id).is_ok() && !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then_some(run_id)
}

/// What a look says of a row that ended `unknown`.
#[must_use]
pub fn settle(doubt: &Doubt, now: Now<'_>) -> Settled {
    match now {
        Now::There(head) => {
            let is_its = !doubt.write_id.is_empty()
                && head.write_id.as_deref() == Some(&doubt.write_id)
                && doubt.size.is_none_or(|size| size == head.size);
            if is_its { Settled::Stored } else { Settled::NotCurrent }
        }
        Now::Absent => Settled::NotCurrent,
        Now::Unseen | Now::Failed(_) => Settled::NotKnown,
    }
}

fn seconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}
