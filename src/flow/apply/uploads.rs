//! The multipart uploads of a run that are neither completed nor aborted: what a later attempt goes on with, and what
//! nobody may forget, since it is billed until it is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};

use crate::model::event::Event;
use crate::model::step::Step;
use crate::model::write::LookError;
use crate::plan::file::Plan;
use crate::store::{Store, UploadId};

use super::ledger::Ledger;
use super::{Run, index, lock};

/// Aborts under way at once.
const ABORTS: usize = 8;

/// By step.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<BTreeMap<u64, Vec<Open>>>);

#[derive(Debug, Clone)]
struct Open {
    upload: UploadId,
    /// Begun by an attempt that was cut off: its parts are as good as new.
    is_earlier: bool,
}

impl Uploads {
    /// What earlier attempts left, oldest first.
    pub fn of_earlier(left: Vec<(u64, String)>) -> Self {
        let mut open: BTreeMap<u64, Vec<Open>> = BTreeMap::new();
        for (n, id) in left {
            open.entry(n).or_default().push(Open { upload: UploadId(id), is_earlier: true });
        }
        Self(Mutex::new(open))
    }

    /// The uploads of a step that an earlier attempt began, the newest first. They are told once.
    pub fn take_earlier(&self, n: u64) -> Vec<UploadId> {
        let mut open = lock(&self.0);
        let of_step = open.get_mut(&n).map(Vec::as_mut_slice).unwrap_or_default();
        let told_now = |open: &mut Open| std::mem::take(&mut open.is_earlier).then(|| open.upload.clone());
        of_step.iter_mut().rev().filter_map(told_now).collect()
    }

    pub fn begun(&self, n: u64, upload: UploadId) {
        lock(&self.0).entry(n).or_default().push(Open { upload, is_earlier: false });
    }

    fn remove(&self, n: u64, upload: &UploadId) {
        if let Some(of_step) = lock(&self.0).get_mut(&n) {
            of_step.retain(|open| open.upload != *upload);
        }
    }

    fn all(&self) -> Vec<(u64, UploadId)> {
        let of_step =
            |(n, open): (&u64, &Vec<Open>)| open.iter().map(|open| (*n, open.upload.clone())).collect::<Vec<_>>();
        lock(&self.0).iter().flat_map(of_step).collect()
    }
}

/// Books that an upload is completed, or gone.
pub(super) fn over<S: Store, L: Ledger>(run: &Run<S, L>, step: &Step, upload: &UploadId) {
    run.uploads.remove(step.n, upload);
    // A note that is missing costs a later attempt one request, no more.
    let _ = run.ledger.upload_over(&upload.0);
}

/// Aborts an upload. One that cannot be aborted stays open, for the sweep at the run's end.
pub(super) async fn abort<S: Store, L: Ledger>(
    run: &Run<S, L>,
    store: &Arc<S>,
    step: &Step,
    upload: &UploadId,
) -> Result<(), LookError> {
    store.abort(&step.key, upload).await?;
    over(run, step, upload);
    Ok(())
}

/// Aborts every upload that is still open. What cannot be aborted is told, and stays in the journal: it is billed.
pub(super) async fn sweep<S: Store, L: Ledger>(run: &Run<S, L>, plan: &Plan) {
    let steps = run.uploads.all().into_iter().filter_map(|(n, upload)| Some((plan.steps.get(index(n))?, upload)));
    let mut aborts = stream::iter(steps)
        .map(|(step, upload)| async move {
            let aborted = match run.store(step) {
                Some((_, store)) => abort(run, store, step, &upload).await,
                None => Ok(()),
            };
            (step, upload, aborted)
        })
        .buffer_unordered(ABORTS);
    while let Some((step, upload, aborted)) = aborts.next().await {
        if let Err(error) = aborted {
            let text = format!(
                "{}: {}: the unfinished upload {} could not be aborted and is billed until it is: {error}",
                step.place, step.key, upload.0
            );
            run.watch.tell(Event::Warning(&text));
        }
    }
}
