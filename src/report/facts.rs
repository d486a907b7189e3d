//! What all rows of a report say together, for the heads of its pages.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::model::row::{Guard, Outcome, Row};

/// When the first row was started and the last one ended.
#[must_use]
pub fn times(rows: &[Row]) -> Option<(String, String)> {
    let started = |row: &Row| row.started_at.parse::<Timestamp>().ok();
    let ended = |row: &Row| {
        let took = SignedDuration::from_millis(i64::try_from(row.duration_ms.unwrap_or(0)).ok()?);
        started(row)?.checked_add(took).ok()
    };
    let first = rows.iter().filter_map(started).min()?;
    let last = rows.iter().filter_map(ended).max()?;
    Some((format!("{first:.3}"), format!("{last:.3}")))
}

/// What a guard says of the writes that it held.
#[must_use]
pub fn guard(guard: Guard) -> &'static str {
    match guard {
        Guard::Atomic => "atomic: S3's own contract held each write's condition",
        Guard::Tested => "tested: the server refused a probe; that it is atomic is not proven",
        Guard::CheckFirst => "check-first: a look before each write, which is not atomic",
    }
}

/// How many rows ended as they should not have.
#[must_use]
pub fn problems(rows: &[Row]) -> u64 {
    rows.iter().filter(|row| !row.outcome.is_success()).count() as u64
}

/// Why a row ended as it did, where anything is known; not escaped.
#[must_use]
pub fn why(row: &Row) -> Cow<'_, str> {
    let Row { outcome, message, rule, reason, error_code, .. } = row;
    match outcome {
        _ if !message.is_empty() => Cow::Borrowed(message),
        Outcome::Refused => Cow::Owned(format!("overwrite: {rule} does not allow it ({reason})")),
        _ => Cow::Borrowed(error_code),
    }
}

/// What a server answered, or nothing: `412 PreconditionFailed`.
#[must_use]
pub fn answer(row: &Row) -> String {
    let status = row.http_status.map(|status| status.to_string()).unwrap_or_default();
    [status.as_str(), &row.error_code].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}
