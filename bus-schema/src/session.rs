//! Who is signed in. Owned by `store`, which sees hashes of session secrets only.

use crate::{command::command, ids::UnixSeconds, lock::Client};
use serde::{Deserialize, Serialize};

/// What a session may do and how it came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SessionKind {
    /// A browser's cookie.
    Browser { user_agent: String },
    /// An API token with the name its owner gave it; `None` never expires.
    Token {
        name: String,
        scope: Scope,
        expires_at: Option<UnixSeconds>,
    },
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Read,
    Write,
}

/// One session as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// 32 hexadecimal digits; not the secret.
    pub id: String,
    pub kind: SessionKind,
    pub from: Client,
    pub created_at: UnixSeconds,
    pub last_used_at: UnixSeconds,
    pub expires_at: UnixSeconds,
}

/// SHA-256 of a session's secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// Opens a session. Idle 12 hours, 30 days at most for browsers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    pub secret_hash: SecretHash,
    pub kind: SessionKind,
    pub from: Client,
}
command!(Open => Session, Store, "session.open", Never, [HealthApi]);

/// Finds the live session of a secret and renews its idle time; `NotFound` when there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    pub secret_hash: SecretHash,
}
command!(Check => Session, Store, "session.check", Safe, [HealthApi, RouterProxy]);

/// All live sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct List {}
command!(List => Vec<Session>, Store, "session.list", Safe, [HealthApi]);

/// Ends one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Close {
    pub id: String,
}
command!(Close => (), Store, "session.close", Safe, [HealthApi]);
