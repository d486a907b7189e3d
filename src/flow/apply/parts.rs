//! The parts of a multipart upload: read once into a bounded pool, hashed, sent unless the server has them already, and
//! their composite compared with the plan's before anybody may complete them.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::Digest as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::model::digest::{Checksum, Md5, Sha256};
use crate::model::event::{Event, Phase};
use crate::model::part::{MIB, part_count};
use crate::model::step::Step;
use crate::model::write::{Cause, Object, PutError, Refusal};
use crate::store::{CopiedPart, HeldPart, Part, PartContent, PartTaken, Store, UploadId};

use super::ledger::Ledger;
use super::{End, Run, pace, uploads};

/// An upload that is gone before it is complete (a lifecycle rule, somebody's clean-up) is begun anew so often.
pub(super) const RESTARTS_MAX: u32 = 2;
/// What a part that is not held takes of the pool, in MiB: the chunks on their way from disk to socket.
const STREAMED_MIB: u64 = 2;
/// What one read of a part that is held takes.
const CACHED_BYTES: usize = 256 << 10;
/// What one read of a part that is not held takes.
const CHUNK_BYTES: usize = 1 << 20;

/// An upload whose parts are all there.
#[derive(Debug)]
pub(super) struct Prepared {
    pub upload: UploadId,
    pub parts: Parts,
    /// So many of them were there already.
    pub went_on_with: usize,
}

/// The parts of an upload, in order of their numbers.
#[derive(Debug)]
pub(super) enum Parts {
    Sent(Vec<PartTaken>),
    /// By the server itself, of an earlier version.
    Copied(Vec<CopiedPart>),
}

/// Begins an upload, or goes on with one that an earlier attempt left, and sends the parts that are not there. An upload
/// that does not come that far is aborted here.
pub(super) async fn prepare<S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    store: &Arc<S>,
    step: &Step,
    object: &Object,
) -> Result<Prepared, PutError> {
    let Checksum::Composite { digest, parts, part_bytes } = object.checksum else {
        return Err(refused(Refusal::Failed, "BadPlan", "a multipart upload needs a composite checksum in the plan"));
    };
    if u64::from(parts) != part_count(object.size, part_bytes) {
        return Err(refused(Refusal::Failed, "BadPlan", "the plan's parts are not those of a file of this size"));
    }
    let mut left = go_on(run, store, step).await;
    let mut restarts = 0;
    loop {
        let (upload, held) = match left.take() {
            Some(left) => left,
            None => (begin(run, store, step, || store.create_upload(object)).await?, HashMap::new()),
        };
        let sending = Sending { run, store, step, object, upload: &upload, part_bytes };
        let error = match sending.all(&held).await {
            Ok((taken, went_on_with)) if composite(&taken) == digest => {
                return Ok(Prepared { upload, parts: Parts::Sent(taken), went_on_with });
            }
            Ok(_) => refused(
                Refusal::SourceChanged,
                "SourceChanged",
                "the file's parts are not those that were reviewed; the upload was aborted before it was complete",
            ),
            Err(error) => error,
        };
        // Where it fails it stays open, and is aborted at the run's end.
        let _ = uploads::abort(run, store, step, &upload).await;
        let is_gone = matches!(error, PutError::Refused(Refusal::NoSuchUpload, _));
        if !is_gone || restarts == RESTARTS_MAX || run.is_over() {
            return Err(error);
        }
        restarts += 1;
    }
}

/// The newest upload of this step that an earlier attempt left and the server still knows, and the parts that it holds.
/// Any other is aborted.
async fn go_on<S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    store: &Arc<S>,
    step: &Step,
) -> Option<(UploadId, HashMap<u32, HeldPart>)> {
    let mut newest = None;
    for upload in run.uploads.take_earlier(step.n) {
        if newest.is_none()
            && let Ok(Some(parts)) = store.list_parts(&step.key, &upload).await
        {
            newest = Some((upload, parts.into_iter().map(|part| (part.number, part)).collect()));
        } else {
            // Where it fails it stays open, and is aborted at the run's end.
            let _ = uploads::abort(run, store, step, &upload).await;
        }
    }
    newest
}

