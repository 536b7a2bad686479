//! Remote access through a relay. Owned by `nexus-agent`.

use crate::{
    command::command,
    event::event,
    ids::{Hostname, UnixSeconds},
    ticket::Ticket,
};
use serde::{Deserialize, Serialize};

/// Sets up remote access; takes effect at once. `Invalid{field}` for each rule that is broken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Configure {
    /// `wss://host[:port]/connect`.
    pub endpoint: String,
    pub device_secret: Ticket,
    pub tld: String,
    pub portal_hostname: String,
    pub acme_email: Option<String>,
}
command!(Configure => (), NexusAgent, "remote.configure", Never, [HealthApi]);

/// Switches remote access off; the configuration is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disable {}
command!(Disable => (), NexusAgent, "remote.disable", Safe, [HealthApi]);

/// What is true of the tunnel right now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {}
command!(Status => RemoteStatus, NexusAgent, "remote.status", Safe, []);

/// The tunnel's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TunnelState {
    Disabled,
    Connecting {
        since: UnixSeconds,
    },
    Connected {
        since: UnixSeconds,
        /// Round-trip time of the last ping, in microseconds.
        round_trip_us: Option<u64>,
        streams: u32,
        bytes_in: u64,
        bytes_out: u64,
    },
    /// Down, with the reason in plain words and the next try.
    Error {
        since: UnixSeconds,
        next_attempt: UnixSeconds,
    },
}

/// Status of remote access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteStatus {
    pub tunnel: TunnelState,
    pub endpoint: Option<String>,
    pub portal_hostname: Option<Hostname>,
    pub tld: Option<Hostname>,
    /// The names the live session claims.
    pub hostnames: Vec<Hostname>,
    pub last_error: Option<String>,
}

/// The tunnel's state or its names changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemoteChanged {
    pub status: RemoteStatus,
}
event!(RemoteChanged, RemoteChanged);
