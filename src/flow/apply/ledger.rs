//! Where the rows go as they happen, and what is known of an earlier attempt at the same plan.

use crate::model::entry::Key;
use crate::model::row::Row;

/// The book of a run. Everything that is written here survives a crash of the process.
pub trait Ledger: Send + Sync + 'static {
    /// The same for every attempt at one report; never that of another run.
    fn run_id(&self) -> &str;

    /// Whether there was an attempt before this one.
    fn is_resumed(&self) -> bool;

    /// The row of this step, where an earlier attempt brought it to a final outcome.
    fn finished(&self, n: u64) -> Option<&Row>;

    /// Whether an earlier attempt may have sent this step's write without learning what became of it.
    fn is_in_doubt(&self, n: u64) -> bool;

    /// The multipart uploads that earlier attempts began, by step, oldest first; as far as is known neither completed nor
    /// aborted.
    fn uploads(&self) -> Vec<(u64, String)>;

    /// Notes that step `n` is about to be sent.
    fn begin(&self, n: u64) -> Result<(), LedgerError>;

    /// Notes a multipart upload, durably, before its first part is sent.
    fn upload(&self, n: u64, key: &Key, upload_id: &str) -> Result<(), LedgerError>;

    /// Notes that an upload was completed or aborted.
    fn upload_over(&self, upload_id: &str) -> Result<(), LedgerError>;

    /// Books one row.
    fn record(&self, row: &Row) -> Result<(), LedgerError>;
}

/// The book cannot be written (disk full, say). Nothing more may be started: what is not booked cannot be proven.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct LedgerError(pub String);