/// The SHA-256 of the parts' SHA-256s, as S3 makes it.
fn composite(parts: &[PartTaken]) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part.sha256.0);
    }
    Sha256(hasher.finalize().into())
}

/// Begins an upload: one that `create` asks for. Its id is in the journal when this returns.
pub(super) async fn begin<S: Store, L: Ledger, F>(
    run: &Arc<Run<S, L>>,
    store: &Arc<S>,
    step: &Step,
    create: impl Fn() -> F,
) -> Result<UploadId, PutError>
where
    F: Future<Output = Result<UploadId, PutError>>,
{
    let mut failures = 0;
    let upload = loop {
        let answer = create().await;
        if let Err(PutError::Unknown(cause)) = &answer {
            // Without its id nobody can abort it: it must not stay unsaid.
            let text = format!(
                "{}: {}: an upload may have been begun whose id is not known ({cause}); if so it is billed until it is \
                 aborted: see `noclobber bucket uploads`",
                step.place, step.key
            );
            run.watch.tell(Event::Warning(&text));
        }
        match answer {
            Err(error) if passing(&error) && failures < run.settings.patience.doubts && !run.is_over() => {
                failures += 1;
                run.cancel.pause(run.settings.patience.pause_before(failures)).await;
            }
            answer => break answer.map_err(harmless)?,
        }
    };
    run.uploads.begun(step.n, upload.clone());
    if let Err(error) = run.ledger.upload(step.n, &step.key, &upload.0) {
        let cause = error.to_string();
        run.stop(End::Ledger(error, Vec::new()));
        let _ = uploads::abort(run, store, step, &upload).await;
        return Err(refused(Refusal::Failed, "Journal", &cause));
    }
    Ok(upload)
}

/// The sending of one upload's parts.
struct Sending<'a, S, L> {
    run: &'a Arc<Run<S, L>>,
    store: &'a Arc<S>,
    step: &'a Step,
    object: &'a Object,
    upload: &'a UploadId,
    part_bytes: u64,
}

/// A part that is up.
struct Up {
    part: PartTaken,
    was_held: bool,
}

