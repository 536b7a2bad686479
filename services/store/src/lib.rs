//! The store: every record sealed, every commit provable, one lock.
//!
//! ```text
//!   bus/*.rs ──► vault.rs   setup → locked → preunlock → unlocked, fault; the data key lives here
//!                  ├─ keyset.rs    password and recovery words wrap one data key
//!                  ├─ throttle.rs  slows guessing, before anything is hashed
//!                  ├─ ledger.rs    control.db: sealed records, chained commits   (owner thread)
//!                  └─ notebook.rs  local.db: sessions, jobs, ports, audit        (owner thread)
//!                volumes.rs      keys, journal, attach and detach through host
//!                leadership.rs   roles and epochs, checked inside each commit
//! ```
//!
//! A crash leaves the device unlocked: the data key waits with piccolod in a memfd. A lock wipes it.

#![forbid(unsafe_code)]

mod audit;
mod bus;
mod chain;
mod config;
mod error;
mod files;
mod keyset;
mod leadership;
mod ledger;
mod locking;
mod notebook;
mod owner;
mod password;
mod seal;
mod sessions;
mod throttle;
mod unlock_key;
mod vault;
mod volumes;

#[cfg(test)]
mod service_tests;

pub use config::{Config, Provider};
pub use keyset::Stretching;

use piccolo_runtime::{Exit, Process};
use std::sync::Arc;
use vault::Vault;
use volumes::Volumes;

/// Serves until asked to stop. Stopping does not lock: the next start finds the key again.
pub async fn run(config: Config, process: Process) -> Result<(), Exit> {
    let Process {
        bus,
        board,
        shutdown,
        mut descriptors,
        ..
    } = process;
    let vault = Vault::open(config.clone(), bus.clone(), board.clone()).map_err(Exit::failed)?;
    let volumes = Arc::new(Volumes::new(
        &config.state_dir,
        bus.clone(),
        Arc::clone(&vault),
    ));
    if let Some(descriptor) = descriptors.take(unlock_key::NAME) {
        vault.resume(descriptor).await;
    }
    let watching = tokio::spawn(Arc::clone(&volumes).watch());
    let handlers = bus::handlers(&vault, &volumes);
    let outcome = piccolo_runtime::serve(&bus, &board, &shutdown, handlers).await;
    watching.abort();
    outcome
}
