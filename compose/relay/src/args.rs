//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

/// A relay for the Nexus remote-access protocol.
#[derive(Debug, Parser)]
#[command(name = "nexus-relay", version)]
pub struct Args {
    /// The YAML configuration file; also accepted with a single dash.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Parses `arguments`, the program's name first. The flag is traditionally written with one dash,
/// which clap would read as a heap of short options.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    Args::try_parse_from(arguments.into_iter().map(with_two_dashes))
}

fn with_two_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text == "-config" || text.starts_with("-config=") => {
            format!("-{text}").into()
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<PathBuf, clap::Error> {
        parse(["nexus-relay"].iter().chain(arguments).map(OsString::from)).map(|args| args.config)
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        for arguments in [
            &["-config", "a.yaml"][..],
            &["--config", "a.yaml"],
            &["-config=a.yaml"],
            &["--config=a.yaml"],
        ] {
            assert_eq!(parsed(arguments).unwrap(), PathBuf::from("a.yaml"));
        }
        assert!(parsed(&[]).is_err());
        assert!(parsed(&["-conf", "a"]).is_err());
    }
}
