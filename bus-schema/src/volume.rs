//! Encrypted volumes. Owned by `store`; mounted by `host`.

use crate::{
    command::command,
    event::event,
    ids::{Generation, VolumeId},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a volume keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeClass {
    /// What system apps and exports of the platform keep.
    Control,
    /// An app's data.
    Application,
}

/// How a volume is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    ReadWrite,
    ReadOnly,
}

/// Whether a volume can be used now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum VolumeState {
    Detached,
    Attached {
        mode: AttachMode,
        /// The directory inside the mount that containers bind.
        path: PathBuf,
        /// New at each attach: containers of an older one must be made anew.
        generation: Generation,
    },
    Broken {
        explanation: String,
    },
}

/// A volume as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub id: VolumeId,
    pub class: VolumeClass,
    pub state: VolumeState,
    /// Bytes of ciphertext on disk, when it was last measured.
    pub size: Option<u64>,
}

/// Makes the volume if it does not exist and attaches it; already attached in this mode is a success.
/// `Locked`; `NotLeader` for read-write as a follower; `Unavailable` without FUSE or gocryptfs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attach {
    pub id: VolumeId,
    pub class: VolumeClass,
    pub mode: AttachMode,
}
/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    pub path: PathBuf,
    pub generation: Generation,
}
command!(Attach => Attached, Store, "volume.attach", Safe, [Apps]);

/// Unmounts; `Conflict` naming who holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detach {
    pub id: VolumeId,
}
command!(Detach => (), Store, "volume.detach", Safe, [Apps]);

/// Detaches, forgets the key and deletes the ciphertext: the data is gone for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Erase {
    pub id: VolumeId,
}
command!(Erase => (), Store, "volume.erase", Safe, [Apps]);

/// All volumes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct List {}
command!(List => Vec<Volume>, Store, "volume.list", Safe, []);

/// A volume was attached, detached, erased or lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VolumeChanged {
    pub volume: Volume,
}
event!(VolumeChanged, VolumeChanged);
