//! The life of a service process, from arguments to exit code.

use crate::{Board, Descriptors, Environment, InvalidSetting, Shutdown, hardening, logging};
use piccolo_bus_client::Bus;
use piccolo_bus_schema::ServiceName;
use std::{error::Error, future::Future, process::ExitCode};

/// How many threads the runtime of a service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Enough for anything that decides.
    One,
    /// For the two services that move bytes.
    PerCore,
}

/// What a service is given at its start.
pub struct Process {
    pub service: ServiceName,
    pub environment: Environment,
    pub bus: Bus,
    pub board: Board,
    pub descriptors: Descriptors,
    pub shutdown: Shutdown,
}

/// Why a service ended other than asked.
#[derive(Debug, thiserror::Error)]
pub enum Exit {
    /// Exit code 78: not restarted until the configuration changes.
    #[error("configuration")]
    Configuration(#[from] InvalidSetting),
    /// Exit code 1: restarted.
    #[error("failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl Exit {
    /// `Failed` with any error.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 78,
            Self::Failed(_) => 1,
        }
    }
}

const USAGE: u8 = 64;

/// Runs a service: arguments, logging, hardening, runtime, `body`, exit code.
pub fn run<F, Fut>(service: ServiceName, threads: Threads, body: F) -> ExitCode
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), Exit>>,
{
    if let Some(argument) = std::env::args().nth(1) {
        if argument == "--version" {
            println!("piccolo-{service} {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        eprintln!("piccolo-{service} takes no arguments (got {argument:?}); piccolod starts it");
        return ExitCode::from(USAGE);
    }
    // Descriptors first: nothing may open a new one on a handed-over number.
    let descriptors = Descriptors::from_environment();
    let environment = Environment::of_process();
    logging::install(environment.text("LOG"));
    match start(service, threads, environment, descriptors, body) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            tracing::error!(service = %service, error = chain(&exit), "stopped with an error");
            ExitCode::from(exit.code())
        }
    }
}

fn start<F, Fut>(
    service: ServiceName,
    threads: Threads,
    environment: Environment,
    descriptors: Descriptors,
    body: F,
) -> Result<(), Exit>
where
    F: FnOnce(Process) -> Fut,
    Fut: Future<Output = Result<(), Exit>>,
{
    let runtime_dir = environment.runtime_dir()?;
    hardening::apply().map_err(Exit::failed)?;
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::PerCore => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build().map_err(Exit::failed)?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.watch().map_err(Exit::failed)?;
        let process = Process {
            service,
            bus: Bus::open(&runtime_dir, service),
            environment,
            board: Board::new(),
            descriptors,
            shutdown,
        };
        body(process).await
    });
    // Blocking work in progress must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
