//! What a rollback sends: copies of earlier versions, whole or in parts, and deletes; and what it looks at before and
//! after. No version is ever deleted here, and nothing is copied but the version that the plan names.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::model::head::{Remote, VersionId};
use crate::model::part::copy_part_bytes;
use crate::model::step::Step;
use crate::model::write::{Cause, Copy, LookError, PutError, Refusal, WriteId, Written};
use crate::store::{CopiedPart, Store, UploadId, Version};

use super::ledger::Ledger;
use super::parts::{self, Parts, Prepared, harmless, passing, refused};
use super::write::{Sought, VERSIONS_MAX, forged};
use super::{Run, pace, uploads};

/// The copy that a restore sends.
pub(super) fn copy<S: Store, L: Ledger>(run: &Run<S, L>, step: &Step) -> Option<Copy> {
    let earlier = step.earlier.as_ref()?;
    Some(Copy {
        key: step.key.clone(),
        version: earlier.seen.version.clone()?,
        etag: earlier.seen.etag.clone(),
        size: earlier.seen.size,
        properties: Arc::clone(&step.properties),
        carried: earlier.carried.clone(),
        write_id: WriteId::new(run.ledger.run_id(), step.n),
    })
}

/// Why the version that a restore brings back is not there as it was planned, if it is not.
pub(super) async fn gone<S: Store>(store: &S, step: &Step) -> Result<Option<String>, LookError> {
    let Some(earlier) = &step.earlier else { return Ok(None) };
    let Some(version) = &earlier.seen.version else { return Ok(Some("the plan does not name it".to_owned())) };
    Ok(match store.head_version(&step.key, version).await? {
        Remote::Present(head) if head.etag == earlier.seen.etag && head.size == earlier.seen.size => None,
        // Only `null` can come to this: every other version stays as it was written.
        Remote::Present(head) => Some(format!("version {version} is another object now, ETag {}", head.etag)),
        Remote::Absent => Some(format!("version {version} is not there any more")),
        Remote::Unseen => Some(format!("HEAD of version {version} is answered with 403")),
    })
}

/// A copy has two conditions, and a 412 does not say which of them failed. What is known to be the source's is no race.
pub(super) async fn whose_condition<S: Store>(store: &S, step: &Step, cause: Cause) -> PutError {
    match gone(store, step).await {
        Ok(Some(how)) => PutError::Refused(
            Refusal::Failed,
            Cause { message: format!("the version to bring back is gone: {how}"), ..cause },
        ),
        Ok(None) | Err(_) => PutError::Lost(cause),
    }
}

/// Compares what came back with what was to. A server that says otherwise by its own word has not done what it said;
/// the message is for a copy that could not be compared.
pub(super) async fn look_back<S: Store, L: Ledger>(
    run: &Run<S, L>,
    store: &S,
    step: &Step,
    copy: &Copy,
    written: &Written,
) -> Result<Option<String>, PutError> {
    let patience = run.settings.patience;
    // `null` is whatever was written last without versioning.
    let version = written.version.as_ref().filter(|version| version.0 != "null");
    let mut failures = 0;
    let looked = loop {
        let looked = match version {
            Some(version) => store.head_version(&step.key, version).await,
            None => store.head(&step.key).await,
        };
        match looked {
            Err(error) if !error.stop && failures + 1 < patience.looks && !run.is_over() => {
                failures += 1;
                run.cancel.pause(patience.pause_before(failures)).await;
            }
            looked => break looked,
        }
    };
    let mangled = |message: String| {
        Err(PutError::Mangled(Cause {
            http_status: Some(written.http_status),
            code: "CopyMismatch".to_owned(),
            message: format!("the server said yes, but {message}: look at {} before anybody reads it", step.key),
            request_id: written.request_id.clone(),
        }))
    };
    match (looked, version) {
        (Ok(Remote::Present(head)), _) if head.write_id.as_deref() == Some(&copy.write_id.0) => {
            match forged(step, &head) {
                None => Ok(None),
                Some(cause) => Err(PutError::Mangled(cause)),
            }
        }
        (Ok(Remote::Present(_)), Some(version)) => {
            mangled(format!("version {version} does not carry this write's id: its metadata was not replaced"))
        }
        (Ok(Remote::Absent), Some(version)) => mangled(format!("there is no version {version}")),
        (Ok(Remote::Present(_) | Remote::Absent), None) => {
            Ok(Some("somebody wrote or deleted since, and no version was named that could be compared".to_owned()))
        }
        (Ok(Remote::Unseen), _) => {
            Ok(Some("it could not be compared afterwards: HEAD is answered with 403".to_owned()))
        }
        (Err(error), _) => Ok(Some(format!("it could not be compared afterwards: {error}"))),
    }
}

