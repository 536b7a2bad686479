//! Whose turn it is to send: flows in a ring, a few frames a turn.

use std::collections::{HashSet, VecDeque};
use uuid::Uuid;

/// Frames of one flow before the next one's turn.
const FRAMES_A_TURN: u32 = 4;

/// The ring of flows that may have something to send.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    ring: VecDeque<Uuid>,
    members: HashSet<Uuid>,
    /// Frames left in the turn of the ring's first.
    left: u32,
}

impl Turns {
    /// Puts a flow at the end of the ring, if it is not in it.
    pub(crate) fn enter(&mut self, id: Uuid) {
        if self.members.insert(id) {
            if self.ring.is_empty() {
                self.left = FRAMES_A_TURN;
            }
            self.ring.push_back(id);
        }
    }

    /// The next frame: `send` is asked flow by flow and answers `None` when the flow has nothing
    /// it may send, which takes it out of the ring.
    pub(crate) fn next<T>(&mut self, mut send: impl FnMut(Uuid) -> Option<T>) -> Option<T> {
        while let Some(&id) = self.ring.front() {
            let Some(frame) = send(id) else {
                self.ring.pop_front();
                self.members.remove(&id);
                self.left = FRAMES_A_TURN;
                continue;
            };
            self.left -= 1;
            if self.left == 0 {
                self.ring.rotate_left(1);
                self.left = FRAMES_A_TURN;
            }
            return Some(frame);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn sent(queued: &[u32]) -> Vec<u128> {
        let mut turns = Turns::default();
        let mut left: HashMap<Uuid, u32> = HashMap::new();
        for (index, frames) in queued.iter().enumerate() {
            let id = Uuid::from_u128(index as u128);
            left.insert(id, *frames);
            turns.enter(id);
            turns.enter(id);
        }
        let mut order = Vec::new();
        while let Some(id) = turns.next(|id| {
            let frames = left.get_mut(&id)?;
            *frames = frames.checked_sub(1)?;
            Some(id.as_u128())
        }) {
            order.push(id);
        }
        order
    }

    #[test]
    fn four_frames_a_turn() {
        assert_eq!(
            sent(&[6, 1, 9]),
            [0, 0, 0, 0, 1, 2, 2, 2, 2, 0, 0, 2, 2, 2, 2, 2]
        );
    }

    proptest! {
        #[test]
        fn every_frame_is_sent_and_nobody_waits_longer_than_a_round(
            queued in prop::collection::vec(0_u32..30, 1..20),
        ) {
            let order = sent(&queued);
            prop_assert_eq!(order.len() as u32, queued.iter().sum::<u32>());
            for (index, frames) in queued.iter().enumerate().filter(|(_, frames)| **frames > 0) {
                let first = order.iter().position(|id| *id == index as u128);
                let bound = index * FRAMES_A_TURN as usize;
                prop_assert!(first.is_some_and(|at| at <= bound), "{} frames", frames);
            }
        }
    }
}
