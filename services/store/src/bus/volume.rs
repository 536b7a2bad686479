//! `volume.*`.

use crate::volumes::Volumes;
use piccolo_bus_client::Handlers;
use piccolo_bus_schema::volume::{Attach, Detach, Erase, List};
use std::sync::Arc;

pub(super) fn handlers(handlers: Handlers, volumes: &Arc<Volumes>) -> Handlers {
    let (attach, detach, erase, list) = (
        Arc::clone(volumes),
        Arc::clone(volumes),
        Arc::clone(volumes),
        Arc::clone(volumes),
    );
    handlers
        .on::<Attach, _, _>(move |command, _| {
            let volumes = Arc::clone(&attach);
            async move { volumes.attach(command).await }
        })
        .on::<Detach, _, _>(move |command, _| {
            let volumes = Arc::clone(&detach);
            async move { volumes.detach(&command.id).await }
        })
        .on::<Erase, _, _>(move |command, _| {
            let volumes = Arc::clone(&erase);
            async move { volumes.erase(&command.id).await }
        })
        .on::<List, _, _>(move |_, _| {
            let volumes = Arc::clone(&list);
            async move { volumes.list().await }
        })
}