/// Begins an upload and lets the server copy all parts into it. An upload that does not come that far is aborted here;
/// so is one that an earlier attempt left: what it holds costs nothing to be copied again.
pub(super) async fn prepare<S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    store: &Arc<S>,
    step: &Step,
    copy: &Copy,
) -> Result<Prepared, PutError> {
    for left in run.uploads.take_earlier(step.n) {
        // Where it fails it stays open, and is aborted at the run's end.
        let _ = uploads::abort(run, store, step, &left).await;
    }
    let mut restarts = 0;
    loop {
        let upload = parts::begin(run, store, step, || store.create_copy(copy)).await?;
        let error = match copy_all(run, store, step, copy, &upload).await {
            Ok(parts) => return Ok(Prepared { upload, parts: Parts::Copied(parts), went_on_with: 0 }),
            Err(error) => error,
        };
        let _ = uploads::abort(run, store, step, &upload).await;
        let is_gone = matches!(error, PutError::Refused(Refusal::NoSuchUpload, _));
        if !is_gone || restarts == parts::RESTARTS_MAX || run.is_over() {
            return Err(error);
        }
        restarts += 1;
    }
}

async fn copy_all<S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    store: &Arc<S>,
    step: &Step,
    copy: &Copy,
    upload: &UploadId,
) -> Result<Vec<CopiedPart>, PutError> {
    let part_bytes = copy_part_bytes(copy.size, run.settings.copy_max_bytes);
    let (mut offset, mut number) = (0, 0);
    let (mut under_way, mut copied, mut failure) = (FuturesUnordered::new(), Vec::new(), None);
    loop {
        while failure.is_none() && offset < copy.size && under_way.len() < run.settings.concurrency.max(1) {
            let end = copy.size.min(offset + part_bytes);
            number += 1;
            under_way.push(copy_part(run, store, step, copy, upload, number, offset..=end - 1));
            offset = end;
        }
        match under_way.next().await {
            None => break,
            Some(Ok(part)) => copied.push(part),
            // What is under way is waited for: an upload is not gone before its last part is.
            Some(Err(error)) => failure = failure.or(Some(error)),
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    copied.sort_unstable_by_key(|part: &CopiedPart| part.number);
    Ok(copied)
}

/// Copies one part. It may be copied again without a thought: it is no object, and the same number replaces it.
async fn copy_part<S: Store, L: Ledger>(
    run: &Run<S, L>,
    store: &Arc<S>,
    step: &Step,
    copy: &Copy,
    upload: &UploadId,
    number: u32,
    bytes: std::ops::RangeInclusive<u64>,
) -> Result<CopiedPart, PutError> {
    let mut failures = 0;
    loop {
        let turn = pace::enter(run.gate(&step.target)).await;
        if run.is_over() {
            return Err(refused(Refusal::Throttled, "Interrupted", "the run was over before all parts were copied"));
        }
        let answer = store.copy_part(copy, upload, number, bytes.clone()).await;
        pace::end(turn, &answer, &*run.watch);
        match answer {
            Err(error) if passing(&error) && failures < run.settings.patience.throttles && !run.is_over() => {
                failures += 1;
                run.cancel.pause(run.settings.patience.pause_before(failures)).await;
            }
            answer => return answer.map_err(harmless),
        }
    }
}

/// What the key's versions say of a delete whose answer was lost: nothing is there, and the question is what was there
/// last.
pub(super) async fn marker<S: Store>(store: &S, step: &Step) -> Sought {
    match store.versions(&step.key, VERSIONS_MAX).await {
        Ok(versions) => over_planned(step, &versions),
        Err(_) => Sought::Nothing,
    }
}

/// Whether a delete marker stands directly over the version that the plan saw. Without versions, nothing more is known
/// than that nothing is there.
fn over_planned(step: &Step, versions: &[Version]) -> Sought {
    let Some(planned) = &step.head else { return Sought::Nothing };
    let ours = |version: Option<&VersionId>| Sought::Ours { etag: None, version: version.cloned() };
    let is_null = |version: &VersionId| version.0 == "null";
    // A server that ignores conditions may have put several.
    let markers = versions.iter().take_while(|version| version.etag.is_none());
    let (Some(marker), under) = (markers.clone().last(), versions.get(markers.count())) else {
        let was_versioned = planned.version.as_ref().is_some_and(|version| !is_null(version));
        return if was_versioned || !versions.is_empty() { Sought::Nothing } else { ours(None) };
    };
    let is_planned = under.is_some_and(|under| match &planned.version {
        Some(version) => under.id == *version && under.etag.as_ref() == Some(&planned.etag),
        None => is_null(&under.id) && under.etag.as_ref() == Some(&planned.etag),
    });
    // Where versioning is suspended the marker has taken the place of what was written without it.
    let took_its_place = is_null(&marker.id) && planned.version.as_ref().is_none_or(is_null);
    if is_planned || took_its_place { ours(Some(&marker.id)) } else { Sought::Nothing }
}

/// What a row says of a delete that was settled by what is there.
pub(super) fn deleted_by(marker: Option<&VersionId>) -> &'static str {
    match marker {
        Some(marker) if marker.0 != "null" => "the answer was lost; a delete marker stands over it",
        Some(_) | None => {
            "the answer was lost; nothing is there any more, by this request or by somebody else's: no history tells"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::ETag;
    use crate::model::entry::{Key, Place, Rule};
    use crate::model::head::{Encryption, Seen};
    use crate::model::step::{Action, Reason};

    fn step(planned: Option<&str>) -> Step {
        let version = planned.map(|id| VersionId(id.into()));
        let head = Seen {
            etag: ETag::new("e"),
            version,
            size: 1,
            checksum: None,
            last_modified: None,
            encryption: Encryption::None,
        };
        Step {
            n: 1,
            place: Place { file: "r.csv".into(), line: 2 },
            source: String::new(),
            real: None,
            target: "default".into(),
            key: Key::new("k"),
            rule: Rule::Always,
            stage: None,
            action: Action::Delete,
            reason: Reason::Undo,
            proof: None,
            note: None,
            properties: Arc::default(),
            local: None,
            head: Some(head),
            earlier: None,
            guard: None,
        }
    }

    /// Newest first: an id, and an ETag but for a marker.
    fn found(planned: Option<&str>, versions: &[(&str, Option<&str>)]) -> Option<String> {
        let version = |(id, etag): &(&str, Option<&str>)| Version {
            id: VersionId((*id).into()),
            etag: etag.map(ETag::new),
            size: None,
            is_latest: false,
            last_modified: None,
        };
        let versions: Vec<Version> = versions.iter().map(version).collect();
        match over_planned(&step(planned), &versions) {
            Sought::Ours { etag, version } => {
                assert_eq!(etag, None);
                Some(version.map_or("no version".to_owned(), |version| version.0))
            }
            Sought::Nothing => None,
            Sought::Forged(cause) => panic!("{cause}"),
        }
    }

    #[test]
    fn a_delete_is_known_by_a_marker_directly_over_the_planned_version_and_by_nothing_else() {
        let (planned, other, marker) = (("v", Some("e")), ("w", Some("x")), ("m", None));
        for (title, versions, is) in [
            ("the marker over it", vec![marker, planned, other], Some("m")),
            ("two markers, the lower is the one that hid it", vec![("n", None), marker, planned], Some("m")),
            ("a marker over another", vec![marker, other, planned], None),
            ("no marker", vec![planned], None),
            ("somebody wrote since", vec![other, marker, planned], None),
            ("the version is gone", vec![marker, other], None),
            ("the version is gone, and nothing is under it", vec![marker], None),
            ("all is gone", vec![], None),
            ("the same id, another object", vec![marker, ("v", Some("x"))], None),
        ] {
            assert_eq!(found(Some("v"), &versions).as_deref(), is, "{title}");
        }
        // Written before there were versions.
        for unversioned in [None, Some("null")] {
            for (title, versions, is) in [
                ("no history", vec![], Some("no version")),
                ("suspended: the marker took its place", vec![("null", None), other], Some("null")),
                ("versioned since", vec![marker, ("null", Some("e"))], Some("m")),
                ("versioned since, and written", vec![marker, other, ("null", Some("e"))], None),
                ("versioned since, null is another", vec![marker, ("null", Some("x"))], None),
                ("an object", vec![("null", Some("e"))], None),
            ] {
                assert_eq!(found(unversioned, &versions).as_deref(), is, "{unversioned:?}: {title}");
            }
        }
    }
}
