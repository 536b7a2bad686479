//! The lock: one password, one recovery key, five states. Owned by `store`.
//!
//! ```text
//!   setup ──Setup──► unlocked ◄──Unlock── locked (─► preunlock ─►)      any ──► fault
//!                        └──────Lock──────►┘
//! ```

use crate::{command::command, event::event, ticket::Ticket};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Whether the owner's data can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LockState {
    /// No owner yet.
    Setup,
    /// Waiting for the owner.
    Locked,
    /// The key is there; databases are being opened and verified.
    Preunlock,
    Unlocked,
    /// The store can't be used; nothing was deleted.
    Fault(StoreFault),
}

/// Why the store can't be used, in the owner's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFault {
    /// What is wrong, naming the file or record.
    pub explanation: String,
    /// What the owner can do.
    pub next_step: String,
}

/// Where a password attempt comes from; each kind is throttled apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// The operator at the device itself.
    Local,
    Lan(IpAddr),
    /// Through the relay.
    Remote(IpAddr),
}

/// Asks for the state. Answers in every state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {}
command!(Status => LockState, Store, "lock.status", Safe, []);

/// Makes the keyset. `Conflict` when there is one, `Invalid{password}` when it is weak.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    pub password: Ticket,
}
/// The words are shown once and can't be read again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecoveryKey {
    /// 24 BIP-39 words, separated by single spaces.
    pub words: Ticket,
}
command!(Setup => RecoveryKey, Store, "lock.setup", Never, [HealthApi]);

/// Checks the password and, when locked, unlocks. `Invalid{password}` when it is wrong, `Busy`
/// while throttled (before anything is hashed), `Conflict` before setup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unlock {
    pub password: Ticket,
    pub from: Client,
}
command!(Unlock => (), Store, "lock.unlock", Never, [HealthApi]);

/// Stops routes, apps with volumes, unmounts, forgets keys, ends sessions.
/// `Conflict` naming the holder when a volume is busy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lock {}
command!(Lock => (), Store, "lock.lock", Safe, [HealthApi]);

/// Sets a new password with the recovery words; ends all sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResetPassword {
    pub recovery_key: Ticket,
    pub new_password: Ticket,
    pub from: Client,
}
command!(ResetPassword => (), Store, "lock.reset-password", Never, [HealthApi]);

/// Sets a new password; ends all other sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangePassword {
    pub old_password: Ticket,
    pub new_password: Ticket,
    pub from: Client,
}
command!(ChangePassword => (), Store, "lock.change-password", Never, [HealthApi]);

/// Makes new recovery words; the old ones stop working.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GenerateRecoveryKey {
    pub password: Ticket,
    pub from: Client,
}
command!(GenerateRecoveryKey => RecoveryKey, Store, "lock.generate-recovery-key", Never, [HealthApi]);

/// The state changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LockChanged {
    pub state: LockState,
}
event!(LockChanged, LockChanged);
