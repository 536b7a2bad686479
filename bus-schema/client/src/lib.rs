//! How the words of [`piccolo_bus_schema`] travel: ZeroMQ behind a wall.
//!
//! ```text
//!            call::<C>()                       DEALER ─────────► ROUTER            on::<C>(handler)
//!   Bus ───► caller.rs  (one owner task per destination)      server.rs ───► handlers.rs
//!            subscribe::<E>()                     SUB ◄───────── PUB               publish(&E)
//!            subscription.rs                                  publisher.rs
//!            claim_secret()            plain Unix socket, memfd  secrets.rs        offer_secret()
//! ```
//!
//! No ZeroMQ type appears in the public interface. [`memory::MemoryBus`] is the in-memory twin for
//! tests: the same handlers and the same codec, no sockets.
//!
//! A peer may die at any moment: links are rebuilt with back-off, questions are asked again until
//! their deadline, and a change whose outcome can't be known says so
//! ([`Fault::OutcomeUnknown`](piccolo_bus_schema::Fault::OutcomeUnknown)).

#![forbid(unsafe_code)]

mod backoff;
mod bus;
mod caller;
mod clock;
mod door;
mod handlers;
pub mod memory;
mod publisher;
mod secrets;
mod server;
mod subscription;

pub use bus::{Bus, CallOptions};
pub use handlers::{CallContext, Handlers};
pub use server::{BoundServer, ServeError};
pub use subscription::{Signal, Subscription};
