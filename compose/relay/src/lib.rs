//! A relay for the Nexus remote-access protocol.
//!
//! Devices behind routers (*backends*) hold one WebSocket to the *hub*. Strangers (*users*) connect
//! to public *relay ports*; the relay reads the name they ask for from their first bytes, picks the
//! backend that claimed it, and carries the bytes, which it never decrypts, over that backend's
//! WebSocket as one *flow* among many.
//!
//! ```text
//!            relay_port ── sniff ──┐   route, pool: whose name is it
//!  user ───▶ udp_port              ├──▶ hub ──▶ session ◀── connection ◀── handshake ◀── upgrade ◀─── backend
//!            tcp_flow ◀── flow ────┘            lanes ────▶     "          verifier: token, claims
//! ```
//!
//! * Pure, and tested by the thousand: [`client_hello`], [`http_head`], [`hostname`], [`token`],
//!   [`claims`], [`frame`], [`control`], [`credit`], [`pool`], [`route`].
//! * One task per backend ([`connection`]): a reader that never waits for a user, a writer that
//!   serves two bounded lanes, and the clock of [`reauth`].
//! * One task per user ([`tcp_flow`]): it waits for credits, for its socket and for its end. A user
//!   who reads slowly costs its own flow only.
//!
//! Every queue is bounded, and what happens at the bound is the protocol's choice: a full data lane
//! closes the flow that wanted in, the 129th message a user has not read closes that user.

#![forbid(unsafe_code)]

pub mod args;
pub mod claims;
pub mod client_hello;
pub mod config;
pub mod connection;
pub mod control;
pub mod credit;
pub mod flow;
pub mod frame;
pub mod handshake;
pub mod hostname;
pub mod http_head;
pub mod hub;
pub mod identity;
pub mod lanes;
pub mod listen;
pub mod log;
pub mod outbound;
pub mod pool;
pub mod reauth;
pub mod relay_port;
pub mod route;
pub mod session;
pub mod sniff;
pub mod tasks;
pub mod tcp_flow;
pub mod token;
pub mod udp_port;
pub mod upgrade;
pub mod verifier;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tracing::info;

use config::Config;
use hub::Hub;
use listen::ListenError;
use tasks::Tasks;

/// A relay whose ports are bound and which serves nobody yet.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    hub: TcpListener,
    relay: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl Relay {
    /// Binds every port of `config` and logs where.
    pub async fn bind(config: Config) -> Result<Self, ListenError> {
        let hub = listen::hub(&config.hub).await?;
        let relay: Vec<_> = config
            .relay_ports
            .iter()
            .map(|port| listen::tcp(*port))
            .collect::<Result<_, _>>()?;
        let udp: Vec<_> = config
            .udp
            .ports
            .iter()
            .map(|port| listen::udp(*port))
            .collect::<Result<_, _>>()?;
        let relay = Self {
            config,
            hub,
            relay,
            udp,
        };
        relay.log_addresses();
        Ok(relay)
    }

    /// Where backends connect.
    pub fn hub_address(&self) -> Option<SocketAddr> {
        self.hub.local_addr().ok()
    }

    /// The TCP ports users connect to, in the order of the configuration.
    pub fn relay_ports(&self) -> Vec<u16> {
        self.relay
            .iter()
            .filter_map(|l| l.local_addr().ok())
            .map(|a| a.port())
            .collect()
    }

    /// The UDP ports users send to, in the order of the configuration.
    pub fn udp_ports(&self) -> Vec<u16> {
        self.udp
            .iter()
            .filter_map(|s| s.local_addr().ok())
            .map(|a| a.port())
            .collect()
    }

    /// One line per port: whoever started the relay on port 0 reads its ports here.
    fn log_addresses(&self) {
        if let Some(addr) = self.hub_address() {
            info!(role = %"hub", %addr, "listening");
        }
        for port in self.relay_ports() {
            info!(role = %"relay", port, "listening");
        }
        for port in self.udp_ports() {
            info!(role = %"udp", port, "listening");
        }
    }

    /// Serves until `shutdown` is done, then closes listeners and connections at once: backends
    /// see the end of the stream without a Close frame.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let (relay_ports, udp_ports) = (self.relay_ports(), self.udp_ports());
        let tasks = Tasks::default();
        let peeks = Arc::new(Semaphore::new(
            self.config
                .peek
                .concurrent
                .unwrap_or(Semaphore::MAX_PERMITS),
        ));
        let hub = Arc::new(Hub::new(self.config));
        tasks.spawn(hub::run(self.hub, Arc::clone(&hub), tasks.clone()));
        for (listener, port) in self.relay.into_iter().zip(relay_ports) {
            tasks.spawn(relay_port::run(
                listener,
                port,
                Arc::clone(&hub),
                Arc::clone(&peeks),
                tasks.clone(),
            ));
        }
        for (socket, port) in self.udp.into_iter().zip(udp_ports) {
            tasks.spawn(udp_port::run(socket, port, Arc::clone(&hub), tasks.clone()));
        }
        shutdown.await;
        info!("stopping");
        tasks.stop().await;
    }
}
