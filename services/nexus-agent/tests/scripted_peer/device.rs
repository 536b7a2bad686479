//! The agent with stand-ins for the store and for apps.

use crate::{
    edge::Edge,
    relay::{Relay, SECRET},
    until,
};
use piccolo_bus_client::{Bus, Handlers, memory::MemoryBus};
use piccolo_bus_schema::{
    Fault,
    app::{self, Endpoint, EndpointChanged, Flow, Protocol},
    control::{self, Change, Record, RemoteRecord, Repository, SecretName, Versioned},
    health::Component,
    ids::{AppName, Hostname, ListenerName, ServiceName, UnixSeconds},
    lock::{self, LockChanged, LockState},
    remote::{RemoteStatus, Status, TunnelState},
    ticket::Ticket,
};
use piccolo_nexus_agent::{Agent, Config, Timing, WallClock};
use piccolo_runtime::{Board, Shutdown};
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(crate) const WITHIN: Duration = Duration::from_secs(5);

/// What the stand-ins know.
pub(crate) struct World {
    pub(crate) lock: LockState,
    pub(crate) record: Option<Versioned>,
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) listeners: Vec<&'static str>,
    pub(crate) clock: Option<UnixSeconds>,
}

pub(crate) struct Device {
    pub(crate) relay: Relay,
    pub(crate) edge: Edge,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) memory: MemoryBus,
    pub(crate) board: Board,
    pub(crate) health_api: Bus,
    store: Bus,
    apps: Bus,
    shutdown: Shutdown,
    agent: Option<Agent>,
    pub(crate) timing: Timing,
    pub(crate) directory: TempDir,
}

/// Quick where a test would otherwise have to wait, and never hasty on a busy machine.
pub(crate) fn quick() -> Timing {
    Timing {
        tick: Duration::from_millis(5),
        dial_local: Duration::from_millis(300),
        quiet: Duration::from_millis(50),
        first_backoff: Duration::from_millis(20),
        backoff: Duration::from_millis(40),
        refusal_backoff: Duration::from_millis(400),
        clock: Duration::from_millis(10),
        debounce: Duration::from_millis(10),
        close: Duration::from_millis(300),
        ..Timing::default()
    }
}

impl Device {
    /// A device configured and unlocked, and its first session.
    pub(crate) async fn connected(timing: Timing) -> (Self, crate::relay::Peer) {
        let mut device = Self::configured(timing).await;
        let peer = device.relay.accept_session().await;
        (device, peer)
    }

    /// A device configured and unlocked.
    pub(crate) async fn configured(timing: Timing) -> Self {
        let mut device = Self::blank(timing).await;
        let record = record(&device.relay.endpoint(), true);
        {
            let mut world = device.world();
            world.record = Some(Versioned {
                revision: 1,
                record,
            });
            world.secret = Some(SECRET.to_vec());
        }
        device.start();
        device
    }

    /// Unlocked and never configured; the agent is not started.
    pub(crate) async fn blank(timing: Timing) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let relay = Relay::start(directory.path()).await;
        let edge = Edge::bind(directory.path());
        let memory = MemoryBus::new();
        let world = Arc::new(Mutex::new(World {
            lock: LockState::Unlocked,
            record: None,
            secret: None,
            listeners: vec!["web"],
            clock: Some(UnixSeconds(1_800_000_000)),
        }));
        let store = memory.join(ServiceName::Store);
        memory.serve(ServiceName::Store, store_handlers(store.clone(), &world));
        memory.serve(ServiceName::Apps, apps_handlers(&world));
        Self {
            relay,
            edge,
            world,
            board: Board::new(),
            health_api: memory.join(ServiceName::HealthApi),
            store,
            apps: memory.join(ServiceName::Apps),
            memory,
            shutdown: Shutdown::new(),
            agent: None,
            timing,
            directory,
        }
    }

    pub(crate) fn start(&mut self) {
        let config = Config::new(self.directory.path(), Some(&self.relay.ca_file));
        let world = Arc::clone(&self.world);
        let mut agent = Agent::start(
            &self.memory.join(ServiceName::NexusAgent),
            &self.board,
            config.expect("a configuration"),
            self.timing,
            WallClock::new(move || world.lock().expect("no panic").clock),
            self.shutdown.clone(),
        );
        let handlers = std::mem::take(&mut agent.handlers);
        self.memory.serve(ServiceName::NexusAgent, handlers);
        self.agent = Some(agent);
    }

    pub(crate) async fn stop(&mut self) {
        self.shutdown.request();
        let agent = self.agent.take().expect("a started agent");
        crate::soon("the tunnel ends", agent.tunnel)
            .await
            .expect("no panic");
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic")
    }

    pub(crate) async fn status(&self) -> RemoteStatus {
        let status = self.health_api.call(Status {}, WITHIN).await;
        status.expect("a status")
    }

    pub(crate) async fn until_status(&self, what: &str, holds: impl Fn(&RemoteStatus) -> bool) {
        until(what, async || holds(&self.status().await)).await;
    }

    pub(crate) async fn until_connected(&self) {
        let is_connected =
            |status: &RemoteStatus| matches!(status.tunnel, TunnelState::Connected { .. });
        self.until_status("connected", is_connected).await;
    }

    pub(crate) fn component(&self) -> Component {
        self.board.report().swap_remove(0)
    }

    /// The owner installs an app with this listener.
    pub(crate) fn install(&self, listener: &'static str) {
        self.world().listeners.push(listener);
        self.apps.publish(&EndpointChanged { app: app_name() });
    }

    pub(crate) fn set_lock(&self, state: LockState) {
        self.world().lock = state.clone();
        self.store.publish(&LockChanged { state });
    }
}

