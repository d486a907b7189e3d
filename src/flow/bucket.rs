//! Looks at how buckets are set up, for whoever judges it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bucket::check::require::{Demand, aspects};
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

/// What is required of each target, and how its bucket is set up: looked at once a target, and only where something is
/// required. Counts its requests.
pub async fn demands<S: Store>(
    specs: &[TargetSpec],
    stores: &HashMap<String, (Target, Arc<S>)>,
    requests: &mut u64,
) -> Result<Vec<Demand>, SurveyError> {
    let mut found = Vec::new();
    for spec in specs.iter().filter(|spec| !spec.require.is_empty()) {
        let Some((target, store)) = stores.get(&spec.name) else { continue };
        let wanted = aspects(&spec.require);
        *requests += wanted.len() as u64;
        let told = match store.bucket(&wanted).await {
            Ok(told) => told,
            Err(error) => {
                // HeadBucket's errors say what to do.
                let error = store.access().await.err().unwrap_or(error);
                return Err(SurveyError::Target { target: spec.name.clone(), cause: error.cause });
            }
        };
        found.push(Demand::new(target.clone(), spec.prefix.clone(), spec.require, told));
    }
    Ok(found)
}
