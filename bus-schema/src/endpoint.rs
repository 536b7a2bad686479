//! Names of doors: where each service listens under the runtime directory.

use crate::ids::ServiceName;
use std::path::{Path, PathBuf};

/// The ROUTER a service answers commands on.
pub fn commands(runtime_dir: &Path, service: ServiceName) -> PathBuf {
    runtime_dir.join("bus").join(format!("{service}.commands"))
}

/// The PUB a service publishes events on.
pub fn events(runtime_dir: &Path, service: ServiceName) -> PathBuf {
    runtime_dir.join("bus").join(format!("{service}.events"))
}

/// The plain socket on which a service hands out the secrets its tickets name.
pub fn secrets(runtime_dir: &Path, service: ServiceName) -> PathBuf {
    runtime_dir.join("bus").join(format!("{service}.secrets"))
}

/// The supervisor's control socket.
pub fn control(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}

/// health-api's one Unix socket: the portal behind router-proxy, and the operator.
pub fn portal(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("portal.sock")
}

/// The stream socket on which nexus-agent hands remote connections to router-proxy, each opened
/// with a PROXY protocol version 2 header.
pub fn streams(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("streams.sock")
}
