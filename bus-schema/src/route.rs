//! The edge's routes and ACME challenges. Owned by `router-proxy`.

use crate::{
    command::command,
    event::event,
    ids::{AppName, Hostname, ListenerName},
};
use serde::{Deserialize, Serialize};

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Mode {
    Local,
    /// Another node serves it; here it is answered 503 with that node's address.
    Tunnel {
        leader: Option<String>,
    },
}

/// Who a route is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "target", rename_all = "snake_case")]
pub enum Target {
    Portal,
    Listener {
        app: AppName,
        listener: ListenerName,
    },
}

/// One route as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub target: Target,
    pub mode: Mode,
    /// Its name from outside, when remote access is on.
    pub hostname: Option<Hostname>,
    /// Its port on the LAN, once it is bound.
    pub public_port: Option<u16>,
    /// SHA-256 of the certificate shown to remote visitors, hexadecimal; `None` without one.
    pub certificate: Option<String>,
}

/// All routes of the current snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct List {}
/// The snapshot and the edge's own LAN certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    pub routes: Vec<Route>,
    /// SHA-256 of the device-made LAN certificate, hexadecimal.
    pub lan_fingerprint: String,
    /// Addresses the portal listens on.
    pub portal_http: String,
    pub portal_https: String,
}
command!(List => Routes, RouterProxy, "route.list", Safe, []);

/// Serves a key authorization at `/.well-known/acme-challenge/<token>` of a host on remote port 80
/// (RFC 8555 section 8.3), until removed or an hour has passed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishChallenge {
    pub host: Hostname,
    pub token: String,
    pub key_authorization: String,
}
command!(PublishChallenge => (), RouterProxy, "route.publish-challenge", Safe, [Acme]);

/// Stops serving it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemoveChallenge {
    pub host: Hostname,
    pub token: String,
}
command!(RemoveChallenge => (), RouterProxy, "route.remove-challenge", Safe, [Acme]);

/// Drops every app route and every key that is not in the boot set. Part of locking.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Withdraw {}
command!(Withdraw => (), RouterProxy, "route.withdraw", Safe, [Store]);

/// A new snapshot serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteChanged {
    pub routes: u32,
}
event!(RouteChanged, RouteChanged);
