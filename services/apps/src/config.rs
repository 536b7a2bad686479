//! Which engine, and which ports apps get.

use piccolo_runtime::{Environment, InvalidSetting};
use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// Looked for in this order when none is named.
const ENGINES: [&str; 2] = ["/run/podman/podman.sock", "/var/run/docker.sock"];

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub engine_socket: PathBuf,
    pub host_ports: RangeInclusive<u16>,
    pub public_ports: RangeInclusive<u16>,
}

impl Config {
    /// Reads `PICCOLO_ENGINE_SOCKET` and `PICCOLO_PORTS_*`.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        let named = environment.text("ENGINE_SOCKET").map(PathBuf::from);
        let found = || ENGINES.into_iter().find(|path| Path::new(path).exists());
        Ok(Self {
            engine_socket: named.unwrap_or_else(|| found().unwrap_or(ENGINES[1]).into()),
            host_ports: environment.port_range("PORTS_HOST_BIND")?,
            public_ports: environment.port_range("PORTS_PUBLIC")?,
        })
    }
}
