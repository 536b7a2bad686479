//! What makes a process one of ours: environment, logging, descriptors, readiness, health board,
//! signals and shutdown. No domain nouns.
//!
//! ```text
//!   piccolod ──env, LISTEN_FDS, NOTIFY_SOCKET, stdin (lease pipe)──► process::run
//!                                                                       │ Process { environment, bus,
//!                                                                       │   board, descriptors, shutdown }
//!   service's run(config, process) ── serve::serve(process, handlers) ──► READY=1, WATCHDOG=1
//! ```
//!
//! Entry test of this crate: it is about being a process, has no domain noun, and three services
//! need it.

#![forbid(unsafe_code)]

pub mod board;
pub mod clock;
pub mod descriptors;
pub mod environment;
mod hardening;
mod logging;
pub mod process;
pub mod serve;
pub mod shutdown;

pub use board::Board;
pub use descriptors::Descriptors;
pub use environment::{Environment, InvalidSetting};
pub use process::{Exit, Process, Threads, run};
pub use serve::serve;
pub use shutdown::Shutdown;
