//! The shape of a command: who owns it, what it answers, who may send it.

use crate::ids::ServiceName;
use serde::{Serialize, de::DeserializeOwned};

/// May a command whose outcome is unknown be sent again without being asked?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// A question, or a change that is the same when made twice. The client repeats it, with the
    /// same idempotency key, until its deadline.
    Safe,
    /// A peer that dies in mid-command leaves [`crate::Fault::OutcomeUnknown`] to the caller.
    Never,
}

/// A request to one service that is answered exactly once, by a reply or a [`crate::Fault`].
pub trait Command: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What a success looks like.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// The service that answers. Commands every service answers are sent with an explicit
    /// destination; their owner is the service that asks for them.
    const OWNER: ServiceName;
    /// `noun.verb`, unique over all commands.
    const NAME: &'static str;
    /// Whether the client may repeat it on its own.
    const RETRY: Retry;
    /// The services that may send it; empty means every service.
    const CALLERS: &'static [ServiceName];
}

/// Implements [`Command`]: `command!(Lock => (), Store, "lock.lock", Never, [HealthApi]);`
macro_rules! command {
    ($name:ty => $reply:ty, $owner:ident, $wire:literal, $retry:ident, [$($caller:ident),*]) => {
        impl $crate::command::Command for $name {
            type Reply = $reply;
            const OWNER: $crate::ids::ServiceName = $crate::ids::ServiceName::$owner;
            const NAME: &'static str = $wire;
            const RETRY: $crate::command::Retry = $crate::command::Retry::$retry;
            const CALLERS: &'static [$crate::ids::ServiceName] =
                &[$($crate::ids::ServiceName::$caller),*];
        }
    };
}
pub(crate) use command;
