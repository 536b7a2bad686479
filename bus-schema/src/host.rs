//! Root's hands: mounts, the firewall table, updates, device identity. Owned by `host`.

use crate::{
    command::command,
    event::event,
    ids::{UnixSeconds, VolumeId},
    ticket::Ticket,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Mounts ciphertext with gocryptfs. The paths are derived from the id and the state directory by
/// host itself, so that no caller can name one. Mounted already (and alive) is a success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    pub volume: VolumeId,
    /// 32 bytes, claimed from the store.
    pub key: Ticket,
    pub read_only: bool,
}
/// Where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    pub path: PathBuf,
    /// True when this call mounted it, false when it stood already.
    pub fresh: bool,
}
command!(Mount => Mounted, Host, "host.mount", Safe, [Store]);

/// Unmounts and waits for the FUSE process to end. `Conflict` naming the holders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unmount {
    pub volume: VolumeId,
}
command!(Unmount => (), Host, "host.unmount", Safe, [Store]);

/// State of every mount point under the state directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListMounts {}
/// One mount point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountView {
    pub volume: VolumeId,
    pub state: MountState,
}
/// What stands at a mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountState {
    Mounted,
    /// The FUSE process is gone; every access answers ENOTCONN.
    Stale,
    NotMounted,
}
command!(ListMounts => Vec<MountView>, Host, "host.list-mounts", Safe, [Store]);

/// What one app's bridge may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRule {
    /// Interface name, `pic` and at most 12 more characters of `[a-z0-9]`.
    pub bridge: String,
    pub internet: bool,
    pub local_network: bool,
}

/// Replaces the whole egress table: a bridge that is not listed reaches nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetEgress {
    pub rules: Vec<EgressRule>,
}
command!(SetEgress => (), Host, "host.set-egress", Safe, [Apps]);

/// Operating system updates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadUpdates {}
/// What the update driver says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// `transactional-update`, `update-engine`, `simulated` or `none`.
    pub driver: String,
    pub current: Option<String>,
    pub staged: Option<String>,
    pub previous: Option<String>,
    pub last_result: Option<String>,
}
command!(ReadUpdates => Updates, Host, "host.read-updates", Safe, [HealthApi]);

/// Who this device is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadDevice {}
/// Identity and clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// 32 hexadecimal digits, derived from the machine id.
    pub id: String,
    pub hostname: String,
    pub os: String,
    pub kernel: String,
    pub architecture: String,
    /// Memory in bytes.
    pub memory: u64,
    pub booted_at: UnixSeconds,
    /// Whether the kernel's clock is synchronised.
    pub clock_synchronised: bool,
}
command!(ReadDevice => Device, Host, "host.read-device", Safe, []);

/// The staged or running system changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpdateChanged {
    pub updates: Updates,
}
event!(UpdateChanged, UpdateChanged);

/// Something about the device changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceChanged {
    pub device: Device,
}
event!(DeviceChanged, DeviceChanged);
