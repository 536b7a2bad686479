//! The configuration file: YAML, read whole and checked before anything else happens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_yaml_ng::Value;
use thiserror::Error;

use crate::claims::ClaimPolicy;
use crate::frame::MAX_PAYLOAD;
use crate::identity::{self, IdentityError};
use crate::token::Secret;

/// The file as written. Zero, empty and absent mean the same: the default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawConfig {
    backend_listen_address: String,
    relay_ports: Vec<u16>,
    udp_relay_ports: Vec<u16>,
    #[serde(rename = "backendsJWTSecret")]
    backends_jwt_secret: String,
    #[serde(rename = "remoteVerifierURL")]
    remote_verifier_url: String,
    hub_tls_cert_file: String,
    hub_tls_key_file: String,
    hub_public_hostname: String,
    idle_timeout_seconds: u32,
    maintenance_grace_default_seconds: Option<u32>,
    total_bandwidth_mbps: f64,
    #[serde(rename = "allowedTCPPortClaims")]
    allowed_tcp_port_claims: Vec<u16>,
    #[serde(rename = "allowedUDPPortClaims")]
    allowed_udp_port_claims: Vec<u16>,
    udp_max_flows: usize,
    udp_max_datagram_bytes: usize,
    udp_flow_idle_timeout_default_seconds: u32,
    udp_flow_idle_timeout_min_seconds: u32,
    udp_flow_idle_timeout_max_seconds: u32,
    peers: Vec<Value>,
    #[serde(rename = "registrationURL")]
    registration_url: String,
    stun_port: u16,
    allow_outbound: bool,
    allowed_outbound_ports: Vec<u16>,
    max_outbound_conns_per_backend: i64,
    outbound_dial_timeout_seconds: u32,
    outbound_idle_timeout_seconds: u32,
    peek_timeouts: RawPeekTimeouts,
    max_concurrent_peeks: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawPeekTimeouts {
    first_byte_seconds: u32,
    idle_extension_seconds: u32,
    absolute_max_seconds: u32,
}

/// Keys the protocol's own relay knows. Others are ignored with a warning.
const KNOWN_KEYS: &[&str] = &[
    "backendListenAddress",
    "relayPorts",
    "udpRelayPorts",
    "backendsJWTSecret",
    "remoteVerifierURL",
    "hubTlsCertFile",
    "hubTlsKeyFile",
    "hubPublicHostname",
    "acmeCacheDir",
    "idleTimeoutSeconds",
    "maintenanceGraceDefaultSeconds",
    "totalBandwidthMbps",
    "allowedTCPPortClaims",
    "allowedUDPPortClaims",
    "udpMaxFlows",
    "udpMaxDatagramBytes",
    "udpFlowIdleTimeoutDefaultSeconds",
    "udpFlowIdleTimeoutMinSeconds",
    "udpFlowIdleTimeoutMaxSeconds",
    "peers",
    "peerListenAddress",
    "peerAuthentication",
    "registrationURL",
    "region",
    "stunPort",
    "allowOutbound",
    "allowedOutboundPorts",
    "maxOutboundConnsPerBackend",
    "outboundDialTimeoutSeconds",
    "outboundIdleTimeoutSeconds",
    "peekTimeouts",
    "maxConcurrentPeeks",
];

/// Checked settings of one relay.
#[derive(Debug, Clone)]
pub struct Config {
    pub hub: HubAddress,
    /// TLS of the hub, certificate and key loaded.
    pub tls: Arc<rustls::ServerConfig>,
    pub secret: Secret,
    pub claims: ClaimPolicy,
    /// Bound on all addresses; 0 lets the kernel choose.
    pub relay_ports: Vec<u16>,
    /// A user connection without traffic ends after this; `None` never.
    pub idle: Option<Duration>,
    pub peek: PeekLimits,
    pub udp: UdpLimits,
    pub outbound: OutboundLimits,
}

/// Where backends connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubAddress {
    /// Every address, IPv4 and IPv6.
    All {
        port: u16,
    },
    One {
        host: String,
        port: u16,
    },
}

