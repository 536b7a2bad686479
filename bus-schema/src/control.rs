//! The control store: replicated, leader-gated, chained records. Owned by `store`.
//!
//! One [`Commit`] is one transaction is `revision + 1`. Secrets are records too, but travel by
//! ticket.

use crate::{
    command::command,
    event::event,
    ids::{AppName, Hostname, UnixSeconds},
    ticket::Ticket,
};
use serde::{Deserialize, Serialize};

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repository {
    Apps,
    Remote,
    Certificates,
    Settings,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "repository", rename_all = "snake_case")]
pub enum Record {
    Apps(AppRecord),
    Remote(RemoteRecord),
    Certificates(CertificateRecord),
    Settings(SettingRecord),
}

impl Record {
    /// Where it is kept.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Apps(app) => RecordKey::App(app.name.clone()),
            Self::Remote(_) => RecordKey::Remote,
            Self::Certificates(certificate) => RecordKey::Certificate(certificate.host.clone()),
            Self::Settings(setting) => RecordKey::Setting(setting.name.clone()),
        }
    }
}

/// The name of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKey {
    App(AppName),
    Remote,
    Certificate(Hostname),
    Setting(String),
}

impl RecordKey {
    /// The repository the key belongs to.
    pub const fn repository(&self) -> Repository {
        match self {
            Self::App(_) => Repository::Apps,
            Self::Remote => Repository::Remote,
            Self::Certificate(_) => Repository::Certificates,
            Self::Setting(_) => Repository::Settings,
        }
    }
}

/// What should be true of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    pub name: AppName,
    /// The owner's own text, comments and all.
    pub spec: String,
    /// Whether it should run.
    pub desired: Desired,
    /// Grows with each change of spec or image.
    pub generation: u64,
    /// The spec before this one, for `revert`.
    #[serde(default)]
    pub previous_spec: Option<String>,
    pub installed_at: UnixSeconds,
}

/// Whether an app should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    Running,
    Stopped,
}

/// How the device is reached from outside. The relay secret is [`SecretName::RelayDevice`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRecord {
    pub enabled: bool,
    /// `wss://relay.example.com:8443/connect`.
    pub endpoint: String,
    /// Apps are `<listener>.<tld>`.
    pub tld: Hostname,
    pub portal_hostname: Hostname,
    #[serde(default)]
    pub acme_email: Option<String>,
}

/// A certificate, or the way to one. Its key is [`SecretName::TlsKey`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    pub host: Hostname,
    /// The chain in PEM, leaf first; `None` until the first one is issued.
    pub chain_pem: Option<String>,
    pub issuer: Option<String>,
    pub issued_at: Option<UnixSeconds>,
    pub expires_at: Option<UnixSeconds>,
    /// Grows with each issued certificate.
    pub generation: u64,
    /// The order under way: its state machine, persisted before each outside effect.
    pub order: OrderState,
    /// Failures in a row, and when the next try is due.
    pub attempts: u32,
    pub next_attempt: Option<UnixSeconds>,
    pub last_error: Option<String>,
}

/// Where a certificate order stands (RFC 8555 section 7.1.6 has the server's half).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OrderState {
    /// Nothing under way.
    Idle,
    New,
    Placed {
        order_url: String,
    },
    ChallengePublished {
        order_url: String,
        token: String,
    },
    Validating {
        order_url: String,
    },
    Finalizing {
        order_url: String,
    },
    Issued {
        order_url: String,
    },
}

/// A setting by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingRecord {
    pub name: String,
    pub value: String,
}

/// The name of a secret record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretName {
    /// What the device signs its relay tokens with.
    RelayDevice,
    /// PKCS#8 PEM of the key of a host's certificate.
    TlsKey(Hostname),
    /// The ACME account: credentials as JSON.
    AcmeAccount,
    /// One of an app's secrets.
    App { app: AppName, name: String },
}

/// One step of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Put(Record),
    Delete(RecordKey),
    /// The bytes wait at the ticket's holder.
    PutSecret {
        name: SecretName,
        value: Ticket,
    },
    DeleteSecret(SecretName),
}

/// A record with the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned {
    pub revision: u64,
    pub record: Record,
}

/// Refuses the commit with `Conflict` when the record's revision is another one (0: must not exist).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    pub key: RecordKey,
    pub revision: u64,
}

/// Changes records, all or none. `Locked`; `NotLeader` for followers, checked inside the commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Commit {
    pub changes: Vec<Change>,
    #[serde(default)]
    pub expect: Vec<Expectation>,
}
/// The revision the commit made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    pub revision: u64,
}
command!(Commit => Committed, Store, "control.commit", Never, [Apps, NexusAgent, Acme, HealthApi]);

/// All records of a repository, sorted by key. `Locked` when they can't be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Read {
    pub repository: Repository,
}
command!(Read => Vec<Versioned>, Store, "control.read", Safe, []);

/// Hands out a secret by ticket; `NotFound` when there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadSecret {
    pub name: SecretName,
}
command!(ReadSecret => Ticket, Store, "control.read-secret", Safe, [Apps, NexusAgent, Acme, RouterProxy]);

/// Where the store stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadRevision {}
/// Revision, chained checksum and when it was last verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub revision: u64,
    /// SHA-256 chained over all commits, hexadecimal.
    pub checksum: String,
    /// Leadership epoch of the last commit.
    pub epoch: u64,
    pub verified_at: UnixSeconds,
}
command!(ReadRevision => Revision, Store, "control.read-revision", Safe, []);

/// Verifies the chain and every record now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verify {}
/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    pub revision: Revision,
    pub records: u64,
    pub commits: u64,
}
command!(Verify => Verified, Store, "control.verify", Safe, [HealthApi]);

/// A revision was committed and verified on this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ControlCommitted {
    pub revision: u64,
    pub epoch: u64,
    /// The repositories it touched.
    pub repositories: Vec<Repository>,
}
event!(ControlCommitted, ControlCommitted);

/// The leader's hint that a revision exists. Moves nothing by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ControlAnnounced {
    pub revision: u64,
    pub epoch: u64,
}
event!(ControlAnnounced, ControlAnnounced);
