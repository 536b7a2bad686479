//! The commands about certificates.

use crate::keeper::Keeper;
use piccolo_bus_client::Handlers;
use piccolo_bus_schema::certificate::{List, Renew};
use std::sync::Arc;

pub(crate) fn handlers(keeper: &Arc<Keeper>) -> Handlers {
    let (listing, renewing) = (Arc::clone(keeper), Arc::clone(keeper));
    Handlers::new()
        .on::<List, _, _>(move |_, _| {
            let inventory = listing.inventory();
            async move { inventory }
        })
        .on::<Renew, _, _>(move |command, _| {
            let keeper = Arc::clone(&renewing);
            async move { keeper.renew(command.id).await }
        })
}
