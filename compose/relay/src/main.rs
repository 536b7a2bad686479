#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use nexus_relay::{Relay, args, config, log};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

const FAILED: u8 = 1;
const USAGE: u8 = 64;
const CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let _log = log::start();
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(error) => {
            error!(file = %args.config.display(), "configuration: {}", chain(&error));
            return ExitCode::from(CONFIGURATION);
        }
    };
    for warning in &loaded.warnings {
        warn!("configuration: {warning}");
    }
    match run(loaded.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", chain(error.as_ref()));
            ExitCode::from(FAILED)
        }
    }
}

#[tokio::main]
async fn run(config: config::Config) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let relay = Relay::bind(config).await?;
    relay
        .serve(async {
            tokio::select! {
                _ = terminate.recv() => info!("SIGTERM"),
                _ = interrupt.recv() => info!("SIGINT"),
            }
        })
        .await;
    Ok(())
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    std::iter::successors(Some(error), |error| <dyn Error>::source(*error))
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
