//! This node's own records: jobs, ports, audit. Owned by `store`, never leader-gated.

use crate::{
    command::command,
    event::event,
    ids::{AppName, ListenerName, UnixSeconds},
    job::Job,
};
use serde::{Deserialize, Serialize};

/// The ports of one listener; they never change while the app is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAllocation {
    pub app: AppName,
    pub listener: ListenerName,
    /// Loopback port the engine publishes.
    pub host_port: u16,
    /// Port on the LAN.
    pub public_port: u16,
}

/// One step of a local write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalChange {
    PutJob(Job),
    PutPort(PortAllocation),
    /// Frees all ports of an app.
    DeletePorts(AppName),
}

/// Writes local records, all or none. `Locked`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Write {
    pub changes: Vec<LocalChange>,
}
command!(Write => (), Store, "local.write", Safe, [Apps, Acme, Host, HealthApi]);

/// The newest jobs, newest first, at most 200.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadJobs {}
command!(ReadJobs => Vec<Job>, Store, "local.read-jobs", Safe, []);

/// All port allocations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadPorts {}
command!(ReadPorts => Vec<PortAllocation>, Store, "local.read-ports", Safe, [Apps]);

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Grows by one.
    pub sequence: u64,
    pub at: UnixSeconds,
    /// Who: `owner (LAN 192.0.2.7)`, `operator`, `store`.
    pub actor: String,
    /// What: `lock.unlock`, `app.install`.
    pub action: String,
    /// On what: `app demo`.
    pub subject: String,
    /// How it ended: `done`, `refused: …`.
    pub outcome: String,
}

/// Records what someone did. While locked it waits in a bounded file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordAudit {
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub outcome: String,
}
command!(RecordAudit => (), Store, "local.record-audit", Never, []);

/// Entries after a sequence number, oldest first, at most 500.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadAudit {
    pub after: u64,
}
command!(ReadAudit => Vec<AuditEntry>, Store, "local.read-audit", Safe, [HealthApi]);

/// Something was audited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditRecorded {
    pub action: String,
}
event!(AuditRecorded, AuditRecorded);
