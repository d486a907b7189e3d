//! Rows of evidence, as CSV and as pages. Pure.

pub mod csv;
pub mod json;
pub mod markdown;
pub mod row;

use crate::model::row::{Row, Tally};

/// Counts the rows by outcome, and the bytes that were stored.
#[must_use]
pub fn tally(rows: &[Row]) -> Tally {
    let mut tally = Tally::default();
    for row in rows {
        tally.add(row.outcome, row.size_bytes.unwrap_or(0));
    }
    tally
}

#[cfg(test)]
pub(crate) mod samples {
    use crate::model::row::{Guard, Outcome, REPORT_FORMAT, Row};

    /// A row with every column filled and told apart.
    pub fn row(entry: u64, outcome: Outcome) -> Row {
        Row {
            format: REPORT_FORMAT,
            run_id: "0198-run".into(),
            plan_digest: format!("sha256:{}", "ab".repeat(32)),
            entry,
            place: format!("nightly.yaml:{entry}"),
            source: format!("out/{entry}.csv"),
            target: "default".into(),
            endpoint: "https://s3.eu-west-1.amazonaws.com".into(),
            region: "eu-west-1".into(),
            owner: "111122223333".into(),
            bucket: "finance".into(),
            key: format!("reports/{entry}.csv"),
            rule: "if-changed".into(),
            action: "replace".into(),
            reason: "differs".into(),
            outcome,
            size_bytes: Some(1536),
            sha256: "cd".repeat(32),
            checksum: format!("sha256:{}", "cd".repeat(32)),
            etag_before: format!("before-{entry}"),
            version_before: format!("v{entry}-before"),
            etag_after: format!("after-{entry}"),
            version_after: format!("v{entry}-after"),
            guard: Some(Guard::Atomic),
            attempts: 1,
            started_at: "2026-07-01T02:00:00.000Z".into(),
            duration_ms: Some(1500),
            http_status: Some(200),
            error_code: String::new(),
            message: String::new(),
            request_id: format!("request-{entry}"),
            write_id: format!("0198-run-{entry}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Outcome;

    #[test]
    fn a_tally_counts_every_row_once_and_only_stored_bytes() {
        let rows: Vec<_> = (1..).zip(Outcome::ALL).map(|(n, outcome)| samples::row(n, outcome)).collect();
        let tally = tally(&rows);
        assert_eq!(tally.rows(), 11);
        assert!(Outcome::ALL.iter().all(|outcome| tally.of(*outcome) == 1));
        assert_eq!(tally.bytes, 2 * 1536);
    }
}
