//! Questions to the store and to apps.

use crate::settings::DeviceSecret;
use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    Fault, app,
    control::{self, Change, Record, RemoteRecord, Repository, SecretName},
    ids::ListenerName,
    lock::{self, LockState},
    ticket::Ticket,
};
use std::time::Duration;
use zeroize::Zeroizing;

/// These are answered from memory or by one transaction.
const PATIENCE: Duration = Duration::from_secs(5);

/// The peers this service asks.
#[derive(Clone)]
pub(crate) struct Peers {
    bus: Bus,
}

/// The remote record and the revision that wrote it.
pub(crate) struct VersionedRecord {
    pub(crate) revision: u64,
    pub(crate) record: RemoteRecord,
}

impl Peers {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    pub(crate) async fn lock_state(&self) -> Result<LockState, Fault> {
        self.bus.call(lock::Status {}, PATIENCE).await
    }

    /// The configuration of remote access; `None` when it was never set.
    pub(crate) async fn record(&self) -> Result<Option<VersionedRecord>, Fault> {
        let repository = Repository::Remote;
        let records = self
            .bus
            .call(control::Read { repository }, PATIENCE)
            .await?;
        Ok(records.into_iter().find_map(|found| match found.record {
            Record::Remote(record) => Some(VersionedRecord {
                revision: found.revision,
                record,
            }),
            Record::Apps(_) | Record::Certificates(_) | Record::Settings(_) => None,
        }))
    }

    /// The device secret; `None` when there is none, or one that can't be right.
    pub(crate) async fn secret(&self) -> Result<Option<DeviceSecret>, Fault> {
        let name = SecretName::RelayDevice;
        let ticket = match self.bus.call(control::ReadSecret { name }, PATIENCE).await {
            Ok(ticket) => ticket,
            Err(Fault::NotFound { .. }) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        Ok(DeviceSecret::new(self.claim(&ticket).await?).ok())
    }

    /// The listeners of all installed apps; none while locked.
    pub(crate) async fn listeners(&self) -> Result<Vec<ListenerName>, Fault> {
        let found = self.bus.call(app::ListEndpoints {}, PATIENCE).await?;
        let listeners = found.endpoints.into_iter();
        Ok(listeners.map(|endpoint| endpoint.listener).collect())
    }

    /// Writes the configuration, and a new secret if there is one, in one transaction.
    pub(crate) async fn commit(
        &self,
        record: RemoteRecord,
        secret: Option<&DeviceSecret>,
    ) -> Result<(), Fault> {
        let mut changes = vec![Change::Put(Record::Remote(record))];
        if let Some(secret) = secret {
            let bytes = Zeroizing::new(secret.expose().to_vec());
            changes.push(Change::PutSecret {
                name: SecretName::RelayDevice,
                value: self.bus.offer_secret(bytes)?,
            });
        }
        let commit = control::Commit {
            changes,
            expect: Vec::new(),
        };
        self.bus.call(commit, PATIENCE).await.map(|_| ())
    }

    /// Fetches what a ticket names, within the patience of any other question.
    pub(crate) async fn claim(&self, ticket: &Ticket) -> Result<Zeroizing<Vec<u8>>, Fault> {
        tokio::time::timeout(PATIENCE, self.bus.claim_secret(ticket))
            .await
            .unwrap_or(Err(Fault::DeadlineExceeded))
    }
}
