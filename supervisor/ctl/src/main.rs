//! piccoloctl: the operator's hand on the machine.

#![forbid(unsafe_code)]

use piccoloctl::{Arguments, Screen, run};
use std::process::ExitCode;

/// A runtime could not be made.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let screen = Screen::new(arguments.json);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments, &screen)),
        Err(error) => {
            eprintln!("piccoloctl: no runtime: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen.complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}
