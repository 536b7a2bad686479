//! What the edge last knew of its peers. A peer that is down leaves its facts as they were: no
//! route is dropped because someone died.

use crate::{
    certificate::Shown,
    gate::{Gate, Openness},
    table::{Facts, Table},
};
use piccolo_bus_schema::{
    app::Endpoint, control::RemoteRecord, ids::Hostname, leadership::Leadership, lock::LockState,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Right after an unlock apps may not have heard of it yet, and still list nothing.
const UNLOCK_GRACE: Duration = Duration::from_secs(10);

/// One round of questions; `None` where a peer did not answer or may not say.
#[derive(Debug, Default)]
pub struct Observed {
    pub lock: Option<LockState>,
    pub endpoints: Option<Vec<Endpoint>>,
    /// The inner `None`: remote access was never set up.
    pub remote: Option<Option<RemoteRecord>>,
    pub roles: Option<Vec<Leadership>>,
    /// New certificates that passed their checks.
    pub certificates: Vec<(Hostname, Arc<Shown>)>,
    /// The names that have a certificate record with a chain.
    pub certified: Option<Vec<Hostname>>,
}

/// The last facts.
#[derive(Debug)]
pub struct Knowledge {
    gate: Gate,
    /// When the gate opened under our eyes; apps hears of it at about the same time.
    unlocked: Option<Instant>,
    /// `None` until apps has told.
    endpoints: Option<Vec<Endpoint>>,
    remote: Option<RemoteRecord>,
    /// `None` until the store has told: what another node leads must not be served here.
    roles: Option<Vec<Leadership>>,
    certificates: BTreeMap<Hostname, Arc<Shown>>,
    period: CancellationToken,
}

impl Default for Knowledge {
    fn default() -> Self {
        Self {
            gate: Gate::Starting,
            unlocked: None,
            endpoints: None,
            remote: None,
            roles: None,
            certificates: BTreeMap::new(),
            period: CancellationToken::new(),
        }
    }
}

impl Knowledge {
    /// Stops every app route, at once.
    pub fn withdraw(&mut self, now: Instant) {
        self.pass(self.gate.withdraw(now), now);
    }

    /// The store announced a change of its lock.
    pub fn announced(&mut self, state: &LockState, now: Instant) {
        self.pass(self.gate.announced(state, now), now);
    }

    /// Takes over what was observed.
    pub fn learn(&mut self, observed: Observed, now: Instant) {
        if let Some(lock) = &observed.lock {
            self.pass(self.gate.seen(lock, now), now);
        }
        if let Some(remote) = observed.remote {
            self.remote = remote;
        }
        if let Some(roles) = observed.roles {
            self.roles = Some(roles);
        }
        if let Some(endpoints) = observed.endpoints
            && self.believes(&endpoints, now)
        {
            self.endpoints = Some(endpoints);
        }
        let open = self.gate.openness() == Openness::Open;
        if let Some(certified) = observed.certified.filter(|_| open) {
            self.certificates.retain(|name, _| certified.contains(name));
        }
        self.certificates.extend(observed.certificates);
        if !open {
            self.keep_the_portals_certificate();
        }
    }

    /// A table of what is known.
    pub fn table(&self, previous: &Table) -> Table {
        let is_known = self.endpoints.is_some() && self.roles.is_some();
        let openness = match self.gate.openness() {
            Openness::Open if !is_known => Openness::Starting,
            openness => openness,
        };
        let facts = Facts {
            openness,
            endpoints: self.endpoints.as_deref().unwrap_or_default(),
            remote: self.remote.as_ref(),
            roles: self.roles.as_deref().unwrap_or_default(),
            certificates: &self.certificates,
            period: self.period.clone(),
        };
        Table::build(&facts, Some(previous))
    }

    /// The certificates in use, for comparison with the records.
    pub const fn certificates(&self) -> &BTreeMap<Hostname, Arc<Shown>> {
        &self.certificates
    }

    /// The remote configuration, as last known.
    pub const fn remote(&self) -> Option<&RemoteRecord> {
        self.remote.as_ref()
    }

    /// Everything but the portal's key is forgotten when the gate closes, streams of apps end, and
    /// no container runs any more.
    fn pass(&mut self, gate: Gate, now: Instant) {
        let before = std::mem::replace(&mut self.gate, gate).openness();
        match (before, gate.openness()) {
            (Openness::Open, Openness::Locked | Openness::Starting) => {
                self.period.cancel();
                self.keep_the_portals_certificate();
                for endpoint in self.endpoints.iter_mut().flatten() {
                    endpoint.up = false;
                }
            }
            (before @ (Openness::Locked | Openness::Starting), Openness::Open) => {
                self.period = CancellationToken::new();
                self.unlocked = (before == Openness::Locked).then_some(now);
            }
            (Openness::Open, Openness::Open)
            | (Openness::Locked | Openness::Starting, Openness::Locked | Openness::Starting) => {}
        }
    }

    fn keep_the_portals_certificate(&mut self) {
        let portal = self.remote.as_ref().map(|remote| &remote.portal_hostname);
        self.certificates.retain(|name, _| Some(name) == portal);
    }

    /// Has apps perhaps not heard of the unlock yet?
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.gate.openness() == Openness::Open
            && self
                .unlocked
                .is_some_and(|at| now.duration_since(at) < UNLOCK_GRACE)
    }

    /// The list is empty while locked, and for a moment after; the ports stay bound meanwhile.
    fn believes(&self, endpoints: &[Endpoint], now: Instant) -> bool {
        let open = self.gate.openness() == Openness::Open;
        open && (!endpoints.is_empty() || !self.is_fresh(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use piccolo_bus_schema::{
        app::{Flow, Protocol},
        ids::{AppName, ListenerName},
    };

    fn endpoint() -> Endpoint {
        Endpoint {
            app: AppName::new("demo").expect("a name"),
            listener: ListenerName::new("web").expect("a name"),
            guest_port: 80,
            host_port: 15_000,
            public_port: 35_000,
            flow: Flow::Tcp,
            protocol: Protocol::Http,
            remote_ports: vec![80, 443],
            middleware: vec![],
            up: true,
        }
    }

    fn unlocked(endpoints: Option<Vec<Endpoint>>) -> Observed {
        Observed {
            lock: Some(LockState::Unlocked),
            endpoints,
            roles: Some(vec![]),
            ..Observed::default()
        }
    }

    fn ports(knowledge: &Knowledge) -> usize {
        knowledge.table(&Table::empty()).public_ports().count()
    }

    #[test]
    fn a_peer_that_does_not_answer_leaves_routes_as_they_were() {
        let now = Instant::now();
        let mut knowledge = Knowledge::default();
        knowledge.learn(unlocked(Some(vec![endpoint()])), now);
        knowledge.learn(Observed::default(), now);
        assert_eq!(ports(&knowledge), 1);
        assert_eq!(knowledge.table(&Table::empty()).openness, Openness::Open);
    }

    #[test]
    fn ports_outlive_a_lock_and_the_moment_after_it() {
        let start = Instant::now();
        let mut knowledge = Knowledge::default();
        knowledge.learn(unlocked(Some(vec![endpoint()])), start);
        let streams = knowledge.table(&Table::empty()).period;
        knowledge.withdraw(start);
        assert!(streams.is_cancelled(), "streams of apps end");
        let locked = Observed {
            lock: Some(LockState::Locked),
            endpoints: Some(vec![]),
            ..Observed::default()
        };
        knowledge.learn(locked, start);
        assert_eq!(ports(&knowledge), 1);
        knowledge.learn(unlocked(Some(vec![])), start);
        assert_eq!(ports(&knowledge), 1, "apps has not heard of the unlock yet");
        knowledge.learn(unlocked(Some(vec![])), start + UNLOCK_GRACE);
        assert_eq!(ports(&knowledge), 0, "the app is really gone");
    }

    #[test]
    fn nothing_serves_before_it_is_known_who_leads_and_what_runs() {
        let now = Instant::now();
        let mut knowledge = Knowledge::default();
        let openness = |knowledge: &Knowledge| knowledge.table(&Table::empty()).openness;
        knowledge.learn(unlocked(None), now);
        assert_eq!(
            openness(&knowledge),
            Openness::Starting,
            "apps has not told"
        );
        let no_roles = Observed {
            roles: None,
            ..unlocked(Some(vec![endpoint()]))
        };
        let mut other = Knowledge::default();
        other.learn(no_roles, now);
        assert_eq!(
            openness(&other),
            Openness::Starting,
            "the store has not told"
        );
        knowledge.learn(unlocked(Some(vec![])), now);
        assert_eq!(openness(&knowledge), Openness::Open);
    }

    #[test]
    fn an_old_answer_does_not_undo_a_withdrawal() {
        let now = Instant::now();
        let mut knowledge = Knowledge::default();
        knowledge.learn(unlocked(Some(vec![endpoint()])), now);
        knowledge.withdraw(now);
        knowledge.learn(unlocked(Some(vec![endpoint()])), now);
        assert_eq!(knowledge.table(&Table::empty()).openness, Openness::Locked);
    }
}
