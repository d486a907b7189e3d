//! Decides what undoes a run, row by row of its report, and does none of it.
//!
//! What the run wrote is undone only where it is still there: nobody else's work is ever restored over or deleted.
//!
//! | the row | there now | step |
//! |---|---|---|
//! | wrote nothing | | none |
//! | any | not visible | error, `unseen` |
//! | created | nothing | unchanged, `undone` |
//! | created | what the run wrote | delete |
//! | replaced | what the run wrote | restore of the version before |
//! | deleted | nothing | restore of the version before |
//! | replaced or deleted | what was there before | unchanged, `undone` |
//! | any | anything else | refuse, `moved` |
//!
//! `restored` counts as replaced, or as created where nothing was there before. A row that is `unknown` counts as what
//! its write would have done, if the object there tells that it was done; a delete tells nothing. A restore becomes
//! another step where the version before cannot come back:
//!
//! | the version before | step |
//! |---|---|
//! | none was kept, or the write took its place, or it is gone, or another, or a delete marker | refuse, `gone` |
//! | it is in an archive, or under a customer's key | refuse, `flaw` |
//! | not visible | error, `unseen` |

pub mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::digest::{Checksum, ETag};
use crate::model::entry::{Key, Place, Properties, Rule};
use crate::model::head::{CLAIM, Carried, Encryption, Head, HeldSha256, Remote, Seen, VersionId, WRITE_ID};
use crate::model::row::{Outcome, Row, SKEW_SECONDS};
use crate::model::step::{Action, Earlier, Reason, Step};
use crate::model::target::SANDBOX;
use crate::model::text::quoted;

/// User metadata of an object, names and values together (S3 user guide, "Working with object metadata").
const METADATA_MAX_BYTES: usize = 2048;

/// What is known of the version that a row buried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// With its tags.
    There {
        head: Box<Head>,
        carried: Carried,
    },
    /// There, but nothing can read it before it is restored from its archive.
    Archived {
        class: String,
    },
    DeleteMarker,
    Gone,
    Unseen,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Decided(Box<Decided>),
    /// It depends on this version of its key.
    Asks(VersionId),
}

/// What is to be done, and all that the step will say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    pub action: Action,
    pub reason: Reason,
    pub note: Option<String>,
    /// What is there now.
    pub head: Option<Seen>,
    pub earlier: Option<Box<Earlier>>,
    pub properties: Arc<Properties>,
}

/// A row that wrote, or may have written.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    row: &'a Row,
    did: Did,
}

/// What a row did to its key, as far as undoing it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    /// Where nothing was.
    Created,
    /// Over an object.
    Replaced,
    Deleted,
}

impl<'a> Written<'a> {
    /// `None` for a row that wrote nothing.
    #[must_use]
    pub fn of(row: &'a Row) -> Option<Self> {
        let over =
            if row.etag_before.is_empty() && row.version_before.is_empty() { Did::Created } else { Did::Replaced };
        let did = match row.outcome {
            Outcome::Created => Did::Created,
            Outcome::Replaced => Did::Replaced,
            Outcome::Deleted => Did::Deleted,
            Outcome::Unknown if row.action == Action::Delete.name() => Did::Deleted,
            Outcome::Restored | Outcome::Unknown => over,
            Outcome::Unchanged
            | Outcome::Kept
            | Outcome::Refused
            | Outcome::Lost
            | Outcome::Stale
            | Outcome::SourceChanged
            | Outcome::Failed
            | Outcome::NotAttempted => return None,
        };
        Some(Self { row, did })
    }

