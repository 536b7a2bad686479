//! When to stop: a signal, or the loss of piccolod.

use std::{io::Read, os::fd::AsFd};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Asked to stop? Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// One that nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone who holds a clone to stop.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Has someone asked?
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until someone asks. Cancel safe.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Stops on SIGTERM, SIGINT and when the lease pipe on stdin ends: piccolod is gone then, and
    /// the next one starts its own children.
    pub(crate) fn watch(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let lease = std::io::stdin().as_fd().try_clone_to_owned()?;
        let lost = self.clone();
        // A thread of its own: the pipe carries nothing, and a blocking read costs no wake-ups.
        std::thread::Builder::new()
            .name("lease".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || {
                let mut pipe = std::fs::File::from(lease);
                let mut byte = [0];
                while pipe.read(&mut byte).is_ok_and(|read| read > 0) {}
                tracing::info!("the supervisor is gone, stopping");
                lost.request();
            })?;
        let asked = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = asked.requested() => {}
            }
            asked.request();
        });
        Ok(())
    }
}
