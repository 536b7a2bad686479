//! Control messages: one JSON object each (protocol, 3.1).

use serde::Deserialize;
use uuid::Uuid;

/// What the relay says of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromRelay {
    /// A visitor; precedes all its data.
    Connect(Visitor),
    /// The flow is over; follows all its data.
    Disconnect { id: Uuid },
    /// The flow we asked after exists.
    PongClient { id: Uuid },
    /// The relay has passed on this many frames of ours. As sent: may be zero or negative.
    ResumeStream { id: Uuid, credits: i64 },
}

/// Who came, from where, for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) id: Uuid,
    /// The relay's port.
    pub(crate) port: u16,
    /// `ip:port`, untrusted text.
    pub(crate) client: String,
    pub(crate) hostname: String,
    pub(crate) transport: Transport,
    /// Frames we may send before the first grant; `None` from a relay that does not count.
    pub(crate) credits: Option<i64>,
}

/// What the visitor speaks to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// Every key the relay may send; unknown ones are ignored, a wrong type spoils the message.
#[derive(Deserialize)]
struct Wire {
    event: String,
    client_id: Uuid,
    #[serde(default)]
    conn_port: u16,
    #[serde(default)]
    client_ip: String,
    #[serde(default)]
    transport: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    credits: i64,
}

impl FromRelay {
    /// Reads the JSON of a control message; `None` for junk and for events that are not ours to
    /// hear, all of which are ignored.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(json).ok()?;
        let id = wire.client_id;
        Some(match wire.event.as_str() {
            "connect" => Self::Connect(Visitor {
                id,
                port: wire.conn_port,
                client: wire.client_ip,
                hostname: wire.hostname,
                transport: match wire.transport.as_str() {
                    "udp" => Transport::Udp,
                    // Relays before UDP did not say.
                    _ => Transport::Tcp,
                },
                credits: (wire.credits > 0).then_some(wire.credits),
            }),
            "disconnect" => Self::Disconnect { id },
            "pong_client" => Self::PongClient { id },
            "resume_stream" => Self::ResumeStream {
                id,
                credits: wire.credits,
            },
            _ => return None,
        })
    }
}

/// What we say of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToRelay {
    Disconnect { id: Uuid, reason: Reason },
    PingClient { id: Uuid },
    PauseStream { id: Uuid },
    ResumeStream { id: Uuid, credits: u32 },
}

/// Why a flow ends; for the relay's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Normal,
    BufferFull,
    DialFailed,
    Timeout,
    LocalError,
    Unknown,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::BufferFull => "buffer_full",
            Self::DialFailed => "dial_failed",
            Self::Timeout => "timeout",
            Self::LocalError => "local_error",
            Self::Unknown => "unknown",
        }
    }
}

impl ToRelay {
    /// The JSON, keys in the protocol's order. No text of it ever needs escaping.
    pub(crate) fn to_json(self) -> String {
        match self {
            Self::Disconnect { id, reason } => {
                let reason = reason.as_str();
                format!(r#"{{"event":"disconnect","client_id":"{id}","reason":"{reason}"}}"#)
            }
            Self::PingClient { id } => {
                format!(r#"{{"event":"ping_client","client_id":"{id}"}}"#)
            }
            Self::PauseStream { id } => {
                format!(r#"{{"event":"pause_stream","client_id":"{id}","reason":"buffer_full"}}"#)
            }
            Self::ResumeStream { id, credits } => {
                format!(r#"{{"event":"resume_stream","client_id":"{id}","credits":{credits}}}"#)
            }
        }
    }
}

/// A challenge in a text frame (protocol, 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Handshake { nonce: String },
    Reauth { nonce: String },
}

impl Challenge {
    /// Reads a text frame; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            nonce: String,
        }
        let Wire { kind, nonce } = serde_json::from_str(text).ok()?;
        match kind.as_str() {
            "handshake_challenge" => Some(Self::Handshake { nonce }),
            "reauth_challenge" => Some(Self::Reauth { nonce }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: Uuid = Uuid::from_u128(0x950c_b35c_00e9_4677_9bc2_f976_af28_14cd);

    #[test]
    fn an_observed_connect_is_read() {
        let json = br#"{"event":"connect","client_id":"950cb35c-00e9-4677-9bc2-f976af2814cd","conn_port":28080,"client_ip":"127.0.0.1:33808","transport":"tcp","hostname":"probe.test","credits":64}"#;
        let expected = Visitor {
            id: ID,
            port: 28080,
            client: "127.0.0.1:33808".into(),
            hostname: "probe.test".into(),
            transport: Transport::Tcp,
            credits: Some(64),
        };
        assert_eq!(FromRelay::parse(json), Some(FromRelay::Connect(expected)));
    }

    #[test]
    fn absent_zero_and_negative_credits_mean_a_relay_that_does_not_count() {
        for credits in ["", r#","credits":0"#, r#","credits":-5"#] {
            let json = format!(r#"{{"event":"connect","client_id":"{ID}"{credits}}}"#);
            let Some(FromRelay::Connect(visitor)) = FromRelay::parse(json.as_bytes()) else {
                panic!("not a connect: {json}");
            };
            assert_eq!(visitor.credits, None);
        }
    }

    #[test]
    fn junk_is_nothing() {
        for json in [
            "",
            "{",
            "null",
            "[]",
            r#"{"event":"connect"}"#,
            r#"{"event":"connect","client_id":"nobody"}"#,
            r#"{"event":"dance","client_id":"950cb35c-00e9-4677-9bc2-f976af2814cd"}"#,
            r#"{"event":"resume_stream","client_id":"950cb35c-00e9-4677-9bc2-f976af2814cd","credits":1.5}"#,
        ] {
            assert_eq!(FromRelay::parse(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn what_we_say_has_the_protocol_s_order() {
        let said = ToRelay::Disconnect {
            id: ID,
            reason: Reason::DialFailed,
        }
        .to_json();
        assert_eq!(
            said,
            r#"{"event":"disconnect","client_id":"950cb35c-00e9-4677-9bc2-f976af2814cd","reason":"dial_failed"}"#
        );
        let said = ToRelay::ResumeStream { id: ID, credits: 8 }.to_json();
        assert_eq!(
            said,
            r#"{"event":"resume_stream","client_id":"950cb35c-00e9-4677-9bc2-f976af2814cd","credits":8}"#
        );
    }

    #[test]
    fn challenges_are_told_apart() {
        let text = r#"{"type":"reauth_challenge","nonce":"n"}"#;
        assert_eq!(
            Challenge::parse(text),
            Some(Challenge::Reauth { nonce: "n".into() })
        );
        assert_eq!(Challenge::parse("hello"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = FromRelay::parse(&bytes);
            let _ = Challenge::parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
