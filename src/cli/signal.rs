//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once. Both leave a run that can be resumed.

use tokio::signal::unix::{SignalKind, signal};

use crate::flow::cancel::Cancel;
use crate::model::exit::Exit;

use super::out::Out;

/// Sets `cancel` on the first signal, and ends the process on the second.
pub(crate) fn heed(cancel: &Cancel, out: Out) {
    let cancel = cancel.clone();
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        out.warning("signals cannot be caught: Ctrl-C will end this at once");
        return;
    };
    tokio::spawn(async move {
        for time in 0u8.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if time > 0 {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            cancel.set();
            out.note("interrupted: finishing what is in flight; once more to end at once (it can be resumed)");
        }
    });
}
