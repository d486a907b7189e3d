//! What all rows of a report say together, for the heads of its pages.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::model::row::{Guard, Outcome, Row, Tally};
use crate::model::text::count;

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

/// The heading over rows that replaced something.
pub const REPLACED: &str = "Replaced: what was there, and how to get it back";

/// The heading over rows that buried something, a rollback's too.
#[must_use]
pub fn buried_heading(rows: &[&Row]) -> &'static str {
    if rows.iter().all(|row| row.outcome == Outcome::Replaced) {
        REPLACED
    } else {
        "Replaced, restored or deleted: what was there, and how to get it back"
    }
}

/// The numbers that a rollback alone has, to stand after those replaced.
#[must_use]
pub fn of_rollback(tally: &Tally) -> String {
    let numbers = [(tally.restored, "restored"), (tally.deleted, "deleted")];
    let told: Vec<_> =
        numbers.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {} {what}", count(*n))).collect();
    told.concat()
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
