//! How each component is. Every service answers [`Report`]; health-api adds them up.

use crate::{command::command, event::event, ids::UnixSeconds};
use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    Warn,
    Error,
}

/// One component's own word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// `store`, `apps`, `engine`, `fuse`.
    pub name: String,
    pub level: Level,
    /// One sentence for the owner; at `warn` and `error` it ends with the next step.
    pub message: String,
    /// `leader` or `follower`, where the component has a role.
    #[serde(default)]
    pub role: Option<String>,
    /// When it came to this level.
    pub since: UnixSeconds,
    /// Facts for engineers, e.g. `engine_version` → `20.10.24`.
    #[serde(default)]
    pub details: Vec<(String, String)>,
}

/// Asks a service how it and its parts are. The first component is the service itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {}
command!(Report => Vec<Component>, HealthApi, "health.report", Safe, [HealthApi]);

/// The device's readiness as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    Ready,
    Locked,
    Setup,
    Starting,
    Fault,
}

/// The aggregate changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HealthChanged {
    pub readiness: Readiness,
}
event!(HealthChanged, HealthChanged);
