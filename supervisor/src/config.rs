//! The configuration: defaults, file and environment in, checked values out.
//!
//! ```text
//!   file ──raw.rs──► Given ┐
//!                          ├─ environment over file ──rules.rs──► Config ──► children's PICCOLO_*
//!   PICCOLO_* ──key.rs───► ┘
//! ```

mod key;
mod raw;
mod rules;

pub use key::Key;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Read when no `--config` is given; it need not exist.
const DEFAULT_FILE: &str = "/etc/piccolo/piccolo.toml";

/// Where the engine's socket is looked for when none is configured.
const ENGINES: [&str; 2] = ["/run/podman/podman.sock", "/var/run/docker.sock"];

/// Where settings come from.
#[derive(Debug, Default)]
pub struct Layers {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The process's environment, all of it.
    pub environment: Vec<(OsString, OsString)>,
}

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub state_dir: PathBuf,
    pub runtime_dir: PathBuf,
    pub privileges: Privileges,
    pub portal: Portal,
    pub health_listen: SocketAddr,
    pub ports_host_bind: PortRange,
    pub ports_public: PortRange,
    pub engine: Engine,
    pub acme_directory: String,
    /// `None`: the system's roots.
    pub acme_ca_file: Option<PathBuf>,
    /// `None`: the system's roots.
    pub remote_ca_file: Option<PathBuf>,
    pub updates_driver: String,
    pub cluster_provider: String,
    /// The log filter of all processes, in `tracing`'s directive syntax.
    pub log: String,
}

/// Under which users the services run. Separate users are refused by [`Config::load`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// All as the user of piccolod.
    Shared,
}

/// Where the portal listens and under which names it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portal {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub hosts: Vec<String>,
}

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// Which container engine's socket is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    Given(PathBuf),
    /// The first known one that exists when a service starts: an engine may be installed later.
    FirstFound,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment,
}

/// A text and where it was written.
#[derive(Clone, Debug)]
struct Given {
    text: String,
    origin: Origin,
}

/// The configuration can't be used. One line: where, what, the rule and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: can't be read ({source}); correct the path or leave --config out", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} line {line} (`{excerpt}`): {why}{next_step}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        excerpt: String,
        why: String,
        next_step: String,
    },
    #[error("{variable} is no setting of piccolod{}", did_you_mean(suggestion.as_deref()))]
    UnknownVariable {
        variable: String,
        suggestion: Option<String>,
    },
    #[error("{variable} is not valid UTF-8; write it in plain text")]
    NotText { variable: String },
    #[error("{place} = {text:?} {rule}")]
    Rule {
        place: Place,
        text: String,
        rule: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(
        || "; remove it".to_owned(),
        |known| format!("; did you mean {known}?"),
    )
}

/// A key and where its value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub key: Key,
    pub origin: Origin,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => write!(f, "{} (the default)", self.key.name()),
            Origin::File { path, line } => {
                write!(f, "{} line {line}: {}", path.display(), self.key.name())
            }
            Origin::Environment => f.write_str(&self.key.variable()),
        }
    }
}

impl Config {
    /// Reads and checks everything; touches nothing but the file.
    pub fn load(layers: Layers) -> Result<Self, ConfigError> {
        let mut given = match layers.file {
            Some(path) => read(&path)?,
            None => match read(Path::new(DEFAULT_FILE)) {
                Err(ConfigError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    BTreeMap::new()
                }
                other => other?,
            },
        };
        given.extend(key::environment(layers.environment)?);
        rules::check(given)
    }

    /// What every child is told: the settings in their final form. Unset optional ones are absent.
    pub fn environment(&self) -> Vec<(String, String)> {
        Key::ALL
            .into_iter()
            .filter_map(|key| Some((key.variable(), self.text(key)?)))
            .collect()
    }

    fn text(&self, key: Key) -> Option<String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        Some(match key {
            Key::StateDir => path(&self.state_dir),
            Key::RuntimeDir => path(&self.runtime_dir),
            Key::Privileges => self.privileges.to_string(),
            Key::PortalHttp => self.portal.http.to_string(),
            Key::PortalHttps => self.portal.https.to_string(),
            Key::PortalHosts if self.portal.hosts.is_empty() => return None,
            Key::PortalHosts => self.portal.hosts.join(","),
            Key::HealthListen => self.health_listen.to_string(),
            Key::PortsHostBind => self.ports_host_bind.to_string(),
            Key::PortsPublic => self.ports_public.to_string(),
            Key::EngineSocket => path(&self.engine.socket()?),
            Key::AcmeDirectory => self.acme_directory.clone(),
            Key::AcmeCaFile => path(self.acme_ca_file.as_deref()?),
            Key::RemoteCaFile => path(self.remote_ca_file.as_deref()?),
            Key::UpdatesDriver => self.updates_driver.clone(),
            Key::ClusterProvider => self.cluster_provider.clone(),
            Key::Log => self.log.clone(),
        })
    }
}

impl Engine {
    /// The socket as of now; `None` when no engine is found.
    fn socket(&self) -> Option<PathBuf> {
        match self {
            Self::Given(path) => Some(path.clone()),
            Self::FirstFound => ENGINES
                .into_iter()
                .map(PathBuf::from)
                .find(|path| path.exists()),
        }
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared"),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

fn read(path: &Path) -> Result<BTreeMap<Key, Given>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    raw::parse(path, &text)
}

#[cfg(test)]
mod tests;
