//! Looks at how buckets are set up, for whoever judges it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bucket::check::require::{Asked, Demand, learn, open};
use crate::model::bucket::{Aspect, Configuration};
use crate::model::target::{Target, TargetSpec};
use crate::model::write::LookError;
use crate::store::Store;

use super::survey::SurveyError;

/// Everything that a bucket tells of itself. An error says why it could not be reached at all.
pub async fn look<S: Store>(store: &S) -> Result<Configuration, LookError> {
    // A server that is not there, keys that are wrong: that is no finding.
    store.access().await?;
    store.bucket(&Aspect::ALL).await
}

/// What is required where each target leads, by whichever target, and how the bucket is set up. Looked at only where
/// something is required. Counts its requests.
pub async fn demands<S: Store>(
    specs: &[TargetSpec],
    stores: &HashMap<String, (Target, Arc<S>)>,
    requests: &mut u64,
) -> Result<Vec<Demand>, SurveyError> {
    let reached = || specs.iter().filter_map(|spec| Some((spec, stores.get(&spec.name)?)));
    // By place: else another name for the same bucket would get around what is required of it.
    let mut places: HashMap<_, (Vec<Asked>, Configuration)> = HashMap::new();
    for (spec, (target, store)) in reached().filter(|(spec, _)| !spec.require.is_empty()) {
        let (asked, told) = places.entry(target.place()).or_default();
        asked.push(Asked { target: spec.name.clone(), prefix: spec.prefix.clone(), require: spec.require });
        let wanted = open(&spec.require, told);
        if wanted.is_empty() {
            continue;
        }
        *requests += wanted.len() as u64;
        match store.bucket(&wanted).await {
            Ok(more) => learn(told, more),
            Err(error) => {
                // HeadBucket's errors say what to do.
                let error = store.access().await.err().unwrap_or(error);
                return Err(SurveyError::Target { target: spec.name.clone(), cause: error.cause });
            }
        }
    }
    let demand = |(spec, (target, _)): (&TargetSpec, &(Target, Arc<S>))| {
        let (asked, told) = places.get(&target.place())?;
        Some(Demand::new(target.clone(), spec.prefix.clone(), asked, told.clone()))
    };
    Ok(reached().filter_map(demand).collect())
}
