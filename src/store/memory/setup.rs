//! What the reference store tells of its own set-up. It obeys none of it: it is for whoever judges what is told.

use super::Memory;
use crate::model::bucket::{Aspect, Configuration, Status, Told, Versioning};

impl Memory {
    /// From now on the bucket tells of itself this.
    pub fn configure(&self, configuration: Configuration) {
        self.lock().configuration = Some(configuration);
    }

    pub(super) fn configuration(&self, wanted: &[Aspect]) -> Configuration {
        let configured = self.lock().configuration.clone();
        configured.unwrap_or_else(as_made).only(wanted)
    }
}

/// Versioned, and nothing else set.
fn as_made() -> Configuration {
    Configuration {
        owner: Told::NotSet,
        region: Told::Is("us-east-1".to_owned()),
        versioning: Told::Is(Versioning { status: Status::Enabled, mfa_delete: false }),
        lifecycle: Told::NotSet,
        object_lock: Told::NotSet,
        encryption: Told::NotSet,
        policy: Told::NotSet,
        policy_is_public: Told::NotSet,
        public_access: Told::NotSet,
        ownership: Told::NotSet,
        acl: Told::NotSet,
    }
}
