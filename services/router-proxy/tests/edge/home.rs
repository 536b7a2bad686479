//! A device around the edge: fake store and apps on an in-memory bus, apps on real ports.

use piccolo_bus_client::{Bus, Handlers, memory::MemoryBus};
use piccolo_bus_schema::{
    Fault, ServiceName,
    app::{Endpoint, EndpointChanged, Endpoints, Flow, ListEndpoints, Protocol},
    control::{
        CertificateRecord, ControlCommitted, OrderState, Read, ReadSecret, Record, RemoteRecord,
        Repository, SecretName, Versioned,
    },
    ids::{AppName, Hostname, ListenerName},
    leadership::{self, Leadership, LeadershipChanged},
    lock::{self, LockChanged, LockState},
    route,
};
use piccolo_router_proxy::{Config, Running, Sockets, start};
use piccolo_runtime::Board;
use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const PORTAL: &str = "portal.example.com";

/// What the fake peers answer.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) lock: Option<LockState>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) roles: Vec<Leadership>,
    pub(crate) certificates: HashMap<String, Issued>,
    pub(crate) store_is_down: bool,
    /// The store answers for the portal while locked.
    pub(crate) boot_set: bool,
    /// How often the store was asked for its lock.
    pub(crate) asked: u64,
}

#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Issued {
    pub(crate) fn for_name(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a pair");
        Self {
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }
}

/// A device.
pub(crate) struct Home {
    pub(crate) facts: Arc<Mutex<Facts>>,
    pub(crate) memory: MemoryBus,
    pub(crate) store: Bus,
    pub(crate) apps: Bus,
    pub(crate) board: Board,
    pub(crate) directory: TempDir,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// What piccolod would keep for the next start.
    kept: Kept,
    running: Option<Running>,
}

struct Kept {
    http: TcpListener,
    https: TcpListener,
    public: Vec<(u16, TcpListener)>,
    streams: Option<UnixListener>,
}

impl Kept {
    fn hand_over(&self) -> Sockets {
        let clone = |listener: &TcpListener| listener.try_clone().expect("a clone");
        Sockets {
            portal_http: Some(clone(&self.http)),
            portal_https: Some(clone(&self.https)),
            public: self
                .public
                .iter()
                .map(|(port, listener)| (*port, clone(listener)))
                .collect(),
            streams: self
                .streams
                .as_ref()
                .map(|listener| listener.try_clone().expect("a clone")),
        }
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

impl Home {
    /// An unlocked device with these listeners: `web` is HTTP. Each gets a public port.
    pub(crate) async fn with(listeners: Vec<Endpoint>) -> Self {
        Self::starting(LockState::Unlocked, listeners).await
    }

    pub(crate) async fn starting(lock: LockState, mut listeners: Vec<Endpoint>) -> Self {
        let mut public = Vec::new();
        for endpoint in &mut listeners {
            let socket = listener();
            endpoint.public_port = socket.local_addr().expect("an address").port();
            public.push((endpoint.public_port, socket));
        }
        let directory = tempfile::tempdir().expect("a directory");
        let streams = directory.path().join("streams.sock");
        let kept = Kept {
            http: listener(),
            https: listener(),
            public,
            streams: Some(UnixListener::bind(streams).expect("a socket")),
        };
        let mut certificates = HashMap::new();
        for endpoint in listeners
            .iter()
            .filter(|endpoint| endpoint.terminates_tls())
        {
            let name = format!("{}.example.com", endpoint.listener);
            certificates.insert(name.clone(), Issued::for_name(&name));
        }
        certificates.insert(PORTAL.to_owned(), Issued::for_name(PORTAL));
        let facts = Arc::new(Mutex::new(Facts {
            lock: Some(lock),
            endpoints: listeners,
            certificates,
            ..Facts::default()
        }));
        let memory = MemoryBus::new();
        let mut home = Self {
            store: memory.join(ServiceName::Store),
            apps: memory.join(ServiceName::Apps),
            memory,
            board: Board::new(),
            directory,
            http: kept.http.local_addr().expect("an address"),
            https: kept.https.local_addr().expect("an address"),
            kept,
            facts,
            running: None,
        };
        home.serve_peers();
        home.start().await;
        home
    }

    pub(crate) async fn start(&mut self) {
        let config = Config {
            state_dir: self.directory.path().to_owned(),
            runtime_dir: self.directory.path().to_owned(),
        };
        let bus = self.memory.join(ServiceName::RouterProxy);
        let running = start(&config, self.kept.hand_over(), bus, self.board.clone())
            .await
            .expect("the edge starts");
        self.memory
            .serve(ServiceName::RouterProxy, running.handlers());
        self.running = Some(running);
    }

    pub(crate) async fn stop(&mut self) {
        self.running.take().expect("it runs").stop().await;
    }

    pub(crate) fn streams(&self) -> PathBuf {
        self.directory.path().join("streams.sock")
    }

    pub(crate) fn portal_socket(&self) -> PathBuf {
        self.directory.path().join("portal.sock")
    }

    pub(crate) fn lan(&self, listener: &str) -> SocketAddr {
        let facts = self.facts.lock().expect("facts");
        let mut endpoints = facts.endpoints.iter();
        let found = endpoints.find(|endpoint| endpoint.listener.as_str() == listener);
        SocketAddr::from(([127, 0, 0, 1], found.expect("a listener").public_port))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.lock().expect("facts"));
    }

    pub(crate) fn certificate(&self, name: &str) -> Issued {
        self.facts.lock().expect("facts").certificates[name].clone()
    }

    /// Changes the lock's state and announces it, as the store does.
    pub(crate) fn set_lock(&self, state: LockState) {
        self.change(|facts| facts.lock = Some(state.clone()));
        self.store.publish(&LockChanged { state });
    }

    pub(crate) fn announce_endpoints(&self) {
        let app = AppName::new("demo").expect("a name");
        self.apps.publish(&EndpointChanged { app });
    }

    pub(crate) fn announce_leadership(&self, leadership: Leadership) {
        self.store.publish(&LeadershipChanged { leadership });
    }

    pub(crate) fn announce_commit(&self) {
        self.store.publish(&ControlCommitted {
            revision: 2,
            epoch: 1,
            repositories: vec![Repository::Certificates],
        });
    }

    pub(crate) async fn withdraw(&self) {
        let withdrawn = self.store.call(route::Withdraw {}, PATIENCE).await;
        withdrawn.expect("withdrawn");
    }

    pub(crate) async fn routes(&self) -> route::Routes {
        let listed = self.apps.call(route::List {}, PATIENCE).await;
        listed.expect("routes")
    }

    /// Waits until the edge has asked its peers anew, from beginning to end.
    pub(crate) async fn until_asked(&self) {
        let asked = || self.facts.lock().expect("facts").asked;
        let before = asked();
        until("peers are asked", || async {
            self.announce_commit();
            asked() >= before + 2
        })
        .await;
    }

    pub(crate) fn serve_peers(&self) {
        let facts = Arc::clone(&self.facts);
        let listed = Handlers::new().on::<ListEndpoints, _, _>(move |_, _| {
            let facts = facts.lock().expect("facts");
            // Empty while locked, as the real one.
            let open = facts.lock == Some(LockState::Unlocked);
            let endpoints = if open {
                facts.endpoints.clone()
            } else {
                vec![]
            };
            async move { Ok(Endpoints { endpoints }) }
        });
        self.memory.serve(ServiceName::Apps, listed);
        let (locks, roles, records, keys) = (
            Arc::clone(&self.facts),
            Arc::clone(&self.facts),
            Arc::clone(&self.facts),
            Arc::clone(&self.facts),
        );
        let holder = self.store.clone();
        let store = Handlers::new()
            .on::<lock::Status, _, _>(move |_, _| {
                locks.lock().expect("facts").asked += 1;
                let state = up(&locks).map(|facts| facts.lock.clone().expect("a state"));
                async move { state }
            })
            .on::<leadership::Show, _, _>(move |_, _| {
                let roles = up(&roles).map(|facts| facts.roles.clone());
                async move { roles }
            })
            .on::<Read, _, _>(move |Read { repository }, _| {
                let read = up(&records).and_then(|facts| read(&facts, repository));
                async move { read }
            })
            .on::<ReadSecret, _, _>(move |ReadSecret { name }, _| {
                let ticket = up(&keys).and_then(|facts| {
                    let SecretName::TlsKey(host) = name else {
                        return Err(Fault::not_found("secret"));
                    };
                    let key = facts.certificates[host.as_str()].key.clone();
                    holder.offer_secret(Zeroizing::new(key.into_bytes()))
                });
                async move { ticket }
            });
        self.memory.serve(ServiceName::Store, store);
    }
}

fn up(facts: &Mutex<Facts>) -> Result<std::sync::MutexGuard<'_, Facts>, Fault> {
    let facts = facts.lock().expect("facts");
    if facts.store_is_down {
        return Err(Fault::unavailable("service store", "it is stopped"));
    }
    Ok(facts)
}