impl<S: Store, L: Ledger> Sending<'_, S, L> {
    /// Sends all parts but those that the server holds as the file has them; says how many those were.
    async fn all(&self, held: &HashMap<u32, HeldPart>) -> Result<(Vec<PartTaken>, usize), PutError> {
        let Self { run, object, part_bytes, .. } = *self;
        let path = run.source(self.step);
        let file = Arc::new(open(path.clone(), object.size).await?);
        let mut under_way: JoinSet<Result<Up, PutError>> = JoinSet::new();
        let mut up = Vec::new();
        let mut told = 0u64;
        let mut failure = None;
        let mut number = 0;
        let mut offset = 0;
        let mut book = |joined: Result<Result<Up, PutError>, tokio::task::JoinError>| match joined {
            Ok(Ok(part)) => {
                let bytes = part_bytes.min(object.size - u64::from(part.part.number - 1) * part_bytes);
                run.watch.tell(Event::Advance { phase: Phase::Uploading, files: 0, bytes: bytes.cast_signed() });
                told += bytes;
                up.push(part);
                None
            }
            Ok(Err(error)) => Some(error),
            Err(error) => Some(refused(Refusal::Failed, "Internal", &format!("a part's task died: {error}"))),
        };
        while offset < object.size && failure.is_none() {
            if run.is_over() {
                // Not applied, and worth another try: which the run, being over, will not make.
                failure =
                    Some(refused(Refusal::Throttled, "Interrupted", "the run was over before all parts were sent"));
                break;
            }
            let length = part_bytes.min(object.size - offset);
            let is_held = length <= run.settings.part_held_bytes;
            // Waits for room in the pool: this bounds the memory, however many files and parts there are.
            let Some(room) = room(run, if is_held { length.div_ceil(MIB) } else { STREAMED_MIB }).await else {
                failure = Some(refused(Refusal::Failed, "Internal", "the pool of parts is closed"));
                break;
            };
            number += 1;
            let there = held.get(&number).filter(|part| part.size == length).cloned();
            let piece = Piece { file: Arc::clone(&file), path: path.clone(), number, offset, length, is_held };
            let (run, store, object, upload) =
                (Arc::clone(run), Arc::clone(self.store), object.clone(), self.upload.clone());
            let target = Arc::clone(&self.step.target);
            under_way.spawn(async move {
                let with_md5 = there.as_ref().is_some_and(|part| part.sha256.is_none());
                let (part, md5) = blocking(move || piece.read(with_md5)).await?;
                if let Some(there) = there.filter(|there| is_same(there, &part, md5)) {
                    let part = PartTaken { number, etag: there.etag, sha256: part.sha256 };
                    return Ok(Up { part, was_held: true });
                }
                let part = send(&run, &store, &target, &object, &upload, part).await?;
                drop(room);
                Ok(Up { part, was_held: false })
            });
            offset += length;
            while let Some(joined) = under_way.try_join_next() {
                failure = failure.or(book(joined));
            }
        }
        while let Some(joined) = under_way.join_next().await {
            let error = book(joined);
            failure = failure.or(error);
        }
        if let Some(error) = failure {
            run.watch.tell(Event::Advance { phase: Phase::Uploading, files: 0, bytes: -told.cast_signed() });
            return Err(error);
        }
        up.sort_unstable_by_key(|up| up.part.number);
        let went_on_with = up.iter().filter(|up| up.was_held).count();
        Ok((up.into_iter().map(|up| up.part).collect(), went_on_with))
    }
}

/// Whether the server holds this very part. By its SHA-256; where that is not told, by an ETag that is the part's MD5:
/// one that is not (SSE-KMS) only sends the part again.
fn is_same(there: &HeldPart, part: &Part, md5: Option<Md5>) -> bool {
    match (there.sha256, md5) {
        (Some(sha256), _) => sha256 == part.sha256,
        (None, Some(md5)) => there.etag.as_md5() == Some(md5),
        (None, None) => false,
    }
}

async fn room<S, L>(run: &Run<S, L>, mib: u64) -> Option<OwnedSemaphorePermit> {
    // A part larger than the whole pool has it alone.
    let pool = u32::try_from(run.settings.pool_bytes >> 20).unwrap_or(u32::MAX).max(1);
    let permits = u32::try_from(mib).unwrap_or(u32::MAX).clamp(1, pool);
    Arc::clone(&run.pool).acquire_many_owned(permits).await.ok()
}

async fn open(path: PathBuf, size: u64) -> Result<File, PutError> {
    blocking(move || {
        // A FIFO would hang the open: look first.
        let stat = crate::local::stat(&path).map_err(|error| refused(Refusal::Source, "Source", &error.to_string()))?;
        if stat.size != size {
            let text = format!("{size} bytes were reviewed, the file has {} now", stat.size);
            return Err(refused(Refusal::SourceChanged, "SourceChanged", &text));
        }
        File::open(&path).map_err(|error| refused(Refusal::Source, "Source", &error.to_string()))
    })
    .await
}

/// A part, as it lies on disk.
struct Piece {
    file: Arc<File>,
    path: PathBuf,
    number: u32,
    offset: u64,
    length: u64,
    is_held: bool,
}

