//! From run to run: whether what one left is what the next one found, or whether somebody wrote in between.

use super::claim::{Claim, Subject, Wanted};
use super::{Audit, Finding, Later, Met, State, Verdict};

/// What a later run among the reports makes of a claim, `at` its place among the key's. `None` where none wrote there
/// since: the bucket alone decides.
///
/// A later run that replaced, restored or deleted just what this one left did so on purpose. Where it found something else,
/// somebody wrote between the two, and the later run has buried that.
#[must_use]
pub fn later(audit: &Audit, subject: &Subject, at: usize) -> Option<Verdict> {
    if !audit.chains {
        return None;
    }
    let claims = subject.claims.get(at..)?;
    let last = claims.iter().skip(1).position(Claim::moved)? + 1;
    for pair in claims.get(..=last)?.windows(2) {
        let [one, next] = pair else { continue };
        if follows(one, &next.before) {
            continue;
        }
        // What stands there now is the later run's, and judged as its.
        let (state, same_bytes) = match (&next.before, &one.wanted) {
            (Met::Nothing, _) => (State::Deleted, false),
            (Met::Object(etag, _), Wanted::Object(stored)) => (State::Overwritten, stored.etag.as_ref() == Some(etag)),
            (Met::Object(..), Wanted::Nothing { .. }) => (State::Overwritten, false),
        };
        let told = told(audit, next, Some(next.before.clone()));
        return Some(Verdict::of(state, Finding { later: Some(told), same_bytes, ..Finding::blank() }));
    }
    let told = told(audit, claims.get(last)?, None);
    Some(Verdict::of(State::Superseded, Finding { later: Some(told), ..Finding::blank() }))
}

fn told(audit: &Audit, claim: &Claim, met: Option<Met>) -> Later {
    Later {
        run_id: audit.run(claim.run).map(|run| run.id.clone()).unwrap_or_default(),
        place: claim.place.to_string(),
        outcome: claim.outcome,
        met,
    }
}

/// Whether what the next run found is what this claim says was left.
///
/// | this row left | the next run found | |
/// |---|---|---|
/// | nothing | nothing | follows |
/// | nothing | an object | does not |
/// | an object | nothing | does not |
/// | an object | another version | does not |
/// | an object | the same version, or one side knows none, and the same ETag | follows |
/// | an object | another ETag | does not |
fn follows(claim: &Claim, met: &Met) -> bool {
    match (&claim.wanted, met) {
        (Wanted::Nothing { .. }, Met::Nothing) => true,
        (Wanted::Nothing { .. }, Met::Object(..)) | (Wanted::Object(_), Met::Nothing) => false,
        (Wanted::Object(stored), Met::Object(etag, version)) => {
            let same_version = stored.version.as_ref().zip(version.as_ref()).map(|(then, now)| then == now);
            let same_etag = stored.etag.as_ref().map(|then| then == etag);
            // What neither can tell was not shown to follow.
            same_version.unwrap_or(true) && same_etag.unwrap_or(same_version.is_some())
        }
    }
}
