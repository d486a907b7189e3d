//! How long an answer is waited for.

use std::time::Duration;

use super::body::{End, Watch};
use super::classify::{self, Answer, Condition, Op};
use super::translate::SdkFailure;
use crate::model::part::MIB;
use crate::model::write::PutError;

/// No part of a body left, or no answer came to a request without one: given up.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(90);
/// S3 may take minutes to put a large object together.
const COMPLETE_LIMIT: Duration = Duration::from_mins(15);
/// So much of a body may still be in this machine's buffers when its last frame was handed over, ..
const BUFFERED_MAX_BYTES: u64 = 4 * MIB;
/// .. and leave over a line as slow as this, shared by many bodies.
const SLOW_LINE_BYTES_PER_SECOND: u64 = 32 << 10;
/// A server may take in, hash and spread what it has received as slowly as this before it answers.
const SLOW_SERVER_BYTES_PER_SECOND: u64 = 8 * MIB;

/// How long the answer to a request may take, once all of its `bytes` were handed over.
///
/// | request | limit |
/// |---|---|
/// | CreateMultipartUpload, and any other without a body | 90 s |
/// | PutObject, UploadPart | 90 s, and what its bytes take on a slow line and in a slow server |
/// | CompleteMultipartUpload, CopyObject, UploadPartCopy | 15 min |
pub(super) fn answer_limit(op: Op, bytes: u64) -> Duration {
    match op {
        Op::CreateUpload | Op::Delete => STALL_LIMIT,
        Op::Put | Op::Part => {
            let line = bytes.min(BUFFERED_MAX_BYTES).div_ceil(SLOW_LINE_BYTES_PER_SECOND);
            let server = bytes.div_ceil(SLOW_SERVER_BYTES_PER_SECOND);
            STALL_LIMIT + Duration::from_secs(line + server)
        }
        Op::Complete | Op::Copy | Op::CopyPart => COMPLETE_LIMIT,
    }
}

/// Waits for an answer as long as the body of `bytes` moves; of a body that failed, its own reason counts.
pub(super) async fn watched<T, E: SdkFailure>(
    watch: &Watch,
    op: Op,
    condition: Condition,
    bytes: u64,
    send: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, PutError> {
    let mut send = std::pin::pin!(send);
    let mut frames = watch.frames();
    let answer = loop {
        let limit = if watch.end() == End::Released { answer_limit(op, bytes) } else { STALL_LIMIT };
        match tokio::time::timeout(limit, &mut send).await {
            Ok(Ok(output)) => return Ok(output),
            Ok(Err(error)) => break error.answer(),
            Err(_) if watch.is_held() || watch.frames() != frames => frames = watch.frames(),
            Err(_) => break stalled(limit),
        }
    };
    match watch.end() {
        End::Failed(why) => Err(why),
        end => Err(classify::put_error(op, condition, answer, end == End::Released)),
    }
}

/// Waits for the answer to a request that is sent in one piece.
pub(super) async fn within<T, E: SdkFailure>(
    op: Op,
    condition: Condition,
    send: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, PutError> {
    let limit = answer_limit(op, 0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_an_answer_grows_with_what_was_sent() {
        const GIB: u64 = 1 << 30;
        for (op, bytes, seconds) in [
            (Op::CreateUpload, 0, 90),
            (Op::Put, 0, 90),
            (Op::Put, 4 << 10, 90 + 1 + 1),
            (Op::Put, MIB, 90 + 32 + 1),
            (Op::Put, 64 * MIB, 90 + 128 + 8),
            (Op::Part, 16 * MIB, 90 + 128 + 2),
            (Op::Part, 5 * GIB, 90 + 128 + 640),
            (Op::Complete, 0, 900),
            (Op::Complete, 5 * GIB, 900),
        ] {
            assert_eq!(answer_limit(op, bytes), Duration::from_secs(seconds), "{op:?} of {bytes} bytes");
        }
    }
}
