//! The bytes on their way out: hashed as they go, and never whole on the wire unless they are what was reviewed.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sha2::Digest as _;
use tokio::sync::mpsc;

use crate::model::digest::{Checksum, Sha256};
use crate::model::part::MIB;
use crate::model::write::{Cause, Object, PutError, Refusal};
use crate::store::{Body, PartContent};

/// A file of this size or less is read where it is wanted, if that waits for no disk: a hop to another thread and back
/// costs several times what the read does.
const INLINE_MAX_BYTES: u64 = 64 << 10;
/// A file of this size or less is read and hashed whole before anything is sent.
const WHOLE_MAX_BYTES: u64 = MIB;
/// What one read of a larger file takes, and one frame of any body carries.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait between the reading thread and the socket.
const CHUNKS_AHEAD: usize = 4;

pub(super) type Sent = Arc<dyn Fn(u64) + Send + Sync>;

/// A body ready to be sent, and what can be known of it while it is under way.
pub(super) struct Outgoing {
    pub(super) stream: ByteStream,
    pub(super) watch: Arc<Watch>,
}

/// How far a body has come.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Counts frames handed to the connection; a body that stalls stops counting.
    frames: AtomicU64,
    /// Waits for its share of the bandwidth: what does not move then has not stalled.
    held: AtomicBool,
    end: Mutex<End>,
}

/// Whether the whole body can have reached the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum End {
    /// The last chunk is still here: whatever the server has is incomplete, so nothing can have been applied.
    #[default]
    Held,
    /// The last chunk left.
    Released,
    /// The source turned out not to be what was planned; the last chunk never leaves.
    Failed(PutError),
}

impl Watch {
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn hold(&self) {
        self.held.store(true, Ordering::Relaxed);
    }

    /// Counts as a move: only now can the body move by itself again.
    pub(super) fn release(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.held.store(false, Ordering::Relaxed);
    }

