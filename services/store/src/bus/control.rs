//! `control.*`: records and secrets, each written by the service that owns it.

use crate::{
    chain::hexadecimal,
    error::DatabaseError,
    ledger::{Edit, Ledger, encode},
    vault::Vault,
};
use piccolo_bus_client::Handlers;
use piccolo_bus_schema::{
    Fault, ServiceName,
    control::{
        Change, Commit, Committed, ControlAnnounced, ControlCommitted, Expectation, Read,
        ReadRevision, ReadSecret, Record, RecordKey, Repository, Revision, SecretName, Verified,
        Verify, Versioned,
    },
    leadership::Resource,
};
use piccolo_runtime::clock;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const SECRETS: &str = "secrets";

/// A secret as it is sealed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct SecretRecord {
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

pub(super) fn handlers(handlers: Handlers, vault: &Arc<Vault>) -> Handlers {
    let clone = || Arc::clone(vault);
    let (committing, reading, secrets) = (clone(), clone(), clone());
    let (revising, verifying) = (clone(), clone());
    handlers
        .on::<Commit, _, _>(move |command, context| {
            let vault = Arc::clone(&committing);
            async move { commit(&vault, command, context.sender).await }
        })
        .on::<Read, _, _>(move |command, _| {
            let vault = Arc::clone(&reading);
            async move { read(&vault, command.repository).await }
        })
        .on::<ReadSecret, _, _>(move |command, context| {
            let vault = Arc::clone(&secrets);
            async move {
                check_reader(context.sender, &command.name)?;
                let open = vault.open_stores()?;
                let name = secret_name(&command.name);
                let found = open
                    .ledger
                    .run(move |ledger| ledger.get::<SecretRecord>(SECRETS, &name))
                    .await??;
                let entry = found.ok_or_else(|| Fault::not_found("this secret"))?;
                vault
                    .bus()
                    .offer_secret(Zeroizing::new(entry.value.bytes.clone()))
            }
        })
        .on::<ReadRevision, _, _>(move |_, _| {
            let vault = Arc::clone(&revising);
            async move { vault.revision().await }
        })
        .on::<Verify, _, _>(move |_, _| {
            let vault = Arc::clone(&verifying);
            async move { verify(&vault).await }
        })
}

/// A secret is read by who uses it, not by everyone who may ask.
fn check_reader(sender: ServiceName, name: &SecretName) -> Result<(), Fault> {
    let readers: &[ServiceName] = match name {
        SecretName::RelayDevice => &[ServiceName::NexusAgent],
        SecretName::TlsKey(_) => &[ServiceName::Acme, ServiceName::RouterProxy],
        SecretName::AcmeAccount => &[ServiceName::Acme],
        SecretName::App { .. } => &[ServiceName::Apps],
    };
    if readers.contains(&sender) {
        return Ok(());
    }
    Err(Fault::Forbidden {
        why: format!("{sender} has no use for this secret"),
    })
}

async fn commit(vault: &Vault, command: Commit, sender: ServiceName) -> Result<Committed, Fault> {
    let open = vault.open_stores()?;
    if command.changes.is_empty() {
        return Err(Fault::invalid("changes", "a commit without changes"));
    }
    let mut repositories = Vec::new();
    let mut edits = Vec::with_capacity(command.changes.len());
    for change in command.changes {
        check_owner(sender, &change)?;
        if let Some(repository) = repository_of(&change)
            && !repositories.contains(&repository)
        {
            repositories.push(repository);
        }
        edits.push(edit(vault, change).await?);
    }
    let registry = vault.registry.clone();
    let expectations = command.expect;
    let head = open
        .ledger
        .run(move |ledger| {
            // Held to the end of the commit: a role can't change in between.
            let roles = registry.hold();
            let epoch = roles.lead(&Resource::Kernel)?;
            for expectation in &expectations {
                check_expectation(ledger, expectation)?;
            }
            Ok::<_, Fault>(ledger.commit(edits, epoch)?)
        })
        .await??;
    vault.bus().publish(&ControlAnnounced {
        revision: head.revision,
        epoch: head.epoch,
    });
    vault.bus().publish(&ControlCommitted {
        revision: head.revision,
        epoch: head.epoch,
        repositories,
    });
    Ok(Committed {
        revision: head.revision,
    })
}

/// Each repository has one writer.
fn check_owner(sender: ServiceName, change: &Change) -> Result<(), Fault> {
    let owner = match change {
        Change::Put(record) => repository_owner(record.key().repository()),
        Change::Delete(key) => repository_owner(key.repository()),
        Change::PutSecret { name, .. } | Change::DeleteSecret(name) => match name {
            SecretName::RelayDevice => ServiceName::NexusAgent,
            SecretName::TlsKey(_) | SecretName::AcmeAccount => ServiceName::Acme,
            SecretName::App { .. } => ServiceName::Apps,
        },
    };
    if sender == owner {
        return Ok(());
    }
    Err(Fault::Forbidden {
        why: format!("{sender} may not write what {owner} owns"),
    })
}

