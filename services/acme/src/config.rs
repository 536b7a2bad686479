//! Which certificate authority, and whom to trust when asking it.

use piccolo_runtime::{Environment, InvalidSetting};
use std::path::PathBuf;

/// Let's Encrypt's production directory. There is no falling back to another one.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub directory: String,
    /// PEM root its API is trusted by; the system's roots when `None`.
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// Reads `PICCOLO_ACME_DIRECTORY` and `PICCOLO_ACME_CA_FILE`.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        let directory = environment.text("ACME_DIRECTORY").unwrap_or(LETS_ENCRYPT);
        if !directory.starts_with("https://") {
            return Err(InvalidSetting::Rule {
                key: "PICCOLO_ACME_DIRECTORY".to_owned(),
                value: directory.to_owned(),
                rule: "must start with https://".to_owned(),
            });
        }
        let ca_file = environment.text("ACME_CA_FILE").map(PathBuf::from);
        Ok(Self {
            directory: directory.to_owned(),
            ca_file,
        })
    }
}
