//! What is said on piccolod's control socket: one JSON object per line, a [`Request`] answered by
//! one or more [`Response`]s. Not part of the bus: the supervisor parses no peer's bytes there.

use serde::{Deserialize, Serialize};

/// Largest line of the control protocol, in bytes.
pub const LINE_LIMIT: usize = 1 << 16;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Answered by [`Response::Status`].
    Status,
    /// [`Response::Status`] now and after every change, until the connection closes.
    Watch,
    Start {
        unit: String,
    },
    Stop {
        unit: String,
    },
    Restart {
        unit: String,
    },
    /// The last lines of a unit's log as [`Response::Log`], oldest first; with `follow` new ones as
    /// they come, otherwise closed by [`Response::Done`].
    Logs {
        unit: String,
        tail: u32,
        follow: bool,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    Status(Status),
    Log {
        unit: String,
        line: String,
    },
    Done,
    /// Refused or failed, in words.
    Failed {
        why: String,
    },
}

/// The supervisor and its units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// Seconds since piccolod started.
    pub uptime: u64,
    pub pid: u32,
    /// `separate` or `shared`.
    pub privileges: String,
    pub units: Vec<Unit>,
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    pub name: String,
    pub state: UnitState,
    /// Seconds in this state.
    pub for_seconds: u64,
    pub pid: Option<u32>,
    /// Starts after the first one.
    pub restarts: u32,
    /// Resident memory in bytes.
    pub memory: Option<u64>,
    /// How the last run ended, e.g. `signal 9`.
    pub last_exit: Option<String>,
    /// The unit's own words, from `STATUS=`.
    pub status_text: Option<String>,
    /// The last log lines, when it failed.
    #[serde(default)]
    pub last_lines: Vec<String>,
}

/// Where a unit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    Stopped,
    /// Waits for the units it starts after.
    Waiting,
    Starting,
    Ready,
    Stopping,
    /// Died; the next start waits for its back-off.
    BackOff,
    /// Died too often: keeps trying, slowly.
    Degraded,
    /// Its configuration is wrong (exit 78): not started until that changes.
    Misconfigured,
}
