//! The agent against a relay that says exactly what a test tells it to.
//!
//! The relay's side is written in the bytes and texts of the protocol's specification and shares
//! no codec with the agent. Store, apps and router-proxy are stand-ins too.

mod commands;
mod credits;
mod device;
mod drain;
mod edge;
mod flows;
mod handshake;
mod junk;
mod relay;
mod sessions;

use std::{future::Future, time::Duration};

/// Nothing in these tests takes this long unless something is wrong.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, happening: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, happening).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen: {what}"),
    }
}

/// Looks again and again until a condition holds.
pub(crate) async fn until<F>(what: &str, mut condition: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
