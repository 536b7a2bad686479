//! What the file says, before any rule.

use super::{ConfigError, Given, Key, Origin, key};
use serde::Deserialize;
use std::{collections::BTreeMap, ops::Range, path::Path};
use toml::Spanned;

type Text = Option<Spanned<String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    state_dir: Text,
    runtime_dir: Text,
    privileges: Text,
    portal: RawPortal,
    health: RawHealth,
    ports: RawPorts,
    engine: RawEngine,
    acme: RawAcme,
    remote: RawRemote,
    updates: RawUpdates,
    cluster: RawCluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPortal {
    http: Text,
    https: Text,
    hosts: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHealth {
    listen: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPorts {
    host_bind: Text,
    public: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEngine {
    socket: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAcme {
    directory: Text,
    ca_file: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRemote {
    ca_file: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawUpdates {
    driver: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCluster {
    provider: Text,
}

/// The settings a file gives, each with its line.
pub(super) fn parse(path: &Path, text: &str) -> Result<BTreeMap<Key, Given>, ConfigError> {
    let raw: RawConfig = toml::from_str(text).map_err(|error| syntax(path, text, &error))?;
    let hosts = raw.portal.hosts.map(|hosts| {
        let span = hosts.span();
        Spanned::new(span, hosts.into_inner().join(","))
    });
    let values = [
        (Key::StateDir, raw.state_dir),
        (Key::RuntimeDir, raw.runtime_dir),
        (Key::Privileges, raw.privileges),
        (Key::PortalHttp, raw.portal.http),
        (Key::PortalHttps, raw.portal.https),
        (Key::PortalHosts, hosts),
        (Key::HealthListen, raw.health.listen),
        (Key::PortsHostBind, raw.ports.host_bind),
        (Key::PortsPublic, raw.ports.public),
        (Key::EngineSocket, raw.engine.socket),
        (Key::AcmeDirectory, raw.acme.directory),
        (Key::AcmeCaFile, raw.acme.ca_file),
        (Key::RemoteCaFile, raw.remote.ca_file),
        (Key::UpdatesDriver, raw.updates.driver),
        (Key::ClusterProvider, raw.cluster.provider),
    ];
    Ok(values
        .into_iter()
        .filter_map(|(key, value)| {
            let value = value?;
            let line = line_of(text, &value.span());
            let path = path.to_owned();
            let given = Given {
                text: value.into_inner(),
                origin: Origin::File { path, line },
            };
            Some((key, given))
        })
        .collect())
}

/// Lines are counted from one.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.get(..span.start).unwrap_or(text);
    before.matches('\n').count() + 1
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map_or(1, |span| line_of(text, &span));
    let excerpt = text.lines().nth(line - 1).unwrap_or_default().trim();
    let why = error.message().replace('\n', ", ");
    ConfigError::Syntax {
        path: path.to_owned(),
        line,
        excerpt: excerpt.chars().take(80).collect(),
        next_step: next_step(error, text, &why),
        why,
    }
}

fn next_step(error: &toml::de::Error, text: &str, why: &str) -> String {
    if !why.contains("unknown field") {
        return "; correct this line".to_owned();
    }
    let typed = error.span().and_then(|span| text.get(span));
    let known = Key::ALL
        .into_iter()
        .filter(|key| *key != Key::Log)
        .flat_map(|key| key.name().split('.'));
    super::did_you_mean(key::nearest(typed.unwrap_or_default(), known))
}
