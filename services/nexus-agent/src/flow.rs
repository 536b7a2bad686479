//! One visitor's connection, as a state machine without sockets.
//!
//! ```text
//!   open ──local end──► draining ──all frames reported, or given up──► over
//!     └──────────── the relay's disconnect, overflow, no pong ─────────►┘
//! ```
//!
//! The drain: a relay drops what it has not written 50 ms after our `disconnect`, so that is not
//! said before the relay has reported every frame. It reports in batches of eight, so the last one
//! is filled with empty frames (protocol, 5).

use crate::{
    credit::{Pressure, ReceiveWindow, SendCredits},
    frame::MAX_PAYLOAD,
    message::Reason,
    timing::Timing,
};
use bytes::Bytes;
use std::{collections::VecDeque, time::Instant};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes from the local side, at most [`MAX_PAYLOAD`]. The permit is the room they take in the
/// queue; it is free again once they are sent or dropped.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// A flow's state.
#[derive(Debug)]
pub(crate) struct Flow {
    phase: Phase,
    queue: VecDeque<Chunk>,
    send: SendCredits,
    receive: ReceiveWindow,
    life: Life,
}

#[derive(Debug)]
enum Phase {
    Open,
    Draining(Drain),
}

#[derive(Debug)]
struct Drain {
    reason: Reason,
    /// The last report of the relay, or the drain's begin.
    progress: Instant,
    /// Empty frames still to be sent; `None` while real ones are.
    padding: Option<u32>,
    /// Was a second padding tried since the last progress?
    padded_again: bool,
}

/// Whether the relay still has the flow: its `disconnect` can be lost (protocol, 3.2).
#[derive(Debug)]
enum Life {
    Heard(Instant),
    Asked(Instant),
}

/// What time asks of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// It may have something to send.
    Send,
    /// Ask the relay whether it still exists.
    Ask,
    End(Reason),
}

impl Flow {
    /// A flow with the credits of its `connect`.
    pub(crate) fn new(credits: Option<i64>, now: Instant) -> Self {
        Self {
            phase: Phase::Open,
            queue: VecDeque::new(),
            send: SendCredits::new(credits),
            receive: ReceiveWindow::default(),
            life: Life::Heard(now),
        }
    }

    /// Bytes that wait for the local side.
    pub(crate) const fn buffered(&self) -> usize {
        self.receive.buffered()
    }

    /// A frame from the relay.
    pub(crate) fn receive(&mut self, length: usize, now: Instant) -> Pressure {
        self.life = Life::Heard(now);
        self.receive.receive(length)
    }

    /// The local side took a frame. Credits to give back.
    pub(crate) fn consume(&mut self, length: usize) -> Option<u32> {
        self.receive.consume(length)
    }

    /// Bytes for the visitor. What comes after the local end is dropped.
    pub(crate) fn queue(&mut self, chunk: Chunk, now: Instant) {
        debug_assert!(chunk.bytes.len() <= MAX_PAYLOAD);
        match self.phase {
            Phase::Open => {
                self.life = Life::Heard(now);
                self.queue.push_back(chunk);
            }
            Phase::Draining(_) => {}
        }
    }

    /// The local side has no more to say. There is no half close in the protocol: the flow ends
    /// when everything has arrived.
    pub(crate) fn end_local(&mut self, reason: Reason, now: Instant) {
        match self.phase {
            Phase::Open => {
                self.phase = Phase::Draining(Drain {
                    reason,
                    progress: now,
                    padding: None,
                    padded_again: false,
                });
            }
            Phase::Draining(_) => {}
        }
    }

    /// The relay reports frames; true when there may be something to send now.
    pub(crate) fn grant(&mut self, credits: i64, now: Instant) -> bool {
        if !self.send.grant(credits) {
            return false;
        }
        if let Phase::Draining(drain) = &mut self.phase {
            drain.progress = now;
            drain.padded_again = false;
        }
        true
    }

    /// The relay still has the flow.
    pub(crate) const fn pong(&mut self, now: Instant) {
        self.life = Life::Heard(now);
    }

    /// The next payload it may send; `None` when it has none or no credit.
    pub(crate) fn next_payload(&mut self, now: Instant) -> Option<Bytes> {
        if self.queue.is_empty() {
            return self.next_padding(now).then(Bytes::new);
        }
        if !self.send.take(now) {
            return None;
        }
        self.life = Life::Heard(now);
        self.queue.pop_front().map(|chunk| chunk.bytes)
    }

    fn next_padding(&mut self, now: Instant) -> bool {
        let Phase::Draining(drain) = &mut self.phase else {
            return false;
        };
        if !self.send.is_counted() || self.send.outstanding() == 0 {
            return false;
        }
        let missing = self.send.missing_to_batch();
        let padding = drain.padding.get_or_insert(missing);
        if *padding == 0 || !self.send.take(now) {
            return false;
        }
        *padding -= 1;
        true
    }

    /// Why the flow is over on our side, once everything has reached the visitor. A relay that
    /// does not count can't report, so having sent must do.
    pub(crate) fn drained(&self) -> Option<Reason> {
        match &self.phase {
            Phase::Draining(drain)
                if self.queue.is_empty()
                    && (!self.send.is_counted() || self.send.outstanding() == 0) =>
            {
                Some(drain.reason)
            }
            Phase::Draining(_) | Phase::Open => None,
        }
    }

