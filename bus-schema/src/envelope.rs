//! What surrounds every message.

use crate::{fault::Fault, ids::ServiceName};
use serde::{Deserialize, Serialize};

/// The protocol version a peer must speak. A higher one is refused with words.
pub const VERSION: u16 = 1;

/// Largest payload of one message, in bytes.
pub const PAYLOAD_LIMIT: usize = 1 << 20;

/// W3C trace context (https://www.w3.org/TR/trace-context/), carried through every hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Trace {
    /// Identifies the whole chain of work; zero when nobody traces.
    pub trace_id: u128,
    /// Identifies the caller's part of it.
    pub span_id: u64,
}

/// A command on its way to its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub version: u16,
    /// Pairs the reply with its request, unique per connection.
    pub correlation: u64,
    /// The same for every repetition of one intent: 128 random bits.
    #[serde(with = "serde_bytes")]
    pub idempotency_key: [u8; 16],
    /// Absolute CLOCK_BOOTTIME nanoseconds. The receiver does not act after it.
    pub deadline: u64,
    pub sender: ServiceName,
    /// Start epoch of the sender's process.
    pub sender_epoch: u64,
    pub trace: Trace,
    /// [`crate::Command::NAME`].
    pub command: String,
    /// The command itself, MessagePack.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub version: u16,
    pub correlation: u64,
    /// Start epoch of the answering process.
    pub epoch: u64,
    pub outcome: Outcome,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The reply, MessagePack.
    Done(#[serde(with = "serde_bytes")] Vec<u8>),
    Failed(Fault),
}

/// An event on its way to its subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub version: u16,
    pub sender: ServiceName,
    /// Start epoch of the publishing process: a new one means "take a new snapshot".
    pub epoch: u64,
    /// Grows by one with each event of this publisher on this topic; a gap means events were lost.
    pub sequence: u64,
    pub trace: Trace,
    /// The event itself, MessagePack.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}