impl Piece {
    /// Reads and hashes it, and holds its bytes or lets go of them.
    fn read(self, with_md5: bool) -> Result<(Part, Option<Md5>), PutError> {
        let Self { file, path, number, offset, length, is_held } = self;
        let (mut sha256, mut md5) = (sha2::Sha256::new(), with_md5.then(md5::Md5::new));
        let mut hash = |bytes: &[u8]| {
            sha256.update(bytes);
            if let Some(md5) = &mut md5 {
                md5.update(bytes);
            }
        };
        let content = if is_held {
            let length = usize::try_from(length)
                .map_err(|_| refused(Refusal::Failed, "BadPlan", "a part is larger than this machine's memory"))?;
            let mut bytes = Vec::with_capacity(length);
            // By pieces that are still in the processor's cache when they are hashed.
            while bytes.len() < length {
                let at = bytes.len();
                bytes.resize(length.min(at + CACHED_BYTES), 0);
                let piece = bytes.get_mut(at..).unwrap_or_default();
                read_at(&file, piece, offset + at as u64)?;
                hash(piece);
            }
            PartContent::Bytes(Bytes::from(bytes))
        } else {
            let mut chunk = vec![0; CHUNK_BYTES];
            let mut done = 0;
            while done < length {
                let want = usize::try_from(length - done).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                let chunk = chunk.get_mut(..want).unwrap_or_default();
                read_at(&file, chunk, offset + done)?;
                hash(chunk);
                done += want as u64;
            }
            PartContent::File { path, offset, length }
        };
        let part = Part { number, content, sha256: Sha256(sha256.finalize().into()) };
        Ok((part, md5.map(|md5| Md5(md5.finalize().into()))))
    }
}

fn read_at(file: &File, into: &mut [u8], offset: u64) -> Result<(), PutError> {
    file.read_exact_at(into, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            refused(Refusal::SourceChanged, "SourceChanged", "the file became shorter while it was sent")
        }
        _ => refused(Refusal::Source, "Source", &error.to_string()),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PutError> + Send + 'static,
) -> Result<T, PutError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(refused(Refusal::Failed, "Internal", &format!("a read's task died: {error}"))),
    }
}

/// Sends one part. A part may be sent again without a thought: it is no object, and the same number replaces it.
async fn send<S: Store, L: Ledger>(
    run: &Run<S, L>,
    store: &Arc<S>,
    target: &str,
    object: &Object,
    upload: &UploadId,
    part: Part,
) -> Result<PartTaken, PutError> {
    let mut failures = 0;
    loop {
        let turn = pace::enter(run.gate(target)).await;
        if run.is_over() {
            return Err(refused(Refusal::Throttled, "Interrupted", "the run was over before the part was sent"));
        }
        let answer = store.put_part(object, upload, part.clone()).await;
        pace::end(turn, &answer, &*run.watch);
        match answer {
            Err(error) if passing(&error) && failures < run.settings.patience.throttles && !run.is_over() => {
                failures += 1;
                run.cancel.pause(run.settings.patience.pause_before(failures)).await;
            }
            answer => return answer.map_err(harmless),
        }
    }
}

/// Whether a request that stores no object is worth another try.
pub(super) fn passing(error: &PutError) -> bool {
    match error {
        PutError::Unknown(_) | PutError::Refused(Refusal::Throttled | Refusal::Conflict, _) => true,
        PutError::Lost(_)
        | PutError::Mangled(_)
        | PutError::Refused(
            Refusal::SourceChanged | Refusal::Source | Refusal::Stop | Refusal::NoSuchUpload | Refusal::Failed,
            _,
        ) => false,
    }
}

/// No object was stored by a request that cannot store one: its "don't know" is a no.
pub(super) fn harmless(error: PutError) -> PutError {
    match error {
        PutError::Unknown(cause) | PutError::Lost(cause) | PutError::Mangled(cause) => {
            PutError::Refused(Refusal::Failed, cause)
        }
        refused @ PutError::Refused(..) => refused,
    }
}

pub(super) fn refused(refusal: Refusal, code: &str, message: &str) -> PutError {
    PutError::Refused(
        refusal,
        Cause { http_status: None, code: code.to_owned(), message: message.to_owned(), request_id: None },
    )
}
