//! The edge: the only process that listens beyond loopback.
//!
//! ```text
//!   LAN    :80 ─────────────┐                           ┌──► health-api (Unix socket)
//!          :443 ── TLS ─────┤      ┌─────────────┐      │
//!          :35000… ─────────┼────► │ route table │ ─────┼──► app, HTTP   (127.0.0.1:15000…)
//!   relay  streams.sock     │      │ (snapshot)  │      │
//!          PROXY v2 ─ SNI ──┘      └──────▲──────┘      └──► app, bytes untouched
//!                                         │
//!             keeper: asks store and apps, learns, builds, swaps
//! ```
//!
//! * pure: [`client_hello`], [`proxy_protocol`], [`forwarded`], [`cookie`], [`allow`],
//!   [`rate_limit`], [`challenge`], [`middleware`], [`refusal`], [`gate`], [`table`],
//!   [`knowledge`], [`certificate`];
//! * shell: `stream` (listeners, first bytes, TLS, bytes), `proxy` (HTTP), `keeper`, `bus`, `mdns`.
//!
//! A name or a port leads to its own listener or to nothing. What can't be enforced is closed.

#![forbid(unsafe_code)]

mod admission;
pub mod allow;
mod bus;
pub mod certificate;
pub mod challenge;
pub mod client_hello;
pub mod config;
pub mod cookie;
mod descriptor_limit;
mod edge;
pub mod error;
pub mod forwarded;
pub mod gate;
mod keeper;
pub mod knowledge;
pub mod lan_certificate;
mod mdns;
pub mod middleware;
mod proxy;
pub mod proxy_protocol;
pub mod rate_limit;
pub mod refusal;
mod sockets;
mod stream;
pub mod table;
pub mod visitor;

pub use config::Config;
pub use error::StartError;
pub use sockets::Sockets;

use edge::Edge;
use keeper::{Keeper, PortalAddresses};
use piccolo_bus_client::{Bus, Handlers};
use piccolo_runtime::{Board, Exit, Process, serve};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use stream::{lan, remote};

/// The service's own component on the health board.
const COMPONENT: &str = "router-proxy";
/// READY is not held up by peers for longer.
const FIRST_ROUND_WITHIN: Duration = Duration::from_secs(2);

/// Runs the edge until shutdown.
pub async fn run(config: Config, mut process: Process) -> Result<(), Exit> {
    descriptor_limit::raise();
    let sockets = Sockets::take(&mut process.descriptors);
    let board = process.board.clone();
    let running = start(&config, sockets, process.bus.clone(), board.clone()).await?;
    let shutdown = process.shutdown.clone();
    if let Some(announced) = running.announced() {
        tokio::spawn(mdns::run(announced, board.clone(), shutdown.clone()));
    }
    let served = serve(&process.bus, &board, &shutdown, running.handlers()).await;
    running.stop().await;
    served
}

/// An edge that serves.
pub struct Running {
    edge: Arc<Edge>,
    keeper: Arc<Keeper>,
    portal: PortalAddresses,
}

/// Opens everything and makes the first attempt at a table. The bus endpoints are the caller's.
pub async fn start(
    config: &Config,
    sockets: Sockets,
    bus: Bus,
    board: Board,
) -> Result<Running, StartError> {
    // Mentioned first: it is the service's own component.
    board.ok(COMPONENT, "starting");
    let lan_certificate = lan_certificate::load_or_make(&config.state_dir.join("boot"))?;
    tracing::info!(sha256 = lan_certificate.fingerprint, "LAN certificate");
    let edge = Edge::new(&config.runtime_dir, lan_certificate);
    let opened = sockets.open(&config.runtime_dir)?;
    let address = |listener: &Option<tokio::net::TcpListener>| -> Option<SocketAddr> {
        listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    };
    let portal = PortalAddresses {
        http: address(&opened.portal_http),
        https: address(&opened.portal_https),
    };
    let keeper = Arc::new(Keeper::new(Arc::clone(&edge), bus.clone(), board, portal));
    for (port, listener) in opened.public {
        keeper.adopt(port, listener);
    }
    bus::follow(&bus, &keeper);
    tokio::spawn(Arc::clone(&keeper).run());
    if let Some(listener) = opened.portal_http {
        tokio::spawn(lan::portal_http(Arc::clone(&edge), listener));
    }
    if let Some(listener) = opened.portal_https {
        tokio::spawn(lan::portal_https(Arc::clone(&edge), listener));
    }
    tokio::spawn(remote::streams(Arc::clone(&edge), opened.streams));
    keeper.first_round(FIRST_ROUND_WITHIN).await;
    Ok(Running {
        edge,
        keeper,
        portal,
    })
}

impl Running {
    /// What it answers on the bus.
    pub fn handlers(&self) -> Handlers {
        bus::handlers(&self.edge, &self.keeper)
    }

    /// Stops accepting, lets connections finish for five seconds, then cuts the rest.
    pub async fn stop(self) {
        let cut = self.edge.drain().await;
        tracing::info!(cut, "connections drained");
    }

    /// What can be announced on the home network: nothing when the portal listens on loopback only.
    fn announced(&self) -> Option<mdns::Announced> {
        let port = |address: Option<SocketAddr>| {
            address
                .filter(|address| !address.ip().is_loopback())
                .map(|address| address.port())
        };
        let (http, https) = (port(self.portal.http), port(self.portal.https));
        (http.is_some() || https.is_some()).then_some(mdns::Announced { http, https })
    }
}
