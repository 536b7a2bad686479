//! What a backend may do, checked against this relay's rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

use crate::hostname;
use crate::route::{tcp_key, udp_key};
use crate::token::{RawClaims, RawUdpRoute};

/// How long a backend has to answer a re-authentication challenge unless its token says.
const DEFAULT_REAUTH_GRACE: Duration = Duration::from_secs(10);

/// Which of a session's tokens is being judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first: who wants in, and with what.
    Zero,
    /// The second: bound to this connection by a nonce.
    One,
    /// Every later one.
    Reauth,
}

impl Stage {
    pub fn label(self) -> &'static str {
        match self {
            Self::Zero => "stage0",
            Self::One => "stage1",
            Self::Reauth => "reauth",
        }
    }
}

/// The relay's side of the rules.
#[derive(Debug, Clone)]
pub struct ClaimPolicy {
    pub tcp_ports: BTreeSet<u16>,
    pub udp_ports: BTreeSet<u16>,
    pub udp_idle_default: Duration,
    pub udp_idle_min: Duration,
    pub udp_idle_max: Duration,
    pub maintenance_cap: Duration,
    pub outbound: bool,
    /// Empty means all.
    pub outbound_ports: BTreeSet<u16>,
}

/// What a token grants. The first five fields must stay the same for a whole session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Normalized.
    pub hostnames: BTreeSet<String>,
    pub tcp_ports: BTreeSet<u16>,
    /// Port and flow idle time-out.
    pub udp_routes: BTreeMap<u16, Duration>,
    pub outbound: bool,
    /// Empty means all.
    pub outbound_ports: BTreeSet<u16>,
    /// `None`: the token leaves it to its predecessor, or to the default of 1.
    pub weight: Option<u64>,
    pub reauth: Option<ReauthTerms>,
}

/// When the backend must prove itself again. A token without an interval never asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReauthTerms {
    pub interval: Duration,
    pub grace: Duration,
    pub maintenance_cap: Duration,
    pub status_uri: Option<String>,
}

impl Claims {
    /// Every key this session is entered under in the route table.
    pub fn route_keys(&self) -> Vec<String> {
        let tcp = self.tcp_ports.iter().map(|port| tcp_key(*port));
        let udp = self.udp_routes.keys().map(|port| udp_key(*port));
        self.hostnames
            .iter()
            .cloned()
            .chain(tcp)
            .chain(udp)
            .collect()
    }
}

