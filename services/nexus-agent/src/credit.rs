//! Flow control in both directions: one data message costs one credit, whatever its size
//! (protocol, 4).

use std::time::{Duration, Instant};

/// What the relay may send before we have consumed anything.
pub(crate) const WINDOW: u32 = 64;
/// Credits are given back in portions of this many.
const BATCH: u32 = 8;
/// No grant and no balance is larger.
const LIMIT: u32 = 1 << 20;

/// What we may still send on a flow.
#[derive(Clone, Debug)]
pub(crate) struct SendCredits {
    balance: Balance,
    /// Frames sent.
    sent: u64,
    /// Frames the relay has passed on to the visitor, as far as it says.
    acknowledged: u64,
    stall: Stall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Balance {
    /// A relay that does not count.
    Unlimited,
    Frames(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stall {
    Flowing,
    Since(Instant),
    /// One credit was taken on trust; no other in this stall.
    Probed,
}

impl SendCredits {
    /// The credits of a `connect`.
    pub(crate) fn new(initial: Option<i64>) -> Self {
        Self {
            balance: initial.map_or(Balance::Unlimited, |credits| {
                Balance::Frames(clamp(credits))
            }),
            sent: 0,
            acknowledged: 0,
            stall: Stall::Flowing,
        }
    }

    /// Does the relay count at all?
    pub(crate) const fn is_counted(&self) -> bool {
        matches!(self.balance, Balance::Frames(_))
    }

    /// Pays for one frame. False, and nothing is paid, when there is no credit; the stall counts
    /// from the first refusal.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        match &mut self.balance {
            Balance::Unlimited => {}
            Balance::Frames(0) => {
                if self.stall == Stall::Flowing {
                    self.stall = Stall::Since(now);
                }
                return false;
            }
            Balance::Frames(left) => *left -= 1,
        }
        self.sent += 1;
        true
    }

    /// A grant from the relay; true when it was worth anything.
    pub(crate) fn grant(&mut self, credits: i64) -> bool {
        let granted = clamp(credits);
        if granted == 0 {
            return false;
        }
        self.acknowledged = self.acknowledged.saturating_add(u64::from(granted));
        if let Balance::Frames(left) = &mut self.balance {
            *left = left.saturating_add(granted).min(LIMIT);
        }
        self.stall = Stall::Flowing;
        true
    }

    /// Takes one credit on trust when a stall has lasted: a grant may have been lost. Once a stall.
    pub(crate) fn probe(&mut self, now: Instant, after: Duration) -> bool {
        match (self.stall, &mut self.balance) {
            (Stall::Since(since), Balance::Frames(left)) if now >= since + after => {
                *left += 1;
                self.stall = Stall::Probed;
                true
            }
            (Stall::Since(_) | Stall::Flowing | Stall::Probed, _) => false,
        }
    }

    /// Frames missing to a full batch of the relay's.
    pub(crate) const fn missing_to_batch(&self) -> u32 {
        let over = (self.sent % BATCH as u64) as u32;
        (BATCH - over) % BATCH
    }

    /// Frames sent that the relay has not reported.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.sent.saturating_sub(self.acknowledged)
    }

    /// Empty frames that complete the batch a relay with an odd count is waiting for; zero when
    /// that is not what it waits for.
    pub(crate) const fn odd_padding(&self) -> u32 {
        let outstanding = self.outstanding();
        if outstanding > 0 && outstanding < BATCH as u64 {
            BATCH - outstanding as u32
        } else {
            0
        }
    }
}

fn clamp(credits: i64) -> u32 {
    u32::try_from(credits.clamp(0, i64::from(LIMIT))).unwrap_or(LIMIT)
}

/// What we have received and not yet given back.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceiveWindow {
    /// Frames received.
    received: u64,
    /// Frames consumed whose credits were not given back.
    owed: u32,
    /// Bytes waiting for the local side.
    buffered: usize,
    paused: bool,
    /// Was a batch given back already?
    granted: bool,
}

/// What is to be done about received data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    None,
    /// Tell the relay to stop reading this visitor.
    Pause,
    /// It did not stop: the flow must go.
    Overflow,
}

/// Before the relay has seen our first grant it sends without limit (protocol, 4.2); this much is
/// taken before it is asked to pause. A full window of largest frames is half of it.
const PAUSE_ABOVE: usize = 4 * 1024 * 1024;
/// Enough room again.
const RESUME_BELOW: usize = 1024 * 1024;
/// More than a relay's queue (256 messages of 32 KiB) and a fast link hold in flight after a pause.
const OVERFLOW_ABOVE: usize = 32 * 1024 * 1024;

impl ReceiveWindow {
    /// Bytes waiting for the local side.
    pub(crate) const fn buffered(&self) -> usize {
        self.buffered
    }

