//! piccolod: starts, watches, restarts and stops the services of a Piccolo device.

#![forbid(unsafe_code)]

use piccolod::{Arguments, Config, Deployment, Layers, prepare_process, run};
use std::{error::Error, process::ExitCode};

/// EX_CONFIG of sysexits(3): not worth a restart before the configuration changes.
const CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let layers = Layers {
        file: arguments.config,
        environment: std::env::vars_os().collect(),
    };
    let config = match Config::load(layers) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("piccolod: {error}");
            return ExitCode::from(CONFIGURATION);
        }
    };
    if arguments.check {
        println!("piccolod: the configuration is valid");
        return ExitCode::SUCCESS;
    }
    match supervise(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("piccolod: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn supervise(config: Config) -> Result<(), Box<dyn Error>> {
    let deployment = Deployment::beside_this_executable()?;
    prepare_process()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run(config, deployment));
    // A look at /proc in progress must not hold up the exit.
    runtime.shutdown_background();
    Ok(outcome?)
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
