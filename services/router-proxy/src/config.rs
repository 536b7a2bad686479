//! What the environment says.

use piccolo_runtime::{Environment, InvalidSetting};
use std::path::PathBuf;

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The device-made certificate is kept in its `boot` directory.
    pub state_dir: PathBuf,
    /// Where the stream socket and health-api's socket are.
    pub runtime_dir: PathBuf,
}

impl Config {
    /// Reads `PICCOLO_STATE_DIR` and `PICCOLO_RUNTIME_DIR`.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        Ok(Self {
            state_dir: environment.state_dir()?,
            runtime_dir: environment.runtime_dir()?,
        })
    }
}
