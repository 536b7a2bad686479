//! The rule of each setting.

use super::{
    Config, ConfigError, Engine, Given, Key, Origin, Place, PortRange, Portal, Privileges,
};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};
use tracing_subscriber::EnvFilter;

/// `sun_path` holds 107 bytes, and the longest name under the runtime directory takes some 35.
const RUNTIME_DIR_LIMIT: usize = 70;

/// Checks every setting and fills in the defaults.
pub(super) fn check(given: BTreeMap<Key, Given>) -> Result<Config, ConfigError> {
    let settings = Settings { given };
    let state_dir = settings.path(Key::StateDir)?;
    let runtime_dir = settings.runtime_dir(&state_dir)?;
    let ports_host_bind = settings.port_range(Key::PortsHostBind)?;
    Ok(Config {
        privileges: settings.privileges()?,
        portal: settings.portal()?,
        health_listen: settings.loopback(Key::HealthListen)?,
        ports_public: settings.disjoint(Key::PortsPublic, ports_host_bind)?,
        ports_host_bind,
        engine: settings.engine()?,
        acme_directory: settings.https_url(Key::AcmeDirectory)?,
        acme_ca_file: settings.optional_path(Key::AcmeCaFile)?,
        remote_ca_file: settings.optional_path(Key::RemoteCaFile)?,
        updates_driver: settings.one_of(
            Key::UpdatesDriver,
            &[
                "auto",
                "transactional-update",
                "update-engine",
                "simulated",
                "none",
            ],
        )?,
        cluster_provider: settings.one_of(Key::ClusterProvider, &["single", "simulated"])?,
        log: settings.log_filter()?,
        state_dir,
        runtime_dir,
    })
}

/// Of the settings that have one.
const fn default(key: Key) -> Option<&'static str> {
    match key {
        Key::StateDir => Some("/var/lib/piccolo"),
        Key::RuntimeDir => Some("/run/piccolo"),
        Key::Privileges => Some("separate"),
        Key::PortalHttp => Some("[::]:80"),
        Key::PortalHttps => Some("[::]:443"),
        Key::HealthListen => Some("127.0.0.1:8600"),
        Key::PortsHostBind => Some("15000-25000"),
        Key::PortsPublic => Some("35000-45000"),
        Key::AcmeDirectory => Some("https://acme-v02.api.letsencrypt.org/directory"),
        Key::UpdatesDriver => Some("auto"),
        Key::ClusterProvider => Some("single"),
        Key::Log => Some("info,zeromq=warn,hyper=warn,rustls=warn"),
        Key::PortalHosts | Key::EngineSocket | Key::AcmeCaFile | Key::RemoteCaFile => None,
    }
}

struct Settings {
    given: BTreeMap<Key, Given>,
}

impl Settings {
    /// Given, or the default, or empty.
    fn text(&self, key: Key) -> &str {
        self.given
            .get(&key)
            .map(|given| given.text.as_str())
            .or(default(key))
            .unwrap_or_default()
    }

    fn broken(&self, key: Key, rule: impl Into<String>) -> ConfigError {
        let given = self.given.get(&key);
        ConfigError::Rule {
            place: Place {
                key,
                origin: given.map_or(Origin::Default, |given| given.origin.clone()),
            },
            text: self.text(key).to_owned(),
            rule: rule.into(),
        }
    }

    fn path(&self, key: Key) -> Result<PathBuf, ConfigError> {
        let path = PathBuf::from(self.text(key));
        if path.is_absolute() {
            Ok(path)
        } else {
            Err(self.broken(key, "must be an absolute path; write it from / on"))
        }
    }

    fn optional_path(&self, key: Key) -> Result<Option<PathBuf>, ConfigError> {
        self.given.get(&key).map(|_| self.path(key)).transpose()
    }

    fn runtime_dir(&self, state_dir: &PathBuf) -> Result<PathBuf, ConfigError> {
        let key = Key::RuntimeDir;
        let path = self.path(key)?;
        if path.as_os_str().len() > RUNTIME_DIR_LIMIT {
            let rule = format!(
                "must be at most {RUNTIME_DIR_LIMIT} bytes long, since a socket's path is \
                 limited; choose a shorter one"
            );
            return Err(self.broken(key, rule));
        }
        if path == *state_dir {
            return Err(self.broken(key, "must differ from state_dir; choose a tmpfs"));
        }
        Ok(path)
    }