const fn repository_owner(repository: Repository) -> ServiceName {
    match repository {
        Repository::Apps => ServiceName::Apps,
        Repository::Remote => ServiceName::NexusAgent,
        Repository::Certificates => ServiceName::Acme,
        Repository::Settings => ServiceName::HealthApi,
    }
}

const fn repository_of(change: &Change) -> Option<Repository> {
    match change {
        Change::Put(record) => Some(match record {
            Record::Apps(_) => Repository::Apps,
            Record::Remote(_) => Repository::Remote,
            Record::Certificates(_) => Repository::Certificates,
            Record::Settings(_) => Repository::Settings,
        }),
        Change::Delete(key) => Some(key.repository()),
        Change::PutSecret { .. } | Change::DeleteSecret(_) => None,
    }
}

/// Secrets are claimed before the transaction begins.
async fn edit(vault: &Vault, change: Change) -> Result<Edit, Fault> {
    Ok(match change {
        Change::Put(record) => {
            let key = record.key();
            let repository = table(key.repository());
            Edit::Put {
                repository,
                name: record_name(&key),
                plain: encode(&record)?,
            }
        }
        Change::Delete(key) => Edit::Delete {
            repository: table(key.repository()),
            name: record_name(&key),
        },
        Change::PutSecret { name, value } => {
            let bytes = vault.bus().claim_secret(&value).await?;
            let record = SecretRecord {
                bytes: bytes.to_vec(),
            };
            Edit::Put {
                repository: SECRETS,
                name: secret_name(&name),
                plain: encode(&record)?,
            }
        }
        Change::DeleteSecret(name) => Edit::Delete {
            repository: SECRETS,
            name: secret_name(&name),
        },
    })
}

const fn table(repository: Repository) -> &'static str {
    match repository {
        Repository::Apps => "apps",
        Repository::Remote => "remote",
        Repository::Certificates => "certificates",
        Repository::Settings => "settings",
    }
}

fn record_name(key: &RecordKey) -> String {
    match key {
        RecordKey::App(name) => name.to_string(),
        RecordKey::Remote => "remote".to_owned(),
        RecordKey::Certificate(host) => host.to_string(),
        RecordKey::Setting(name) => name.clone(),
    }
}

fn secret_name(name: &SecretName) -> String {
    match name {
        SecretName::RelayDevice => "relay-device".to_owned(),
        SecretName::TlsKey(host) => format!("tls-key {host}"),
        SecretName::AcmeAccount => "acme-account".to_owned(),
        SecretName::App { app, name } => format!("app {app} {name}"),
    }
}

fn check_expectation(ledger: &Ledger, expectation: &Expectation) -> Result<(), Fault> {
    let name = record_name(&expectation.key);
    let found = ledger.get::<Record>(table(expectation.key.repository()), &name)?;
    let revision = found.map_or(0, |entry| entry.revision);
    if revision == expectation.revision {
        return Ok(());
    }
    Err(Fault::conflict(format!(
        "{name} was changed meanwhile: revision {revision}, not {}",
        expectation.revision
    )))
}

async fn read(vault: &Vault, repository: Repository) -> Result<Vec<Versioned>, Fault> {
    let open = vault.open_stores()?;
    let entries = open
        .ledger
        .run(move |ledger| ledger.read::<Record>(table(repository)))
        .await??;
    let mut records: Vec<Versioned> = entries
        .into_iter()
        .map(|entry| Versioned {
            revision: entry.revision,
            record: entry.value,
        })
        .collect();
    records.sort_by_key(|versioned| versioned.record.key());
    Ok(records)
}

async fn verify(vault: &Vault) -> Result<Verified, Fault> {
    let open = vault.open_stores()?;
    let proof = open.ledger.run(|ledger| ledger.verify()).await?;
    let proof =
        proof.map_err(|error: DatabaseError| Fault::unavailable("the store", error.to_string()))?;
    Ok(Verified {
        revision: Revision {
            revision: proof.head.revision,
            checksum: hexadecimal(&proof.head.checksum),
            epoch: proof.head.epoch,
            verified_at: clock::now(),
        },
        records: proof.records,
        commits: proof.head.revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reads_a_secret_it_has_no_use_for() {
        assert!(check_reader(ServiceName::NexusAgent, &SecretName::RelayDevice).is_ok());
        assert!(check_reader(ServiceName::Apps, &SecretName::RelayDevice).is_err());
        assert!(check_reader(ServiceName::RouterProxy, &SecretName::AcmeAccount).is_err());
    }

    #[test]
    fn nobody_writes_what_another_service_owns() {
        let account = Change::DeleteSecret(SecretName::AcmeAccount);
        assert!(check_owner(ServiceName::Acme, &account).is_ok());
        assert!(check_owner(ServiceName::HealthApi, &account).is_err());
        let remote = Change::Delete(RecordKey::Remote);
        assert!(check_owner(ServiceName::NexusAgent, &remote).is_ok());
        assert!(check_owner(ServiceName::Apps, &remote).is_err());
    }
}
