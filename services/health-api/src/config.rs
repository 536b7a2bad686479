//! Where it listens and which names it answers to.

use piccolo_runtime::{Environment, InvalidSetting};
use std::{net::SocketAddr, path::PathBuf};

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub runtime_dir: PathBuf,
    /// Health, metrics and API on loopback.
    pub listen: SocketAddr,
    /// Further Host names that are accepted, lower case.
    pub hosts: Vec<String>,
}

impl Config {
    /// Reads `PICCOLO_RUNTIME_DIR`, `PICCOLO_HEALTH_LISTEN` and `PICCOLO_PORTAL_HOSTS`.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        let rule = "must be ADDRESS:PORT";
        let listen = environment.parse("HEALTH_LISTEN", rule)?;
        Ok(Self {
            runtime_dir: environment.runtime_dir()?,
            listen: listen.ok_or_else(|| InvalidSetting::Missing {
                key: "PICCOLO_HEALTH_LISTEN".into(),
            })?,
            hosts: environment
                .list("PORTAL_HOSTS")
                .into_iter()
                .map(|host| host.to_ascii_lowercase())
                .collect(),
        })
    }
}
