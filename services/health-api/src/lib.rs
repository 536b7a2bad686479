//! The device's face: HTTP API, sessions, health endpoint, event stream, and the portal's pages.
//!
//! ```text
//!   health.listen (loopback) ─┐                      ┌─► gate.rs   host, lock, session, CSRF, leader
//!   portal.sock: router-proxy ├─► door.rs ─► table.rs┤
//!   portal.sock: operator ────┘   who asks           └─► http/*.rs ──► bus commands ──► other services
//!
//!   picture.rs    follows lock, leadership and the portal's name, so that gates answer at once
//!   watch.rs      asks every service for its report; readiness.rs (pure) adds them up
//!   events.rs     all topics of the bus → one SSE stream with resume
//! ```
//!
//! It answers as long as it lives: every other service may be down.

#![forbid(unsafe_code)]

#[cfg(test)]
mod api_tests;
mod config;
mod door;
mod events;
mod gate;
mod http;
mod openapi;
mod picture;
mod portal;
mod problem;
mod readiness;
mod server;
mod session;
mod supervisor;
mod table;
mod watch;

pub use config::Config;

use events::Hub;
use piccolo_bus_client::{Bus, Handlers};
use piccolo_runtime::{Exit, Process};
use picture::Picture;
use std::sync::Arc;
use watch::Watch;

/// What every handler can reach.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) config: Arc<Config>,
    pub(crate) picture: Picture,
    pub(crate) watch: Watch,
    pub(crate) hub: Hub,
    pub(crate) started: std::time::Instant,
}

/// Serves until asked to stop.
pub async fn run(config: Config, process: Process) -> Result<(), Exit> {
    let Process {
        bus,
        board,
        shutdown,
        ..
    } = process;
    board.ok("health-api", "answering");
    let picture = Picture::follow(&bus);
    let hub = Hub::follow(&bus, picture.clone());
    let watch = Watch::start(&bus, &config, picture.clone());
    let app = App {
        bus: bus.clone(),
        config: Arc::new(config),
        picture,
        watch,
        hub,
        started: std::time::Instant::now(),
    };
    let servers = server::start(app, shutdown.clone()).await?;
    let outcome = piccolo_runtime::serve(&bus, &board, &shutdown, Handlers::new()).await;
    servers.drain().await;
    outcome
}
