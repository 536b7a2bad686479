//! Who updates the operating system, as far as it is known yet.

use std::{fmt, path::Path, str::FromStr};

/// The setting `updates.driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The first one this system has.
    Auto,
    TransactionalUpdate,
    UpdateEngine,
    Simulated,
    None,
}

impl Driver {
    const NAMED: [Self; 5] = [
        Self::Auto,
        Self::TransactionalUpdate,
        Self::UpdateEngine,
        Self::Simulated,
        Self::None,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::TransactionalUpdate => "transactional-update",
            Self::UpdateEngine => "update-engine",
            Self::Simulated => "simulated",
            Self::None => "none",
        }
    }

    /// Makes `auto` a driver, by what is installed below `root`.
    pub(crate) fn resolve(self, root: &Path) -> Self {
        match self {
            Self::Auto if root.join("usr/sbin/transactional-update").exists() => {
                Self::TransactionalUpdate
            }
            Self::Auto if root.join("usr/bin/update_engine_client").exists() => Self::UpdateEngine,
            Self::Auto => Self::None,
            named @ (Self::TransactionalUpdate
            | Self::UpdateEngine
            | Self::Simulated
            | Self::None) => named,
        }
    }

    /// What can be said of the last update: nothing is read from a driver yet, and it says so.
    pub(crate) const fn last_result(self) -> &'static str {
        match self {
            Self::Auto | Self::None => "no update driver on this system",
            Self::TransactionalUpdate | Self::UpdateEngine | Self::Simulated => {
                "this version does not read the update driver's status yet"
            }
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the name of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such update driver")]
pub struct UnknownDriver;

impl FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(text: &str) -> Result<Self, UnknownDriver> {
        let mut named = Self::NAMED.into_iter();
        named
            .find(|driver| driver.as_str() == text)
            .ok_or(UnknownDriver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn auto_takes_what_the_system_has() {
        let root = tempfile::tempdir().expect("a directory");
        assert_eq!(Driver::Auto.resolve(root.path()), Driver::None);
        let place = root.path().join("usr/sbin");
        fs::create_dir_all(&place).expect("directories");
        fs::write(place.join("transactional-update"), "").expect("a file");
        assert_eq!(
            Driver::Auto.resolve(root.path()),
            Driver::TransactionalUpdate
        );
        assert_eq!(Driver::None.resolve(root.path()), Driver::None);
    }

    #[test]
    fn every_driver_is_read_by_its_own_name() {
        for driver in Driver::NAMED {
            assert_eq!(driver.to_string().parse(), Ok(driver));
        }
    }
}
