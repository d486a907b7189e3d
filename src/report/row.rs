//! A step's row, before anything became of it.

use crate::model::digest::Checksum;
use crate::model::row::{Outcome, REPORT_FORMAT, Row};
use crate::model::step::Step;
use crate::model::target::Target;

/// The row of a step that was not attempted: all that is known beforehand. What happens is filled in over it.
#[must_use]
pub fn blank(run_id: &str, plan_digest: &str, step: &Step, target: &Target) -> Row {
    let checksum = step.local.as_ref().and_then(|local| local.checksum);
    let text = |id: Option<String>| id.unwrap_or_default();
    Row {
        format: REPORT_FORMAT,
        run_id: run_id.to_owned(),
        plan_digest: plan_digest.to_owned(),
        entry: step.n,
        place: step.place.to_string(),
        source: step.source.clone(),
        target: step.target.to_string(),
        endpoint: target.endpoint.clone(),
        region: target.region.clone(),
        owner: text(target.owner.clone()),
        bucket: target.bucket.clone(),
        key: step.key.as_str().to_owned(),
        rule: step.rule.to_string(),
        action: step.action.to_string(),
        reason: step.reason.to_string(),
        outcome: Outcome::NotAttempted,
        size_bytes: step.size(),
        sha256: text(checksum.as_ref().and_then(Checksum::full).map(|digest| digest.to_string())),
        checksum: text(checksum.map(|checksum| checksum.to_string())),
        etag_before: text(step.head.as_ref().map(|head| head.etag.to_string())),
        version_before: text(step.head.as_ref().and_then(|head| head.version.as_ref()).map(ToString::to_string)),
        etag_after: String::new(),
        version_after: String::new(),
        guard: None,
        attempts: 0,
        started_at: String::new(),
        duration_ms: None,
        http_status: None,
        error_code: String::new(),
        message: text(step.note.clone()),
        request_id: String::new(),
        write_id: String::new(),
    }
}