    /// A frame arrived.
    pub(crate) fn receive(&mut self, length: usize) -> Pressure {
        self.received += 1;
        self.buffered += length;
        if self.buffered > OVERFLOW_ABOVE {
            Pressure::Overflow
        } else if self.buffered > PAUSE_ABOVE && !self.paused {
            self.paused = true;
            Pressure::Pause
        } else {
            Pressure::None
        }
    }

    /// The local side took a frame. Credits to give back now, which also ends a pause.
    pub(crate) fn consume(&mut self, length: usize) -> Option<u32> {
        self.buffered = self.buffered.saturating_sub(length);
        self.owed = (self.owed + 1).min(LIMIT);
        if self.paused {
            // Any grant un-pauses (protocol, 4.3), so they are withheld until there is room.
            if self.buffered > RESUME_BELOW {
                return None;
            }
            self.paused = false;
        } else if self.owed < BATCH {
            return None;
        }
        let mut credits = std::mem::take(&mut self.owed);
        // More than the window arrived before anything was given back: the first grant came too
        // late or was lost (a race in the relay). Extra credits are discarded at its capacity.
        if !self.granted && self.received > u64::from(WINDOW) {
            credits = (credits + WINDOW).min(LIMIT);
        }
        self.granted = true;
        Some(credits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_grants_are_clamped() {
        let now = Instant::now();
        let mut credits = SendCredits::new(Some(1));
        assert!(credits.take(now));
        for worthless in [0, -1, i64::MIN] {
            assert!(!credits.grant(worthless));
            assert!(!credits.take(now));
        }
        assert!(credits.grant(i64::MAX));
        assert!(credits.grant(i64::MAX));
        assert_eq!(credits.balance, Balance::Frames(LIMIT));
    }

    #[test]
    fn a_lost_grant_costs_one_probe_a_stall() {
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        let after = Duration::from_secs(10);
        let mut credits = SendCredits::new(Some(1));
        assert!(credits.take(now));
        assert!(!credits.probe(later, after), "nothing was refused yet");
        assert!(!credits.take(now));
        assert!(!credits.probe(now, after));
        assert!(credits.probe(later, after));
        assert!(credits.take(later));
        assert!(!credits.take(later));
        assert!(!credits.probe(later + after + after, after), "once a stall");
        assert!(credits.grant(1));
        assert!(credits.take(later));
        assert!(!credits.take(later));
        assert!(credits.probe(later + after, after));
    }

    #[test]
    fn padding_fills_the_relay_s_batch() {
        let now = Instant::now();
        let mut credits = SendCredits::new(Some(64));
        assert_eq!(credits.missing_to_batch(), 0);
        for missing in (0..8).rev() {
            assert!(credits.take(now));
            assert_eq!(credits.missing_to_batch(), missing);
        }
        assert!(credits.grant(5));
        assert_eq!(credits.odd_padding(), 5);
        assert!(credits.grant(3));
        assert_eq!(credits.odd_padding(), 0);
    }

    #[test]
    fn a_pause_lasts_until_there_is_room() {
        let mut window = ReceiveWindow::default();
        let frame = 32 * 1024;
        let mut frames = 0;
        while window.receive(frame) == Pressure::None {
            frames += 1;
        }
        frames += 1;
        assert_eq!(frames, 129);
        let mut given = Vec::new();
        for _ in 0..frames {
            given.extend(window.consume(frame));
        }
        assert_eq!(
            given[0],
            97 + WINDOW,
            "withheld credits and the lost first grant"
        );
        assert_eq!(given[1..], [8, 8, 8, 8]);
    }

    #[test]
    fn a_relay_that_ignores_the_pause_loses_the_flow() {
        let mut window = ReceiveWindow::default();
        let last = (0..1100).map(|_| window.receive(32 * 1024)).last();
        assert_eq!(last, Some(Pressure::Overflow));
    }

    proptest! {
        #[test]
        fn never_more_is_sent_than_was_granted(
            initial in 0_i64..100,
            steps in prop::collection::vec(-10_i64..20, 0..400),
        ) {
            let now = Instant::now();
            let mut credits = SendCredits::new(Some(initial));
            let mut allowed = initial;
            let mut sent = 0;
            for step in steps {
                if step > 0 {
                    credits.grant(step);
                    allowed += step;
                } else {
                    sent += i64::from(credits.take(now));
                }
                prop_assert!(sent <= allowed);
            }
        }

        #[test]
        fn every_consumed_frame_is_given_back_but_an_incomplete_batch(
            lengths in prop::collection::vec(0_usize..40_000, 1..64),
        ) {
            let mut window = ReceiveWindow::default();
            for length in &lengths {
                prop_assert_eq!(window.receive(*length), Pressure::None);
            }
            let given: u32 = lengths.iter().filter_map(|length| window.consume(*length)).sum();
            let consumed = u32::try_from(lengths.len()).expect("few");
            prop_assert_eq!(given, consumed / BATCH * BATCH);
            prop_assert_eq!(window.buffered(), 0);
        }
    }
}
