//! The command line.

use clap::{Parser, error::ErrorKind};
use std::{path::PathBuf, process::ExitCode};

/// EX_USAGE of sysexits(3).
const USAGE: u8 = 64;

/// Starts, watches, restarts and stops the services of a Piccolo device.
///
/// Every key of the file can also be given as PICCOLO_<SECTION>_<KEY>.
#[derive(Debug, Parser)]
#[command(name = "piccolod", version)]
pub struct Arguments {
    /// The configuration file. Without it /etc/piccolo/piccolo.toml is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Validates the configuration and exits: 0 valid, 78 not.
    #[arg(long)]
    pub check: bool,
}

impl Arguments {
    /// Parses the process's arguments. `Err` is the exit code after help, version or a usage error
    /// was printed.
    pub fn parse() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // A closed stdout changes nothing about the exit code.
            let _ = error.print();
            ExitCode::from(if asked { 0 } else { USAGE })
        })
    }
}
