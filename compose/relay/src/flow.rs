//! One user connection as its session sees it: two windows, a pause, a queue and an end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use crate::control::Notice;
use crate::credit::{ForwardWindow, REVERSE_QUEUE, ReverseWindow};
use crate::lanes::Lanes;

/// Why a flow is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The user closed, half-closed or reset.
    UserClosed,
    /// The backend sent `disconnect`.
    ByBackend,
    /// Nothing moved for the idle time-out.
    Idle,
    /// The backend granted no credit for as long as the idle time-out.
    Starved,
    /// The session's data lane was full.
    LaneFull,
    /// The backend sent more than the relay holds for one user.
    Overrun,
    /// The user's socket took nothing for too long, or broke.
    WriteFailed,
    /// A newer flow needed the room (UDP).
    Evicted,
    /// The session is over, and with it every flow.
    SessionEnded,
}

impl End {
    /// The backend does not know yet and must be told with `disconnect`.
    pub fn is_news_to_backend(self) -> bool {
        match self {
            Self::ByBackend | Self::SessionEnded => false,
            Self::UserClosed
            | Self::Idle
            | Self::Starved
            | Self::LaneFull
            | Self::Overrun
            | Self::WriteFailed
            | Self::Evicted => true,
        }
    }
}

/// Shared by the session's reader, which feeds it, and by the task that owns the user's socket.
#[derive(Debug)]
pub struct Flow {
    pub id: Uuid,
    to_user: mpsc::Sender<Bytes>,
    reverse: Mutex<ReverseWindow>,
    forward: Mutex<Forward>,
    forward_changed: Notify,
    end: watch::Sender<Option<End>>,
}

#[derive(Debug, Default)]
struct Forward {
    window: ForwardWindow,
    paused: bool,
}

/// The windows are numbers that are valid after every statement, so a panic elsewhere while
/// holding the lock leaves nothing to repair.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flow {
    /// A new flow and the messages for its user.
    pub fn new(id: Uuid) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (to_user, queue) = mpsc::channel(REVERSE_QUEUE);
        let flow = Self {
            id,
            to_user,
            reverse: Mutex::default(),
            forward: Mutex::default(),
            forward_changed: Notify::new(),
            end: watch::Sender::new(None),
        };
        (Arc::new(flow), queue)
    }

    /// Takes one message for the user. The 129th that waits ends the flow.
    pub fn deliver(&self, payload: Bytes) {
        let arrived = lock(&self.reverse).arrived();
        if arrived.is_err() || self.to_user.try_send(payload).is_err() {
            self.finish(End::Overrun);
        }
    }

    /// Ends the flow; only the first reason counts.
    pub fn finish(&self, end: End) {
        self.end.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(end);
            first
        });
    }

    /// Waits for somebody to end the flow. Cancel-safe.
    pub async fn finished(&self) -> End {
        let mut end = self.end.subscribe();
        // The sender lives as long as `self`.
        end.wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|end| *end)
            .unwrap_or(End::SessionEnded)
    }

    pub fn pause(&self) {
        lock(&self.forward).paused = true;
    }

    /// Ends a pause and adds a grant, which may be zero.
    pub fn resume(&self, credits: i64) {
        {
            let mut forward = lock(&self.forward);
            forward.paused = false;
            forward.window.grant(credits);
        }
        self.forward_changed.notify_one();
    }

    /// Waits for the end of a pause. Cancel-safe; one waiter at a time.
    pub async fn unpaused(&self) {
        while lock(&self.forward).paused {
            self.forward_changed.notified().await;
        }
    }

    /// Waits for the right to forward one message. Cancel-safe; one waiter at a time.
    pub async fn credit(&self) {
        while !self.try_credit() {
            self.forward_changed.notified().await;
        }
    }

    /// Takes the right to forward one message if there is one.
    pub fn try_credit(&self) -> bool {
        lock(&self.forward).window.take()
    }

    /// One message is in the user's socket; returns credits when a batch is complete.
    pub fn written(&self, lanes: &Lanes, now: Instant) {
        lock(&self.reverse).written();
        self.report(lanes, now);
    }

    /// Returns credits that are due, if the control lane has room.
    pub fn report(&self, lanes: &Lanes, now: Instant) {
        let mut reverse = lock(&self.reverse);
        let Some(credits) = reverse.due(now) else {
            return;
        };
        match lanes.notify(self.id, &Notice::ResumeStream { credits }) {
            Ok(()) => reverse.reported(credits),
            Err(_) => reverse.refused(now),
        }
    }

    /// A report is overdue because its lane was full.
    pub fn owes_credits(&self) -> bool {
        lock(&self.reverse).owes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes;
    use std::time::Duration;

    #[tokio::test]
    async fn the_first_end_counts() {
        let (flow, _queue) = Flow::new(Uuid::nil());
        flow.finish(End::ByBackend);
        flow.finish(End::SessionEnded);
        assert_eq!(flow.finished().await, End::ByBackend);
    }

    #[tokio::test]
    async fn the_129th_waiting_message_ends_the_flow() {
        let (flow, mut queue) = Flow::new(Uuid::nil());
        for _ in 0..REVERSE_QUEUE {
            flow.deliver(Bytes::new());
        }
        assert!(queue.try_recv().is_ok(), "taken, but not written");
        flow.deliver(Bytes::new());
        assert_eq!(flow.finished().await, End::Overrun);
    }

    #[tokio::test]
    async fn a_grant_cancels_a_pause() {
        let (flow, _queue) = Flow::new(Uuid::nil());
        flow.pause();
        let waiter = tokio::spawn({
            let flow = Arc::clone(&flow);
            async move { flow.unpaused().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        flow.resume(8);
        waiter.await.unwrap();
    }

    #[test]
    fn a_report_without_room_is_owed_and_not_lost() {
        let (lanes, mut ends) = lanes::lanes();
        let (flow, _queue) = Flow::new(Uuid::nil());
        while lanes.notify(Uuid::nil(), &Notice::PongClient).is_ok() {}
        let start = Instant::now();
        (0..8).for_each(|_| flow.written(&lanes, start));
        assert!(flow.owes_credits());
        assert_eq!(ends.ready().count(), 1);
        flow.report(&lanes, start + Duration::from_millis(25));
        assert!(!flow.owes_credits());
    }
}