fn read(facts: &Facts, repository: Repository) -> Result<Vec<Versioned>, Fault> {
    let unlocked = facts.lock == Some(LockState::Unlocked);
    if !unlocked && !facts.boot_set {
        return Err(Fault::Locked);
    }
    let records = match repository {
        Repository::Remote => vec![Record::Remote(RemoteRecord {
            enabled: true,
            endpoint: "wss://relay.example.com:8443/connect".to_owned(),
            tld: name("example.com"),
            portal_hostname: name(PORTAL),
            acme_email: None,
        })],
        Repository::Certificates => facts
            .certificates
            .iter()
            .filter(|(host, _)| unlocked || *host == PORTAL)
            .map(|(host, issued)| Record::Certificates(certificate(host, issued)))
            .collect(),
        Repository::Apps | Repository::Settings => vec![],
    };
    let versioned = |record| Versioned {
        revision: 1,
        record,
    };
    Ok(records.into_iter().map(versioned).collect())
}

fn certificate(host: &str, issued: &Issued) -> CertificateRecord {
    CertificateRecord {
        host: name(host),
        chain_pem: Some(issued.chain.clone()),
        issuer: None,
        issued_at: None,
        expires_at: None,
        generation: 1,
        order: OrderState::Idle,
        attempts: 0,
        next_attempt: None,
        last_error: None,
    }
}

pub(crate) fn name(text: &str) -> Hostname {
    Hostname::new(text).expect("a name")
}

/// An HTTP listener of the app `demo` at a loopback port.
pub(crate) fn web(host_port: u16) -> Endpoint {
    Endpoint {
        app: AppName::new("demo").expect("a name"),
        listener: ListenerName::new("web").expect("a name"),
        guest_port: 80,
        host_port,
        public_port: 0,
        flow: Flow::Tcp,
        protocol: Protocol::Http,
        remote_ports: vec![80, 443],
        middleware: vec![],
        up: true,
    }
}

/// A listener whose bytes pass through.
pub(crate) fn raw(listener: &str, host_port: u16) -> Endpoint {
    Endpoint {
        listener: ListenerName::new(listener).expect("a name"),
        protocol: Protocol::Raw,
        remote_ports: vec![443, 5432],
        ..web(host_port)
    }
}

/// Waits until a question is answered with yes.
pub(crate) async fn until<F, Fut>(what: &str, mut question: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let asking = async {
        while !question().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, asking).await.is_ok(),
        "never: {what}"
    );
}
