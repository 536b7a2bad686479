//! Wall-clock seconds, and whether they can be believed.

use piccolo_bus_schema::ids::UnixSeconds;
use std::time::{SystemTime, UNIX_EPOCH};

/// Start of 2026: a clock before it was never set, since this program is younger.
const BUILD_FLOOR: u64 = 1_767_225_600;

/// Now, in seconds since the epoch.
pub fn now() -> UnixSeconds {
    UnixSeconds(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    )
}

/// Is the clock at least as late as this build? A board without a battery starts in 1970, and
/// nothing may expire by such a clock.
pub fn is_plausible() -> bool {
    now().0 >= BUILD_FLOOR
}
