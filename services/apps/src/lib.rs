//! Container apps: what should run runs, after install, crash, reboot and unlock by one path.
//!
//! ```text
//!   bus.rs ──► desk.rs        records intent: checks, ports, commit, job
//!                 │ wake
//!   reconciler.rs ◄── events of store, engine and a timer
//!      ├─ picture.rs   what should be: records, roles, ports     want.rs   what to do about it (pure)
//!      └─ settle.rs    one app: egress → image → volumes → container → probe
//!            ├─ engine.rs   the Docker Engine API      probe.rs   does it answer?
//!            └─ identity.rs names, labels, prints (pure)
//!   spec/  the owner's YAML (pure)    ports.rs (pure)    logs.rs   jobs.rs
//! ```
//!
//! Access to the engine's socket is root in disguise: this process is root-equivalent.

#![forbid(unsafe_code)]

mod bus;
mod config;
mod desk;
mod engine;
mod error;
mod identity;
mod jobs;
mod logs;
mod picture;
mod ports;
mod probe;
mod reconciler;
mod settle;
mod spec;
mod want;

pub use config::Config;

use desk::Desk;
use piccolo_runtime::{Exit, Process};
use reconciler::Reconciler;
use std::sync::Arc;

/// Serves until asked to stop. Containers keep running; the next start reconciles.
pub async fn run(config: Config, process: Process) -> Result<(), Exit> {
    let Process {
        bus,
        board,
        shutdown,
        ..
    } = process;
    board.ok("apps", "Looking at what should run.");
    let reconciler = Arc::new(Reconciler::new(config.clone(), bus.clone(), board.clone()));
    let desk = Arc::new(Desk::new(config, bus.clone(), Arc::clone(&reconciler)));
    let keeping = tokio::spawn(Arc::clone(&reconciler).keep());
    let watching = tokio::spawn(Arc::clone(&reconciler).watch_engine());
    let handlers = bus::handlers(&desk, &reconciler);
    let outcome = piccolo_runtime::serve(&bus, &board, &shutdown, handlers).await;
    keeping.abort();
    watching.abort();
    outcome
}
