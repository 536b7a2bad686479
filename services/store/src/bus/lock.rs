//! `lock.*`: secrets are claimed here, by ticket, and wiped when the command ends.

use crate::{keyset::Words, locking, vault::Vault, volumes::Volumes};
use piccolo_bus_client::Handlers;
use piccolo_bus_schema::{
    Fault,
    lock::{
        ChangePassword, GenerateRecoveryKey, Lock, RecoveryKey, ResetPassword, Setup, Status,
        Unlock,
    },
};
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) fn handlers(handlers: Handlers, vault: &Arc<Vault>, volumes: &Arc<Volumes>) -> Handlers {
    let clone = || Arc::clone(vault);
    let (status, setup, unlock, lock) = (clone(), clone(), clone(), clone());
    let (reset, change, generate) = (clone(), clone(), clone());
    let volumes = Arc::clone(volumes);
    handlers
        .on::<Status, _, _>(move |_, _| {
            let state = status.state();
            async move { Ok(state) }
        })
        .on::<Setup, _, _>(move |command, _| {
            let vault = Arc::clone(&setup);
            async move {
                let secret = vault.bus().claim_secret(&command.password).await?;
                let words = vault.set_up(secret.to_vec()).await?;
                offer(&vault, &words)
            }
        })
        .on::<Unlock, _, _>(move |command, _| {
            let vault = Arc::clone(&unlock);
            async move {
                let secret = vault.bus().claim_secret(&command.password).await?;
                vault.unlock(&secret, command.from).await
            }
        })
        .on::<Lock, _, _>(move |_, _| {
            let (vault, volumes) = (Arc::clone(&lock), Arc::clone(&volumes));
            async move { locking::lock(&vault, &volumes).await }
        })
        .on::<ResetPassword, _, _>(move |command, _| {
            let vault = Arc::clone(&reset);
            async move {
                let words = vault.bus().claim_secret(&command.recovery_key).await?;
                let new = vault.bus().claim_secret(&command.new_password).await?;
                vault
                    .reset_password(&words, new.to_vec(), command.from)
                    .await
            }
        })
        .on::<ChangePassword, _, _>(move |command, _| {
            let vault = Arc::clone(&change);
            async move {
                let old = vault.bus().claim_secret(&command.old_password).await?;
                let new = vault.bus().claim_secret(&command.new_password).await?;
                vault
                    .change_password(&old, new.to_vec(), command.from)
                    .await
            }
        })
        .on::<GenerateRecoveryKey, _, _>(move |command, _| {
            let vault = Arc::clone(&generate);
            async move {
                let secret = vault.bus().claim_secret(&command.password).await?;
                let words = vault.new_words(&secret, command.from).await?;
                offer(&vault, &words)
            }
        })
}

fn offer(vault: &Vault, words: &Words) -> Result<RecoveryKey, Fault> {
    let bytes = Zeroizing::new(words.expose().as_bytes().to_vec());
    Ok(RecoveryKey {
        words: vault.bus().offer_secret(bytes)?,
    })
}
