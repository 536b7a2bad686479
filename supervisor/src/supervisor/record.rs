//! What is known of a unit beside its state.

use crate::{fdstore::FdStore, process::Process, table::UnitSpec};
use piccolo_bus_schema::supervisor::UnitState;
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// One unit's belongings.
pub(super) struct Record {
    pub(super) spec: UnitSpec,
    pub(super) binary: PathBuf,
    pub(super) process: Option<Process>,
    pub(super) kept: FdStore,
    pub(super) starts: u32,
    /// How the last run ended.
    pub(super) last_exit: Option<String>,
    /// The unit's own STATUS.
    pub(super) words: Option<String>,
    pub(super) shown: UnitState,
    /// In the shown state.
    pub(super) since: Instant,
    stamp: Option<Stamp>,
}

/// Tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Record {
    pub(super) fn new(spec: UnitSpec, binaries: &Path) -> Self {
        Self {
            spec,
            binary: binaries.join(spec.executable()),
            process: None,
            kept: FdStore::default(),
            starts: 0,
            last_exit: None,
            words: None,
            shown: UnitState::Stopped,
            since: Instant::now(),
            stamp: None,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.spec.name()
    }

    /// Counts a start and remembers of what.
    pub(super) fn starting(&mut self) {
        self.starts = self.starts.saturating_add(1);
        self.stamp = Stamp::of(&self.binary);
        self.words = None;
    }

    /// Whether the binary is not the one that was started last.
    pub(super) fn binary_changed(&self) -> bool {
        Stamp::of(&self.binary) != self.stamp
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}
