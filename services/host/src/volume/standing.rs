//! What stands at a mount point now.

use super::{
    Mode, VolumeError, blocking,
    mount_table::{self, Device, Mount},
};
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statx},
    io::Errno,
};
use std::{fs, path::Path, time::Duration};

/// File system type of our mounts.
const KIND: &str = "fuse.gocryptfs";
/// A FUSE process that does not answer within this is stuck, not slow.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Vacant,
    Mounted {
        mode: Mode,
        device: Device,
    },
    /// The FUSE process is gone; every access answers ENOTCONN.
    Stale {
        device: Device,
    },
}

/// Looks at a mount point: in the kernel's table, then by asking the file system itself.
pub(crate) async fn of(path: &Path) -> Result<Standing, VolumeError> {
    let table = table().await?;
    let Some(top) = mount_table::at(&table, path).pop() else {
        return Ok(Standing::Vacant);
    };
    if top.kind != KIND {
        return Err(VolumeError::Foreign {
            path: path.to_owned(),
            kind: top.kind.clone(),
        });
    }
    let device = top.device;
    if !is_alive(path).await? {
        return Ok(Standing::Stale { device });
    }
    let mode = if top.read_only {
        Mode::ReadOnly
    } else {
        Mode::ReadWrite
    };
    Ok(Standing::Mounted { mode, device })
}

/// How many mounts lie on a mount point.
pub(crate) async fn layers(path: &Path) -> Result<usize, VolumeError> {
    Ok(mount_table::at(&table().await?, path).len())
}

async fn table() -> Result<Vec<Mount>, VolumeError> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo")
        .map_err(|source| VolumeError::Table { source })?;
    Ok(mount_table::parse(&text))
}

async fn is_alive(path: &Path) -> Result<bool, VolumeError> {
    let question = path.to_owned();
    let flags = AtFlags::STATX_FORCE_SYNC | AtFlags::SYMLINK_NOFOLLOW;
    let asked = blocking(move || statx(CWD, question, flags, StatxFlags::BASIC_STATS));
    match tokio::time::timeout(ANSWER_PATIENCE, asked).await {
        Ok(answer) => Ok(!matches!(answer?, Err(Errno::NOTCONN | Errno::CONNABORTED))),
        Err(_) => Err(VolumeError::Hung {
            path: path.to_owned(),
        }),
    }
}
