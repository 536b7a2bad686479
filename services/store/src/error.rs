//! What can go wrong with the databases, by operation.

use piccolo_bus_schema::{Fault, lock::StoreFault};
use std::{io, path::PathBuf};

/// A database can't be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("database {path} can't be opened")]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the database can't be read or written")]
    Sql(#[from] rusqlite::Error),
    #[error("record {record} of {repository} is damaged: {why}")]
    Damaged {
        repository: String,
        record: String,
        why: &'static str,
    },
    #[error("commit {0} does not fit the chain")]
    Chain(u64),
    #[error("the database is older than this device remembers: revision {found}, not {expected}")]
    Older { found: u64, expected: u64 },
    #[error("a record can't be encoded")]
    Encode,
    #[error("the high-water mark can't be read or written")]
    HighWater(#[source] io::Error),
    #[error("the high-water mark is damaged")]
    HighWaterDamaged,
}

impl DatabaseError {
    /// The state the owner sees; nothing is deleted to get going.
    pub(crate) fn into_fault(self) -> StoreFault {
        tracing::error!(error = %self, cause = ?std::error::Error::source(&self), "store at fault");
        let next_step = match &self {
            Self::Older { .. } => {
                "If you put an older copy back on purpose, remove control/highwater; otherwise \
                 restore the newer copy."
            }
            Self::Open { .. } | Self::Sql(_) | Self::HighWater(_) => {
                "Check the disk for errors and free space, then restart the device."
            }
            Self::Damaged { .. } | Self::Chain(_) | Self::Encode | Self::HighWaterDamaged => {
                "Restore the state directory from a copy; nothing was deleted."
            }
        };
        StoreFault {
            explanation: format!("{self}."),
            next_step: next_step.to_owned(),
        }
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        tracing::error!(%error, cause = ?std::error::Error::source(&error), "database");
        Self::unavailable_until(
            "the store",
            error.to_string(),
            "Check the disk for errors and free space.",
        )
    }
}
