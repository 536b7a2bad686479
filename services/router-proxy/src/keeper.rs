//! Keeps the route table true: asks, learns, builds, swaps, binds, reports.
//!
//! ```text
//!   events, every Resync, 30 s ──► ask peers ──► Knowledge ──► Table ──swap──► Edge
//!   Withdraw, lock announced ─────────────────────►│             ├──► public ports
//!                                                                └──► route.changed, health board
//! ```

use crate::{
    COMPONENT,
    bus::{self, Answers},
    edge::Edge,
    gate::Openness,
    knowledge::Knowledge,
    stream::public::PublicPorts,
};
use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    health::Level,
    ids::Hostname,
    lock::LockState,
    route::{Route, RouteChanged, Routes},
};
use piccolo_runtime::{Board, clock};
use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};

/// So that nothing depends on an event.
const EVERY: Duration = Duration::from_secs(30);
/// Right after an unlock an empty list is not believed at once.
const EVERY_AFTER_UNLOCK: Duration = Duration::from_secs(2);
const COUNT_EVERY: Duration = Duration::from_secs(5);

const PORTS: &str = "public-ports";
const CERTIFICATES: &str = "certificates-in-use";

/// Where the portal listens; `None` was not handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortalAddresses {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
}

/// The owner of the table.
pub(crate) struct Keeper {
    edge: Arc<Edge>,
    bus: Bus,
    board: Board,
    portal: PortalAddresses,
    state: Mutex<State>,
    wake: Notify,
    rounds: watch::Sender<u64>,
}

struct State {
    knowledge: Knowledge,
    ports: PublicPorts,
    announced: Option<(Openness, Vec<Route>)>,
    unusable: Vec<(Hostname, String)>,
}

impl Keeper {
    pub(crate) fn new(edge: Arc<Edge>, bus: Bus, board: Board, portal: PortalAddresses) -> Self {
        let state = State {
            knowledge: Knowledge::default(),
            ports: PublicPorts::default(),
            announced: None,
            unusable: Vec::new(),
        };
        Self {
            edge,
            bus,
            board,
            portal,
            state: Mutex::new(state),
            wake: Notify::new(),
            rounds: watch::Sender::new(0),
        }
    }

    /// Takes back a public port's listener of an earlier start.
    pub(crate) fn adopt(&self, port: u16, listener: TcpListener) {
        self.state().ports.adopt(&self.edge, port, listener);
    }

