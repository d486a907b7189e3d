//! The clock, and how its readings are written down.

use jiff::Timestamp;

/// Now, as rows have it: RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn now_ms() -> String {
    format!("{:.3}", Timestamp::now())
}

/// Now, as plans have it: RFC 3339 in UTC, to the second.
#[must_use]
pub fn now() -> String {
    format!("{:.0}", Timestamp::now())
}

/// A file's modification time, as steps have it: RFC 3339 in UTC with nanoseconds where there are any.
#[must_use]
pub fn mtime_text(mtime_ns: i128) -> String {
    Timestamp::from_nanosecond(mtime_ns).map_or_else(|_| format!("{mtime_ns} ns"), |time| time.to_string())
}