    pub(super) fn end(&self) -> End {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

/// Makes the body of a single PUT. Small sources are proven here, before any request; a large file proves itself on the way.
pub(super) async fn ready(object: &Object, body: Body, sent: Sent) -> Result<Outgoing, PutError> {
    let Checksum::Full(expected) = object.checksum else {
        return Err(PutError::Refused(
            Refusal::Failed,
            cause("InvalidChecksum", "a single PUT needs the SHA-256 of the whole file; this step pins parts".into()),
        ));
    };
    let size = object.size;
    match body {
        Body::Bytes(bytes) => {
            let bytes = blocking(move || proven(bytes, size, expected, "the content")).await?;
            Ok(whole(bytes, sent))
        }
        Body::File(path) if size <= WHOLE_MAX_BYTES => {
            if size <= INLINE_MAX_BYTES
                && let Some(bytes) = at_hand(&open(&path, size)?, size)
            {
                return Ok(whole(proven(bytes, size, expected, path.display())?, sent));
            }
            let bytes = blocking(move || {
                let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
                let mut file = open(&path, size)?.take(size + 1);
                file.read_to_end(&mut bytes).map_err(|error| unreadable(&path, &error))?;
                proven(bytes.into(), size, expected, path.display())
            })
            .await?;
            Ok(whole(bytes, sent))
        }
        Body::File(path) => {
            let (file, path) = blocking(move || open(&path, size).map(|file| (file, path))).await?;
            let piece = Piece { file, path, length: size, to_the_end: true };
            Ok(pumped(piece, expected, sent))
        }
    }
}

/// Makes the body of one part of a file that has `file_size` bytes in all.
pub(super) async fn part(content: PartContent, file_size: u64, expected: Sha256) -> Result<Outgoing, PutError> {
    match content {
        PartContent::Bytes(bytes) => Ok(whole(bytes, Arc::new(|_| ()))),
        PartContent::File { path, offset, length } => {
            let piece = blocking(move || {
                let mut file = open(&path, file_size)?;
                file.seek(SeekFrom::Start(offset)).map_err(|error| unreadable(&path, &error))?;
                Ok(Piece { file, path, length, to_the_end: offset + length == file_size })
            })
            .await?;
            Ok(pumped(piece, expected, Arc::new(|_| ())))
        }
    }
}

/// Makes a body of bytes that were proven elsewhere.
pub(super) fn whole(bytes: Bytes, sent: Sent) -> Outgoing {
    let size = bytes.len() as u64;
    let mut frames = VecDeque::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        frames.push_back(rest.split_to(rest.len().min(CHUNK_BYTES)));
    }
    outgoing(Source::Memory(frames), size, sent)
}

fn outgoing(source: Source, size: u64, sent: Sent) -> Outgoing {
    let watch = Arc::new(Watch::default());
    if size == 0 {
        // The headers alone are the whole request: there is no last chunk to hold back.
        watch.set(End::Released);
        return Outgoing { stream: ByteStream::new(SdkBody::empty()), watch };
    }
    let body = Metered { source, left: size, watch: Arc::clone(&watch), sent };
    Outgoing { stream: ByteStream::new(SdkBody::from_body_1_x(body)), watch }
}

/// What is read of a file, from where it stands.
struct Piece {
    file: File,
    path: PathBuf,
    length: u64,
    /// Whether the file has to end there.
    to_the_end: bool,
}

fn pumped(piece: Piece, expected: Sha256, sent: Sent) -> Outgoing {
    let (to, from) = mpsc::channel(CHUNKS_AHEAD);
    let length = piece.length;
    tokio::task::spawn_blocking(move || pump(piece, expected, &to));
    outgoing(Source::File(from), length, sent)
}

/// A frame of a file, or why there will be no more.
type Chunk = Result<Bytes, PutError>;

enum Source {
    Memory(VecDeque<Bytes>),
    File(mpsc::Receiver<Chunk>),
}

struct Metered {
    source: Source,
    left: u64,
    watch: Arc<Watch>,
    sent: Sent,
}

/// Ends the request from within; what it means stands in the [`Watch`].
#[derive(Debug, thiserror::Error)]
#[error("the source is not what was planned")]
struct Withheld;

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Withheld;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = match &mut self.source {
            Source::Memory(frames) => frames.pop_front().map(Ok),
            Source::File(from) => match from.poll_recv(cx) {
                Poll::Ready(chunk) => chunk,
                Poll::Pending => return Poll::Pending,
            },
        };
        let stopped = || PutError::Refused(Refusal::Source, cause("Source", "reading the file was interrupted".into()));
        match chunk.unwrap_or_else(|| Err(stopped())) {
            Ok(bytes) => {
                let len = bytes.len() as u64;
                self.left = self.left.saturating_sub(len);
                if self.left == 0 {
                    self.watch.set(End::Released);
                }
                self.watch.frames.fetch_add(1, Ordering::Relaxed);
                (self.sent)(len);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(why) => {
                self.watch.set(End::Failed(why));
                Poll::Ready(Some(Err(Withheld)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Reads, hashes and hands on a piece of a file; the last chunk only when the digest of all of it is the expected one and
/// the file ends where it has to. Runs on a thread of its own, so that the reactor never waits for a disk.
fn pump(piece: Piece, expected: Sha256, to: &mpsc::Sender<Chunk>) {
    let Piece { mut file, path, length, to_the_end } = piece;
    let mut hash = sha2::Sha256::new();
    let mut left = length;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut chunk = vec![0; want];
        let mut chunk = match file.read_exact(&mut chunk) {
            Ok(()) => Ok(chunk),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(changed(&path.display().to_string()))
            }
            Err(error) => Err(unreadable(&path, &error)),
        };
        left -= want as u64;
        if let Ok(bytes) = &chunk {
            hash.update(bytes);
            if left == 0 {
                let ends_here = !to_the_end || matches!(file.read(&mut [0]), Ok(0));
                if !ends_here || Sha256(hash.finalize_reset().into()) != expected {
                    chunk = Err(changed(&path.display().to_string()));
                }
            }
        }
        let over = chunk.is_err();
        // A send fails when the request is over; then nobody wants the rest.
        if to.blocking_send(chunk.map(Bytes::from)).is_err() || over {
            return;
        }
    }
}

/// What the page cache has of a file, where it has all of it: the plan, or its check, has mostly just read it.
#[cfg(target_os = "linux")]
fn at_hand(file: &File, size: u64) -> Option<Bytes> {
    let mut bytes = vec![0; usize::try_from(size).ok()? + 1];
    let read =
        rustix::io::preadv2(file, &mut [std::io::IoSliceMut::new(&mut bytes)], 0, rustix::io::ReadWriteFlags::NOWAIT);
    // Less may be there than the file has, and a file system may know no NOWAIT: then it is read the long way.
    let read = read.ok().filter(|read| *read as u64 == size)?;
    bytes.truncate(read);
    Some(bytes.into())
}

#[cfg(not(target_os = "linux"))]
fn at_hand(_: &File, _: u64) -> Option<Bytes> {
    None
}

fn open(path: &Path, size: u64) -> Result<File, PutError> {
    // Should the path have become a FIFO, this does not wait for its writer, and the look turns it away.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file =
        File::options().read(true).custom_flags(nonblock).open(path).map_err(|error| unreadable(path, &error))?;
    let meta = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !meta.is_file() {
        return Err(PutError::Refused(
            Refusal::Source,
            cause("Source", format!("{}: not a regular file", path.display())),
        ));
    }
    if meta.len() == size { Ok(file) } else { Err(changed(&path.display().to_string())) }
}

fn proven(bytes: Bytes, size: u64, expected: Sha256, what: impl fmt::Display) -> Result<Bytes, PutError> {
    if bytes.len() as u64 == size && Sha256(sha2::Sha256::digest(&bytes).into()) == expected {
        Ok(bytes)
    } else {
        Err(changed(&what.to_string()))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PutError> + Send + 'static,
) -> Result<T, PutError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(PutError::Refused(Refusal::Source, cause("Source", format!("reading was interrupted: {error}"))))
    })
}

fn changed(what: &str) -> PutError {
    PutError::Refused(
        Refusal::SourceChanged,
        cause(
            "SourceChanged",
            format!("{what} is not what was planned any more; nothing of it was stored. Plan again"),
        ),
    )
}

fn unreadable(path: &Path, error: &std::io::Error) -> PutError {
    PutError::Refused(Refusal::Source, cause("Source", format!("{}: {error}", path.display())))
}

fn cause(code: &str, message: String) -> Cause {
    Cause { code: code.to_owned(), message, ..Cause::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::{Key, Properties};
    use crate::model::write::WriteId;

    fn object(size: u64, content: &[u8]) -> Object {
        Object {
            key: Key::new("k"),
            size,
            checksum: Checksum::Full(Sha256(sha2::Sha256::digest(content).into())),
            properties: Arc::new(Properties::default()),
            write_id: WriteId::new("run", 1),
        }
    }

    async fn ready_of(path: &Path, object: &Object) -> Result<Bytes, PutError> {
        let body = Body::File(path.to_owned());
        let ready = ready(object, body, Arc::new(|_| ())).await?;
        Ok(ready.stream.collect().await.unwrap().into_bytes())
    }

    #[tokio::test]
    async fn a_small_file_is_sent_whole_or_turned_away_whatever_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for size in [0, 1, 4096, INLINE_MAX_BYTES, INLINE_MAX_BYTES + 1] {
            let content = vec![7; usize::try_from(size).unwrap()];
            std::fs::write(&path, &content).unwrap();
            assert_eq!(ready_of(&path, &object(size, &content)).await.unwrap(), content, "{size}");
            for planned in [object(size, b"other"), object(size + 1, &content), object(size.saturating_sub(1), b"x")] {
                let refused = ready_of(&path, &planned).await;
                assert!(matches!(refused, Err(PutError::Refused(Refusal::SourceChanged, _))), "{size}: {refused:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_became_a_fifo_is_turned_away_and_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let refused = ready_of(&path, &object(0, b"")).await;
        assert!(matches!(refused, Err(PutError::Refused(Refusal::Source, _))), "{refused:?}");
    }
}