pub(crate) fn record(endpoint: &str, enabled: bool) -> Record {
    Record::Remote(RemoteRecord {
        enabled,
        endpoint: endpoint.to_owned(),
        tld: hostname("home.example"),
        portal_hostname: hostname("portal.home.example"),
        acme_email: None,
    })
}

pub(crate) fn hostname(name: &str) -> Hostname {
    Hostname::new(name).expect("a host name")
}

fn app_name() -> AppName {
    AppName::new("demo").expect("a name")
}

fn store_handlers(bus: Bus, world: &Arc<Mutex<World>>) -> Handlers {
    let (locks, reads, secrets, commits) = (
        Arc::clone(world),
        Arc::clone(world),
        Arc::clone(world),
        Arc::clone(world),
    );
    let (offering, claiming) = (bus.clone(), bus);
    Handlers::new()
        .on::<lock::Status, _, _>(move |_, _| {
            let state = locks.lock().expect("no panic").lock.clone();
            async move { Ok(state) }
        })
        .on::<control::Read, _, _>(move |_, _| {
            let world = reads.lock().expect("no panic");
            let answer = unlocked(&world).map(|()| world.record.clone().into_iter().collect());
            async move { answer }
        })
        .on::<control::ReadSecret, _, _>(move |_, _| {
            let world = secrets.lock().expect("no panic");
            let secret = unlocked(&world).and_then(|()| {
                let secret = world.secret.clone();
                secret.ok_or_else(|| Fault::not_found("the secret"))
            });
            let answer = secret.and_then(|bytes| offering.offer_secret(Zeroizing::new(bytes)));
            async move { answer }
        })
        .on::<control::Commit, _, _>(move |commit, _| {
            let (world, bus) = (Arc::clone(&commits), claiming.clone());
            async move { take(commit, &world, &bus).await }
        })
}

async fn take(
    commit: control::Commit,
    world: &Mutex<World>,
    bus: &Bus,
) -> Result<control::Committed, Fault> {
    let mut secret: Option<Ticket> = None;
    let mut record = None;
    for change in commit.changes {
        match change {
            Change::Put(put) => record = Some(put),
            Change::PutSecret { name, value } => {
                assert_eq!(name, SecretName::RelayDevice);
                secret = Some(value);
            }
            other => panic!("unexpected change {other:?}"),
        }
    }
    let secret = match secret {
        Some(ticket) => Some(bus.claim_secret(&ticket).await?),
        None => None,
    };
    let mut world = world.lock().expect("no panic");
    unlocked(&world)?;
    let revision = world.record.as_ref().map_or(0, |found| found.revision) + 1;
    world.record = record.map(|record| Versioned { revision, record });
    if let Some(secret) = secret {
        world.secret = Some(secret.to_vec());
    }
    drop(world);
    bus.publish(&control::ControlCommitted {
        revision,
        epoch: 1,
        repositories: vec![Repository::Remote],
    });
    Ok(control::Committed { revision })
}

fn unlocked(world: &World) -> Result<(), Fault> {
    match world.lock {
        LockState::Unlocked => Ok(()),
        _ => Err(Fault::Locked),
    }
}

fn apps_handlers(world: &Arc<Mutex<World>>) -> Handlers {
    let world = Arc::clone(world);
    Handlers::new().on::<app::ListEndpoints, _, _>(move |_, _| {
        let world = world.lock().expect("no panic");
        let listeners = match world.lock {
            LockState::Unlocked => world.listeners.as_slice(),
            _ => &[],
        };
        let endpoints = listeners.iter().map(|name| endpoint(name)).collect();
        async move { Ok(app::Endpoints { endpoints }) }
    })
}

fn endpoint(listener: &str) -> Endpoint {
    Endpoint {
        app: app_name(),
        listener: ListenerName::new(listener).expect("a name"),
        guest_port: 80,
        host_port: 15_000,
        public_port: 35_000,
        flow: Flow::Tcp,
        protocol: Protocol::Http,
        remote_ports: vec![80, 443],
        middleware: Vec::new(),
        up: true,
    }
}

impl Device {
    /// Waits for the connected state while the peer answers pings, which is what makes it.
    pub(crate) async fn until_connected_while_reading(&self, peer: &mut crate::relay::Peer) {
        tokio::select! {
            () = self.until_connected() => {}
            message = peer.next() => panic!("unexpected {message:?}"),
        }
    }
}
