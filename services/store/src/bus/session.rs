//! `session.*`.

use crate::{chain::hexadecimal, seal::rand_bytes, sessions, vault::Vault};
use piccolo_bus_client::Handlers;
use piccolo_bus_schema::{
    Fault,
    session::{Check, Close, List, Open},
};
use piccolo_runtime::clock;
use std::sync::Arc;

pub(super) fn handlers(handlers: Handlers, vault: &Arc<Vault>) -> Handlers {
    let (open, check, list, close) = (
        Arc::clone(vault),
        Arc::clone(vault),
        Arc::clone(vault),
        Arc::clone(vault),
    );
    handlers
        .on::<Open, _, _>(move |command, _| {
            let vault = Arc::clone(&open);
            async move {
                let id = hexadecimal(&rand_bytes::<16>());
                let now = clock::now();
                let notebook = vault.open_stores()?.notebook;
                Ok(notebook
                    .run(move |book| sessions::open(book, command, id, now))
                    .await??)
            }
        })
        .on::<Check, _, _>(move |command, _| {
            let vault = Arc::clone(&check);
            async move {
                let now = clock::now();
                let notebook = vault.open_stores()?.notebook;
                let found = notebook
                    .run(move |book| sessions::check(book, &command.secret_hash, now))
                    .await??;
                found.ok_or_else(|| Fault::not_found("this session"))
            }
        })
        .on::<List, _, _>(move |_, _| {
            let vault = Arc::clone(&list);
            async move {
                let now = clock::now();
                let notebook = vault.open_stores()?.notebook;
                Ok(notebook
                    .run(move |book| sessions::list(book, now))
                    .await??)
            }
        })
        .on::<Close, _, _>(move |command, _| {
            let vault = Arc::clone(&close);
            async move {
                let notebook = vault.open_stores()?.notebook;
                let id = command.id.clone();
                if notebook
                    .run(move |book| sessions::close(book, &id))
                    .await??
                {
                    Ok(())
                } else {
                    Err(Fault::not_found(format!("session {}", command.id)))
                }
            }
        })
}
