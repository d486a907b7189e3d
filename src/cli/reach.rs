//! From targets to stores: the sandbox where one is asked for, else what the plan says.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::exit::Exit;
use crate::model::target::{Addressing, SANDBOX, Target, TargetSpec};
use crate::sandbox::{self, Sandbox};
use crate::store::s3::{Keys, Limits, S3, resolve};

use super::Failure;
use super::args::Global;

/// The sandbox of this process, if any, which must outlive every store; and how fast stores may be asked.
pub(crate) struct Reach {
    sandbox: Option<Sandbox>,
    limits: Limits,
}

pub(crate) type Stores = HashMap<String, (Target, Arc<S3>)>;

impl Reach {
    /// Starts the sandbox where one is asked for.
    pub async fn begin(global: &Global) -> Result<Self, Failure> {
        let Some(dir) = &global.sandbox else { return Ok(Self { sandbox: None, limits: Limits::default() }) };
        let mut options = sandbox::Options::new(dir);
        options.faults_file.clone_from(&global.sandbox_faults);
        let sandbox = sandbox::serve(options)
            .await
            .map_err(|error| Failure::new(Exit::CouldNotRun, format!("--sandbox: {error}")))?;
        Ok(Self { sandbox: Some(sandbox), limits: Limits::default() })
    }

    /// Asks no faster than this, all targets together.
    pub fn limited(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Freezes where a target is.
    pub async fn resolve(&self, spec: &TargetSpec) -> Result<Target, Failure> {
        match &self.sandbox {
            None => resolve(spec).await.map_err(|error| Failure::new(Exit::BadInput, error)),
            Some(sandbox) => Ok(Target {
                name: spec.name.clone(),
                bucket: spec.bucket.clone(),
                endpoint: SANDBOX.to_owned(),
                region: sandbox.region().to_owned(),
                addressing: Addressing::Path,
                owner: None,
                profile: None,
                role_arn: None,
                request_payer: false,
                trust_metadata: spec.trust_metadata,
                conditional_writes: spec.conditional_writes,
            }),
        }
    }

    /// Refuses a target that this process does not lead to: a sandbox's goes to a sandbox, any other to none.
    pub fn must_lead_to(&self, name: &str, endpoint: &str) -> Result<(), Failure> {
        let text = match (&self.sandbox, endpoint == SANDBOX) {
            (None, false) | (Some(_), true) => return Ok(()),
            (None, true) => format!("target {name} was planned for the sandbox: give --sandbox DIR"),
            (Some(_), false) => {
                format!("target {name} was planned for {endpoint}, not for a sandbox: leave --sandbox out")
            }
        };
        Err(Failure::new(Exit::Usage, text))
    }

    /// Connects to a target, and to nothing else than it says.
    pub async fn connect(&self, target: &Target) -> Result<S3, Failure> {
        self.must_lead_to(&target.name, &target.endpoint)?;
        let (target, keys) = match &self.sandbox {
            None => (target.clone(), Keys::Ambient),
            Some(sandbox) => (
                Target { endpoint: sandbox.endpoint().to_owned(), ..target.clone() },
                Keys::Static {
                    access_key: sandbox.access_key().to_owned(),
                    secret_key: sandbox.secret_key().to_owned(),
                },
            ),
        };
        let store = S3::connect(&target, keys).await.map_err(|error| Failure::new(Exit::CouldNotRun, error))?;
        Ok(store.limited(self.limits.clone()))
    }

    /// Connects to all targets, by name.
    pub async fn connect_all(&self, targets: &[Target]) -> Result<Stores, Failure> {
        let mut stores = Stores::new();
        for target in targets {
            stores.insert(target.name.clone(), (target.clone(), Arc::new(self.connect(target).await?)));
        }
        Ok(stores)
    }

    /// Ends the sandbox in order.
    pub async fn end(self) {
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
    }
}