    /// Looks at the clock.
    pub(crate) fn check(&mut self, now: Instant, timing: &Timing) -> Due {
        if self.send.probe(now, timing.probe) {
            return Due::Send;
        }
        match &mut self.phase {
            Phase::Draining(drain) => {
                let stalled = now.saturating_duration_since(drain.progress);
                if stalled >= timing.drain {
                    return Due::End(drain.reason);
                }
                let odd = self.send.odd_padding();
                if stalled >= timing.drain_stall
                    && drain.padding == Some(0)
                    && !drain.padded_again
                    && odd > 0
                {
                    drain.padding = Some(odd);
                    drain.padded_again = true;
                    return Due::Send;
                }
                Due::Nothing
            }
            Phase::Open => match self.life {
                Life::Heard(at) if now >= at + timing.idle => {
                    self.life = Life::Asked(now);
                    Due::Ask
                }
                Life::Asked(at) if now >= at + timing.pong => Due::End(Reason::Timeout),
                Life::Heard(_) | Life::Asked(_) => Due::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn chunk() -> Chunk {
        Chunk {
            bytes: Bytes::from_static(b"x"),
            _room: None,
        }
    }

    fn sent(flow: &mut Flow, now: Instant) -> (usize, usize) {
        let payloads: Vec<_> = std::iter::from_fn(|| flow.next_payload(now)).collect();
        let empty = payloads.iter().filter(|payload| payload.is_empty()).count();
        (payloads.len() - empty, empty)
    }

    #[test]
    fn the_last_batch_is_filled_and_awaited() {
        let now = Instant::now();
        let mut flow = Flow::new(Some(64), now);
        for _ in 0..11 {
            flow.queue(chunk(), now);
        }
        flow.end_local(Reason::Normal, now);
        assert_eq!(sent(&mut flow, now), (11, 5));
        assert_eq!(flow.drained(), None);
        assert!(flow.grant(8, now));
        assert_eq!(flow.drained(), None);
        assert!(flow.grant(8, now));
        assert_eq!(flow.drained(), Some(Reason::Normal));
    }

    #[test]
    fn a_flow_that_sent_nothing_ends_at_once() {
        let now = Instant::now();
        let mut flow = Flow::new(Some(64), now);
        flow.end_local(Reason::LocalError, now);
        assert_eq!(flow.drained(), Some(Reason::LocalError));
    }

    #[test]
    fn a_relay_that_does_not_count_gets_no_padding() {
        let now = Instant::now();
        let mut flow = Flow::new(None, now);
        for _ in 0..100 {
            flow.queue(chunk(), now);
        }
        flow.end_local(Reason::Normal, now);
        assert_eq!(sent(&mut flow, now), (100, 0));
        assert_eq!(flow.drained(), Some(Reason::Normal));
    }

    #[test]
    fn a_drain_that_stalls_on_an_odd_count_is_padded_once_more() {
        let timing = Timing::default();
        let now = Instant::now();
        let mut flow = Flow::new(Some(64), now);
        (0..13).for_each(|_| flow.queue(chunk(), now));
        flow.end_local(Reason::Normal, now);
        assert_eq!(sent(&mut flow, now), (13, 3));
        assert!(flow.grant(11, now));
        assert_eq!(flow.check(now, &timing), Due::Nothing);
        let later = now + timing.drain_stall;
        assert_eq!(flow.check(later, &timing), Due::Send);
        assert_eq!(sent(&mut flow, later), (0, 3));
        assert_eq!(
            flow.check(later + timing.drain_stall, &timing),
            Due::Nothing
        );
        assert!(flow.grant(8, later));
        assert_eq!(flow.drained(), Some(Reason::Normal));
    }

    #[test]
    fn a_drain_without_an_answer_is_given_up() {
        let timing = Timing::default();
        let now = Instant::now();
        let mut flow = Flow::new(Some(64), now);
        flow.queue(chunk(), now);
        flow.end_local(Reason::Normal, now);
        sent(&mut flow, now);
        assert_eq!(
            flow.check(now + timing.drain, &timing),
            Due::End(Reason::Normal)
        );
    }

    #[test]
    fn a_silent_flow_is_asked_after_and_ends_without_an_answer() {
        let timing = Timing::default();
        let now = Instant::now();
        let mut flow = Flow::new(Some(64), now);
        let minute = now + Duration::from_secs(60);
        assert_eq!(flow.check(minute, &timing), Due::Ask);
        flow.pong(minute);
        assert_eq!(flow.check(minute + timing.pong, &timing), Due::Nothing);
        let later = minute + timing.idle;
        assert_eq!(flow.check(later, &timing), Due::Ask);
        assert_eq!(
            flow.check(later + timing.pong, &timing),
            Due::End(Reason::Timeout)
        );
    }

    proptest! {
        /// Whatever the window and however the relay reports, everything arrives, and the drain
        /// ends with every frame reported.
        #[test]
        fn a_drain_ends_complete(frames in 0_usize..200, window in 8_i64..70) {
            let timing = Timing::default();
            let mut now = Instant::now();
            let mut flow = Flow::new(Some(window), now);
            for _ in 0..frames {
                flow.queue(chunk(), now);
            }
            flow.end_local(Reason::Normal, now);
            let (mut real, mut unreported) = (0, 0);
            for _ in 0..100 {
                let (more, empty) = sent(&mut flow, now);
                real += more;
                unreported += more + empty;
                if flow.drained().is_some() {
                    break;
                }
                // The relay reports whole batches only.
                let report = unreported / 8 * 8;
                unreported -= report;
                flow.grant(report as i64, now);
                now += timing.drain_stall;
                flow.check(now, &timing);
            }
            prop_assert_eq!(flow.drained(), Some(Reason::Normal));
            prop_assert_eq!(real, frames);
        }
    }
}
