//! piccoloctl, a thin client of two sockets: piccolod's control socket for units and their logs,
//! and health-api's HTTP for everything else. Root on the device is the operator there; with
//! `--url` and a token it speaks HTTPS to a device elsewhere.
//!
//! ```text
//!   arguments ──► commands ──► http ──► portal.sock | https://device/api/v1
//!                     │    └─► control ──► control.sock
//!                     └──► screen: tables for people, the API's own JSON with --json
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod control;
mod failure;
mod http;
mod job;
mod secret;
mod status;
mod table;
mod view;

pub use arguments::Arguments;
pub use commands::run;
pub use failure::Failure;
pub use table::Screen;
