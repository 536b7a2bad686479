//! When to try again: doubling waits with a cap and jitter, one immediate try after a good session.

use crate::timing::Timing;
use std::time::Duration;

/// How the last attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// No session came about.
    Unreachable,
    /// The relay does not want us as we are.
    Refused,
    /// A session was lost after this long.
    Lost { lived: Duration },
}

/// Counts failures in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    /// Has any session ever stood? Before that, waits start short: the network may just be late.
    ever_connected: bool,
}

impl Backoff {
    /// Forgets all failures, for a new configuration.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next attempt. `jitter` lies between 0 and 1. Never longer than the
    /// limit; zero only right after a session that had been stable, so two immediate tries never
    /// follow each other.
    pub(crate) fn next(&mut self, ending: Ending, jitter: f64, timing: &Timing) -> Duration {
        if let Ending::Lost { lived } = ending {
            self.ever_connected = true;
            if lived >= timing.stable {
                self.failures = 0;
                return Duration::ZERO;
            }
        }
        let first = if self.ever_connected {
            timing.backoff
        } else {
            timing.first_backoff
        };
        // 2^16 seconds are far above any limit.
        let doubled = first * 2_u32.pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let jittered = doubled
            .min(timing.backoff_limit)
            .mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0)
            .min(timing.backoff_limit);
        match ending {
            Ending::Refused => jittered.max(timing.refusal_backoff),
            Ending::Unreachable | Ending::Lost { .. } => jittered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_device_that_starts_before_its_network_is_quick_to_connect() {
        let timing = Timing::default();
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8)
            .map(|_| backoff.next(Ending::Unreachable, 0.5, &timing).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_stable_session_earns_one_immediate_try() {
        let timing = Timing::default();
        let mut backoff = Backoff::default();
        let good = Ending::Lost { lived: seconds(30) };
        assert_eq!(backoff.next(good, 0.5, &timing), Duration::ZERO);
        assert_eq!(backoff.next(Ending::Unreachable, 0.5, &timing), seconds(5));
        let short = Ending::Lost { lived: seconds(29) };
        assert_eq!(backoff.next(short, 0.5, &timing), seconds(10));
    }

    proptest! {
        #[test]
        fn waits_never_spin_and_never_pass_the_limit(
            endings in prop::collection::vec(0_u64..120, 1..40),
            jitter in 0.0..1.0_f64,
        ) {
            let timing = Timing::default();
            let mut backoff = Backoff::default();
            for kind in endings {
                let ending = match kind {
                    0..20 => Ending::Unreachable,
                    20..40 => Ending::Refused,
                    lived => Ending::Lost { lived: seconds(lived - 40) },
                };
                let wait = backoff.next(ending, jitter, &timing);
                prop_assert!(wait <= timing.backoff_limit);
                match ending {
                    Ending::Refused => prop_assert!(wait >= timing.refusal_backoff),
                    Ending::Unreachable => prop_assert!(wait >= timing.first_backoff.mul_f64(0.75)),
                    Ending::Lost { lived } => prop_assert_eq!(wait.is_zero(), lived >= timing.stable),
                }
            }
        }
    }
}
