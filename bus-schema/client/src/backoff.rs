//! Reconnection back-off: doubling with full jitter.

use rand::Rng;
use std::time::Duration;

/// A restarted peer binds within tens of milliseconds; asking sooner is noise.
const FLOOR: Duration = Duration::from_millis(20);
/// Longest silence after a peer came back.
const CEILING: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FLOOR }
    }

    /// Called after a first answer, not after a mere connection.
    pub(crate) const fn reset(&mut self) {
        self.next = FLOOR;
    }

    /// The next wait, between the floor and the current bound.
    pub(crate) fn wait(&mut self) -> Duration {
        let bound = self.next;
        self.next = (self.next * 2).min(CEILING);
        let spread = u64::try_from((bound - FLOOR).as_millis()).unwrap_or(0);
        FLOOR + Duration::from_millis(rand::rng().random_range(0..=spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_between_floor_and_ceiling() {
        let mut backoff = Backoff::new();
        for _ in 0..1000 {
            let wait = backoff.wait();
            assert!((FLOOR..=CEILING).contains(&wait), "{wait:?}");
        }
    }
}
