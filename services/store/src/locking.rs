//! Locking, in the order that leaves nothing behind: routes, apps, volumes, keys, sessions.

use crate::{audit, vault::Vault, volumes::Volumes};
use piccolo_bus_schema::{Fault, app::StopForLock, route::Withdraw};
use std::time::Duration;

/// The edge only swaps a table.
const ROUTES: Duration = Duration::from_secs(3);
/// Containers get their grace.
const APPS: Duration = Duration::from_secs(25);

/// Clears what an earlier life left behind: apps that run and volumes that stand although the device
/// is locked (its supervisor was killed, and the key with it).
pub(crate) async fn sweep(vault: &Vault, volumes: &Volumes) {
    if vault.open_stores().is_ok() || !volumes.any_mounted().await {
        return;
    }
    tracing::warn!("locked, but volumes stand: stopping apps and unmounting");
    if let Err(fault) = vault.bus().call(StopForLock {}, APPS).await {
        tracing::warn!(%fault, "apps do not stop");
    }
    if let Err(fault) = volumes.detach_all().await {
        tracing::warn!(%fault, "volumes still stand");
    }
}

/// Locks the device. A busy volume is named and nothing is forgotten: the owner decides.
pub(crate) async fn lock(vault: &Vault, volumes: &Volumes) -> Result<(), Fault> {
    if vault.open_stores().is_err() {
        return Ok(());
    }
    volumes.close();
    let locked = lock_closed(vault, volumes).await;
    volumes.reopen();
    if locked.is_err() {
        vault.announce();
    }
    locked
}

async fn lock_closed(vault: &Vault, volumes: &Volumes) -> Result<(), Fault> {
    // Peers that are down serve nothing and hold nothing: the lock goes on without them.
    if let Err(fault) = vault.bus().call(Withdraw {}, ROUTES).await {
        tracing::warn!(%fault, "locking without router-proxy's answer");
    }
    if let Err(fault) = vault.bus().call(StopForLock {}, APPS).await {
        tracing::warn!(%fault, "locking without apps' answer");
    }
    if let Err(fault) = volumes.detach_all().await {
        match fault {
            Fault::Conflict { .. } => return Err(fault),
            other => tracing::warn!(fault = %other, "locking without host's answer"),
        }
    }
    let _turn = vault.take_turn().await;
    vault.forget().await?;
    audit::own(vault, "owner".to_owned(), "lock.lock", "done").await;
    Ok(())
}
