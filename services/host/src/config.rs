//! Where volumes lie, which ports are the apps', who updates the system.

use crate::updates::Driver;
use piccolo_runtime::{Environment, InvalidSetting};
use std::{ops::RangeInclusive, path::PathBuf};

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything durable; volumes and mount points lie below it.
    pub state_dir: PathBuf,
    /// Port ranges the kernel must not hand out to others.
    pub reserved: Vec<RangeInclusive<u16>>,
    /// Who updates the system.
    pub driver: Driver,
}

impl Config {
    /// Reads `PICCOLO_STATE_DIR`, `PICCOLO_PORTS_HOST_BIND`, `PICCOLO_PORTS_PUBLIC` and
    /// `PICCOLO_UPDATES_DRIVER` (default `auto`).
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        let rule = "must be auto, transactional-update, update-engine, simulated or none";
        Ok(Self {
            state_dir: environment.state_dir()?,
            reserved: vec![
                environment.port_range("PORTS_HOST_BIND")?,
                environment.port_range("PORTS_PUBLIC")?,
            ],
            driver: environment
                .parse("UPDATES_DRIVER", rule)?
                .unwrap_or(Driver::Auto),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(driver: &str) -> Result<Config, InvalidSetting> {
        let variables = [
            ("PICCOLO_STATE_DIR", "/state"),
            ("PICCOLO_PORTS_HOST_BIND", "15000-25000"),
            ("PICCOLO_PORTS_PUBLIC", "35000-45000"),
            ("PICCOLO_UPDATES_DRIVER", driver),
        ];
        let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Config::from_environment(&Environment::of(variables))
    }

    #[test]
    fn an_unknown_update_driver_is_refused_by_name() {
        let error = config("apt").expect_err("no such driver");
        assert!(error.to_string().contains("PICCOLO_UPDATES_DRIVER"));
    }

    #[test]
    fn the_driver_is_found_by_itself_unless_named() {
        assert_eq!(config("").expect("valid").driver, Driver::Auto);
        assert_eq!(config("none").expect("valid").driver, Driver::None);
    }
}
