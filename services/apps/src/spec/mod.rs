//! App specifications: the owner's YAML and what it means. Pure.
//!
//! Every field has its effect. What this version can't do yet is a problem that says so, never a
//! field that is read and forgotten.

mod fields;
mod image;
mod nearest;
mod read;
mod size;

pub(crate) use image::{is_local as is_local_image, repository_and_tag as image_parts};
pub(crate) use read::read;

use piccolo_bus_schema::{
    app::{Flow, Middleware, Protocol},
    ids::{AppName, ListenerName, VolumeId},
};
use std::collections::BTreeMap;

/// Largest text of a spec in bytes.
pub(crate) const LIMIT: usize = 256 << 10;

/// A checked specification.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    pub(crate) name: AppName,
    pub(crate) image: String,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) persistent: Vec<PersistentVolume>,
    pub(crate) temporary: Vec<TemporaryVolume>,
    pub(crate) root: Root,
    pub(crate) network: Network,
    pub(crate) limits: Limits,
    pub(crate) privileged: bool,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) role_policy: RolePolicy,
}

/// A port of the container that is reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) name: ListenerName,
    pub(crate) guest_port: u16,
    pub(crate) flow: Flow,
    pub(crate) protocol: Protocol,
    pub(crate) remote_ports: Vec<u16>,
    pub(crate) middleware: Vec<Middleware>,
}

/// Storage that lives on an encrypted volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PersistentVolume {
    pub(crate) volume: VolumeId,
    pub(crate) container: String,
}

/// Storage that is empty at each start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemporaryVolume {
    pub(crate) container: String,
    /// Bytes.
    pub(crate) size: Option<u64>,
}

/// What becomes of the container's own root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    ReadOnly,
    /// Writable, and reset at each start.
    Writable,
}

/// Where an app may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) internet: bool,
    pub(crate) local_network: bool,
    pub(crate) dns: bool,
}

/// What an app may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) processes: u32,
    pub(crate) open_files: u32,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Billionths of a core: fractions are kept exactly.
    pub(crate) nano_cpus: Option<i64>,
}

/// What a follower does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RolePolicy {
    LeaderOnly,
    FollowerProxy,
    AlwaysOn,
}
