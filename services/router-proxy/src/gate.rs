//! Whether app routes may serve: a pure reading of the lock's states and the store's orders.
//!
//! ```text
//!   Starting ──seen──► Locked ◄──seen──► Open ──withdraw──► Withdrawn ──┐
//!                        ▲                 ▲                            │ announced unlocked, or
//!                        └──────seen───────┴────────────────────────────┘ still unlocked after a minute
//! ```
//!
//! While the store locks, its state still reads "unlocked" until volumes are gone; a withdrawal
//! therefore outweighs a state that is merely read.

use piccolo_bus_schema::lock::LockState;
use std::time::{Duration, Instant};

/// A lock that has not come to its end by then has failed, and the device is still unlocked.
const LOCKING_LIMIT: Duration = Duration::from_secs(60);

/// Whether app routes serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Openness {
    /// The store has not answered yet.
    Starting,
    Locked,
    Open,
}

/// The gate's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Starting,
    Locked,
    Open { since: Instant },
    Withdrawn { since: Instant },
}

impl Gate {
    /// The store orders routes to stop.
    pub const fn withdraw(self, now: Instant) -> Self {
        Self::Withdrawn { since: now }
    }

    /// The store announced a change.
    pub const fn announced(self, state: &LockState, now: Instant) -> Self {
        match (is_unlocked(state), self) {
            (true, Self::Open { since }) => Self::Open { since },
            (true, Self::Starting | Self::Locked | Self::Withdrawn { .. }) => {
                Self::Open { since: now }
            }
            (false, _) => Self::Locked,
        }
    }

    /// The state was read.
    pub fn seen(self, state: &LockState, now: Instant) -> Self {
        match self {
            Self::Withdrawn { since }
                if is_unlocked(state) && now.duration_since(since) < LOCKING_LIMIT =>
            {
                self
            }
            Self::Starting | Self::Locked | Self::Open { .. } | Self::Withdrawn { .. } => {
                self.announced(state, now)
            }
        }
    }

    /// What it means for routes.
    pub const fn openness(self) -> Openness {
        match self {
            Self::Starting => Openness::Starting,
            Self::Locked | Self::Withdrawn { .. } => Openness::Locked,
            Self::Open { .. } => Openness::Open,
        }
    }
}

const fn is_unlocked(state: &LockState) -> bool {
    match state {
        LockState::Unlocked => true,
        LockState::Setup | LockState::Locked | LockState::Preunlock | LockState::Fault(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_state_read_while_locking_does_not_open_again() {
        let now = Instant::now();
        let gate = Gate::Starting.seen(&LockState::Unlocked, now);
        assert_eq!(gate.openness(), Openness::Open);
        let gate = gate.withdraw(now).seen(&LockState::Unlocked, now);
        assert_eq!(gate.openness(), Openness::Locked);
        let gate = gate
            .seen(&LockState::Locked, now)
            .seen(&LockState::Unlocked, now);
        assert_eq!(gate.openness(), Openness::Open);
    }

    #[test]
    fn a_lock_that_failed_opens_again() {
        let now = Instant::now();
        let gate = Gate::Open { since: now }.withdraw(now);
        let announced = gate.announced(&LockState::Unlocked, now);
        assert_eq!(announced.openness(), Openness::Open);
        let later = gate.seen(&LockState::Unlocked, now + LOCKING_LIMIT);
        assert_eq!(later.openness(), Openness::Open);
    }

    proptest! {
        #[test]
        fn only_unlocked_opens(states in proptest::collection::vec(0_u8..5, 0..20)) {
            let now = Instant::now();
            let mut gate = Gate::Starting;
            for state in states {
                let state = match state {
                    0 => LockState::Setup,
                    1 => LockState::Locked,
                    2 => LockState::Preunlock,
                    3 => LockState::Unlocked,
                    _ => { gate = gate.withdraw(now); continue }
                };
                let before = gate;
                gate = gate.seen(&state, now);
                if gate.openness() == Openness::Open {
                    prop_assert_eq!(&state, &LockState::Unlocked);
                    prop_assert!(!matches!(before, Gate::Withdrawn { .. }), "withdrawn");
                }
            }
        }
    }
}
