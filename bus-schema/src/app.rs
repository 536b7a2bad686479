//! Apps: their specs, containers and endpoints. Owned by `apps`.

use crate::{
    command::command,
    event::event,
    ids::{AppName, Generation, JobId, ListenerName, UnixSeconds},
};
use serde::{Deserialize, Serialize};

/// What the owner sees of an app's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppStatus {
    Installing,
    Running,
    Stopped,
    Failed,
    Updating,
    /// A follower's healthy rest.
    Standby,
}

/// Whether remote TLS ends on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    Tcp,
    Tls,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Raw,
    Http,
    Websocket,
}

/// One listener and its ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub app: AppName,
    pub listener: ListenerName,
    pub guest_port: u16,
    /// Loopback port of the container.
    pub host_port: u16,
    /// Port on the LAN.
    pub public_port: u16,
    pub flow: Flow,
    pub protocol: Protocol,
    /// Ports the listener is reached at through the relay.
    pub remote_ports: Vec<u16>,
    #[serde(default)]
    pub middleware: Vec<Middleware>,
    /// Whether the container runs and is bound now.
    pub up: bool,
}

impl Endpoint {
    /// Does remote TLS end on the device for it, so that it needs a certificate?
    pub const fn terminates_tls(&self) -> bool {
        matches!(
            (self.flow, self.protocol),
            (Flow::Tcp, Protocol::Http | Protocol::Websocket)
        )
    }
}

/// What stands between a visitor and an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Middleware {
    RequireLogin,
    RateLimit {
        requests_per_second: u32,
        burst: u32,
    },
    Headers {
        set: Vec<(String, String)>,
        remove: Vec<String>,
    },
    Allow {
        cidrs: Vec<String>,
    },
}

/// An app as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    pub name: AppName,
    pub status: AppStatus,
    /// Why it is not running, in the owner's words.
    pub detail: Option<String>,
    pub image: String,
    /// The owner's own text.
    pub spec: String,
    /// Revision of the record, for `ETag`.
    pub revision: u64,
    pub generation: Generation,
    pub endpoints: Vec<Endpoint>,
    pub installed_at: UnixSeconds,
    pub can_revert: bool,
    /// The job that works on it now.
    pub job: Option<JobId>,
}

/// Something wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `listeners[0].guest_port`.
    pub path: String,
    pub message: String,
}

/// All apps. `Locked`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct List {}
command!(List => Vec<App>, Apps, "app.list", Safe, []);

/// Checks a spec; no problems means it installs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Validate {
    pub spec: String,
}
/// Everything that is wrong, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    pub problems: Vec<Problem>,
}
command!(Validate => Validation, Apps, "app.validate", Safe, [HealthApi]);

/// Says what an install would do, before anything is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub spec: String,
}
/// What would change, what risk grows, what leaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub changes: Vec<String>,
    pub risks: Vec<String>,
    pub leaks: Vec<String>,
}
command!(Plan => Planned, Apps, "app.plan", Safe, [HealthApi]);

/// Records the intent and starts the job; the same name updates the spec.
/// `Invalid{path}`, `Conflict` (name or host taken), `Locked`, `NotLeader`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Install {
    pub spec: String,
    pub allow_privileged: bool,
    /// Revision the owner saw, from `If-Match`.
    pub expect_revision: Option<u64>,
}
/// Recorded; completion is the job's last event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub app: AppName,
    pub job: JobId,
    /// Whether the app is new.
    pub created: bool,
}
command!(Install => Accepted, Apps, "app.install", Never, [HealthApi]);

/// What to do with an installed app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    Start,
    Stop,
    Restart,
    /// Pulls and switches to the image, or to the spec's own when `None`.
    Update {
        image: Option<String>,
    },
    Revert,
    /// Data is kept unless `purge`.
    Remove {
        purge: bool,
    },
}

/// Records the intent and starts the job. `NotFound`, `Conflict`, `Locked`, `NotLeader`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Act {
    pub app: AppName,
    pub action: Action,
}
command!(Act => Accepted, Apps, "app.act", Never, [HealthApi]);

/// The last lines an app wrote, oldest first, at most 1000.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadLogs {
    pub app: AppName,
    pub tail: u32,
    /// Only lines after this sequence number; 0 for all that are kept.
    #[serde(default)]
    pub after: u64,
}
/// One line of an app's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub sequence: u64,
    pub at: UnixSeconds,
    pub text: String,
}
command!(ReadLogs => Vec<LogLine>, Apps, "app.read-logs", Safe, [HealthApi]);

/// The snapshot router-proxy, nexus-agent and acme build on. Empty while locked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListEndpoints {}
/// Every listener of every installed app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    pub endpoints: Vec<Endpoint>,
}
command!(ListEndpoints => Endpoints, Apps, "app.list-endpoints", Safe, []);

/// Stops every container that holds a volume, and answers when they are gone. Part of locking.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StopForLock {}
command!(StopForLock => (), Apps, "app.stop-for-lock", Safe, [Store]);

/// An app's status changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppChanged {
    pub app: AppName,
    /// `None` when it was removed.
    pub status: Option<AppStatus>,
}
event!(AppChanged, AppChanged);

/// The set of endpoints, or whether one is up, changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointChanged {
    pub app: AppName,
}
event!(EndpointChanged, EndpointChanged);
