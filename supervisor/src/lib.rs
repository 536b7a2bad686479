//! piccolod, the supervisor: starts the services of a device, watches, restarts and stops them, and
//! keeps their sockets and descriptors while they are away.
//!
//! ```text
//!                    ┌───────────── pure ─────────────┐
//!   signals ───┐     │ fleet (who before whom)        │      ┌─► process: spawn, TERM, KILL, reap
//!   notify  ───┼──► supervisor ──► unit (one's life) ─┼─orders ─► fdstore, portal: descriptors
//!   exits   ───┤     │            └► history (delays) │      └─► systemd: READY, STATUS, fd store
//!   control ───┘     └────────────────────────────────┘
//!                 logs: pipe of each child ──► ring, files, stderr
//! ```
//!
//! It parses no bytes from outside but its own file, its environment, its children's notifications
//! and the control socket; it does not join the bus.

#![forbid(unsafe_code)]

mod arguments;
mod claim;
mod config;
mod control;
mod farewell;
mod fdstore;
mod fleet;
mod history;
mod logs;
mod notify;
mod portal;
mod process;
mod procfs;
mod reaper;
mod roster;
mod supervisor;
mod systemd;
mod table;
mod unit;

pub use arguments::Arguments;
pub use claim::ClaimError;
pub use config::{Config, ConfigError, Engine, Key, Layers, PortRange, Portal, Privileges};
pub use history::Limits;
pub use process::prepare_process;
pub use table::{UNITS, UnitSpec};

use crate::{claim::Claim, logs::Logs, supervisor::Supervisor};
use std::{io, path::PathBuf, time::Duration};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// For the last log lines to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// Which units run, from where, and how patiently.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The directory of the `piccolo-<service>` executables.
    pub binaries: PathBuf,
    pub units: Vec<UnitSpec>,
    pub limits: Limits,
}

impl Deployment {
    /// All services, from the directory of this executable.
    pub fn beside_this_executable() -> io::Result<Self> {
        let executable = std::env::current_exe()?;
        let directory = executable.parent();
        Ok(Self {
            binaries: directory.map(PathBuf::from).unwrap_or_default(),
            units: UNITS.to_vec(),
            limits: Limits::default(),
        })
    }
}

/// piccolod can't run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("directories")]
    Claim(#[from] ClaimError),
    #[error("log writers")]
    Logs(#[source] io::Error),
    #[error("signals")]
    Signals(#[source] io::Error),
    #[error("control socket")]
    Control(#[source] io::Error),
}

/// Runs everything until SIGTERM, SIGINT or SIGHUP, and then until everything has ended.
///
/// Wants [`prepare_process`] to have been called, and a runtime of one thread.
pub async fn run(config: Config, deployment: Deployment) -> Result<(), RunError> {
    let kept = systemd::take_back();
    let _claim = Claim::take(&config.state_dir, &config.runtime_dir)?;
    let names = deployment.units.iter().map(UnitSpec::name);
    let logs = Logs::start(&config.state_dir.join("logs"), names).map_err(RunError::Logs)?;
    log_through(&logs, &config.log);
    let outcome = match Supervisor::open(config, deployment, logs.clone(), kept).await {
        Ok((supervisor, inputs)) => {
            supervisor.run(inputs).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    logs.flush(FLUSH);
    outcome
}

/// Our own events take the road of all log lines.
fn log_through(logs: &Logs, filter: &str) {
    let logs = logs.clone();
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(move || logs::OwnLines(logs.clone()));
    let installed = tracing_subscriber::registry()
        .with(EnvFilter::new(filter))
        .with(lines)
        .try_init();
    if installed.is_err() {
        tracing::debug!("events go to the subscriber that was there before");
    }
}
