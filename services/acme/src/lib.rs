//! Certificates (RFC 8555): one order per name, by HTTP-01 through the relay.
//!
//! ```text
//!   names.rs      which names want a certificate (pure)
//!   schedule.rs   when a name is due: first order, renewal, back-off (pure)
//!   keeper.rs     watches both, starts at most four orders at once
//!      └─ order.rs    one order: each step persisted before its outside effect
//!           ├─ directory.rs   account and ACME directory
//!           ├─ records.rs     the control store's records
//!           └─ issued.rs      what a chain says of itself, and whether it fits its key (pure)
//!   inventory.rs  records → what the owner sees (pure)
//! ```
//!
//! A failing name delays no other. Keys and the account live sealed in the store; this process
//! holds them only while it works on an order.

#![forbid(unsafe_code)]

mod bus;
mod config;
mod directory;
mod error;
mod inventory;
mod issued;
mod keeper;
mod names;
mod order;
mod records;
mod schedule;

pub use config::Config;

use directory::Directory;
use keeper::Keeper;
use piccolo_runtime::{Exit, Process};
use std::sync::Arc;

/// Serves until asked to stop; orders under way resume at the next start.
pub async fn run(config: Config, process: Process) -> Result<(), Exit> {
    // One provider for the whole process, named once. A second install is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Process {
        bus,
        board,
        shutdown,
        ..
    } = process;
    board.ok("acme", "No certificate is due.");
    let directory = Arc::new(Directory::new(config, bus.clone()));
    let keeper = Arc::new(Keeper::new(bus.clone(), board.clone(), directory));
    let keeping = tokio::spawn(Arc::clone(&keeper).keep());
    let outcome = piccolo_runtime::serve(&bus, &board, &shutdown, bus::handlers(&keeper)).await;
    keeping.abort();
    outcome
}
