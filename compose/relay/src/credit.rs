//! The two windows of a flow. One data message costs one credit, whatever its size.

use std::time::{Duration, Instant};

/// No grant and no window is larger, whatever the peer says.
const MAX_GRANT: i64 = 1 << 20;
/// A window never shrinks below the protocol's initial grant.
const MIN_CAPACITY: i64 = 64;
/// Messages the relay holds for one user. A backend that honours its credits never has more than
/// 64 unwritten; twice that is kept for backends that know no credits.
pub const REVERSE_QUEUE: usize = 128;
/// Credits are returned in batches of this many written messages.
const REPORT_BATCH: i64 = 8;
/// A report that found its lane full is not tried again sooner.
const REPORT_SPACING: Duration = Duration::from_millis(25);

/// Messages the relay may still forward from a user to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardWindow {
    /// The backend has granted nothing yet, and may never (old backends do not).
    #[default]
    Unlimited,
    Limited {
        available: i64,
        capacity: i64,
    },
}

impl ForwardWindow {
    /// Adds a grant. The first one creates the counter; what exceeds its capacity is discarded,
    /// grants of zero or less are ignored.
    pub fn grant(&mut self, credits: i64) {
        if credits <= 0 {
            return;
        }
        let credits = credits.min(MAX_GRANT);
        *self = match *self {
            Self::Unlimited => Self::Limited {
                available: credits,
                capacity: credits.max(MIN_CAPACITY),
            },
            Self::Limited {
                available,
                capacity,
            } => Self::Limited {
                available: (available + credits).min(capacity),
                capacity,
            },
        };
    }

    /// Takes one credit, or says that there is none.
    pub fn take(&mut self) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Limited { available: 0, .. } => false,
            Self::Limited { available, .. } => {
                *available -= 1;
                true
            }
        }
    }
}

/// The backend sent a message beyond the 128 the relay holds for one user.
#[derive(Debug, PartialEq, Eq)]
pub struct Overrun;

/// Messages from the backend on their way to the user, and the credits owed for them.
#[derive(Debug, Default)]
pub struct ReverseWindow {
    /// Taken in and not yet written whole.
    unwritten: usize,
    /// Written and not yet reported.
    consumed: i64,
    last_refused: Option<Instant>,
}

impl ReverseWindow {
    /// One message arrived.
    pub fn arrived(&mut self) -> Result<(), Overrun> {
        if self.unwritten >= REVERSE_QUEUE {
            return Err(Overrun);
        }
        self.unwritten += 1;
        Ok(())
    }

    /// One message is in the user's socket.
    pub fn written(&mut self) {
        self.unwritten = self.unwritten.saturating_sub(1);
        self.consumed += 1;
    }

    /// The credits to report now, if a batch is complete and the last refusal is old enough.
    pub fn due(&self, now: Instant) -> Option<i64> {
        let rested = self
            .last_refused
            .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_SPACING);
        (self.consumed >= REPORT_BATCH && rested).then_some(self.consumed)
    }

    /// A complete batch could not be sent yet: somebody must come back for it.
    pub fn owes(&self) -> bool {
        self.consumed >= REPORT_BATCH
    }

    /// The report of `credits` is on its way.
    pub fn reported(&mut self, credits: i64) {
        self.consumed -= credits;
        self.last_refused = None;
    }

    /// The report found no room; nothing is lost, it is tried again later.
    pub fn refused(&mut self, now: Instant) {
        self.last_refused = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_a_grant_forwarding_is_unlimited() {
        let mut window = ForwardWindow::default();
        for credits in [0, -1, i64::MIN] {
            window.grant(credits);
        }
        assert!((0..1000).all(|_| window.take()));
    }

    #[test]
    fn the_first_grant_creates_the_counter_and_later_ones_are_cut_at_its_capacity() {
        let mut window = ForwardWindow::default();
        window.grant(4);
        assert_eq!(
            window,
            ForwardWindow::Limited {
                available: 4,
                capacity: 64
            }
        );
        window.grant(1000);
        assert_eq!(
            window,
            ForwardWindow::Limited {
                available: 64,
                capacity: 64
            }
        );
        assert!((0..64).all(|_| window.take()));
        assert!(!window.take());
    }

    #[test]
    fn a_huge_grant_is_cut() {
        let mut window = ForwardWindow::default();
        window.grant(i64::MAX);
        let cut = ForwardWindow::Limited {
            available: MAX_GRANT,
            capacity: MAX_GRANT,
        };
        assert_eq!(window, cut);
        window.grant(i64::MAX);
        assert_eq!(window, cut);
    }

    #[test]
    fn the_129th_unwritten_message_is_an_overrun() {
        let mut window = ReverseWindow::default();
        for _ in 0..REVERSE_QUEUE {
            window.arrived().unwrap();
        }
        assert_eq!(window.arrived(), Err(Overrun));
        window.written();
        assert_eq!(window.arrived(), Ok(()));
    }

    #[test]
    fn seven_written_messages_are_never_reported_and_eight_are() {
        let now = Instant::now();
        let mut window = ReverseWindow::default();
        (0..7).for_each(|_| window.written());
        assert_eq!(window.due(now), None);
        window.written();
        assert_eq!(window.due(now), Some(8));
    }

    #[test]
    fn a_refused_report_grows_and_is_not_repeated_at_once() {
        let now = Instant::now();
        let mut window = ReverseWindow::default();
        (0..8).for_each(|_| window.written());
        window.refused(now);
        window.written();
        assert_eq!(window.due(now + Duration::from_millis(24)), None);
        assert!(window.owes());
        assert_eq!(window.due(now + Duration::from_millis(25)), Some(9));
        window.reported(9);
        assert!(!window.owes());
    }

    proptest! {
        #[test]
        fn available_credits_stay_between_zero_and_capacity(
            grants in prop::collection::vec((any::<i64>(), 0usize..200), 0..40),
        ) {
            let mut window = ForwardWindow::default();
            for (credits, takes) in grants {
                window.grant(credits);
                (0..takes).for_each(|_| { window.take(); });
                if let ForwardWindow::Limited { available, capacity } = window {
                    prop_assert!((0..=capacity).contains(&available));
                    prop_assert!((MIN_CAPACITY..=MAX_GRANT).contains(&capacity));
                }
            }
        }

        #[test]
        fn every_written_message_is_reported_or_still_owed(batches in prop::collection::vec(any::<bool>(), 0..400)) {
            let start = Instant::now();
            let mut window = ReverseWindow::default();
            let mut reported = 0;
            for (step, lane_has_room) in batches.iter().enumerate() {
                window.written();
                let now = start + REPORT_SPACING * u32::try_from(step).unwrap();
                if let Some(credits) = window.due(now) {
                    if *lane_has_room {
                        window.reported(credits);
                        reported += credits;
                    } else {
                        window.refused(now);
                    }
                }
            }
            prop_assert_eq!(reported + window.consumed, i64::try_from(batches.len()).unwrap());
        }
    }
}