/// Why valid claims are not granted. The texts are part of the protocol.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ClaimError {
    #[error("{} token missing hostnames and port claims", .0.label())]
    NothingClaimed(Stage),
    #[error("no valid hostnames after normalization")]
    NoHostnames,
    #[error("reserved route key {0:?} cannot be used as a hostname claim")]
    Reserved(String),
    #[error("{transport} port claims are disabled ({setting} is empty)")]
    PortClaimsOff {
        transport: &'static str,
        setting: &'static str,
    },
    #[error("{transport} port claim {port} is out of range")]
    PortRange { transport: &'static str, port: i64 },
    #[error("{transport} port claim {port} is not allowed")]
    PortNotAllowed { transport: &'static str, port: u16 },
    #[error("udp port claim {0} has conflicting flow idle timeouts")]
    UdpConflict(u16),
    #[error("allowed_outbound_ports set but outbound_allowed is false")]
    OutboundPortsWithoutFlag,
    #[error("backend claims outbound_allowed but server has allowOutbound disabled")]
    OutboundOff,
    #[error("{0} token missing iat for handshake_max_age_seconds", Stage::Zero.label())]
    AgeUnknown,
    #[error("{} token exceeded handshake_max_age_seconds: age={age}s max={max}s", Stage::Zero.label())]
    TooOld { age: i64, max: i64 },
    #[error("maintenance_grace_cap_seconds cannot be negative")]
    NegativeCap,
    #[error("authorizer_status_uri must use https scheme")]
    StatusScheme,
    #[error("authorizer_status_uri must include a host")]
    StatusHost,
}

/// The first difference between a session's token and a later one.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("attested token {what} {verb} from handshake token")]
pub struct Differs {
    what: &'static str,
    verb: &'static str,
}

/// Turns what a token says into what it grants. `now` is in seconds since the epoch.
pub fn check(
    raw: &RawClaims,
    stage: Stage,
    policy: &ClaimPolicy,
    now: f64,
) -> Result<Claims, ClaimError> {
    let claimed = |list: usize| list > 0;
    let hostnames = raw.hostnames.as_deref().unwrap_or_default();
    let tcp = raw.tcp_ports.as_deref().unwrap_or_default();
    let udp = raw.udp_routes.as_deref().unwrap_or_default();
    if ![hostnames.len(), tcp.len(), udp.len()]
        .into_iter()
        .any(claimed)
    {
        return Err(ClaimError::NothingClaimed(stage));
    }
    if stage == Stage::Zero {
        check_age(raw, now)?;
    }
    let (outbound, outbound_ports) = check_outbound(raw, policy)?;
    Ok(Claims {
        hostnames: check_hostnames(hostnames)?,
        tcp_ports: check_tcp(tcp, policy)?,
        udp_routes: check_udp(udp, policy)?,
        outbound,
        outbound_ports,
        weight: weight(raw.weight, stage),
        reauth: check_reauth(raw, stage, policy)?,
    })
}

/// A later token must claim the same sets as the session's first. `None` as weight means "as
/// before".
pub fn same(first: &Claims, later: &Claims) -> Result<(), Differs> {
    let first_weight = first.weight.unwrap_or(1);
    let checks = [
        (first.hostnames == later.hostnames, "hostnames", "differ"),
        (first.tcp_ports == later.tcp_ports, "tcp ports", "differ"),
        (first.udp_routes == later.udp_routes, "udp routes", "differ"),
        (
            later.weight.is_none_or(|weight| weight == first_weight),
            "weight",
            "differs",
        ),
        (
            first.outbound == later.outbound,
            "outbound_allowed",
            "differs",
        ),
        (
            first.outbound_ports == later.outbound_ports,
            "allowed outbound ports",
            "differ",
        ),
    ];
    match checks.into_iter().find(|(equal, ..)| !equal) {
        None => Ok(()),
        Some((_, what, verb)) => Err(Differs { what, verb }),
    }
}

/// Stage 0 reads anything below 1 as the default; later tokens may leave the weight out, but a
/// nonsensical one differs from every real one.
fn weight(raw: Option<i64>, stage: Stage) -> Option<u64> {
    match (stage, raw) {
        (_, None | Some(0)) => None,
        (Stage::Zero, Some(weight)) => u64::try_from(weight).ok(),
        (Stage::One | Stage::Reauth, Some(weight)) => {
            Some(u64::try_from(weight).unwrap_or(u64::MAX))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "ages are small"
)]
fn check_age(raw: &RawClaims, now: f64) -> Result<(), ClaimError> {
    let Some(max) = raw.handshake_max_age_seconds.filter(|max| *max > 0) else {
        return Ok(());
    };
    let age = now - raw.iat.ok_or(ClaimError::AgeUnknown)?;
    if age > max as f64 {
        return Err(ClaimError::TooOld {
            age: age as i64,
            max,
        });
    }
    Ok(())
}

fn check_hostnames(claimed: &[String]) -> Result<BTreeSet<String>, ClaimError> {
    let names: BTreeSet<String> = claimed
        .iter()
        .map(|name| hostname::normalize(name))
        .filter(|name| !name.is_empty())
        .collect();
    if let Some(reserved) = names.iter().find(|name| hostname::is_reserved(name)) {
        return Err(ClaimError::Reserved(reserved.clone()));
    }
    if names.is_empty() && !claimed.is_empty() {
        return Err(ClaimError::NoHostnames);
    }
    Ok(names)
}

fn check_tcp(claimed: &[i64], policy: &ClaimPolicy) -> Result<BTreeSet<u16>, ClaimError> {
    claimed
        .iter()
        .map(|port| allowed_port(*port, "tcp", "allowedTCPPortClaims", &policy.tcp_ports))
        .collect()
}

fn check_udp(
    claimed: &[RawUdpRoute],
    policy: &ClaimPolicy,
) -> Result<BTreeMap<u16, Duration>, ClaimError> {
    let mut routes = BTreeMap::new();
    for route in claimed {
        let port = allowed_port(route.port, "udp", "allowedUDPPortClaims", &policy.udp_ports)?;
        let idle = route
            .flow_idle_timeout_seconds
            .and_then(positive)
            .unwrap_or(policy.udp_idle_default)
            .clamp(policy.udp_idle_min, policy.udp_idle_max);
        if routes
            .insert(port, idle)
            .is_some_and(|earlier| earlier != idle)
        {
            return Err(ClaimError::UdpConflict(port));
        }
    }
    Ok(routes)
}

fn allowed_port(
    port: i64,
    transport: &'static str,
    setting: &'static str,
    allowed: &BTreeSet<u16>,
) -> Result<u16, ClaimError> {
    if allowed.is_empty() {
        return Err(ClaimError::PortClaimsOff { transport, setting });
    }
    let valid = in_range(port, transport)?;
    if !allowed.contains(&valid) {
        return Err(ClaimError::PortNotAllowed {
            transport,
            port: valid,
        });
    }
    Ok(valid)
}

fn in_range(port: i64, transport: &'static str) -> Result<u16, ClaimError> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or(ClaimError::PortRange { transport, port })
}

fn check_outbound(
    raw: &RawClaims,
    policy: &ClaimPolicy,
) -> Result<(bool, BTreeSet<u16>), ClaimError> {
    let allowed = raw.outbound_allowed.unwrap_or_default();
    let claimed = raw.allowed_outbound_ports.as_deref().unwrap_or_default();
    if allowed && !policy.outbound {
        return Err(ClaimError::OutboundOff);
    }
    if !allowed && !claimed.is_empty() {
        return Err(ClaimError::OutboundPortsWithoutFlag);
    }
    let mut ports = BTreeSet::new();
    for port in claimed {
        let port = in_range(*port, "outbound")?;
        if !policy.outbound_ports.is_empty() && !policy.outbound_ports.contains(&port) {
            return Err(ClaimError::PortNotAllowed {
                transport: "outbound",
                port,
            });
        }
        ports.insert(port);
    }
    Ok((allowed, ports))
}

fn check_reauth(
    raw: &RawClaims,
    stage: Stage,
    policy: &ClaimPolicy,
) -> Result<Option<ReauthTerms>, ClaimError> {
    let maintenance_cap = match raw.maintenance_grace_cap_seconds {
        None => policy.maintenance_cap,
        Some(seconds) => u64::try_from(seconds)
            .map(Duration::from_secs)
            .map_err(|_| ClaimError::NegativeCap)?,
    };
    let status_uri = check_status_uri(raw.authorizer_status_uri.as_deref().unwrap_or_default())?;
    if stage == Stage::Zero {
        return Ok(None);
    }
    Ok(raw
        .reauth_interval_seconds
        .and_then(positive)
        .map(|interval| ReauthTerms {
            interval,
            grace: raw
                .reauth_grace_seconds
                .and_then(positive)
                .unwrap_or(DEFAULT_REAUTH_GRACE),
            maintenance_cap,
            status_uri,
        }))
}

fn check_status_uri(uri: &str) -> Result<Option<String>, ClaimError> {
    let uri = uri.trim();
    if uri.is_empty() {
        return Ok(None);
    }
    let (scheme, rest) = uri.split_once(':').ok_or(ClaimError::StatusScheme)?;
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(ClaimError::StatusScheme);
    }
    let authority = rest.strip_prefix("//").unwrap_or_default();
    if authority
        .split(['/', '?', '#'])
        .next()
        .is_none_or(str::is_empty)
    {
        return Err(ClaimError::StatusHost);
    }
    Ok(Some(uri.to_owned()))
}

/// Nothing in a token lasts longer than ten years, and timers must not overflow.
fn positive(seconds: i64) -> Option<Duration> {
    const TEN_YEARS: u64 = 10 * 366 * 24 * 3600;
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.min(TEN_YEARS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NOW: f64 = 1_800_000_000.0;

    fn policy() -> ClaimPolicy {
        ClaimPolicy {
            tcp_ports: BTreeSet::from([22, 2525]),
            udp_ports: BTreeSet::from([53]),
            udp_idle_default: Duration::from_secs(30),
            udp_idle_min: Duration::from_secs(5),
            udp_idle_max: Duration::from_secs(300),
            maintenance_cap: Duration::from_secs(1800),
            outbound: true,
            outbound_ports: BTreeSet::from([443]),
        }
    }

    fn judge(claims: Value, stage: Stage, policy: &ClaimPolicy) -> Result<Claims, ClaimError> {
        let raw: RawClaims = serde_json::from_value(claims).unwrap();
        check(&raw, stage, policy, NOW)
    }

    fn granted(claims: Value, stage: Stage) -> Claims {
        judge(claims, stage, &policy()).unwrap()
    }

    #[test]
    fn each_refusal_has_the_original_text() {
        let off = ClaimPolicy {
            tcp_ports: BTreeSet::new(),
            udp_ports: BTreeSet::new(),
            outbound: false,
            ..policy()
        };
        for (claims, policy, text) in [
            (
                json!({}),
                policy(),
                "stage0 token missing hostnames and port claims",
            ),
            (
                json!({"hostnames": [" . ", ""]}),
                policy(),
                "no valid hostnames after normalization",
            ),
            (
                json!({"hostnames": ["TCP:53"]}),
                policy(),
                r#"reserved route key "tcp:53" cannot be used as a hostname claim"#,
            ),
            (
                json!({"tcp_ports": [25]}),
                policy(),
                "tcp port claim 25 is not allowed",
            ),
            (
                json!({"udp_routes": [{"port": 54}]}),
                policy(),
                "udp port claim 54 is not allowed",
            ),
            (
                json!({"tcp_ports": [25]}),
                off.clone(),
                "tcp port claims are disabled (allowedTCPPortClaims is empty)",
            ),
            (
                json!({"udp_routes": [{"port": 5}]}),
                off.clone(),
                "udp port claims are disabled (allowedUDPPortClaims is empty)",
            ),
            (
                json!({"hostnames": ["a"], "allowed_outbound_ports": [443]}),
                policy(),
                "allowed_outbound_ports set but outbound_allowed is false",
            ),
            (
                json!({"hostnames": ["a"], "outbound_allowed": true}),
                off,
                "backend claims outbound_allowed but server has allowOutbound disabled",
            ),
            (
                json!({"hostnames": ["a"], "handshake_max_age_seconds": 5}),
                policy(),
                "stage0 token missing iat for handshake_max_age_seconds",
            ),
            (
                json!({"hostnames": ["a"], "handshake_max_age_seconds": 5, "iat": NOW - 9.0}),
                policy(),
                "stage0 token exceeded handshake_max_age_seconds: age=9s max=5s",
            ),
            (
                json!({"hostnames": ["a"], "maintenance_grace_cap_seconds": -1}),
                policy(),
                "maintenance_grace_cap_seconds cannot be negative",
            ),
            (
                json!({"hostnames": ["a"], "authorizer_status_uri": "http://x"}),
                policy(),
                "authorizer_status_uri must use https scheme",
            ),
            (
                json!({"tcp_ports": [0]}),
                policy(),
                "tcp port claim 0 is out of range",
            ),
            (
                json!({"hostnames": ["a"], "outbound_allowed": true, "allowed_outbound_ports": [80]}),
                policy(),
                "outbound port claim 80 is not allowed",
            ),
        ] {
            assert_eq!(
                judge(claims, Stage::Zero, &policy).unwrap_err().to_string(),
                text
            );
        }
    }

    #[test]
    fn udp_time_outs_are_clamped_before_they_are_compared() {
        let claims = granted(
            json!({"udp_routes": [{"port": 53, "flow_idle_timeout_seconds": 1}, {"port": 53, "flow_idle_timeout_seconds": 5}]}),
            Stage::Zero,
        );
        assert_eq!(claims.udp_routes[&53], Duration::from_secs(5));
        let conflict =
            json!({"udp_routes": [{"port": 53}, {"port": 53, "flow_idle_timeout_seconds": 9}]});
        assert_eq!(
            judge(conflict, Stage::Zero, &policy()),
            Err(ClaimError::UdpConflict(53))
        );
    }

    #[test]
    fn sets_are_compared_without_order_case_or_repetition() {
        let first = granted(
            json!({"hostnames": ["a.test", "B.test"], "tcp_ports": [22, 2525]}),
            Stage::Zero,
        );
        let later = granted(
            json!({"hostnames": ["b.test.", "a.test", "A.TEST"], "tcp_ports": [2525, 22, 22]}),
            Stage::One,
        );
        assert_eq!(same(&first, &later), Ok(()));
    }

    #[test]
    fn each_difference_is_named() {
        let first = granted(json!({"hostnames": ["a"], "weight": 2}), Stage::Zero);
        for (later, text) in [
            (
                json!({"hostnames": ["b"]}),
                "attested token hostnames differ from handshake token",
            ),
            (
                json!({"hostnames": ["a"], "tcp_ports": [22]}),
                "attested token tcp ports differ from handshake token",
            ),
            (
                json!({"hostnames": ["a"], "weight": 3}),
                "attested token weight differs from handshake token",
            ),
            (
                json!({"hostnames": ["a"], "weight": -2}),
                "attested token weight differs from handshake token",
            ),
            (
                json!({"hostnames": ["a"], "outbound_allowed": true}),
                "attested token outbound_allowed differs from handshake token",
            ),
        ] {
            assert_eq!(
                same(&first, &granted(later, Stage::One))
                    .unwrap_err()
                    .to_string(),
                text
            );
        }
        for weight in [json!(null), json!(0), json!(2)] {
            let later = granted(json!({"hostnames": ["a"], "weight": weight}), Stage::Reauth);
            assert_eq!(same(&first, &later), Ok(()));
        }
    }

    #[test]
    fn reauth_terms_come_from_later_tokens_only() {
        let claims =
            json!({"hostnames": ["a"], "reauth_interval_seconds": 300, "reauth_grace_seconds": 0});
        assert_eq!(granted(claims.clone(), Stage::Zero).reauth, None);
        let terms = granted(claims, Stage::One).reauth.unwrap();
        assert_eq!(
            (terms.interval, terms.grace),
            (Duration::from_secs(300), DEFAULT_REAUTH_GRACE)
        );
        assert_eq!(terms.maintenance_cap, Duration::from_secs(1800));
        assert_eq!(
            granted(json!({"hostnames": ["a"]}), Stage::One).reauth,
            None
        );
    }

    #[test]
    fn age_is_a_matter_of_stage_zero() {
        let old = json!({"hostnames": ["a"], "handshake_max_age_seconds": 5, "iat": 1});
        assert!(judge(old, Stage::One, &policy()).is_ok());
    }

    proptest! {
        #[test]
        fn claims_agree_with_themselves(names in prop::collection::vec("[a-z]{1,5}\\.test", 1..5), weight in -3i64..9) {
            let claims = json!({"hostnames": names, "weight": weight});
            let first = granted(claims.clone(), Stage::Zero);
            if weight >= 0 {
                prop_assert_eq!(same(&first, &granted(claims, Stage::One)), Ok(()));
            }
        }
    }
}