    #[must_use]
    pub fn row(&self) -> &'a Row {
        self.row
    }

    /// Decides by what is there now. Pure and total.
    #[must_use]
    pub fn judge(&self, now: &Remote) -> Judged {
        let head = match now {
            Remote::Unseen => {
                let note = "the bucket would not say what is there (403): it needs s3:GetObject, and s3:ListBucket";
                return decided(Action::Error, Reason::Unseen, note, None);
            }
            Remote::Absent => return self.over_nothing(),
            Remote::Present(head) => head,
        };
        match self.did {
            Did::Created if self.is_ours(head) => decided(Action::Delete, Reason::Undo, stays(head), Some(head)),
            Did::Replaced if self.is_ours(head) => self.before(Some(head)),
            Did::Replaced | Did::Deleted if self.is_before(head) => {
                let note = format!("what was there before is there again: {}", who(head));
                decided(Action::Unchanged, Reason::Undone, note, Some(head))
            }
            Did::Created | Did::Replaced | Did::Deleted => {
                let note = match self.row.outcome {
                    Outcome::Unknown => "that the run wrote what is there now cannot be shown",
                    _ if self.is_belied(head) => "it carries the run's write id, and is not what the run wrote",
                    _ => "it was written since the run",
                };
                decided(Action::Refuse, Reason::Moved, format!("{note}: {}", who(head)), Some(head))
            }
        }
    }

    fn over_nothing(&self) -> Judged {
        let is_doubtful = self.row.outcome == Outcome::Unknown;
        match self.did {
            Did::Created if is_doubtful => {
                let note = "nothing is there: what the run sent was not stored, or is deleted";
                decided(Action::Unchanged, Reason::Undone, note, None)
            }
            Did::Created => decided(Action::Unchanged, Reason::Undone, "it is not there any more", None),
            Did::Replaced => {
                decided(Action::Refuse, Reason::Moved, "it was deleted since the run, and not by the run", None)
            }
            Did::Deleted if is_doubtful => {
                let note = "nothing is there, and whether the run or somebody else deleted it cannot be told";
                decided(Action::Refuse, Reason::Moved, note, None)
            }
            Did::Deleted => self.before(None),
        }
    }

    /// Names the version to bring back, if one can have been kept.
    fn before(&self, now: Option<&Head>) -> Judged {
        let Row { version_before, version_after, outcome, .. } = self.row;
        let verb = if self.did == Did::Deleted { "deleted" } else { "replaced" };
        let current = match (now.and_then(|head| head.version.as_ref()), outcome) {
            (Some(version), Outcome::Unknown) => &version.0,
            (Some(_) | None, _) => version_after,
        };
        if version_before.is_empty() {
            let note = format!("the bucket kept no versions when the run {verb} it: it cannot be got back");
            return decided(Action::Refuse, Reason::Gone, note, now);
        }
        // Where versioning is suspended every write goes to the version named `null`, and takes the old one's place.
        if version_before == current {
            let note = format!("versioning was suspended when the run {verb} it: it cannot be got back");
            return decided(Action::Refuse, Reason::Gone, note, now);
        }
        Judged::Asks(VersionId(version_before.clone()))
    }

    /// Decides by the version that [`Judged::Asks`] named.
    #[must_use]
    pub fn bring_back(&self, now: &Remote, version: &VersionId, past: Past) -> Decided {
        let now = match now {
            Remote::Present(head) => Some(&**head),
            Remote::Absent | Remote::Unseen => None,
        };
        let refuse = |reason, note: String| of(Action::Refuse, reason, note, now);
        let (head, carried) = match past {
            Past::There { head, carried } => (head, carried),
            Past::Archived { class } => return refuse(Reason::Flaw, archived(self.row, version, &class)),
            Past::DeleteMarker => {
                return refuse(
                    Reason::Gone,
                    format!("version {version} is a delete marker: there is nothing to get back"),
                );
            }
            Past::Gone => {
                let note = format!("version {version} is not kept any more: it expired, or somebody deleted it");
                return refuse(Reason::Gone, note);
            }
            Past::Unseen => {
                let note = format!("version {version} may not be looked at (403): it needs s3:GetObjectVersion");
                return of(Action::Error, Reason::Unseen, note, now);
            }
        };
        if head.encryption == Encryption::Customer {
            let note =
                format!("version {version} is encrypted with a customer's key (SSE-C): only who has it can copy it");
            return refuse(Reason::Flaw, note);
        }
        // The version named `null` is no constant one.
        if !self.row.etag_before.is_empty() && head.etag != ETag::new(&self.row.etag_before) {
            let note = format!("version {version} is another object by now, with ETag {}", head.etag);
            return refuse(Reason::Gone, note);
        }
        let metadata_bytes = metadata_bytes(&head, carried.claim.as_deref());
        if metadata_bytes > METADATA_MAX_BYTES {
            let note = format!(
                "version {version} has so much metadata that a write id finds no room beside it ({metadata_bytes} bytes, and S3 \
                 takes {METADATA_MAX_BYTES}): copy it by hand"
            );
            return refuse(Reason::Flaw, note);
        }
        let seen = Seen { version: Some(version.clone()), ..Seen::of(&head) };
        Decided {
            action: Action::Restore,
            reason: Reason::Undo,
            note: now.filter(|now| !is_kept(now)).map(|_| {
                "what the run wrote has no version of its own: where the bucket keeps none, it will be gone for good".to_owned()
            }),
            head: now.map(Seen::of),
            earlier: Some(Box::new(Earlier { seen, carried })),
            properties: Arc::new(head.properties),
        }
    }

    /// Whether the current object is exactly what the run wrote.
    fn is_ours(&self, head: &Head) -> bool {
        let Row { etag_after, version_after, write_id, size_bytes, outcome, .. } = self.row;
        let has_our_id = !write_id.is_empty() && head.write_id.as_ref() == Some(write_id);
        if *outcome == Outcome::Unknown {
            return has_our_id && !self.is_belied(head);
        }
        let version = head.version.as_ref().map(|version| version.0.as_str());
        let versions_agree = version_after.is_empty() || version.is_none_or(|version| version == version_after);
        // The same bytes, written again by somebody else, have the same ETag. A version id comes once, but for `null`;
        // without one, the write id has to tell.
        let is_that_version = version == Some(version_after) && is_constant(version_after);
        // A copy over itself keeps the write id, and not the time; and what has a version id of its own was not written
        // by a run to which the bucket gave none.
        let is_of_its_time = is_that_version || (self.is_in_time(head) && !version.is_some_and(is_constant));
        let is_that_write = (has_our_id && is_of_its_time) || (head.write_id.is_none() && is_that_version);
        !etag_after.is_empty()
            && head.etag == ETag::new(etag_after)
            && *size_bytes == Some(head.size)
            && versions_agree
            && is_that_write
    }

    /// Whether the object is no younger than the row, as far as both tell. Clocks may differ.
    fn is_in_time(&self, head: &Head) -> bool {
        let Row { started_at, duration_ms, .. } = self.row;
        let ended = started_at.parse::<Timestamp>().ok().zip(*duration_ms);
        let ended = ended.map(|(at, ms)| at.as_millisecond().saturating_add_unsigned(ms).div_euclid(1000));
        let modified = head.last_modified.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
        ended.zip(modified).is_none_or(|(ended, modified)| modified.as_second() <= ended + SKEW_SECONDS)
    }

    /// Whether the object carries the write id and cannot be what was sent.
    fn is_belied(&self, head: &Head) -> bool {
        let Row { write_id, size_bytes, checksum, .. } = self.row;
        let belies = match checksum.parse::<Checksum>() {
            // What was sent in one piece is not put together from parts.
            Ok(Checksum::Full(_)) if is_of_parts(head) => true,
            Ok(planned) => size_bytes.is_none_or(|size| head.belies(size, &planned).is_some()),
            // A restore pinned none.
            Err(_) => *size_bytes != Some(head.size),
        };
        head.write_id.as_ref() == Some(write_id) && belies
    }

    /// Whether what the row buried is current: as the version that it was, or written again, by a rollback say.
    fn is_before(&self, head: &Head) -> bool {
        let Row { etag_before, version_before, etag_after, outcome, .. } = self.row;
        let etag_after = if *outcome == Outcome::Unknown { "" } else { etag_after };
        let is_same = !etag_before.is_empty() && head.etag == ETag::new(etag_before);
        let is_version = head.version.as_ref().is_some_and(|version| version.0 == *version_before);
        is_same && (etag_before != etag_after || (is_version && is_constant(version_before)))
    }

    /// Draws step `n`. `place` is the row's line in the report.
    #[must_use]
    pub fn draw(&self, n: u64, place: Place, decided: Decided) -> Step {
        let Decided { action, reason, note, head, earlier, properties } = decided;
        Step {
            n,
            place,
            source: self.row.source.clone(),
            real: None,
            target: self.row.target.as_str().into(),
            key: Key::new(self.row.key.as_str()),
            rule: rule(self.row).unwrap_or_default(),
            stage: None,
            action,
            reason,
            proof: None,
            note,
            properties,
            local: None,
            head,
            earlier,
            guard: None,
        }
    }

    /// What became of a row at which nobody could look.
    #[must_use]
    pub fn unlooked(&self, why: String) -> Decided {
        of(Action::Error, Reason::Flaw, why, None)
    }
}

