//! Room for all connections: a visitor takes one descriptor and its app another.

use crate::admission;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Listeners, the bus, kept connections.
const OTHERS: u64 = 2048;

/// Raises the soft limit as far as the hard one allows.
pub(crate) fn raise() {
    let needed = 2 * admission::EVERYWHERE as u64 + OTHERS;
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft >= needed => {}
        Ok((_, hard)) => {
            let limit = needed.min(hard);
            if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, limit, hard) {
                tracing::warn!(%error, limit, "descriptor limit can't be raised");
            } else if limit < needed {
                tracing::warn!(limit, needed, "too few descriptors for a full house");
            }
        }
        Err(error) => tracing::warn!(%error, "descriptor limit can't be read"),
    }
}
