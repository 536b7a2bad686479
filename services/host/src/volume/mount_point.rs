//! The directories mounts are put on: private, and immutable while nothing is mounted, so that
//! whatever binds one below it fails instead of writing plaintext.

use super::VolumeError;
use piccolo_bus_schema::ids::VolumeId;
use rustix::{
    fs::{IFlags, Mode as Permissions, OFlags, ioctl_getflags, ioctl_setflags, open},
    io::Errno,
    mount::{UnmountFlags, unmount as detach},
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
};

/// Makes the mount point, its parents too. Nothing may be mounted on it.
pub(crate) fn prepare(path: &Path) -> Result<(), VolumeError> {
    let failed = |source| VolumeError::Prepare {
        path: path.to_owned(),
        source,
    };
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory =
        open(path, flags, Permissions::empty()).map_err(|errno| failed(errno.into()))?;
    let immutable = ioctl_getflags(&directory).and_then(|flags| {
        if flags.contains(IFlags::IMMUTABLE) {
            return Ok(());
        }
        ioctl_setflags(&directory, flags | IFlags::IMMUTABLE)
    });
    if let Err(error) = immutable {
        // Not every file system can; the marker inside the volume is the wall that counts.
        tracing::warn!(path = %path.display(), %error, "mount point is not immutable");
    }
    Ok(())
}

/// Takes the topmost mount off; `Busy` (without holders) when someone is inside.
pub(crate) fn unmount(path: &Path) -> Result<(), VolumeError> {
    match detach(path, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        // EINVAL: not a mount point any more; someone else was faster.
        Err(Errno::INVAL) => Ok(()),
        Err(Errno::BUSY) => Err(VolumeError::Busy {
            volume: volume_at(path).ok_or(VolumeError::Interrupted)?,
            holders: Vec::new(),
        }),
        Err(errno) => Err(VolumeError::Unmount {
            path: path.to_owned(),
            source: errno.into(),
        }),
    }
}

/// The volumes that have a mount point, sorted.
pub(crate) fn list(mounts: &Path) -> Result<Vec<VolumeId>, VolumeError> {
    let failed = |source| VolumeError::Prepare {
        path: mounts.to_owned(),
        source,
    };
    let entries = match fs::read_dir(mounts) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut volumes = Vec::new();
    for entry in entries {
        volumes.extend(volume_at(&entry.map_err(failed)?.path()));
    }
    volumes.sort();
    Ok(volumes)
}

fn volume_at(path: &Path) -> Option<VolumeId> {
    VolumeId::new(path.file_name()?.to_str()?).ok()
}
