//! The parts of a multipart upload: read once into a bounded pool, hashed, sent, and their composite compared with the
//! plan's before anybody may complete them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use sha2::Digest as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::model::digest::{Checksum, Sha256};
use crate::model::event::{Event, Phase};
use crate::model::part::{MIB, part_count};
use crate::model::step::Step;
use crate::model::write::{Cause, LookError, Object, PutError, Refusal};
use crate::store::{Part, PartTaken, Store, UploadId};

use super::ledger::Ledger;
use super::{End, Run};

/// An upload whose parts are all there.
#[derive(Debug)]
pub(super) struct Prepared {
    pub upload: UploadId,
    /// In order of their numbers.
    pub parts: Vec<PartTaken>,
}

/// Begins an upload and sends its parts. An upload that does not come that far is aborted here.
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
    let upload = begin(run, store, step, object).await?;
    if let Err(error) = run.ledger.upload(step.n, &object.key, &upload.0) {
        let cause = error.to_string();
        run.stop(End::Ledger(error, Vec::new()));
        // Told already, where it fails.
        let _ = abort(run, store, step, &upload).await;
        return Err(refused(Refusal::Failed, "Journal", &cause));
    }
    let sent = match send_all(run, store, step, object, &upload, part_bytes).await {
        Ok(taken) if composite(&taken) == digest => return Ok(Prepared { upload, parts: taken }),
        Ok(_) => refused(
            Refusal::SourceChanged,
            "SourceChanged",
            "the file's parts are not those that were reviewed; the upload was aborted before it was complete",
        ),
        Err(error) => error,
    };
    let _ = abort(run, store, step, &upload).await;
    Err(sent)
}

/// Aborts an upload. A failure is told, not hidden: what is left behind is billed.
pub(super) async fn abort<S: Store, L: Ledger>(
    run: &Run<S, L>,
    store: &Arc<S>,
    step: &Step,
    upload: &UploadId,
) -> Result<(), LookError> {
    let aborted = store.abort(&step.key, upload).await;
    if let Err(error) = &aborted {
        let text = format!(
            "{}: {}: the unfinished upload {} could not be aborted and is billed until it is: {error}",
            step.place, step.key, upload.0
        );
        run.watch.tell(Event::Warning(&text));
    }
    aborted
}

/// The SHA-256 of the parts' SHA-256s, as S3 makes it.
fn composite(parts: &[PartTaken]) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part.sha256.0);
    }
    Sha256(hasher.finalize().into())
}

async fn begin<S: Store, L: Ledger>(
    run: &Run<S, L>,
    store: &Arc<S>,
    step: &Step,
    object: &Object,
) -> Result<UploadId, PutError> {
    let mut failures = 0;
    loop {
        let answer = store.create_upload(object).await;
        if let Err(PutError::Unknown(cause)) = &answer {
            // Without its id nobody can abort it: it must not stay unsaid.
            let text = format!(
                "{}: {}: an upload may have been begun whose id is not known ({cause}); if so it is billed until the \
                 bucket's lifecycle rules abort it",
                step.place, step.key
            );
            run.watch.tell(Event::Warning(&text));
        }
        match answer {
            Err(error) if passing(&error) && failures < run.settings.patience.doubts && !run.is_over() => {
                failures += 1;
                run.cancel.pause(run.settings.patience.pause_before(failures)).await;
            }
            answer => return answer.map_err(harmless),
        }
    }
}

