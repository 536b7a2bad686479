//! The route table: an immutable snapshot, built from facts by a pure function and swapped whole.
//!
//! ```text
//!   remote visitor, name ──► names ──┐
//!   claimed relay port ────► claims ─┼──► Listener { availability, chain, host_port }
//!   LAN port ──────────────► ports ──┘
//! ```
//!
//! Each lookup asks by the key the visitor used, and only by it: a name never falls back to
//! another app, and neither does a port.

use crate::{certificate::Shown, gate::Openness, middleware::Chain, refusal::Refusal};
use piccolo_bus_schema::{
    app::Endpoint,
    control::RemoteRecord,
    ids::{AppName, Hostname, ListenerName},
    leadership::{Leadership, Resource, Role},
    route::{Mode, Route, Target},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// What the relay's HTTP and TLS ports are; every other claimed port may be a raw listener's.
const WEB_PORTS: [u16; 2] = [80, 443];

/// Everything a table is built from.
pub struct Facts<'a> {
    pub openness: Openness,
    pub endpoints: &'a [Endpoint],
    pub remote: Option<&'a RemoteRecord>,
    pub roles: &'a [Leadership],
    pub certificates: &'a BTreeMap<Hostname, Arc<Shown>>,
    /// Ends when the device locks: app streams end with it.
    pub period: CancellationToken,
}

/// A snapshot of all routes.
#[derive(Debug)]
pub struct Table {
    pub openness: Openness,
    /// Ends when the device locks.
    pub period: CancellationToken,
    portal_hostname: Option<Hostname>,
    listeners: Vec<Arc<Listener>>,
    names: HashMap<Hostname, Arc<Listener>>,
    claims: HashMap<u16, Arc<Listener>>,
    ports: BTreeMap<u16, Arc<Listener>>,
    certificates: BTreeMap<Hostname, Arc<Shown>>,
}

/// How bytes are carried to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    Http,
    /// Untouched.
    Bytes,
}

/// Whether an app can be reached now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    Serving,
    Stopped,
    Locked,
    Starting,
    Tunnel { leader: Option<String> },
}

/// One listener of an app.
#[derive(Clone, Debug)]
pub struct Listener {
    pub app: AppName,
    pub name: ListenerName,
    pub carriage: Carriage,
    /// Loopback port of the container.
    pub host_port: u16,
    pub public_port: u16,
    pub availability: Availability,
    pub chain: Chain,
    remote_ports: Vec<u16>,
    hostname: Option<Hostname>,
}

impl Listener {
    /// Is this one of the ports it is reached at through the relay?
    fn answers_at(&self, relay_port: u16, tls: bool) -> bool {
        let meant = match relay_port {
            80 | 443 => relay_port,
            _ if tls => 443,
            _ => 80,
        };
        self.remote_ports.contains(&relay_port) || self.remote_ports.contains(&meant)
    }

    /// May a visitor be passed on to the app at all?
    pub fn available(&self) -> Result<(), Refusal> {
        match &self.availability {
            Availability::Serving => Ok(()),
            Availability::Locked => Err(Refusal::Locked),
            Availability::Starting => Err(Refusal::Starting),
            Availability::Stopped => Err(Refusal::Stopped {
                app: self.app.to_string(),
            }),
            Availability::Tunnel { leader } => Err(Refusal::Tunnel {
                app: self.app.to_string(),
                leader: leader.clone(),
            }),
        }
    }
}

/// What a name from outside leads to.
#[derive(Clone, Debug)]
pub enum Site {
    Portal,
    Listener(Arc<Listener>),
}

impl Table {
    /// Before anything is known.
    pub fn empty() -> Self {
        let facts = Facts {
            openness: Openness::Starting,
            endpoints: &[],
            remote: None,
            roles: &[],
            certificates: &BTreeMap::new(),
            period: CancellationToken::new(),
        };
        Self::build(&facts, None)
    }

