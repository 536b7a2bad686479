//! The two queues towards one backend, served fairly by one writer.
//!
//! The data lane carries data, `connect`, `disconnect` and successful outbound results, first in,
//! first out. The control lane carries credits, pongs, failures and challenges, and may overtake.
//! Waiting for room in the data lane is short, and only a user's own flow does it: whoever serves
//! several users, the backend's reader above all, never waits.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use crate::control::{self, Notice};
use crate::frame;

/// Messages per lane: with frames of 32 KiB, at most 8 MiB wait for one backend.
const LANE: usize = 256;
/// How long a message waits for room. The original does not wait, and a user on a fast network
/// overruns the lane of a backend that reads as promptly as it can. Waiters are served in turn, so
/// this is ample unless the backend takes next to nothing, and then the flow is closed as the
/// protocol has it.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// One message on its way to the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    Text(String),
    Binary(Bytes),
}

/// The lane was full, or the session is over; the message is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct LaneFull;

/// The end that puts in.
#[derive(Debug)]
pub struct Lanes {
    data: mpsc::Sender<Bytes>,
    control: mpsc::Sender<Outgoing>,
}

/// The end that takes out.
#[derive(Debug)]
pub struct LaneEnds {
    data: mpsc::Receiver<Bytes>,
    control: mpsc::Receiver<Outgoing>,
}

pub fn lanes() -> (Lanes, LaneEnds) {
    let (data, data_end) = mpsc::channel(LANE);
    let (control, control_end) = mpsc::channel(LANE);
    let ends = LaneEnds {
        data: data_end,
        control: control_end,
    };
    (Lanes { data, control }, ends)
}

impl Lanes {
    /// Queues a data message made by [`frame`].
    pub fn data(&self, message: Bytes) -> Result<(), LaneFull> {
        self.data.try_send(message).map_err(|_| LaneFull)
    }

    /// Queues a data message, waiting a moment for room.
    pub async fn data_soon(&self, message: Bytes) -> Result<(), LaneFull> {
        match timeout(ROOM_WAIT, self.data.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LaneFull),
        }
    }

    /// Queues `notice` about flow `client` on the lane it belongs to.
    pub fn notify(&self, client: Uuid, notice: &Notice<'_>) -> Result<(), LaneFull> {
        let message = frame::control(&control::encode(client, notice));
        if travels_with_data(notice) {
            self.data(message)
        } else {
            self.control
                .try_send(Outgoing::Binary(message))
                .map_err(|_| LaneFull)
        }
    }

    /// Queues a notice that travels with data, waiting a moment for room.
    pub async fn notify_soon(&self, client: Uuid, notice: &Notice<'_>) -> Result<(), LaneFull> {
        if travels_with_data(notice) {
            let message = frame::control(&control::encode(client, notice));
            self.data_soon(message).await
        } else {
            self.notify(client, notice)
        }
    }

    /// Queues a text message, waiting for room: a challenge must not get lost. Cancel-safe.
    pub async fn text(&self, text: String) -> Result<(), LaneFull> {
        self.control
            .send(Outgoing::Text(text))
            .await
            .map_err(|_| LaneFull)
    }
}

/// The beginning and the end of a flow must not overtake, nor be overtaken by, its data.
fn travels_with_data(notice: &Notice<'_>) -> bool {
    match notice {
        Notice::Connect(_) | Notice::Disconnect | Notice::OutboundConnected => true,
        Notice::PongClient | Notice::ResumeStream { .. } | Notice::OutboundFailed { .. } => false,
    }
}

impl LaneEnds {
    /// The next message of either lane, whichever has one; at random when both have. `None` when
    /// all senders are gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Outgoing> {
        tokio::select! {
            Some(message) = self.data.recv() => Some(Outgoing::Binary(message)),
            Some(message) = self.control.recv() => Some(message),
            else => None,
        }
    }

    /// One more message from each lane, without waiting.
    pub fn ready(&mut self) -> impl Iterator<Item = Outgoing> {
        let control = self.control.try_recv().ok();
        let data = self.data.try_recv().ok().map(Outgoing::Binary);
        control.into_iter().chain(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_data_lane_refuses_and_the_control_lane_does_not_care() {
        let (lanes, _ends) = lanes();
        for _ in 0..LANE {
            lanes.data(Bytes::new()).unwrap();
        }
        assert_eq!(
            lanes.notify(Uuid::nil(), &Notice::Disconnect),
            Err(LaneFull)
        );
        assert_eq!(lanes.notify(Uuid::nil(), &Notice::PongClient), Ok(()));
    }

    #[tokio::test]
    async fn a_message_waits_for_room_but_not_for_long() {
        let (lanes, mut ends) = lanes();
        while lanes.data(Bytes::new()).is_ok() {}
        assert_eq!(lanes.data_soon(Bytes::new()).await, Err(LaneFull));
        let (queued, _) = tokio::join!(lanes.data_soon(Bytes::new()), ends.next());
        assert_eq!(queued, Ok(()));
    }

    #[tokio::test]
    async fn the_data_lane_keeps_its_order() {
        let (lanes, mut ends) = lanes();
        for byte in 0..100u8 {
            lanes.data(Bytes::copy_from_slice(&[byte])).unwrap();
        }
        for byte in 0..100u8 {
            assert_eq!(
                ends.next().await,
                Some(Outgoing::Binary(Bytes::copy_from_slice(&[byte])))
            );
        }
    }
}
