//! Who leads what. Owned by `store`, which enforces it inside each commit.

use crate::{command::command, event::event, ids::AppName};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Something that has a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Resource {
    /// The control plane.
    Kernel,
    App(AppName),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("kernel"),
            Self::App(name) => write!(f, "app:{name}"),
        }
    }
}

impl FromStr for Resource {
    type Err = InvalidResource;

    fn from_str(text: &str) -> Result<Self, InvalidResource> {
        if text == "kernel" {
            return Ok(Self::Kernel);
        }
        text.strip_prefix("app:")
            .and_then(|name| AppName::new(name).ok())
            .map(Self::App)
            .ok_or(InvalidResource)
    }
}

impl TryFrom<String> for Resource {
    type Error = InvalidResource;

    fn try_from(text: String) -> Result<Self, InvalidResource> {
        text.parse()
    }
}

impl From<Resource> for String {
    fn from(resource: Resource) -> Self {
        resource.to_string()
    }
}

/// Not the name of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resource is `kernel` or `app:<name>`")]
pub struct InvalidResource;

/// This node's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Role {
    Leader,
    Follower {
        /// Address of the leader, when it is known.
        leader: Option<String>,
    },
}

impl Role {
    /// Is this node the leader?
    pub const fn is_leader(&self) -> bool {
        match self {
            Self::Leader => true,
            Self::Follower { .. } => false,
        }
    }
}

/// A resource, this node's part in it, and the epoch of that decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leadership {
    pub resource: Resource,
    pub role: Role,
    pub epoch: u64,
}

/// All roles that differ from "leader at epoch 1", and `kernel` always. A resource not listed is led here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Show {}
command!(Show => Vec<Leadership>, Store, "leadership.show", Safe, []);

/// Sets a role by hand; `Conflict` unless `cluster.provider` is `simulated`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Simulate {
    pub resource: Resource,
    pub role: Role,
}
command!(Simulate => Leadership, Store, "leadership.simulate", Never, [HealthApi]);

/// A role changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeadershipChanged {
    pub leadership: Leadership,
}
event!(LeadershipChanged, LeadershipChanged);