    /// Builds a snapshot; rate limits in progress are taken over from `previous`.
    pub fn build(facts: &Facts<'_>, previous: Option<&Self>) -> Self {
        let remote = facts.remote.filter(|remote| remote.enabled);
        let listeners: Vec<Arc<Listener>> = facts
            .endpoints
            .iter()
            .map(|endpoint| Arc::new(listener(endpoint, facts, remote, previous)))
            .collect();
        let open = facts.openness == Openness::Open;
        let reachable = || listeners.iter().filter(|_| open);
        let names = reachable().filter_map(|listener| Some((listener.hostname.clone()?, listener)));
        let claims = reachable()
            .filter(|_| remote.is_some())
            .filter(|listener| listener.carriage == Carriage::Bytes)
            .flat_map(|listener| {
                listener
                    .remote_ports
                    .iter()
                    .map(move |port| (*port, listener))
            })
            .filter(|(port, _)| !WEB_PORTS.contains(port));
        let ports = listeners
            .iter()
            .map(|listener| (listener.public_port, listener));
        Self {
            openness: facts.openness,
            period: facts.period.clone(),
            portal_hostname: remote.map(|remote| remote.portal_hostname.clone()),
            names: unambiguous(names).collect(),
            claims: unambiguous(claims).collect(),
            ports: unambiguous(ports).collect(),
            certificates: facts.certificates.clone(),
            listeners,
        }
    }

    /// What a name leads to on a port of the relay. A relay may do its web business on other numbers
    /// than 80 and 443 (behind a forwarding router, on a developer's machine): what was spoken there
    /// tells which of the two is meant.
    pub fn by_name(&self, name: &Hostname, relay_port: u16, tls: bool) -> Option<Site> {
        if self.portal_hostname.as_ref() == Some(name) {
            return Some(Site::Portal);
        }
        self.names
            .get(name)
            .filter(|listener| listener.answers_at(relay_port, tls))
            .map(|listener| Site::Listener(Arc::clone(listener)))
    }

    /// The raw listener that claims a port of the relay for itself.
    pub fn by_claim(&self, relay_port: u16) -> Option<&Arc<Listener>> {
        self.claims.get(&relay_port)
    }

    /// The listener of a port on the LAN.
    pub fn by_port(&self, public_port: u16) -> Option<&Arc<Listener>> {
        self.ports.get(&public_port)
    }

    /// Ports on the LAN that should be bound.
    pub fn public_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.keys().copied()
    }

    /// The real certificate for a name.
    pub fn certificate(&self, name: &Hostname) -> Option<&Arc<Shown>> {
        self.certificates.get(name)
    }

    /// The portal's name from outside.
    pub const fn portal_hostname(&self) -> Option<&Hostname> {
        self.portal_hostname.as_ref()
    }

    /// The snapshot for whoever asks: the portal first, then every listener in order.
    pub fn list(&self, portal_port: Option<u16>, is_bound: impl Fn(u16) -> bool) -> Vec<Route> {
        let shown = |name: &Hostname| Some(self.certificates.get(name)?.fingerprint.clone());
        let portal = Route {
            target: Target::Portal,
            mode: Mode::Local,
            hostname: self.portal_hostname.clone(),
            public_port: portal_port,
            certificate: self.portal_hostname.as_ref().and_then(shown),
        };
        let listeners = self.listeners.iter().map(|listener| Route {
            target: Target::Listener {
                app: listener.app.clone(),
                listener: listener.name.clone(),
            },
            mode: match &listener.availability {
                Availability::Tunnel { leader } => Mode::Tunnel {
                    leader: leader.clone(),
                },
                Availability::Serving
                | Availability::Stopped
                | Availability::Locked
                | Availability::Starting => Mode::Local,
            },
            hostname: listener.hostname.clone(),
            public_port: Some(listener.public_port).filter(|port| is_bound(*port)),
            certificate: listener.hostname.as_ref().and_then(shown),
        });
        std::iter::once(portal).chain(listeners).collect()
    }
}

fn listener(
    endpoint: &Endpoint,
    facts: &Facts<'_>,
    remote: Option<&RemoteRecord>,
    previous: Option<&Table>,
) -> Listener {
    let before = previous.and_then(|table| table.by_port(endpoint.public_port));
    let before = before.filter(|listener| listener.name == endpoint.listener);
    let carriage = if endpoint.terminates_tls() {
        Carriage::Http
    } else {
        Carriage::Bytes
    };
    Listener {
        app: endpoint.app.clone(),
        name: endpoint.listener.clone(),
        carriage,
        host_port: endpoint.host_port,
        public_port: endpoint.public_port,
        availability: availability(endpoint, facts),
        chain: Chain::compile(&endpoint.middleware, before.map(|listener| &listener.chain)),
        remote_ports: endpoint.remote_ports.clone(),
        hostname: remote.and_then(|remote| hostname(&endpoint.listener, remote)),
    }
}