fn rule(row: &Row) -> Option<Rule> {
    Rule::ALL.into_iter().find(|rule| rule.name() == row.rule)
}

fn of(action: Action, reason: Reason, note: impl Into<String>, now: Option<&Head>) -> Decided {
    Decided {
        action,
        reason,
        note: Some(note.into()),
        head: now.map(Seen::of),
        earlier: None,
        properties: Arc::default(),
    }
}

fn decided(action: Action, reason: Reason, note: impl Into<String>, now: Option<&Head>) -> Judged {
    Judged::Decided(Box::new(of(action, reason, note, now)))
}

/// Whether a version of this name is never another one.
/// The user metadata that a copy will have, as S3 counts it: names and values, in bytes.
fn metadata_bytes(head: &Head, claim: Option<&str>) -> usize {
    // `<run id>-<n>`: a UUID, and a number of at most twenty digits.
    const WRITE_ID_BYTES: usize = 36 + 1 + 20;
    let own = claim.map_or(0, |claim| CLAIM.len() + claim.len()) + WRITE_ID.len() + WRITE_ID_BYTES;
    head.properties.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + own
}

fn is_constant(version: &str) -> bool {
    !version.is_empty() && version != "null"
}

/// Whether an object stays as a version when another is written over it, or when it is deleted.
fn is_kept(head: &Head) -> bool {
    head.version.as_ref().is_some_and(|version| is_constant(&version.0))
}

