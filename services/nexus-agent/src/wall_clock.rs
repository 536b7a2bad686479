//! The time of day, and whether it can be believed: tokens carry it.

use piccolo_bus_schema::ids::UnixSeconds;
use piccolo_runtime::clock;
use std::{fmt, sync::Arc};

/// Where the time comes from. Tests bring their own.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> Option<UnixSeconds> + Send + Sync>);

impl WallClock {
    /// A clock that answers `None` while it is not set.
    pub fn new(read: impl Fn() -> Option<UnixSeconds> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The system's clock.
    pub fn of_system() -> Self {
        Self::new(|| clock::is_plausible().then(clock::now))
    }

    /// Is it set?
    pub(crate) fn is_set(&self) -> bool {
        (self.0)().is_some()
    }

    /// Now; the system's own word when it is not set.
    pub(crate) fn now(&self) -> UnixSeconds {
        (self.0)().unwrap_or_else(clock::now)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&(self.0)()).finish()
    }
}
