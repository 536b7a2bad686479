//! The one mapping from our failures to [`Fault`]: what the outside may see of each.
//!
//! The errors themselves stand beside their operations.

use crate::{
    firewall::{self, FirewallError},
    fuse::Missing,
    volume::VolumeError,
};
use piccolo_bus_schema::Fault;

impl From<Missing> for Fault {
    fn from(missing: Missing) -> Self {
        Self::unavailable_until(
            "volume encryption",
            missing.to_string(),
            missing.next_step(),
        )
    }
}

impl From<FirewallError> for Fault {
    fn from(error: FirewallError) -> Self {
        Self::unavailable_until(
            "the firewall of apps",
            error.to_string(),
            firewall::NEXT_STEP,
        )
    }
}

impl From<VolumeError> for Fault {
    fn from(error: VolumeError) -> Self {
        let why = error.to_string();
        match error {
            VolumeError::Busy { .. }
            | VolumeError::Lingering { .. }
            | VolumeError::Foreign { .. } => Self::conflict(why),
            VolumeError::NoCiphertext { volume } => {
                Self::not_found(format!("ciphertext of volume {volume}"))
            }
            VolumeError::Missing(missing) => missing.into(),
            VolumeError::Key(fault) => fault,
            VolumeError::Table { ref source }
            | VolumeError::Prepare { ref source, .. }
            | VolumeError::Unmount { ref source, .. } => {
                Self::unavailable("the volume", format!("{why}: {source}"))
            }
            VolumeError::Hung { .. }
            | VolumeError::NotThere { .. }
            | VolumeError::Gocryptfs { .. }
            | VolumeError::Program(_)
            | VolumeError::Interrupted => Self::unavailable("the volume", why),
        }
    }
}