async fn send_all<S: Store, L: Ledger>(
    run: &Arc<Run<S, L>>,
    store: &Arc<S>,
    step: &Step,
    object: &Object,
    upload: &UploadId,
    part_bytes: u64,
) -> Result<Vec<PartTaken>, PutError> {
    let file = Arc::new(open(run.source(step), object.size).await?);
    let mut under_way: JoinSet<Result<PartTaken, PutError>> = JoinSet::new();
    let mut taken = Vec::new();
    let mut told = 0u64;
    let mut failure = None;
    let mut number = 0;
    let mut offset = 0;
    let mut book = |joined: Result<Result<PartTaken, PutError>, tokio::task::JoinError>| match joined {
        Ok(Ok(part)) => {
            let bytes = part_bytes.min(object.size - u64::from(part.number - 1) * part_bytes);
            run.watch.tell(Event::Advance { phase: Phase::Uploading, files: 0, bytes: bytes.cast_signed() });
            told += bytes;
            taken.push(part);
            None
        }
        Ok(Err(error)) => Some(error),
        Err(error) => Some(refused(Refusal::Failed, "Internal", &format!("a part's task died: {error}"))),
    };
    while offset < object.size && failure.is_none() {
        if run.is_over() {
            // Not applied, and worth another try: which the run, being over, will not make.
            failure = Some(refused(Refusal::Throttled, "Interrupted", "the run was over before all parts were sent"));
            break;
        }
        let bytes = part_bytes.min(object.size - offset);
        // Waits for room in the pool: this bounds the memory, however many files and parts there are.
        let Some(room) = room(run, bytes).await else {
            failure = Some(refused(Refusal::Failed, "Internal", "the pool of parts is closed"));
            break;
        };
        number += 1;
        let (file, run_of_part, store, object, upload) =
            (Arc::clone(&file), Arc::clone(run), Arc::clone(store), object.clone(), upload.clone());
        under_way.spawn(async move {
            let part = read(file, number, offset, bytes).await?;
            let answer = send(&run_of_part, &store, &object, &upload, part).await;
            drop(room);
            answer
        });
        offset += bytes;
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
    taken.sort_unstable_by_key(|part| part.number);
    Ok(taken)
}

async fn room<S, L>(run: &Run<S, L>, bytes: u64) -> Option<OwnedSemaphorePermit> {
    // A part larger than the whole pool has it alone.
    let pool = u32::try_from(run.settings.pool_bytes >> 20).unwrap_or(u32::MAX).max(1);
    let permits = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).clamp(1, pool);
    Arc::clone(&run.pool).acquire_many_owned(permits).await.ok()
}

async fn open(path: std::path::PathBuf, size: u64) -> Result<File, PutError> {
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

async fn read(file: Arc<File>, number: u32, offset: u64, bytes: u64) -> Result<Part, PutError> {
    blocking(move || {
        let length = usize::try_from(bytes)
            .map_err(|_| refused(Refusal::Failed, "BadPlan", "a part is larger than this machine's memory"))?;
        let mut buffer = vec![0; length];
        file.read_exact_at(&mut buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                refused(Refusal::SourceChanged, "SourceChanged", "the file became shorter while it was sent")
            }
            _ => refused(Refusal::Source, "Source", &error.to_string()),
        })?;
        let sha256 = Sha256(sha2::Sha256::digest(&buffer).into());
        Ok(Part { number, bytes: Bytes::from(buffer), sha256 })
    })
    .await
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
    object: &Object,
    upload: &UploadId,
    part: Part,
) -> Result<PartTaken, PutError> {
    let mut failures = 0;
    loop {
        match store.put_part(object, upload, part.clone()).await {
            Err(error) if passing(&error) && failures < run.settings.patience.throttles && !run.is_over() => {
                failures += 1;
                run.cancel.pause(run.settings.patience.pause_before(failures)).await;
            }
            answer => return answer.map_err(harmless),
        }
    }
}

/// Whether a request that stores no object is worth another try.
fn passing(error: &PutError) -> bool {
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
fn harmless(error: PutError) -> PutError {
    match error {
        PutError::Unknown(cause) | PutError::Lost(cause) | PutError::Mangled(cause) => {
            PutError::Refused(Refusal::Failed, cause)
        }
        refused @ PutError::Refused(..) => refused,
    }
}

fn refused(refusal: Refusal, code: &str, message: &str) -> PutError {
    PutError::Refused(
        refusal,
        Cause { http_status: None, code: code.to_owned(), message: message.to_owned(), request_id: None },
    )
}
