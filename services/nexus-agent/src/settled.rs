//! Flows that are over on our side: what still arrives for them is no surprise.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Ids remembered. An id pushed out merely costs one more `disconnect`.
const REMEMBERED: usize = 4096;
/// Answers to unknown ids at once.
const BURST: u32 = 32;
/// Then one more each this long.
const REFILL: Duration = Duration::from_millis(100);

/// A bounded memory of ended flows, and the rate at which unknown ones are answered.
#[derive(Debug)]
pub(crate) struct Settled {
    order: VecDeque<Uuid>,
    members: HashSet<Uuid>,
    answers: u32,
    refilled: Instant,
}

impl Settled {
    /// Remembers nothing.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            order: VecDeque::new(),
            members: HashSet::new(),
            answers: BURST,
            refilled: now,
        }
    }

    /// Remembers a flow that is over.
    pub(crate) fn insert(&mut self, id: Uuid) {
        if self.members.insert(id) {
            self.order.push_back(id);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.members.remove(&oldest);
            }
        }
    }

    /// Should the relay be told that we don't know this flow? At most once an id, and not too
    /// often in all; a flow that ended here is no stranger.
    pub(crate) fn answer_unknown(&mut self, id: Uuid, now: Instant) -> bool {
        if self.members.contains(&id) {
            return false;
        }
        let earned = now.saturating_duration_since(self.refilled).as_millis() / REFILL.as_millis();
        if let Ok(earned) = u32::try_from(earned)
            && earned > 0
        {
            self.answers = self.answers.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        if self.answers == 0 {
            return false;
        }
        self.answers -= 1;
        self.insert(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Uuid {
        Uuid::from_u128(number as u128)
    }

    #[test]
    fn a_stranger_is_answered_once_and_a_flood_slowly() {
        let now = Instant::now();
        let mut settled = Settled::new(now);
        assert!(settled.answer_unknown(id(0), now));
        assert!(!settled.answer_unknown(id(0), now));
        let answered = (1..1000)
            .filter(|n| settled.answer_unknown(id(*n), now))
            .count();
        assert_eq!(answered, 31);
        let later = now + REFILL * 3;
        let answered = (1000..2000)
            .filter(|n| settled.answer_unknown(id(*n), later))
            .count();
        assert_eq!(answered, 3);
    }

    #[test]
    fn a_flow_that_ended_here_is_no_stranger_and_memory_is_bounded() {
        let now = Instant::now();
        let mut settled = Settled::new(now);
        for number in 0..10_000 {
            settled.insert(id(number));
        }
        assert!(!settled.answer_unknown(id(9_999), now));
        assert!(settled.answer_unknown(id(0), now));
        assert_eq!(settled.order.len(), REMEMBERED);
        assert_eq!(settled.members.len(), REMEMBERED);
    }
}
