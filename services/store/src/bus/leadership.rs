//! `leadership.*`.

use crate::{audit, vault::Vault};
use piccolo_bus_client::Handlers;
use piccolo_bus_schema::leadership::{LeadershipChanged, Show, Simulate};
use piccolo_runtime::clock;
use std::sync::Arc;

pub(super) fn handlers(handlers: Handlers, vault: &Arc<Vault>) -> Handlers {
    let (showing, simulating) = (Arc::clone(vault), Arc::clone(vault));
    handlers
        .on::<Show, _, _>(move |_, _| {
            let roles = showing.registry.list();
            async move { Ok(roles) }
        })
        .on::<Simulate, _, _>(move |command, _| {
            let vault = Arc::clone(&simulating);
            async move {
                let leadership = vault.registry.simulate(command.resource, command.role)?;
                if let Ok(open) = vault.open_stores() {
                    let kept = leadership.clone();
                    let name = kept.resource.to_string();
                    let now = clock::now();
                    open.notebook
                        .run(move |book| book.put("role", &name, &kept, now))
                        .await??;
                }
                vault.report_role();
                vault.bus().publish(&LeadershipChanged {
                    leadership: leadership.clone(),
                });
                let words = format!("{} {:?}", leadership.resource, leadership.role);
                audit::own(&vault, "operator".to_owned(), "leadership.simulate", &words).await;
                Ok(leadership)
            }
        })
}
