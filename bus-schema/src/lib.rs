//! What is said on the bus: every command, reply, event and fault, as types.
//!
//! No I/O and no runtime live here; [`piccolo-bus-client`](../piccolo_bus_client) says *how* the
//! words travel. Two services that share an idea share a message of this crate, or one of them owns
//! the idea and answers questions about it.
//!
//! ```text
//!   command.rs   trait Command { type Reply; OWNER; NAME; RETRY; CALLERS }     event.rs  trait Event
//!        │                                                                        │
//!        └───────────────► envelope.rs ◄── fault.rs                               │
//!   one module per owner:  lock  session  control  local  volume  leadership   (store)
//!                          host · app · route · remote · certificate · health
//!   beside the bus:        supervisor.rs  (piccolod's control socket)   endpoint.rs (socket paths)
//! ```
//!
//! Rules: MessagePack with field names; additive change only (a new field has a default); secrets
//! never enter a frame, a [`ticket::Ticket`] names where to fetch them once.

#![forbid(unsafe_code)]

pub mod app;
pub mod certificate;
pub mod codec;
pub mod command;
pub mod control;
pub mod endpoint;
pub mod envelope;
pub mod event;
pub mod fault;
pub mod health;
pub mod host;
pub mod ids;
pub mod job;
pub mod leadership;
pub mod local;
pub mod lock;
pub mod registry;
pub mod remote;
pub mod route;
pub mod session;
pub mod supervisor;
pub mod ticket;
pub mod volume;

pub use command::{Command, Retry};
pub use event::{Event, Topic};
pub use fault::Fault;
pub use ids::ServiceName;
