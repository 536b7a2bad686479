//! Why a volume is not where it should be, by operation.

use super::holder::{self, Holder};
use crate::{fuse::Missing, program::ProgramError};
use piccolo_bus_schema::{Fault, ids::VolumeId};
use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("read the kernel's mount table")]
    Table { source: io::Error },
    #[error("prepare the mount point {path}")]
    Prepare { path: PathBuf, source: io::Error },
    #[error("unmount {path}")]
    Unmount { path: PathBuf, source: io::Error },
    #[error("{path} is a mount point of something else ({kind})")]
    Foreign { path: PathBuf, kind: String },
    #[error("the volume at {path} does not answer")]
    Hung { path: PathBuf },
    #[error("volume {volume} is {}", holder::sentence(.holders))]
    Busy {
        volume: VolumeId,
        holders: Vec<Holder>,
    },
    #[error("volume {volume} is detached, but its key stays in memory: it is {}", holder::sentence(.holders))]
    Lingering {
        volume: VolumeId,
        holders: Vec<Holder>,
    },
    #[error("volume {volume} has no ciphertext")]
    NoCiphertext { volume: VolumeId },
    #[error("gocryptfs ended well, but nothing is mounted at {path}")]
    NotThere { path: PathBuf },
    #[error("gocryptfs: {words} (exit code {code:?}; {complaint})")]
    Gocryptfs {
        code: Option<i32>,
        words: &'static str,
        complaint: String,
    },
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The holder of the key did not hand it out.
    #[error("fetch the key: {0}")]
    Key(#[from] Fault),
    #[error("the work was interrupted")]
    Interrupted,
}
