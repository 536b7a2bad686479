//! Where the state lies, who decides leadership, and what a hash may cost.

use crate::keyset::Stretching;
use piccolo_runtime::{Environment, InvalidSetting};
use std::path::PathBuf;

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub state_dir: PathBuf,
    pub provider: Provider,
    /// Measured at setup when `None`.
    pub stretching: Option<Stretching>,
}

/// Who decides the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// This node leads everything.
    Single,
    /// Roles are set by hand.
    Simulated,
}

impl std::str::FromStr for Provider {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "single" => Ok(Self::Single),
            "simulated" => Ok(Self::Simulated),
            _ => Err(()),
        }
    }
}

impl Config {
    /// Reads `PICCOLO_STATE_DIR` and `PICCOLO_CLUSTER_PROVIDER`.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        let provider = environment.parse("CLUSTER_PROVIDER", "must be single or simulated")?;
        Ok(Self {
            state_dir: environment.state_dir()?,
            provider: provider.unwrap_or(Provider::Single),
            stretching: None,
        })
    }
}