    fn privileges(&self) -> Result<Privileges, ConfigError> {
        match self.text(Key::Privileges) {
            "shared" => Ok(Privileges::Shared),
            "separate" => Err(self.broken(
                Key::Privileges,
                "is not available in this version: services can't run under separate users yet; \
                 set privileges = \"shared\" (PICCOLO_PRIVILEGES=shared) to run them all as one",
            )),
            _ => Err(self.broken(
                Key::Privileges,
                "must be \"separate\" or \"shared\"; write one of them",
            )),
        }
    }

    fn portal(&self) -> Result<Portal, ConfigError> {
        let http = self.address(Key::PortalHttp)?;
        let https = self.address(Key::PortalHttps)?;
        if http.port() != 0 && http.port() == https.port() {
            let rule = "must have another port than portal.http; change one of them";
            return Err(self.broken(Key::PortalHttps, rule));
        }
        Ok(Portal {
            http,
            https,
            hosts: self.hosts()?,
        })
    }

    fn hosts(&self) -> Result<Vec<String>, ConfigError> {
        let names = self.text(Key::PortalHosts).split(',').map(str::trim);
        let names: Vec<_> = names
            .filter(|name| !name.is_empty())
            .map(str::to_lowercase)
            .collect();
        if names.iter().all(|name| is_host_name(name)) {
            Ok(names)
        } else {
            let rule = "must be host names without ports; correct the list";
            Err(self.broken(Key::PortalHosts, rule))
        }
    }

    fn address(&self, key: Key) -> Result<SocketAddr, ConfigError> {
        self.text(key).parse().map_err(|_| {
            let example = default(key).unwrap_or_default();
            self.broken(
                key,
                format!("must be an IP address and a port; write it like {example}"),
            )
        })
    }

    /// What answers without a password must not be reachable from outside.
    fn loopback(&self, key: Key) -> Result<SocketAddr, ConfigError> {
        let address = self.address(key)?;
        if address.ip().is_loopback() {
            Ok(address)
        } else {
            let rule = "must be a loopback address, since it answers without a password; \
                        write it like 127.0.0.1:8600";
            Err(self.broken(key, rule))
        }
    }

    fn port_range(&self, key: Key) -> Result<PortRange, ConfigError> {
        let range = self.text(key).split_once('-').and_then(|(first, last)| {
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first > 0 && first <= last).then_some(PortRange { first, last })
        });
        range.ok_or_else(|| {
            let example = default(key).unwrap_or_default();
            self.broken(
                key,
                format!("must be FIRST-LAST, two ports in order; write it like {example}"),
            )
        })
    }

    fn disjoint(&self, key: Key, other: PortRange) -> Result<PortRange, ConfigError> {
        let range = self.port_range(key)?;
        if range.last < other.first || other.last < range.first {
            Ok(range)
        } else {
            let rule = format!("must not overlap ports.host_bind ({other}); move one of them");
            Err(self.broken(key, rule))
        }
    }

    fn engine(&self) -> Result<Engine, ConfigError> {
        let path = self.optional_path(Key::EngineSocket)?;
        Ok(path.map_or(Engine::FirstFound, Engine::Given))
    }

    fn https_url(&self, key: Key) -> Result<String, ConfigError> {
        let url = self.text(key);
        let host = url.strip_prefix("https://").unwrap_or_default();
        if host.is_empty() || url.contains(char::is_whitespace) {
            let rule = "must be an https:// address; write it like \
                        https://acme.example.com/directory";
            return Err(self.broken(key, rule));
        }
        Ok(url.to_owned())
    }

    fn one_of(&self, key: Key, known: &[&str]) -> Result<String, ConfigError> {
        let text = self.text(key);
        if known.contains(&text) {
            Ok(text.to_owned())
        } else {
            let known = known.join(", ");
            Err(self.broken(key, format!("must be one of {known}; choose one")))
        }
    }

    fn log_filter(&self) -> Result<String, ConfigError> {
        let text = self.text(Key::Log);
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(self.broken(
                Key::Log,
                format!("must be a log filter ({error}); write it like info,piccolo_store=debug"),
            )),
        }
    }
}

/// RFC 1123 section 2.1: labels of letters, digits and inner hyphens, 253 bytes in all.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}
