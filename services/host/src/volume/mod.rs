//! Encrypted volumes at their mount points.
//!
//! ```text
//!   <state>/volumes/<id>   ciphertext, made by the store
//!   <state>/mounts/<id>    mount point, made here: mode 0700, immutable below the mount
//!
//!   Vacant ──mount──► Mounted ──unmount──► (gocryptfs ends) ──► Vacant
//!      ▲                 │ SIGKILL
//!      └──detached── Stale
//! ```
//!
//! A volume counts as unmounted when its gocryptfs process has ended: the kernel detaches a mount
//! that another mount namespace still holds, key and all, without complaint.

mod error;
mod gocryptfs;
mod holder;
mod master_key;
mod mount_point;
mod mount_table;
mod standing;

pub(crate) use error::VolumeError;
pub(crate) use master_key::MasterKey;

use holder::Hold;
use mount_table::Device;
use piccolo_bus_schema::{
    Fault,
    host::{MountState, MountView, Mounted},
    ids::VolumeId,
};
use standing::Standing;
use std::{
    collections::HashMap,
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::task::spawn_blocking;

/// How long gocryptfs may take to flush and end; the store waits 20 s for the whole command.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// A file that is just being looked at is let go within moments; a container's is not.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How a volume is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    ReadWrite,
    ReadOnly,
}

/// All volumes of one state directory.
pub(crate) struct Volumes {
    ciphertexts: PathBuf,
    mounts: PathBuf,
    /// One operation at a time per volume; an entry per volume ever named stays.
    turns: Mutex<HashMap<VolumeId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Volumes {
    pub(crate) fn new(state_dir: &Path) -> Self {
        // The kernel's table has no symbolic links in its paths, so neither may ours.
        let state_dir = fs::canonicalize(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        Self {
            ciphertexts: state_dir.join("volumes"),
            mounts: state_dir.join("mounts"),
            turns: Mutex::default(),
        }
    }

    /// Mounts a volume. The key is fetched only when it is needed.
    pub(crate) async fn mount<F>(
        &self,
        volume: &VolumeId,
        mode: Mode,
        key: F,
    ) -> Result<Mounted, VolumeError>
    where
        F: Future<Output = Result<MasterKey, Fault>>,
    {
        let turn = self.turn(volume);
        let _turn = turn.lock().await;
        let path = self.mount_point(volume);
        match standing::of(&path).await? {
            Standing::Mounted { mode: now, .. } if now == mode => {
                return Ok(Mounted { path, fresh: false });
            }
            Standing::Vacant => self.refuse_if_lingering(volume, None).await?,
            Standing::Mounted { device, .. } | Standing::Stale { device } => {
                self.detach(volume, device).await?;
            }
        }
        let ciphertext = self.ciphertext(volume);
        if !ciphertext.is_dir() {
            return Err(VolumeError::NoCiphertext {
                volume: volume.clone(),
            });
        }
        mount_point::prepare(&path)?;
        let key = key.await?;
        gocryptfs::mount(&ciphertext, &path, mode, &key).await?;
        match standing::of(&path).await? {
            Standing::Mounted { mode: now, .. } if now == mode => Ok(Mounted { path, fresh: true }),
            Standing::Mounted { .. } | Standing::Stale { .. } | Standing::Vacant => {
                Err(VolumeError::NotThere { path })
            }
        }
    }

    /// Unmounts a volume and waits until its key is gone from memory. Not mounted is a success.
    pub(crate) async fn unmount(&self, volume: &VolumeId) -> Result<(), VolumeError> {
        let turn = self.turn(volume);
        let _turn = turn.lock().await;
        match standing::of(&self.mount_point(volume)).await? {
            Standing::Vacant => self.refuse_if_lingering(volume, None).await,
            Standing::Mounted { device, .. } | Standing::Stale { device } => {
                self.detach(volume, device).await
            }
        }
    }

    /// What stands at each mount point.
    pub(crate) async fn list(&self) -> Result<Vec<MountView>, VolumeError> {
        let mut views = Vec::new();
        for volume in mount_point::list(&self.mounts)? {
            let state = match standing::of(&self.mount_point(&volume)).await {
                Ok(Standing::Mounted { .. }) => MountState::Mounted,
                Ok(Standing::Vacant) => MountState::NotMounted,
                Ok(Standing::Stale { .. }) | Err(VolumeError::Hung { .. }) => MountState::Stale,
                Err(other) => return Err(other),
            };
            views.push(MountView { volume, state });
        }
        Ok(views)
    }

    fn ciphertext(&self, volume: &VolumeId) -> PathBuf {
        self.ciphertexts.join(volume.as_str())
    }

    fn mount_point(&self, volume: &VolumeId) -> PathBuf {
        self.mounts.join(volume.as_str())
    }

    fn turn(&self, volume: &VolumeId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(volume.clone()).or_default())
    }

    /// Takes everything off the mount point, never lazily, and waits for gocryptfs to end.
    async fn detach(&self, volume: &VolumeId, device: Device) -> Result<(), VolumeError> {
        let path = self.mount_point(volume);
        let since = Instant::now();
        // Several layers are possible after an interrupted mount.
        while standing::layers(&path).await? > 0 {
            match mount_point::unmount(&path) {
                Ok(()) => {}
                Err(VolumeError::Busy { .. }) if since.elapsed() < BUSY_PATIENCE => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(VolumeError::Busy { .. }) => {
                    let holders = blocking(move || holder::find(&path, device, Hold::InUse));
                    let holders = holders.await?;
                    return Err(VolumeError::Busy {
                        volume: volume.clone(),
                        holders,
                    });
                }
                Err(other) => return Err(other),
            }
        }
        self.refuse_if_lingering(volume, Some(device)).await
    }

    /// Waits for the volume's gocryptfs to end; names who keeps it when it does not.
    async fn refuse_if_lingering(
        &self,
        volume: &VolumeId,
        device: Option<Device>,
    ) -> Result<(), VolumeError> {
        let path = self.mount_point(volume);
        let serving = blocking({
            let path = path.clone();
            move || gocryptfs::serving(&path)
        })
        .await?;
        let since = Instant::now();
        while serving.iter().any(|pid| gocryptfs::serves(*pid, &path)) {
            if since.elapsed() >= END_PATIENCE {
                let ciphertext = self.ciphertext(volume);
                let holders = blocking(move || {
                    // Without a number it was detached by an earlier call.
                    let device = device.or_else(|| holder::device_elsewhere(&ciphertext));
                    device.map(|device| holder::find(&path, device, Hold::InUseOrMounted))
                });
                let holders = holders.await?.unwrap_or_default();
                return Err(VolumeError::Lingering {
                    volume: volume.clone(),
                    holders,
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// Walks of /proc and of file systems that may hang do not belong on the one thread that serves.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, VolumeError> {
    spawn_blocking(work)
        .await
        .map_err(|_| VolumeError::Interrupted)
}
