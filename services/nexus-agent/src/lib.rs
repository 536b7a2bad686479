//! The tunnel: visitors from the internet reach this device through one outgoing connection.
//!
//! ```text
//!   health-api ─remote.configure─► bus ─commit─► store          apps (listeners)
//!                                                  │ record, secret   │
//!                                                  └──► follow ◄──────┘
//!                                                          │ intent: relay, secret, names
//!   bus, board ◄── status ── tunnel (which sessions) ◄─────┘
//!                               │ one live, one on its way, some draining
//!   relay ◄══ WebSocket ══► session ── mux ── flow, credit, schedule (pure)
//!                               │ one Unix stream a visitor, PROXY v2 first
//!                               ▼
//!                          router-proxy
//! ```
//!
//! TLS of visitors ends at the edge, never here, and never at the relay: this process moves
//! ciphertext and knows names. It speaks the Nexus protocol; section numbers in comments are of
//! its specification.

#![forbid(unsafe_code)]

mod backoff;
mod bus;
mod config;
mod credit;
mod error;
mod flow;
mod frame;
mod hostname;
mod intent;
mod message;
mod mux;
mod proxy_header;
mod relay_address;
mod schedule;
mod session;
mod settings;
mod settled;
mod status;
mod timing;
mod token;
mod traffic;
mod tunnel;
mod wall_clock;

pub use config::Config;
pub use timing::Timing;
pub use wall_clock::WallClock;

use bus::{Desk, Follower, Peers};
use intent::Intent;
use piccolo_bus_client::{Bus, Handlers};
use piccolo_runtime::{Board, Exit, Process, Shutdown};
use session::Surroundings;
use status::Status;
use std::sync::Arc;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use traffic::Traffic;
use tunnel::Tunnel;

/// Runs the service until shutdown is requested; then sessions are closed.
pub async fn run(config: Config, process: Process) -> Result<(), Exit> {
    let Process {
        bus,
        board,
        shutdown,
        ..
    } = process;
    let agent = Agent::start(
        &bus,
        &board,
        config,
        Timing::default(),
        WallClock::of_system(),
        shutdown.clone(),
    );
    let outcome = piccolo_runtime::serve(&bus, &board, &shutdown, agent.handlers).await;
    shutdown.request();
    // Bounded by the tunnel itself.
    let _ = agent.tunnel.await;
    outcome
}

/// Everything that runs, and what answers commands.
pub struct Agent {
    /// To be served on the bus.
    pub handlers: Handlers,
    /// Ends after shutdown, when all sessions are closed.
    pub tunnel: JoinHandle<()>,
    /// Stop with the agent.
    _tasks: JoinSet<()>,
}

impl Agent {
    /// Starts following the store and the apps, and the tunnel they ask for.
    pub fn start(
        bus: &Bus,
        board: &Board,
        config: Config,
        timing: Timing,
        clock: WallClock,
        shutdown: Shutdown,
    ) -> Self {
        let traffic = Arc::new(Traffic::default());
        let peers = Peers::new(bus.clone());
        let (intent, wanted) = watch::channel(Intent::UNKNOWN);
        let (showing, status) = watch::channel(Status::UNKNOWN);
        let (follower, poke) = Follower::new(bus, peers.clone(), timing, intent);
        let surroundings = Surroundings {
            config,
            timing,
            clock,
            traffic: Arc::clone(&traffic),
        };
        let tunnel = Tunnel::new(surroundings, wanted, showing);

        let mut tasks = JoinSet::new();
        tasks.spawn(follower.run());
        tasks.spawn(bus::announce(
            bus.clone(),
            board.clone(),
            status.clone(),
            Arc::clone(&traffic),
        ));
        Self {
            handlers: bus::handlers(Desk {
                peers,
                poke,
                status,
                traffic,
            }),
            tunnel: tokio::spawn(tunnel.run(shutdown)),
            _tasks: tasks,
        }
    }
}