/// The name of a listener from outside; none when it would be the portal's.
pub fn hostname(listener: &ListenerName, remote: &RemoteRecord) -> Option<Hostname> {
    Hostname::new(format!("{listener}.{}", remote.tld))
        .ok()
        .filter(|name| *name != remote.portal_hostname)
}

/// The names that need a certificate: the portal's, and each listener's whose TLS ends here.
pub fn certified_names(remote: &RemoteRecord, endpoints: &[Endpoint]) -> Vec<Hostname> {
    let listeners = endpoints
        .iter()
        .filter(|endpoint| endpoint.terminates_tls())
        .filter_map(|endpoint| hostname(&endpoint.listener, remote));
    std::iter::once(remote.portal_hostname.clone())
        .chain(listeners)
        .collect()
}

fn availability(endpoint: &Endpoint, facts: &Facts<'_>) -> Availability {
    match facts.openness {
        Openness::Locked => return Availability::Locked,
        Openness::Starting => return Availability::Starting,
        Openness::Open => {}
    }
    let resource = Resource::App(endpoint.app.clone());
    let role = facts.roles.iter().find(|role| role.resource == resource);
    match role.map(|leadership| &leadership.role) {
        Some(Role::Follower { leader }) => Availability::Tunnel {
            leader: leader.clone(),
        },
        Some(Role::Leader) | None if endpoint.up => Availability::Serving,
        Some(Role::Leader) | None => Availability::Stopped,
    }
}

