//! Why there is no tunnel, by operation; and the same in the owner's words.

use crate::{relay_address::RelayAddress, settings::InvalidField};
use piccolo_bus_schema::Fault;
use std::{io, time::Duration};
use tokio_tungstenite::tungstenite::{self, protocol::CloseFrame};

/// Why a session did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("no connection to {relay} within {limit:?}")]
    DialTimeout {
        relay: RelayAddress,
        limit: Duration,
    },
    #[error("connect to {relay}")]
    Connect {
        relay: RelayAddress,
        source: io::Error,
    },
    #[error("secure the connection to {relay}")]
    Tls {
        relay: RelayAddress,
        source: io::Error,
    },
    #[error("upgrade to a WebSocket at {relay}")]
    Upgrade {
        relay: RelayAddress,
        source: Box<tungstenite::Error>,
    },
    #[error("no challenge within {limit:?}")]
    ChallengeTimeout { limit: Duration },
    /// Close 1008, with the relay's words.
    #[error("the relay refused the session: {reason}")]
    Refused { reason: String },
    /// Its words were too long for a close frame (protocol, 2.4).
    #[error("the relay ended the handshake without a word")]
    RefusedSilently,
    #[error("the challenge has no nonce")]
    EmptyNonce,
    #[error("the relay closed the session: {why}")]
    Closed { why: String },
    #[error("read from the relay")]
    Read { source: Box<tungstenite::Error> },
    #[error("write to the relay")]
    Write { source: Box<tungstenite::Error> },
    #[error("the relay took no message within {limit:?}")]
    WriteTimeout { limit: Duration },
    #[error("the relay was silent for {silence:?}")]
    Dead { silence: Duration },
    #[error("the relay sends but does not read")]
    Choked,
    #[error("a defect of ours ended the session")]
    Defect,
}

/// The close code of a refused handshake (RFC 6455 section 7.4.1: policy violation).
const POLICY_VIOLATION: u16 = 1008;

impl TunnelError {
    /// The error of a close frame.
    pub(crate) fn of_close(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) if u16::from(frame.code) == POLICY_VIOLATION => Self::Refused {
                reason: frame.reason.chars().filter(|c| !c.is_control()).collect(),
            },
            Some(frame) => Self::Closed {
                why: format!("code {}", u16::from(frame.code)),
            },
            None => Self::Closed {
                why: "end of the connection".to_owned(),
            },
        }
    }

    /// The same, known to have happened before the relay said anything after the first token.
    pub(crate) fn in_handshake(self) -> Self {
        match self {
            Self::Closed { .. } | Self::Read { .. } | Self::Write { .. } => Self::RefusedSilently,
            other => other,
        }
    }

    /// Will it hardly get better by trying again soon?
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::RefusedSilently | Self::EmptyNonce
        )
    }

    /// One sentence for the owner, without a full stop.
    pub(crate) fn in_plain_words(&self) -> String {
        match self {
            Self::DialTimeout { relay, .. } => {
                format!(
                    "the relay {} does not answer; check its address and this device's internet connection",
                    relay.host()
                )
            }
            Self::Connect { relay, source } => connect_words(relay, source),
            Self::Tls { relay, source } => tls_words(relay, source),
            Self::Upgrade { relay, .. } => {
                format!("{relay} answers, but not as a relay; check host and port")
            }
            Self::Refused { reason } => refusal_words(reason).to_owned(),
            Self::RefusedSilently => "the relay ended the sign-in without a reason; it may not \
                accept the device secret or the names, or this device's clock may be wrong"
                .to_owned(),
            Self::ChallengeTimeout { .. } | Self::EmptyNonce => {
                "the server does not follow the relay protocol; check the address".to_owned()
            }
            Self::Closed { .. } | Self::Read { .. } | Self::Write { .. } => {
                "the connection to the relay was lost".to_owned()
            }
            Self::WriteTimeout { .. } | Self::Dead { .. } | Self::Choked => {
                "the relay stopped answering".to_owned()
            }
            Self::Defect => "the tunnel failed by a defect of its own; the log has more".to_owned(),
        }
    }
}

fn connect_words(relay: &RelayAddress, source: &io::Error) -> String {
    let (host, port) = (relay.host(), relay.port());
    match source.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing answers at the relay {host}, port {port}")
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            format!("there is no way to the relay {host}; check the internet connection")
        }
        // Failed look-ups have no kind of their own.
        _ if source.raw_os_error().is_none() => {
            format!(
                "the relay's name {host} can't be looked up; check it and the internet connection"
            )
        }
        _ => format!("the relay {host} can't be reached ({source})"),
    }
}

fn tls_words(relay: &RelayAddress, source: &io::Error) -> String {
    use rustls::{CertificateError, Error};
    let host = relay.host();
    let cause = source
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<Error>());
    match cause {
        Some(Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) => format!(
            "the certificate of the relay {host} is not valid at this time; it is expired, or this device's clock is wrong"
        ),
        Some(Error::InvalidCertificate(why)) => {
            format!("the certificate of the relay {host} is not accepted ({why})")
        }
        _ => format!("no secure connection to the relay {host} ({source})"),
    }
}

/// The relay's words are for the log; a few of them tell what to look at.
fn refusal_words(reason: &str) -> &'static str {
    let tells = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if tells(&["expired", "not valid yet", "max_age", "used before issued"]) {
        "the relay finds the token out of date: this device's clock is probably wrong"
    } else if tells(&["signature"]) {
        "the relay does not accept the device secret; configure remote access with the right one"
    } else if tells(&["hostname", "route"]) {
        "the relay does not accept this device's names"
    } else {
        "the relay refused the device secret or the names"
    }
}

impl From<InvalidField> for Fault {
    fn from(invalid: InvalidField) -> Self {
        Self::invalid(invalid.field, invalid.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_token_points_at_the_clock() {
        let reason = "stage0 token validation failed: jwt validation failed: token has invalid claims: token is expired";
        let error = TunnelError::Refused {
            reason: reason.into(),
        };
        assert!(error.in_plain_words().contains("clock"));
        assert!(error.is_refusal());
    }

    #[test]
    fn an_end_within_the_handshake_is_a_refusal() {
        assert!(TunnelError::of_close(None).in_handshake().is_refusal());
        assert!(!TunnelError::of_close(None).is_refusal());
    }
}
