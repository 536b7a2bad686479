//! The names of settings, in the file and in the environment.

use super::{ConfigError, Given, Origin};
use std::{collections::BTreeMap, ffi::OsString};

const PREFIX: &str = "PICCOLO_";

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    StateDir,
    RuntimeDir,
    Privileges,
    PortalHttp,
    PortalHttps,
    PortalHosts,
    HealthListen,
    PortsHostBind,
    PortsPublic,
    EngineSocket,
    AcmeDirectory,
    AcmeCaFile,
    RemoteCaFile,
    UpdatesDriver,
    ClusterProvider,
    Log,
}

impl Key {
    /// All settings.
    pub const ALL: [Self; 16] = [
        Self::StateDir,
        Self::RuntimeDir,
        Self::Privileges,
        Self::PortalHttp,
        Self::PortalHttps,
        Self::PortalHosts,
        Self::HealthListen,
        Self::PortsHostBind,
        Self::PortsPublic,
        Self::EngineSocket,
        Self::AcmeDirectory,
        Self::AcmeCaFile,
        Self::RemoteCaFile,
        Self::UpdatesDriver,
        Self::ClusterProvider,
        Self::Log,
    ];

    /// As written in the file: `section.key`. `log` is the one that only the environment has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StateDir => "state_dir",
            Self::RuntimeDir => "runtime_dir",
            Self::Privileges => "privileges",
            Self::PortalHttp => "portal.http",
            Self::PortalHttps => "portal.https",
            Self::PortalHosts => "portal.hosts",
            Self::HealthListen => "health.listen",
            Self::PortsHostBind => "ports.host_bind",
            Self::PortsPublic => "ports.public",
            Self::EngineSocket => "engine.socket",
            Self::AcmeDirectory => "acme.directory",
            Self::AcmeCaFile => "acme.ca_file",
            Self::RemoteCaFile => "remote.ca_file",
            Self::UpdatesDriver => "updates.driver",
            Self::ClusterProvider => "cluster.provider",
            Self::Log => "log",
        }
    }

    /// As written in the environment: `PICCOLO_SECTION_KEY`.
    pub fn variable(self) -> String {
        format!("{PREFIX}{}", self.name().replace('.', "_").to_uppercase())
    }
}

/// The settings among the variables of an environment. An empty variable counts as unset.
pub(super) fn environment(
    variables: Vec<(OsString, OsString)>,
) -> Result<BTreeMap<Key, Given>, ConfigError> {
    let mut given = BTreeMap::new();
    for (variable, value) in variables {
        let variable = variable.to_string_lossy().into_owned();
        if !variable.starts_with(PREFIX) {
            continue;
        }
        let Some(key) = Key::ALL.into_iter().find(|key| key.variable() == variable) else {
            let known = Key::ALL.map(Key::variable);
            let suggestion = nearest(&variable, known.iter().map(String::as_str));
            return Err(ConfigError::UnknownVariable {
                variable,
                suggestion: suggestion.map(str::to_owned),
            });
        };
        let Ok(text) = value.into_string() else {
            return Err(ConfigError::NotText { variable });
        };
        if !text.is_empty() {
            let origin = Origin::Environment;
            given.insert(key, Given { text, origin });
        }
    }
    Ok(given)
}

/// The known name with the fewest edits from a mistyped one, if it is near at all.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (edits(typed, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len() / 2)
        .map(|(_, name)| name)
}

/// Levenshtein's distance between two ASCII texts.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}
