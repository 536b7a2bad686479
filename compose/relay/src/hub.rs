//! Where backends arrive, and where users find them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{debug, info, warn};

use crate::config::Config;
use crate::connection::{self, hang_up, say_close, websocket_config};
use crate::handshake::{Ends, authenticate, canonical};
use crate::lanes::lanes;
use crate::listen::accept;
use crate::outbound;
use crate::reauth::keep_proving;
use crate::route::RouteTable;
use crate::session::{Session, SessionId};
use crate::tasks::Tasks;
use crate::upgrade;
use crate::verifier::Verifier;

const TLS_DEADLINE: Duration = Duration::from_secs(10);
/// Backends that have not proved themselves yet. Each may hold a message of up to 1 MiB.
const MAX_HANDSHAKES: usize = 512;

/// The relay's shared state: its settings and its routes.
#[derive(Debug)]
pub struct Hub {
    pub config: Config,
    verifier: Verifier,
    routes: Mutex<RouteTable<Arc<Session>>>,
    next_session: AtomicU64,
}

impl Hub {
    pub fn new(config: Config) -> Self {
        let verifier = Verifier {
            secret: config.secret.clone(),
            policy: config.claims.clone(),
        };
        Self {
            config,
            verifier,
            routes: Mutex::default(),
            next_session: AtomicU64::new(1),
        }
    }

    /// The session that serves the next connection to `name` (normalized) or to a route key.
    pub fn pick(&self, name: &str) -> Option<Arc<Session>> {
        self.routes().pick(name)
    }

    /// The longest flow idle time-out any session claims for a UDP port.
    pub fn udp_idle(&self, port: u16, key: &str) -> Option<Duration> {
        self.routes()
            .members(key)
            .filter_map(|session| session.claims.udp_routes.get(&port).copied())
            .max()
    }

    fn routes(&self) -> MutexGuard<'_, RouteTable<Arc<Session>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, session: &Arc<Session>, keys: &[String]) {
        let weight = session.claims.weight.unwrap_or(1);
        self.routes()
            .add(keys.iter().map(String::as_str), session.id, weight, session);
    }

    fn leave(&self, session: SessionId, keys: &[String]) {
        self.routes()
            .remove(keys.iter().map(String::as_str), session);
    }
}

/// Takes a session out of the routes however its task ends, also when it is dropped.
struct Entered<'a> {
    hub: &'a Hub,
    session: SessionId,
    keys: Vec<String>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.hub.leave(self.session, &self.keys);
    }
}

/// Accepts backends for ever.
pub async fn run(listener: TcpListener, hub: Arc<Hub>, tasks: Tasks) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let acceptor = TlsAcceptor::from(Arc::clone(&hub.config.tls));
    loop {
        let (stream, peer) = accept(&listener).await;
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            warn!(%peer, "backend refused: too many handshakes");
            continue;
        };
        let arrival = Arrival {
            hub: Arc::clone(&hub),
            acceptor: acceptor.clone(),
            tasks: tasks.clone(),
            peer: canonical(peer),
        };
        // On the heap: the whole life of a session is one large future.
        tasks.spawn(Box::pin(async move { arrival.serve(stream, permit).await }));
    }
}

/// One backend at the door.
struct Arrival {
    hub: Arc<Hub>,
    acceptor: TlsAcceptor,
    tasks: Tasks,
    peer: SocketAddr,
}

impl Arrival {
    async fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let peer = self.peer;
        let Some((mut socket, ends)) = self.websocket(stream).await else {
            return;
        };
        let claims = match authenticate(&mut socket, &self.hub.verifier, ends).await {
            Ok(claims) => claims,
            Err(error) => {
                info!(%peer, %error, "backend not admitted");
                if let Some(reason) = error.close_reason() {
                    say_close(&mut socket, CloseCode::Policy, reason).await;
                }
                hang_up(socket).await;
                return;
            }
        };
        drop(permit);
        let (lanes, lane_ends) = lanes();
        let id = self.hub.next_session.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(Session::new(id, claims, lanes));
        let keys = session.claims.route_keys();
        info!(session = id, %peer, routes = keys.join(","), "backend admitted");
        self.hub.enter(&session, &keys);
        let entered = Entered {
            hub: &self.hub,
            session: id,
            keys,
        };
        let dial = |request| {
            outbound::start(&session, request, &self.hub.config.outbound, &self.tasks);
        };
        let proving = keep_proving(&session, &self.hub.verifier);
        let end =
            connection::serve(socket, &session, lane_ends, proving, || drop(entered), dial).await;
        info!(session = id, %peer, why = %end, "backend gone");
    }

    /// TLS, then the upgrade.
    async fn websocket(
        &self,
        stream: TcpStream,
    ) -> Option<(WebSocketStream<TlsStream<TcpStream>>, Ends)> {
        let peer = self.peer;
        let local = stream.local_addr().ok()?;
        let _ = stream.set_nodelay(true);
        let mut tls = match timeout(TLS_DEADLINE, self.acceptor.accept(stream)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                debug!(%peer, %error, "TLS handshake failed");
                return None;
            }
            Err(_) => {
                debug!(%peer, "TLS handshake too slow");
                return None;
            }
        };
        if let Err(error) = upgrade::accept(&mut tls).await {
            debug!(%peer, %error, "no WebSocket");
            let _ = timeout(TLS_DEADLINE, tokio::io::AsyncWriteExt::shutdown(&mut tls)).await;
            return None;
        }
        let socket =
            WebSocketStream::from_raw_socket(tls, Role::Server, Some(websocket_config())).await;
        Some((socket, Ends { local, peer }))
    }
}