/// Keys that two listeners claim belong to neither: a random winner is worse than none.
fn unambiguous<'a, K: Eq + std::hash::Hash>(
    claims: impl Iterator<Item = (K, &'a Arc<Listener>)>,
) -> impl Iterator<Item = (K, Arc<Listener>)> {
    let mut owners: HashMap<K, Option<Arc<Listener>>> = HashMap::new();
    for (key, listener) in claims {
        owners
            .entry(key)
            .and_modify(|owner| *owner = None)
            .or_insert_with(|| Some(Arc::clone(listener)));
    }
    owners
        .into_iter()
        .filter_map(|(key, owner)| Some((key, owner?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use piccolo_bus_schema::app::{Flow, Protocol};
    use proptest::prelude::*;

    fn name(text: &str) -> Hostname {
        Hostname::new(text).expect("a name")
    }

    fn remote() -> RemoteRecord {
        RemoteRecord {
            enabled: true,
            endpoint: "wss://relay.example:8443/connect".to_owned(),
            tld: name("example.com"),
            portal_hostname: name("portal.example.com"),
            acme_email: None,
        }
    }

    fn endpoint(listener: &str, public_port: u16) -> Endpoint {
        Endpoint {
            app: AppName::new("demo").expect("a name"),
            listener: ListenerName::new(listener).expect("a name"),
            guest_port: 80,
            host_port: 15_000,
            public_port,
            flow: Flow::Tcp,
            protocol: Protocol::Http,
            remote_ports: vec![80, 443],
            middleware: vec![],
            up: true,
        }
    }

    fn raw(listener: &str, public_port: u16, remote_port: u16) -> Endpoint {
        Endpoint {
            protocol: Protocol::Raw,
            remote_ports: vec![remote_port],
            ..endpoint(listener, public_port)
        }
    }

    fn build(openness: Openness, endpoints: &[Endpoint], roles: &[Leadership]) -> Table {
        let remote = remote();
        let facts = Facts {
            openness,
            endpoints,
            remote: Some(&remote),
            roles,
            certificates: &BTreeMap::new(),
            period: CancellationToken::new(),
        };
        Table::build(&facts, None)
    }

    fn listener_of(site: Option<Site>) -> Option<String> {
        match site? {
            Site::Portal => Some("portal".to_owned()),
            Site::Listener(listener) => Some(listener.name.to_string()),
        }
    }

    #[test]
    fn a_name_leads_to_its_own_listener_and_to_no_other() {
        let table = build(Openness::Open, &[endpoint("web", 35_000)], &[]);
        let at = |host: &str, port| listener_of(table.by_name(&name(host), port, port == 443));
        assert_eq!(at("web.example.com", 443).as_deref(), Some("web"));
        assert_eq!(at("portal.example.com", 443).as_deref(), Some("portal"));
        let elsewhere = listener_of(table.by_name(&name("web.example.com"), 8443, true));
        assert_eq!(
            elsewhere.as_deref(),
            Some("web"),
            "a relay on other numbers"
        );
        assert_eq!(at("other.example.com", 443), None);
        assert_eq!(at("example.com", 443), None);
    }

    #[test]
    fn a_listener_cannot_take_the_portals_name() {
        let table = build(Openness::Open, &[endpoint("portal", 35_000)], &[]);
        let site = table.by_name(&name("portal.example.com"), 443, true);
        assert_eq!(listener_of(site).as_deref(), Some("portal"));
        assert!(table.list(None, |_| true)[1].hostname.is_none());
    }

    #[test]
    fn what_two_listeners_claim_belongs_to_neither() {
        let endpoints = [
            raw("a", 35_000, 5432),
            raw("b", 35_000, 5432),
            raw("c", 35_001, 22),
        ];
        let table = build(Openness::Open, &endpoints, &[]);
        assert!(table.by_claim(5432).is_none());
        assert!(table.by_port(35_000).is_none());
        assert_eq!(table.by_claim(22).expect("c").name.as_str(), "c");
    }

    #[test]
    fn a_locked_table_keeps_ports_and_the_portal_but_no_app_names() {
        let table = build(
            Openness::Locked,
            &[endpoint("web", 35_000), raw("db", 35_001, 5432)],
            &[],
        );
        assert_eq!(table.public_ports().collect::<Vec<_>>(), [35_000, 35_001]);
        let listener = table.by_port(35_000).expect("bound");
        assert_eq!(listener.available(), Err(Refusal::Locked));
        assert!(table.by_name(&name("web.example.com"), 443, true).is_none());
        assert!(table.by_claim(5432).is_none());
        assert!(
            table
                .by_name(&name("portal.example.com"), 443, true)
                .is_some()
        );
    }

    #[test]
    fn a_followers_app_is_never_served_here() {
        let role = Leadership {
            resource: Resource::App(AppName::new("demo").expect("a name")),
            role: Role::Follower {
                leader: Some("https://b.local".to_owned()),
            },
            epoch: 2,
        };
        let table = build(Openness::Open, &[endpoint("web", 35_000)], &[role]);
        let listener = table.by_port(35_000).expect("bound");
        assert!(matches!(listener.available(), Err(Refusal::Tunnel { .. })));
        let mode = table.list(None, |_| true)[1].mode.clone();
        assert_eq!(
            mode,
            Mode::Tunnel {
                leader: Some("https://b.local".to_owned())
            }
        );
    }

    #[test]
    fn only_listeners_whose_tls_ends_here_need_a_certificate() {
        let mut own_tls = endpoint("vault", 35_001);
        own_tls.flow = Flow::Tls;
        let endpoints = [endpoint("web", 35_000), own_tls, raw("db", 35_002, 5432)];
        let names = certified_names(&remote(), &endpoints);
        assert_eq!(names, [name("portal.example.com"), name("web.example.com")]);
    }

    proptest! {
        #[test]
        fn every_lookup_finds_the_listener_that_was_asked_for(
            listeners in proptest::collection::vec(("[a-c]", 1_u16..6, any::<bool>()), 0..8),
            open: bool,
        ) {
            let endpoints: Vec<Endpoint> = listeners
                .iter()
                .map(|(name, port, up)| Endpoint { up: *up, ..endpoint(name, *port) })
                .collect();
            let openness = if open { Openness::Open } else { Openness::Locked };
            let table = build(openness, &endpoints, &[]);
            for port in table.public_ports() {
                prop_assert_eq!(table.by_port(port).expect("bound").public_port, port);
                prop_assert_eq!(endpoints.iter().filter(|e| e.public_port == port).count(), 1);
            }
            for label in ["a", "b", "c"] {
                let host = name(&format!("{label}.example.com"));
                let claimed = endpoints.iter().filter(|e| e.listener.as_str() == label).count();
                match table.by_name(&host, 443, true) {
                    Some(Site::Listener(listener)) => {
                        prop_assert_eq!(listener.name.as_str(), label);
                        prop_assert!(open && claimed == 1);
                    }
                    Some(Site::Portal) => prop_assert!(false, "an app became the portal"),
                    None => prop_assert!(!open || claimed != 1),
                }
            }
        }
    }
}
