//! How many connections are open at once. A seat is held for the life of a connection.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All connections of the edge: 16 KiB of buffers each way make this 128 MiB at worst.
pub(crate) const EVERYWHERE: usize = 4096;
/// One listener can't take all of it from the others.
const EACH: usize = 1024;

/// The edge's limit.
#[derive(Debug)]
pub(crate) struct Admission {
    everywhere: Arc<Semaphore>,
}

/// One listener's limit within it.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    everywhere: Arc<Semaphore>,
    here: Arc<Semaphore>,
}

/// The right to a connection.
#[derive(Debug)]
pub(crate) struct Seat {
    _everywhere: OwnedSemaphorePermit,
    _here: OwnedSemaphorePermit,
}

impl Admission {
    /// Nobody is in.
    pub(crate) fn new() -> Self {
        Self {
            everywhere: Arc::new(Semaphore::new(EVERYWHERE)),
        }
    }

    /// The way in for one listener.
    pub(crate) fn entrance(&self) -> Entrance {
        Entrance {
            everywhere: Arc::clone(&self.everywhere),
            here: Arc::new(Semaphore::new(EACH)),
        }
    }

    /// Connections open now.
    pub(crate) fn taken(&self) -> usize {
        EVERYWHERE - self.everywhere.available_permits()
    }
}

impl Entrance {
    /// A seat, if there is one now.
    pub(crate) fn enter(&self) -> Option<Arc<Seat>> {
        let here = Arc::clone(&self.here).try_acquire_owned().ok()?;
        let everywhere = Arc::clone(&self.everywhere).try_acquire_owned().ok()?;
        Some(Arc::new(Seat {
            _everywhere: everywhere,
            _here: here,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_listener_leaves_room_for_the_others() {
        let admission = Admission::new();
        let crowded = admission.entrance();
        let seats: Vec<_> = std::iter::from_fn(|| crowded.enter()).collect();
        assert_eq!(seats.len(), EACH);
        let other = admission.entrance();
        assert!(other.enter().is_some());
        assert_eq!(admission.taken(), EACH);
        drop(seats);
        assert_eq!(admission.taken(), 0);
    }
}