/// How long and how often strangers may be listened to before a route is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeekLimits {
    pub first_byte: Duration,
    pub extension: Duration,
    pub total: Duration,
    /// Connections at a time; `None` without limit.
    pub concurrent: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpLimits {
    pub ports: Vec<u16>,
    /// Per port; the flow unused for longest makes room.
    pub flows: usize,
    pub datagram: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundLimits {
    pub enabled: bool,
    /// Empty means all.
    pub ports: BTreeSet<u16>,
    /// Established and dialing, per session; `None` without limit.
    pub connections: Option<usize>,
    pub dial: Duration,
    pub idle: Option<Duration>,
}

/// Why the relay cannot run with this file. Every text names the key.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("not valid YAML for this relay")]
    Yaml(#[from] serde_yaml_ng::Error),
    #[error("{key}: required")]
    Missing { key: &'static str },
    #[error("{key}: {why}")]
    Invalid { key: &'static str, why: String },
    #[error("{key}: not supported by this relay; {instead}")]
    Unsupported {
        key: &'static str,
        instead: &'static str,
    },
    #[error("hubTlsCertFile, hubTlsKeyFile")]
    Identity(#[from] IdentityError),
}

/// A checked configuration and what its author should know about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<String>,
}

/// Reads and checks the file at `path`, and the certificate and key it names.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text)
}

/// Checks `text`, the content of a configuration file.
pub fn parse(text: &str) -> Result<Loaded, ConfigError> {
    let keys: Option<serde_yaml_ng::Mapping> = serde_yaml_ng::from_str(text)?;
    let raw: Option<RawConfig> = serde_yaml_ng::from_str(text)?;
    let raw = raw.unwrap_or_default();
    let mut warnings = unknown_keys(&keys.unwrap_or_default());
    warnings.extend(ignored_settings(&raw));
    Ok(Loaded {
        config: raw.check()?,
        warnings,
    })
}

fn unknown_keys(keys: &serde_yaml_ng::Mapping) -> Vec<String> {
    keys.keys()
        .filter_map(Value::as_str)
        .filter(|key| !KNOWN_KEYS.contains(key))
        .map(|key| format!("{key}: unknown key, ignored"))
        .collect()
}

/// Settings whose absence does not make the relay less safe, only less.
fn ignored_settings(raw: &RawConfig) -> Vec<String> {
    [
        (
            !raw.registration_url.is_empty(),
            "registrationURL: not supported, the relay registers nowhere",
        ),
        (
            raw.stun_port != 0,
            "stunPort: not supported, no STUN server is started",
        ),
        (
            raw.total_bandwidth_mbps != 0.0,
            "totalBandwidthMbps: not supported, bandwidth is not limited",
        ),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, text)| text.to_owned())
    .collect()
}

impl RawConfig {
    fn check(self) -> Result<Config, ConfigError> {
        self.refuse_unsupported()?;
        let hub = hub_address(&self.backend_listen_address)?;
        self.check_ports()?;
        if self.backends_jwt_secret.is_empty() {
            return Err(ConfigError::Missing {
                key: "backendsJWTSecret",
            });
        }
        let claims = self.claim_policy()?;
        let udp = self.udp_limits()?;
        let tls = self.identity()?;
        Ok(Config {
            hub,
            tls,
            claims,
            udp,
            idle: optional_seconds(self.idle_timeout_seconds),
            peek: self.peek_limits()?,
            outbound: self.outbound_limits()?,
            secret: Secret::new(self.backends_jwt_secret),
            relay_ports: self.relay_ports,
        })
    }

    /// Settings that would change who is let in or reached must not be dropped in silence.
    fn refuse_unsupported(&self) -> Result<(), ConfigError> {
        let manual = !self.hub_tls_cert_file.is_empty() || !self.hub_tls_key_file.is_empty();
        if !self.hub_public_hostname.is_empty() && manual {
            return Err(ConfigError::Invalid {
                key: "hubPublicHostname",
                why: "contradicts hubTlsCertFile and hubTlsKeyFile; set one or the other"
                    .to_owned(),
            });
        }
        let refusals = [
            (
                !self.hub_public_hostname.is_empty(),
                "hubPublicHostname",
                "automatic certificates are missing here: set hubTlsCertFile and hubTlsKeyFile",
            ),
            (
                !self.remote_verifier_url.is_empty(),
                "remoteVerifierURL",
                "tokens are verified with backendsJWTSecret only",
            ),
            (!self.peers.is_empty(), "peers", "this relay stands alone"),
        ];
        match refusals.into_iter().find(|(set, ..)| *set) {
            Some((_, key, instead)) => Err(ConfigError::Unsupported { key, instead }),
            None => Ok(()),
        }
    }

    fn check_ports(&self) -> Result<(), ConfigError> {
        if self.relay_ports.is_empty() {
            return Err(ConfigError::Missing { key: "relayPorts" });
        }
        no_repetition("relayPorts", &self.relay_ports)?;
        no_repetition("udpRelayPorts", &self.udp_relay_ports)
    }

    fn identity(&self) -> Result<Arc<rustls::ServerConfig>, ConfigError> {
        for (key, file) in [
            ("hubTlsCertFile", &self.hub_tls_cert_file),
            ("hubTlsKeyFile", &self.hub_tls_key_file),
        ] {
            if file.is_empty() {
                return Err(ConfigError::Missing { key });
            }
        }
        let (certificate, key) = (
            Path::new(&self.hub_tls_cert_file),
            Path::new(&self.hub_tls_key_file),
        );
        Ok(Arc::new(identity::load(certificate, key)?))
    }

    fn claim_policy(&self) -> Result<ClaimPolicy, ConfigError> {
        let min = seconds_or(self.udp_flow_idle_timeout_min_seconds, 5);
        let max = seconds_or(self.udp_flow_idle_timeout_max_seconds, 300);
        if min > max {
            return Err(ConfigError::Invalid {
                key: "udpFlowIdleTimeoutMinSeconds",
                why: format!(
                    "{} s is more than the maximum of {} s",
                    min.as_secs(),
                    max.as_secs()
                ),
            });
        }
        Ok(ClaimPolicy {
            tcp_ports: self.allowed_tcp_port_claims.iter().copied().collect(),
            udp_ports: self.allowed_udp_port_claims.iter().copied().collect(),
            udp_idle_default: seconds_or(self.udp_flow_idle_timeout_default_seconds, 30)
                .clamp(min, max),
            udp_idle_min: min,
            udp_idle_max: max,
            maintenance_cap: Duration::from_secs(
                self.maintenance_grace_default_seconds
                    .unwrap_or(1800)
                    .into(),
            ),
            outbound: self.allow_outbound,
            outbound_ports: self.allowed_outbound_ports.iter().copied().collect(),
        })
    }

    fn udp_limits(&self) -> Result<UdpLimits, ConfigError> {
        let datagram = or_default(self.udp_max_datagram_bytes, 2048);
        if datagram > MAX_PAYLOAD {
            return Err(ConfigError::Invalid {
                key: "udpMaxDatagramBytes",
                why: format!("{datagram} bytes do not fit one message of {MAX_PAYLOAD}"),
            });
        }
        Ok(UdpLimits {
            ports: self.udp_relay_ports.clone(),
            flows: or_default(self.udp_max_flows, 200_000),
            datagram,
        })
    }

    fn peek_limits(&self) -> Result<PeekLimits, ConfigError> {
        Ok(PeekLimits {
            first_byte: seconds_or(self.peek_timeouts.first_byte_seconds, 15),
            extension: seconds_or(self.peek_timeouts.idle_extension_seconds, 5),
            total: seconds_or(self.peek_timeouts.absolute_max_seconds, 30),
            concurrent: limit("maxConcurrentPeeks", self.max_concurrent_peeks, 256)?,
        })
    }

    fn outbound_limits(&self) -> Result<OutboundLimits, ConfigError> {
        Ok(OutboundLimits {
            enabled: self.allow_outbound,
            ports: self.allowed_outbound_ports.iter().copied().collect(),
            connections: limit(
                "maxOutboundConnsPerBackend",
                self.max_outbound_conns_per_backend,
                100,
            )?,
            dial: seconds_or(self.outbound_dial_timeout_seconds, 10),
            idle: optional_seconds(self.outbound_idle_timeout_seconds),
        })
    }
}

/// `host:port`, `[v6]:port`, `:port` or the port alone.
fn hub_address(text: &str) -> Result<HubAddress, ConfigError> {
    const KEY: &str = "backendListenAddress";
    if text.is_empty() {
        return Err(ConfigError::Missing { key: KEY });
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port.parse().map_err(|_| ConfigError::Invalid {
        key: KEY,
        why: format!("{text:?} does not end in a port"),
    })?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(match host {
        "" | "::" => HubAddress::All { port },
        host => HubAddress::One {
            host: host.to_owned(),
            port,
        },
    })
}

/// 0 may be repeated: each asks for a port of its own.
fn no_repetition(key: &'static str, ports: &[u16]) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    match ports
        .iter()
        .find(|port| **port != 0 && !seen.insert(**port))
    {
        Some(port) => Err(ConfigError::Invalid {
            key,
            why: format!("port {port} is listed twice"),
        }),
        None => Ok(()),
    }
}

/// 0 is the default, -1 no limit.
fn limit(key: &'static str, value: i64, default: usize) -> Result<Option<usize>, ConfigError> {
    match value {
        0 => Ok(Some(default)),
        -1 => Ok(None),
        other => usize::try_from(other)
            .map(Some)
            .map_err(|_| ConfigError::Invalid {
                key,
                why: format!("{other} is neither a limit, 0 (default) nor -1 (none)"),
            }),
    }
}

fn or_default(value: usize, default: usize) -> usize {
    if value == 0 { default } else { value }
}

fn seconds_or(value: u32, default: u32) -> Duration {
    optional_seconds(value).unwrap_or(Duration::from_secs(default.into()))
}

fn optional_seconds(value: u32) -> Option<Duration> {
    (value != 0).then(|| Duration::from_secs(value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    const MINIMAL: &str =
        "backendListenAddress: ':8443'\nrelayPorts: [443, 80]\nbackendsJWTSecret: s\n";

    fn refusal(extra: &str) -> String {
        parse(&format!("{MINIMAL}{extra}\n"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(refusal(""), "hubTlsCertFile: required");
        assert_eq!(refusal("hubTlsCertFile: c.pem"), "hubTlsKeyFile: required");
        assert_eq!(
            parse("").unwrap_err().to_string(),
            "backendListenAddress: required"
        );
        let no_ports = parse("backendListenAddress: ':1'").unwrap_err().to_string();
        assert_eq!(no_ports, "relayPorts: required");
        let no_secret = parse("backendListenAddress: ':1'\nrelayPorts: [1]")
            .unwrap_err()
            .to_string();
        assert_eq!(no_secret, "backendsJWTSecret: required");
    }

    #[test]
    fn what_this_relay_cannot_do_is_refused_by_name() {
        for (line, key) in [
            ("hubPublicHostname: a.test", "hubPublicHostname"),
            ("remoteVerifierURL: https://a.test", "remoteVerifierURL"),
            ("peers: ['wss://a.test:8444/mesh']", "peers"),
        ] {
            assert!(refusal(line).starts_with(&format!("{key}: not supported by this relay")));
        }
        assert!(refusal("hubPublicHostname: a\nhubTlsCertFile: c").contains("contradicts"));
    }

    #[test]
    fn a_wrong_type_is_reported_with_its_key() {
        for (key, value) in [("idleTimeoutSeconds", "soon"), ("udpRelayPorts", "[70000]")] {
            let error = parse(&format!("{MINIMAL}{key}: {value}\n")).unwrap_err();
            let cause = error.source().unwrap().to_string();
            assert!(cause.contains(key), "{cause}");
        }
    }

    #[test]
    fn addresses_are_taken_with_and_without_host() {
        assert_eq!(
            hub_address(":8443").unwrap(),
            HubAddress::All { port: 8443 }
        );
        assert_eq!(hub_address("8443").unwrap(), HubAddress::All { port: 8443 });
        assert_eq!(
            hub_address("[::1]:0").unwrap(),
            HubAddress::One {
                host: "::1".to_owned(),
                port: 0
            }
        );
        assert!(hub_address("relay.example").is_err());
    }

    #[test]
    fn repeated_ports_and_bad_limits_are_refused() {
        assert!(no_repetition("relayPorts", &[0, 0, 80]).is_ok());
        assert!(no_repetition("relayPorts", &[80, 80]).is_err());
        assert_eq!(limit("k", 0, 7).unwrap(), Some(7));
        assert_eq!(limit("k", -1, 7).unwrap(), None);
        assert!(limit("k", -2, 7).is_err());
    }

    #[test]
    fn unknown_and_ignored_keys_are_warned_about() {
        let keys = serde_yaml_ng::from_str("relayPorts: []\nrelayPort: 1").unwrap();
        assert_eq!(unknown_keys(&keys), ["relayPort: unknown key, ignored"]);
        let raw = serde_yaml_ng::from_str("stunPort: 3478").unwrap();
        assert!(ignored_settings(&raw)[0].starts_with("stunPort"));
    }
}
