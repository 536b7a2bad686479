//! Why a command failed: whose fault it is, whether to try again, and what the outside may see.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The typed failure of a command. Every text in it may be shown to the owner; the private cause
/// stays in the log of the service that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// The device waits for its owner.
    #[error("the device is locked")]
    Locked,
    /// Only the leader of the resource may do this.
    #[error("this node does not lead {resource}")]
    NotLeader {
        resource: String,
        /// Address of the leader, when it is known.
        leader: Option<String>,
    },
    /// No such thing.
    #[error("{what} does not exist")]
    NotFound { what: String },
    /// The state it would change is not the one it assumes.
    #[error("{why}")]
    Conflict { why: String },
    /// A field breaks a rule.
    #[error("{field}: {why}")]
    Invalid { field: String, why: String },
    /// The caller may not.
    #[error("not allowed: {why}")]
    Forbidden { why: String },
    /// At a bound; nothing was done.
    #[error("busy, try again in {retry_after_ms} ms")]
    Busy { retry_after_ms: u64 },
    /// A part it needs is missing or down; nothing was done.
    #[error("{what} is unavailable: {why}")]
    Unavailable {
        what: String,
        why: String,
        /// What the owner can do about it.
        next_step: Option<String>,
    },
    /// The deadline passed before it was acted on.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The peer was lost in mid-command: it may or may not have happened.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// A defect of ours; the id finds the log line.
    #[error("internal error (log id {log_id})")]
    Internal { log_id: String },
}

impl Fault {
    /// `Invalid` with its two operands.
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            why: why.into(),
        }
    }

    /// `NotFound` naming the thing, e.g. `app demo`.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// `Conflict` with its reason.
    pub fn conflict(why: impl Into<String>) -> Self {
        Self::Conflict { why: why.into() }
    }

    /// `Unavailable` without a next step.
    pub fn unavailable(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unavailable {
            what: what.into(),
            why: why.into(),
            next_step: None,
        }
    }

    /// `Unavailable` with the owner's next step.
    pub fn unavailable_until(
        what: impl Into<String>,
        why: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self::Unavailable {
            what: what.into(),
            why: why.into(),
            next_step: Some(next_step.into()),
        }
    }

    /// `Busy` for at least this long.
    pub fn busy(retry_after: Duration) -> Self {
        Self::Busy {
            retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// May the same command be sent again, unchanged, and hope?
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::Unavailable { .. }
            | Self::DeadlineExceeded
            | Self::OutcomeUnknown => true,
            Self::Locked
            | Self::NotLeader { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Invalid { .. }
            | Self::Forbidden { .. }
            | Self::Internal { .. } => false,
        }
    }
}