    /// Keeps the table true until the edge closes.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.round().await;
            self.rounds.send_modify(|rounds| *rounds += 1);
            let next = tokio::time::sleep(self.pause());
            tokio::pin!(next);
            loop {
                tokio::select! {
                    () = self.edge.closing.cancelled() => return,
                    () = self.wake.notified() => break,
                    () = &mut next => break,
                    () = tokio::time::sleep(COUNT_EVERY) => self.count(),
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.state().knowledge.is_fresh(Instant::now()) {
            EVERY_AFTER_UNLOCK
        } else {
            EVERY
        }
    }

    /// Waits for the end of the first round, at most `within`.
    pub(crate) async fn first_round(&self, within: Duration) {
        let mut rounds = self.rounds.subscribe();
        let first = rounds.wait_for(|rounds| *rounds > 0);
        if tokio::time::timeout(within, first).await.is_err() {
            tracing::info!("peers have not answered yet, serving what there is");
        }
    }

    /// Asks for a new round. Several wishes make one.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Stops every app route before it returns.
    pub(crate) fn withdraw(&self) {
        tracing::info!("app routes withdrawn");
        let mut state = self.state();
        state.knowledge.withdraw(Instant::now());
        self.apply(&mut state);
    }

    /// A closed lock acts at once; an opened one needs a round of questions first.
    pub(crate) fn lock_changed(&self, to: &LockState) {
        let mut state = self.state();
        state.knowledge.announced(to, Instant::now());
        if *to != LockState::Unlocked {
            self.apply(&mut state);
        }
    }

    /// The snapshot for whoever asks.
    pub(crate) fn list(&self) -> Routes {
        let text = |address: Option<SocketAddr>| address.map(|a| a.to_string());
        Routes {
            routes: self.routes(&self.state()),
            lan_fingerprint: self.edge.lan_certificate.fingerprint.clone(),
            portal_http: text(self.portal.http).unwrap_or_default(),
            portal_https: text(self.portal.https).unwrap_or_default(),
        }
    }

    async fn round(&self) {
        let (current, remote) = {
            let state = self.state();
            let knowledge = &state.knowledge;
            (
                knowledge.certificates().clone(),
                knowledge.remote().cloned(),
            )
        };
        let Answers { observed, unusable } = bus::ask(&self.bus, &current, remote).await;
        let mut state = self.state();
        for (host, why) in unusable.iter().filter(|bad| !state.unusable.contains(bad)) {
            tracing::warn!(%host, why, "certificate can't be used, the old one stays");
        }
        state.unusable = unusable;
        state.knowledge.learn(observed, Instant::now());
        self.apply(&mut state);
    }

    /// From knowledge to what serves; quick, and never awaits.
    fn apply(&self, state: &mut State) {
        let table = state.knowledge.table(&self.edge.table());
        state.ports.reconcile(&self.edge, &table);
        let openness = table.openness;
        self.edge.swap(table);
        let routes = self.routes(state);
        self.report(state, &routes);
        let now = Some((openness, routes));
        if state.announced != now {
            let count = now.as_ref().map_or(0, |(_, routes)| routes.len());
            tracing::info!(routes = count, ?openness, "new route table");
            let routes = u32::try_from(count).unwrap_or(u32::MAX);
            self.bus.publish(&RouteChanged { routes });
            state.announced = now;
        }
    }

    fn routes(&self, state: &State) -> Vec<Route> {
        let portal_port = self.portal.https.or(self.portal.http).map(|a| a.port());
        let is_bound = |port| state.ports.is_bound(port);
        self.edge.table().list(portal_port, is_bound)
    }

    fn report(&self, state: &State, routes: &[Route]) {
        let missing = match (self.portal.http, self.portal.https) {
            (Some(_), Some(_)) => None,
            (None, Some(_)) => Some("HTTP"),
            (Some(_), None) => Some("HTTPS"),
            (None, None) => Some("HTTP and HTTPS"),
        };
        match missing {
            None => self.board.ok(COMPONENT, self.sentence()),
            Some(which) => self.board.set(
                COMPONENT,
                Level::Error,
                format!("the portal's {which} port was not handed over; restart piccolod"),
            ),
        }
        self.board
            .set_detail(COMPONENT, "routes", routes.len().to_string());
        self.count();
        self.report_ports(state);
        self.report_certificates(state);
    }

    fn sentence(&self) -> &'static str {
        match self.edge.table().openness {
            Openness::Open => "apps and the portal are reachable",
            Openness::Locked => "the portal is reachable; apps wait for the unlock",
            Openness::Starting => "the portal is reachable; waiting for store and apps",
        }
    }

    fn report_ports(&self, state: &State) {
        let refused = state.ports.refused();
        match refused.iter().next() {
            None => self.board.ok(PORTS, "every app's port is bound"),
            Some((port, why)) => self.board.set(
                PORTS,
                Level::Warn,
                format!(
                    "{} app port(s) can't be bound, first {port}: {why}; stop the program that has it",
                    refused.len()
                ),
            ),
        }
    }

    fn report_certificates(&self, state: &State) {
        let now = i64::try_from(clock::now().0).unwrap_or(i64::MAX);
        let expired = state
            .knowledge
            .certificates()
            .iter()
            .find(|(_, shown)| clock::is_plausible() && shown.not_after < now);
        let warning = match (state.unusable.first(), expired) {
            (Some((host, why)), _) => Some(format!(
                "the new certificate for {host} can't be used ({why}), an earlier one stays; renew it in the portal"
            )),
            (None, Some((host, _))) => Some(format!(
                "the certificate for {host} has expired; renew it in the portal"
            )),
            (None, None) => None,
        };
        match warning {
            Some(message) => self.board.set(CERTIFICATES, Level::Warn, message),
            None => self
                .board
                .ok(CERTIFICATES, "every certificate in use is good"),
        }
    }

    fn count(&self) {
        let connections = self.edge.admission.taken().to_string();
        self.board.set_detail(COMPONENT, "connections", connections);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
