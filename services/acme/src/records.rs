//! The control store's records, as this service reads and writes them.

use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    Fault,
    control::{
        CertificateRecord, Change, Commit, Read, Record, RemoteRecord, Repository, SecretName,
    },
    ids::Hostname,
};
use std::{collections::BTreeMap, time::Duration};
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(5);

/// Remote access, if it is configured.
pub(crate) async fn remote(bus: &Bus) -> Result<Option<RemoteRecord>, Fault> {
    let records = bus
        .call(
            Read {
                repository: Repository::Remote,
            },
            PATIENCE,
        )
        .await?;
    Ok(records
        .into_iter()
        .find_map(|versioned| match versioned.record {
            Record::Remote(remote) => Some(remote),
            Record::Apps(_) | Record::Certificates(_) | Record::Settings(_) => None,
        }))
}

/// All certificates by name.
pub(crate) async fn certificates(
    bus: &Bus,
) -> Result<BTreeMap<Hostname, CertificateRecord>, Fault> {
    let records = bus
        .call(
            Read {
                repository: Repository::Certificates,
            },
            PATIENCE,
        )
        .await?;
    Ok(records
        .into_iter()
        .filter_map(|versioned| match versioned.record {
            Record::Certificates(record) => Some((record.host.clone(), record)),
            Record::Apps(_) | Record::Remote(_) | Record::Settings(_) => None,
        })
        .collect())
}

/// Writes a certificate's record.
pub(crate) async fn put(bus: &Bus, record: CertificateRecord) -> Result<(), Fault> {
    commit(bus, vec![Change::Put(Record::Certificates(record))]).await
}

/// Writes an issued certificate and its key in one commit.
pub(crate) async fn put_issued(
    bus: &Bus,
    record: CertificateRecord,
    key_pem: Zeroizing<Vec<u8>>,
) -> Result<(), Fault> {
    let value = bus.offer_secret(key_pem)?;
    let name = SecretName::TlsKey(record.host.clone());
    let put = Change::Put(Record::Certificates(record));
    commit(bus, vec![put, Change::PutSecret { name, value }]).await
}

/// Writes the account's credentials.
pub(crate) async fn put_account(bus: &Bus, json: Zeroizing<Vec<u8>>) -> Result<(), Fault> {
    let value = bus.offer_secret(json)?;
    commit(
        bus,
        vec![Change::PutSecret {
            name: SecretName::AcmeAccount,
            value,
        }],
    )
    .await
}

async fn commit(bus: &Bus, changes: Vec<Change>) -> Result<(), Fault> {
    bus.call(
        Commit {
            changes,
            expect: Vec::new(),
        },
        PATIENCE,
    )
    .await
    .map(|_| ())
}
