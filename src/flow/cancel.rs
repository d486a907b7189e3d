//! A wish to stop: Ctrl-C, SIGTERM, or a failure that every other request would meet too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Shared by everything that runs. Once set it stays set: what is in flight is finished, nothing more is started.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    set: AtomicBool,
    bell: Notify,
}

impl Cancel {
    pub fn set(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        self.0.bell.notify_waiters();
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    /// Waits until somebody wishes to stop.
    pub async fn wished(&self) {
        let bell = self.0.bell.notified();
        tokio::pin!(bell);
        // Enlisted before the look at the flag, so that a wish between the two is not missed.
        bell.as_mut().enable();
        if !self.is_set() {
            bell.await;
        }
    }

    /// Pauses, but no longer than until somebody wishes to stop.
    pub async fn pause(&self, pause: Duration) {
        if !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wished() => {}
            }
        }
    }
}
