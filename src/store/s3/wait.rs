//! How long an answer is waited for.

use std::time::Duration;

use super::body::{End, Watch};
use super::classify::{self, Answer, Condition, Op};
use super::translate::SdkFailure;
use crate::model::write::PutError;

/// No part of a body left, or no answer came after the last: given up.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(90);
/// S3 may take minutes to put a large object together.
pub(super) const COMPLETE_LIMIT: Duration = Duration::from_mins(15);

/// Waits for an answer as long as the body moves; of a body that failed, its own reason counts.
pub(super) async fn watched<T, E: SdkFailure>(
    watch: &Watch,
    op: Op,
    condition: Condition,
    send: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, PutError> {
    let mut send = std::pin::pin!(send);
    let mut frames = watch.frames();
    let answer = loop {
        match tokio::time::timeout(STALL_LIMIT, &mut send).await {
            Ok(Ok(output)) => return Ok(output),
            Ok(Err(error)) => break error.answer(),
            Err(_) if watch.frames() != frames => frames = watch.frames(),
            Err(_) => break stalled(STALL_LIMIT),
        }
    };
    match watch.end() {
        End::Failed(why) => Err(why),
        end => Err(classify::put_error(op, condition, answer, end == End::Released)),
    }
}

/// Waits for the answer to a request that is sent in one piece.
pub(super) async fn within<T, E: SdkFailure>(
    limit: Duration,
    op: Op,
    condition: Condition,
    send: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, PutError> {
    let answer = match tokio::time::timeout(limit, send).await {
        Ok(Ok(output)) => return Ok(output),
        Ok(Err(error)) => error.answer(),
        Err(_) => stalled(limit),
    };
    Err(classify::put_error(op, condition, answer, true))
}

fn stalled(limit: Duration) -> Answer {
    Answer::Silent { code: "Timeout", message: format!("nothing moved for {} seconds", limit.as_secs()) }
}
