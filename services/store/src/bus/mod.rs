//! The store's commands, one file a noun: the only place that touches wire messages.

mod control;
mod leadership;
mod local;
mod lock;
mod session;
mod volume;

use crate::{vault::Vault, volumes::Volumes};
use piccolo_bus_client::Handlers;
use std::sync::Arc;

/// All handlers.
pub(crate) fn handlers(vault: &Arc<Vault>, volumes: &Arc<Volumes>) -> Handlers {
    let handlers = lock::handlers(Handlers::new(), vault, volumes);
    let handlers = session::handlers(handlers, vault);
    let handlers = control::handlers(handlers, vault);
    let handlers = local::handlers(handlers, vault);
    let handlers = volume::handlers(handlers, volumes);
    leadership::handlers(handlers, vault)
}
