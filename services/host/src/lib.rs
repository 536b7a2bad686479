//! Root's hands, kept narrow: mounts, the firewall table, device identity.
//!
//! ```text
//!   store ──host.mount, host.unmount, host.list-mounts──► bus ──► volume ──► gocryptfs, /proc
//!   apps  ──host.set-egress──────────────────────────────► │ ──► firewall ─► nft
//!   all   ──host.read-device, host.read-updates──────────► │ ──► device, updates
//!                                                          └───► audit, board
//! ```
//!
//! It opens no network socket and parses no byte from the LAN, a registry or the internet. Every
//! path comes from a checked volume id and the state directory, every program from a fixed list of
//! directories, every line of the firewall from a checked bridge name. What it mounts outlives it.

#![forbid(unsafe_code)]

mod audit;
mod bus;
mod config;
mod device;
mod error;
mod firewall;
mod fuse;
mod program;
mod reserved_ports;
mod updates;
mod volume;

pub use config::Config;

use audit::Audit;
use firewall::Firewall;
use piccolo_bus_client::{Bus, Handlers};
use piccolo_bus_schema::health::Level;
use piccolo_runtime::{Board, Exit, Process};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use volume::Volumes;

/// How often the firewall table and FUSE are looked at: a flushed table opens every app to
/// everything, so it must not stay away for long; looking costs one `nft` process.
const WATCH_EVERY: Duration = Duration::from_secs(10);

/// Runs the service until shutdown is requested. Mounts and the firewall table stay.
pub async fn run(config: Config, process: Process) -> Result<(), Exit> {
    let Process {
        bus,
        board,
        shutdown,
        ..
    } = process;
    let host = Host::start(&bus, &board, config).await;
    piccolo_runtime::serve(&bus, &board, &shutdown, host.handlers).await
}

/// Everything that runs, and what answers commands.
pub struct Host {
    /// To be served on the bus.
    pub handlers: Handlers,
    /// The watch; it ends when this is dropped.
    pub tasks: JoinSet<()>,
}

impl Host {
    /// Puts the deny-all firewall table up if none stands, reserves the port ranges, and starts
    /// watching. What is missing on this machine is told on the board; it never fails.
    pub async fn start(bus: &Bus, board: &Board, config: Config) -> Self {
        board.ok("host", "serving");
        let firewall = Arc::new(Firewall::new(board.clone()));
        firewall.start().await;
        reserve_ports(board, &config);
        fuse::check(board).await;

        let mut tasks = JoinSet::new();
        tasks.spawn(watch(board.clone(), Arc::clone(&firewall)));
        Self {
            handlers: bus::handlers(bus::Desk {
                bus: bus.clone(),
                audit: Audit::new(bus.clone()),
                volumes: Arc::new(Volumes::new(&config.state_dir)),
                firewall,
                clock: Arc::default(),
                driver: config.driver,
            }),
            tasks,
        }
    }
}

fn reserve_ports(board: &Board, config: &Config) {
    match reserved_ports::reserve(&config.reserved) {
        Ok(entry) => tracing::info!(reserved = entry, "port ranges are reserved"),
        Err(error) => {
            tracing::warn!(%error, "port ranges are not reserved");
            let words = format!(
                "the ports of apps are not reserved ({error}), so another program may take one; \
                 check that /proc/sys/net can be written"
            );
            board.set("ports", Level::Warn, words);
        }
    }
}

async fn watch(board: Board, firewall: Arc<Firewall>) {
    let mut tick = interval(WATCH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        firewall.check().await;
        fuse::check(&board).await;
    }
}
