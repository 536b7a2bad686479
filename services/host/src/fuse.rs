//! Whether this machine can mount volumes at all.

use crate::program;
use piccolo_bus_schema::health::Level;
use piccolo_runtime::Board;
use std::{path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(5);
const NEXT_STEP: &str = "install gocryptfs and fuse3";

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missing {
    #[error("the program gocryptfs is not installed")]
    Gocryptfs,
    #[error("the kernel offers no /dev/fuse")]
    Device,
}

impl Missing {
    pub(crate) const fn next_step(self) -> &'static str {
        match self {
            Self::Gocryptfs => NEXT_STEP,
            Self::Device => "install fuse3 and load the kernel module (modprobe fuse)",
        }
    }
}

/// Are program and device there?
pub(crate) fn present() -> Result<(), Missing> {
    program::find("gocryptfs").map_err(|_| Missing::Gocryptfs)?;
    if Path::new("/dev/fuse").exists() {
        Ok(())
    } else {
        Err(Missing::Device)
    }
}

/// Looks, and says on the board what it found.
pub(crate) async fn check(board: &Board) {
    match present() {
        Ok(()) => {
            board.ok("fuse", "encrypted volumes can be mounted");
            let known = board.report().iter().any(|component| {
                component.name == "fuse"
                    && component.details.iter().any(|(key, _)| key == "version")
            });
            if !known {
                tell_version(board).await;
            }
        }
        Err(missing) => {
            let words = format!("{missing}; {}", missing.next_step());
            board.set("fuse", Level::Error, words);
        }
    }
}

async fn tell_version(board: &Board) {
    match program::run("gocryptfs", &["-version"], None, PATIENCE).await {
        Ok(said) => board.set_detail("fuse", "version", said.stdout.trim()),
        Err(error) => tracing::warn!(%error, "gocryptfs does not tell its version"),
    }
}
