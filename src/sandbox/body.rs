//! Bodies: received and hashed before anything is decided, and read back in pieces.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};

use super::disk::{Blob, Disk};
use super::record::{Object, Piece};
use super::sum::{Algorithm, Hashed, Hasher};

/// Bodies up to this size wait in memory until they are verified; longer ones in a blob file.
const MEMORY_BYTES: usize = 1 << 20;
const MAX_PUT_BYTES: u64 = 5 << 30;
const READ_BYTES: usize = 256 << 10;

/// A body that arrived whole. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Received {
    pub size: u64,
    pub hashed: Hashed,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    Blob(Blob),
}

/// Reads a body to its end.
pub(super) async fn receive(
    disk: &Arc<Disk>,
    mut body: Option<StreamingBlob>,
    algorithms: &[Algorithm],
    declared: Option<i64>,
) -> S3Result<Received> {
    let mut hasher = Hasher::new(algorithms);
    let mut place = Place::Memory(Vec::new());
    let mut size = 0u64;
    while let Some(chunk) = next(body.as_mut()).await {
        let chunk = chunk.map_err(|e| broken_body(&e))?;
        size += chunk.len() as u64;
        if size > MAX_PUT_BYTES {
            return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size"));
        }
        hasher.update(&chunk);
        place.push(disk, &chunk)?;
    }
    if declared.is_some_and(|declared| u64::try_from(declared) != Ok(size)) {
        return Err(incomplete());
    }
    Ok(Received { size, hashed: hasher.finish(), place })
}

impl Place {
    fn push(&mut self, disk: &Arc<Disk>, chunk: &[u8]) -> S3Result<()> {
        if let Self::Memory(held) = self {
            if held.len() + chunk.len() <= MEMORY_BYTES {
                held.extend_from_slice(chunk);
                return Ok(());
            }
            let mut blob = disk.new_blob().map_err(S3Error::internal_error)?;
            blob.file.write_all(held).map_err(S3Error::internal_error)?;
            *self = Self::Blob(blob);
        }
        if let Self::Blob(blob) = self {
            blob.file.write_all(chunk).map_err(S3Error::internal_error)?;
        }
        Ok(())
    }
}

impl Received {
    /// Moves the bytes into a blob, still to be kept by whoever commits it.
    pub fn into_blob(self, disk: &Arc<Disk>) -> S3Result<Blob> {
        match self.place {
            Place::Blob(blob) => Ok(blob),
            Place::Memory(held) => {
                let mut blob = disk.new_blob().map_err(S3Error::internal_error)?;
                blob.file.write_all(&held).map_err(S3Error::internal_error)?;
                Ok(blob)
            }
        }
    }

    pub fn md5(&self) -> String {
        hex::encode(self.hashed.md5)
    }
}

async fn next(body: Option<&mut StreamingBlob>) -> Option<Result<Bytes, StdError>> {
    body?.next().await
}

/// s3s tells its stream errors by their text alone: the types are private.
fn broken_body(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let mut mismatch = S3Error::with_message(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        mismatch.set_status_code(http::StatusCode::BAD_REQUEST);
        return mismatch;
    }
    if text.contains("SignatureMismatch") {
        return s3_error!(SignatureDoesNotMatch, "The signature of a chunk does not match.");
    }
    incomplete()
}

fn incomplete() -> S3Error {
    s3_error!(IncompleteBody, "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

/// A range of an object's bytes, read as the client takes them.
pub(super) fn send(disk: &Arc<Disk>, object: &Object, range: Range<u64>) -> StreamingBlob {
    StreamingBlob::new(Sending {
        disk: Arc::clone(disk),
        pieces: object.pieces.clone(),
        next: 0,
        skip: range.start,
        left: range.end.saturating_sub(range.start),
        open: None,
    })
}

struct Sending {
    disk: Arc<Disk>,
    pieces: Vec<Piece>,
    next: usize,
    /// Bytes to leap over before the first that is sent.
    skip: u64,
    left: u64,
    open: Option<File>,
}

impl Sending {
    fn read(&mut self) -> std::io::Result<Option<Bytes>> {
        while self.left > 0 {
            let Some(file) = &mut self.open else {
                let Some(piece) = self.pieces.get(self.next) else {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                };
                self.next += 1;
                if self.skip >= piece.size {
                    self.skip -= piece.size;
                    continue;
                }
                self.open = Some(self.disk.open_blob(piece.blob, std::mem::take(&mut self.skip))?);
                continue;
            };
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(READ_BYTES);
            let mut buffer = Vec::with_capacity(most);
            file.take(most as u64).read_to_end(&mut buffer)?;
            if buffer.is_empty() {
                self.open = None;
                continue;
            }
            self.left -= buffer.len() as u64;
            return Ok(Some(buffer.into()));
        }
        Ok(None)
    }
}

impl Stream for Sending {
    type Item = Result<Bytes, StdError>;

    // Reads block: a page-cache read of 256 KiB is shorter than the hop to a blocking thread and back.
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.read().map_err(|e| Box::new(e) as StdError).transpose())
    }
}

impl ByteStream for Sending {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.left).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}
