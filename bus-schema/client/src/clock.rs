//! CLOCK_BOOTTIME: the one clock all processes of this boot share, suspend included.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Nanoseconds since boot.
pub(crate) fn boot_nanos() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The absolute deadline that lies `within` from now.
pub(crate) fn deadline(within: Duration) -> u64 {
    boot_nanos().saturating_add(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX))
}

/// What is left until an absolute deadline; `None` when it has passed.
pub(crate) fn remaining(deadline: u64) -> Option<Duration> {
    deadline
        .checked_sub(boot_nanos())
        .filter(|left| *left > 0)
        .map(Duration::from_nanos)
}
