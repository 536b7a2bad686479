//! What a unit's failures say about its next start: back-off, and when to call it degraded.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Delays and bounds of all units.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest wait for the units a unit starts after. Order is a convenience; 10 s is a slow
    /// board's start of its slowest service.
    pub patience: Duration,
    /// From start to READY.
    pub start: Duration,
    /// Between two signs of life of a ready unit. Told to the child as WATCHDOG_USEC.
    pub watchdog: Duration,
    /// From TERM to KILL.
    pub grace: Duration,
    /// From KILL to giving up on a process the kernel does not let go.
    pub give_up: Duration,
    /// The most that EXTEND_TIMEOUT_USEC can stretch a start or a stop.
    pub extension: Duration,
    /// First delay of the back-off, and the least of any. Under a second in all to be back.
    pub back_off_floor: Duration,
    /// Longest delay of the back-off.
    pub back_off_ceiling: Duration,
    /// After so long ready, earlier failures are forgotten.
    pub stable: Duration,
    /// So many failures ...
    pub degraded_after: usize,
    /// ... in so long a time are a degraded unit ...
    pub window: Duration,
    /// ... which is tried only so often.
    pub slow_retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            start: Duration::from_secs(30),
            watchdog: Duration::from_secs(20),
            grace: Duration::from_secs(10),
            give_up: Duration::from_secs(5),
            extension: Duration::from_secs(300),
            back_off_floor: Duration::from_millis(200),
            back_off_ceiling: Duration::from_secs(30),
            stable: Duration::from_secs(60),
            degraded_after: 5,
            window: Duration::from_secs(60),
            slow_retry: Duration::from_secs(30),
        }
    }
}

/// When something happens, and the chance it happens with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// Uniform in `0.0..1.0`: makes the delays of several units differ.
    pub(crate) jitter: f64,
}

/// The failures since a unit was last stable.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Failures in a row.
    attempts: u32,
    /// The failures of the last window, oldest first.
    recent: VecDeque<Instant>,
    degraded: bool,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    BackOff { until: Instant },
    Degraded { until: Instant },
}

impl History {
    /// Whether the unit has died too often and was not stable since.
    pub(crate) const fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// Nothing to forget.
    pub(crate) fn is_clean(&self) -> bool {
        self.recent.is_empty()
    }

    /// Records a failure.
    pub(crate) fn fail(&mut self, at: Moment, limits: &Limits) -> Verdict {
        self.recent.push_back(at.now);
        self.recent
            .retain(|failure| at.now.duration_since(*failure) <= limits.window);
        self.degraded |= self.recent.len() >= limits.degraded_after;
        if self.degraded {
            return Verdict::Degraded {
                until: at.now + limits.slow_retry,
            };
        }
        let until = at.now + back_off(self.attempts, at.jitter, limits);
        self.attempts = self.attempts.saturating_add(1);
        Verdict::BackOff { until }
    }
}

/// Full jitter between the floor and a ceiling that doubles with each attempt.
fn back_off(attempts: u32, jitter: f64, limits: &Limits) -> Duration {
    let factor = 2_u32.saturating_pow(attempts);
    let ceiling = limits.back_off_floor.saturating_mul(factor);
    let ceiling = ceiling.min(limits.back_off_ceiling);
    let spread = ceiling.saturating_sub(limits.back_off_floor);
    limits.back_off_floor + spread.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_delay_is_the_floor_whatever_the_jitter() {
        let limits = Limits::default();
        assert_eq!(back_off(0, 0.99, &limits), limits.back_off_floor);
    }

    #[test]
    fn five_failures_within_a_minute_are_degraded_and_four_are_not() {
        let limits = Limits::default();
        let start = Instant::now();
        let at = |seconds| Moment {
            now: start + Duration::from_secs(seconds),
            jitter: 0.5,
        };
        let mut history = History::default();
        for second in 0..4 {
            let verdict = history.fail(at(second * 10), &limits);
            assert!(matches!(verdict, Verdict::BackOff { .. }), "{verdict:?}");
        }
        let mut late = history.clone();
        assert!(matches!(
            history.fail(at(40), &limits),
            Verdict::Degraded { .. }
        ));
        assert!(matches!(
            late.fail(at(70), &limits),
            Verdict::BackOff { .. }
        ));
    }

    proptest! {
        #[test]
        fn a_delay_is_never_below_the_floor_nor_above_the_ceiling(
            attempts in any::<u32>(),
            jitter in 0.0..1.0,
        ) {
            let limits = Limits::default();
            let delay = back_off(attempts, jitter, &limits);
            prop_assert!(delay >= limits.back_off_floor);
            prop_assert!(delay <= limits.back_off_ceiling);
        }
    }
}
