//! Certificates. Owned by `acme`; their records live in the control store.

use crate::{
    command::command,
    event::event,
    ids::{Hostname, JobId, UnixSeconds},
};
use serde::{Deserialize, Serialize};

/// Where a certificate stands, for the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateStatus {
    /// No certificate yet, an order is due or under way.
    Pending,
    Valid,
    /// Valid, and a new one is being ordered.
    Renewing,
    /// The last order failed and there is no valid certificate.
    Failed,
    Expired,
}

/// One line of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The host name.
    pub id: Hostname,
    pub domains: Vec<Hostname>,
    pub status: CertificateStatus,
    pub issuer: Option<String>,
    pub issued_at: Option<UnixSeconds>,
    pub expires_at: Option<UnixSeconds>,
    pub next_attempt: Option<UnixSeconds>,
    pub last_error: Option<String>,
}

/// The inventory, sorted by name. `Locked`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct List {}
command!(List => Vec<Certificate>, Acme, "certificate.list", Safe, []);

/// Orders anew at once. `NotFound`, `Locked`, `NotLeader`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renew {
    pub id: Hostname,
}
command!(Renew => JobId, Acme, "certificate.renew", Never, [HealthApi]);

/// A certificate was issued, failed or is due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificateChanged {
    pub host: Hostname,
    pub status: CertificateStatus,
}
event!(CertificateChanged, CertificateChanged);
