//! The command line. Passwords and secrets are never part of it.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Operates a Piccolo device.
///
/// On the device, root is the operator. Elsewhere, give --url and --token-file.
/// Exit codes: 0 done, 1 failed, 2 usage, 3 locked, 4 not leader.
#[derive(Debug, Parser)]
#[command(name = "piccoloctl", version)]
pub struct Arguments {
    /// Print the API's JSON.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub noun: Noun,
}

impl Arguments {
    /// Parses the process's arguments; ends it with help (0) or a usage error (2).
    pub fn read() -> Self {
        Self::parse()
    }
}

/// Which device.
#[derive(Debug, Args)]
pub struct Target {
    /// The runtime directory of piccolod. Default: PICCOLO_RUNTIME_DIR, or /run/piccolo.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "url")]
    pub runtime_dir: Option<PathBuf>,
    /// A device elsewhere, e.g. https://box.example.com.
    #[arg(long, global = true, value_name = "URL", requires = "token_file")]
    pub url: Option<String>,
    /// File with the API token for --url.
    #[arg(long, global = true, value_name = "FILE", requires = "url")]
    pub token_file: Option<PathBuf>,
    /// A certificate (PEM) to trust for --url, beside the system's.
    #[arg(long, global = true, value_name = "FILE", requires = "url")]
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Noun {
    /// The device on one screen.
    Status,
    /// The services of the device.
    #[command(subcommand)]
    Service(Service),
    /// Set the owner's password, once. Prints the recovery words.
    Setup(PasswordSource),
    /// Unlock the device with the owner's password.
    Unlock(PasswordSource),
    /// Lock the device: apps stop, keys are forgotten.
    Lock,
    /// The owner's apps.
    #[command(subcommand)]
    App(App),
    /// Remote access.
    #[command(subcommand)]
    Remote(Remote),
    /// Certificates.
    #[command(subcommand)]
    Certificate(Certificate),
    /// Encrypted volumes.
    #[command(subcommand)]
    Volume(Volume),
    /// The control store.
    #[command(subcommand)]
    Store(Store),
    /// Who leads what.
    #[command(subcommand)]
    Leadership(Leadership),
    /// Who did what.
    #[command(subcommand)]
    Audit(Audit),
    /// Operating system updates.
    #[command(subcommand)]
    Update(Update),
}

/// Where a password comes from: a prompt, unless a file is given.
#[derive(Debug, Args)]
pub struct PasswordSource {
    /// Read the password from a file (`-`: stdin) instead of asking.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Work goes on as a job; by default its end is waited for.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wait {
    /// Return as soon as the job is recorded.
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Subcommand)]
pub enum Service {
    /// All services and their state.
    List,
    Start {
        name: String,
    },
    Stop {
        name: String,
    },
    Restart {
        name: String,
    },
    /// The last log lines.
    Logs(Logs),
}

/// Which log lines.
#[derive(Debug, Args)]
pub struct Logs {
    pub name: String,
    /// Go on with new lines as they come.
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines.
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
    pub tail: u32,
}

#[derive(Debug, Subcommand)]
pub enum App {
    /// All apps.
    List,
    /// Install an app from its specification, or change it.
    Install {
        /// A YAML file; `-` for stdin.
        file: PathBuf,
        #[command(flatten)]
        wait: Wait,
    },
    /// One app and its listeners.
    Show { name: String },
    Start {
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    Stop {
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Update to the newest image of its name, or to another image.
    Update {
        name: String,
        #[arg(long)]
        image: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Go back to the version before.
    Revert {
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Remove an app. Its data is kept.
    Remove {
        name: String,
        /// Erase its data as well.
        #[arg(long)]
        purge: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// The last log lines.
    Logs(Logs),
}

#[derive(Debug, Subcommand)]
pub enum Remote {
    /// What is true of remote access now.
    Show,
    /// Set up remote access. The device secret is asked for.
    Configure {
        /// e.g. wss://relay.example.com:8443/connect
        #[arg(long)]
        endpoint: String,
        /// Apps are reached at <listener>.<tld>.
        #[arg(long)]
        tld: String,
        /// The portal's own name.
        #[arg(long)]
        portal_hostname: String,
        /// For notices of the certificate authority.
        #[arg(long)]
        acme_email: Option<String>,
        /// Read the device secret from a file (`-`: stdin) instead of asking.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Switch remote access off.
    Disable,
}

#[derive(Debug, Subcommand)]
pub enum Certificate {
    List,
    /// Order a certificate anew.
    Renew {
        /// Its host name.
        id: String,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Subcommand)]
pub enum Volume {
    List,
}

#[derive(Debug, Subcommand)]
pub enum Store {
    /// Verify every commit and record now.
    Verify,
}

#[derive(Debug, Subcommand)]
pub enum Leadership {
    Show,
    /// Set a role by hand; needs cluster.provider = "simulated".
    Simulate {
        /// `kernel` or `app:<name>`.
        resource: String,
        /// `leader` or `follower`.
        role: String,
        /// Where the leader is, for a follower: https://...
        #[arg(long, value_name = "URL")]
        leader: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// The last entries.
    Tail {
        /// Go on with new entries as they come.
        #[arg(short, long)]
        follow: bool,
        /// How many entries.
        #[arg(short = 'n', long, value_name = "ENTRIES", default_value_t = 20)]
        tail: usize,
    },
}

#[derive(Debug, Subcommand)]
pub enum Update {
    Show,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        Arguments::command().debug_assert();
    }

    /// A secret in argv is readable by every process of the machine.
    #[test]
    fn no_option_takes_a_password_or_a_secret_but_by_file() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let secret = ["password", "secret", "token"];
                if secret.iter().any(|word| name.contains(word)) {
                    assert!(name.ends_with("_file"), "{name}");
                }
            }
            command.get_subcommands().for_each(check);
        }
        check(&Arguments::command());
    }
}