fn is_of_parts(head: &Head) -> bool {
    matches!(head.checksums.sha256, Some(HeldSha256::Composite { .. })) || head.etag.as_multipart().is_some()
}

/// What a delete leaves.
fn stays(head: &Head) -> String {
    match &head.version {
        Some(version) if is_constant(&version.0) => {
            format!("a delete marker will stand over it; version {version} stays")
        }
        Some(_) => {
            "its version is named null: unless the bucket keeps versions by now, it will be gone for good".to_owned()
        }
        None => "the bucket keeps no versions: it will be gone for good".to_owned(),
    }
}

/// An object that is there, and who wrote it.
fn who(head: &Head) -> String {
    let when = head.last_modified.as_deref().unwrap_or("an unknown time");
    let version = head.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
    let by = match &head.write_id {
        Some(id) => format!("by noclobber's write {id}"),
        None => "by something else than noclobber".to_owned(),
    };
    format!("{} bytes, ETag {}{version}, written at {when} {by}", head.size, head.etag)
}

/// How an archived version is made readable. The sandbox has no address that stays.
fn archived(row: &Row, version: &VersionId, class: &str) -> String {
    let Row { bucket, key, endpoint, .. } = row;
    let endpoint = if endpoint == SANDBOX { String::new() } else { format!(" --endpoint-url={}", quoted(endpoint)) };
    format!(
        "version {version} is in an archive ({class}) and cannot be copied from there. Restore it, then plan again: aws \
         s3api restore-object --bucket={} --key={} --version-id={} --restore-request=Days=7{endpoint}",
        quoted(bucket),
        quoted(key),
        quoted(&version.0),
    )
}
