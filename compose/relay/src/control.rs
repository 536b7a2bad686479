//! The control messages of a session: JSON objects, byte for byte as the protocol's own
//! implementation writes them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use uuid::Uuid;

/// Credits granted to a backend with every new flow: messages it may send before the first
/// `resume_stream`.
pub const INITIAL_CREDITS: i64 = 64;

/// What a backend is told about a new flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The relay's port the user reached.
    pub port: u16,
    /// The user's `ip:port`, IPv6 in brackets.
    pub client: String,
    pub transport: Transport,
    /// The name asked for, normalized, or the route key (`tcp:25`).
    pub hostname: String,
    /// The first bytes were a TLS ClientHello.
    pub is_tls: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// What the relay says to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice<'a> {
    Connect(&'a Origin),
    Disconnect,
    PongClient,
    ResumeStream { credits: i64 },
    OutboundConnected,
    OutboundFailed { reason: &'a str },
}

/// What a backend asks of the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Disconnect {
        reason: String,
    },
    PingClient,
    PauseStream {
        reason: String,
    },
    /// Ends a pause; `credits` above zero also grant forward messages.
    ResumeStream {
        credits: i64,
    },
    OutboundConnect {
        target: String,
    },
    /// An event the protocol does not define in this direction.
    Unknown {
        event: String,
    },
}

/// Why a control message was dropped whole.
#[derive(Debug, Error)]
pub enum BadControl {
    #[error("control message is not a JSON object of the right types")]
    Json(#[from] serde_json::Error),
    #[error("client id {0:?} is not a UUID")]
    ClientId(String),
}

/// Field order is the order on the wire; zero values are left out, but for the first two fields.
#[derive(Debug, Default, Serialize)]
struct WireNotice<'a> {
    event: &'static str,
    client_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_port: Option<u16>,
    #[serde(skip_serializing_if = "str::is_empty")]
    client_ip: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    transport: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    hostname: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    is_tls: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    success: bool,
    #[serde(skip_serializing_if = "is_zero")]
    credits: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The JSON text of `notice` for flow `client`.
pub fn encode(client: Uuid, notice: &Notice<'_>) -> String {
    let mut wire = WireNotice {
        client_id: client,
        ..WireNotice::default()
    };
    match notice {
        Notice::Connect(origin) => {
            wire.event = "connect";
            wire.conn_port = Some(origin.port);
            wire.client_ip = &origin.client;
            wire.transport = match origin.transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            };
            wire.hostname = &origin.hostname;
            wire.is_tls = origin.is_tls;
            wire.credits = INITIAL_CREDITS;
        }
        Notice::Disconnect => wire.event = "disconnect",
        Notice::PongClient => wire.event = "pong_client",
        Notice::ResumeStream { credits } => {
            wire.event = "resume_stream";
            wire.credits = *credits;
        }
        Notice::OutboundConnected => {
            wire.event = "outbound_result";
            wire.success = true;
            wire.credits = INITIAL_CREDITS;
        }
        Notice::OutboundFailed { reason } => {
            wire.event = "outbound_result";
            wire.reason = reason;
        }
    }
    escape(&serde_json::to_string(&wire).unwrap_or_default())
}

/// The original escapes these characters inside strings. In JSON they occur nowhere else, so the
/// whole text may be replaced.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Every known field, used or not: a wrong type in any of them drops the message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    event: Option<String>,
    client_id: Option<String>,
    reason: Option<String>,
    target_addr: Option<String>,
    credits: Option<i64>,
    #[serde(rename = "conn_port")]
    _conn_port: Option<i64>,
    #[serde(rename = "client_ip")]
    _client_ip: Option<String>,
    #[serde(rename = "transport")]
    _transport: Option<String>,
    #[serde(rename = "hostname")]
    _hostname: Option<String>,
    #[serde(rename = "is_tls")]
    _is_tls: Option<bool>,
    #[serde(rename = "success")]
    _success: Option<bool>,
}

/// Understands one control message. Keys are matched without regard to case, unknown ones
/// ignored; an absent client id is the nil UUID.
pub fn decode(json: &[u8]) -> Result<(Uuid, Request), BadControl> {
    let object: Map<String, Value> = serde_json::from_slice(json)?;
    let wire: WireRequest = serde_json::from_value(Value::Object(lower_keys(object)))?;
    let client = match wire.client_id {
        None => Uuid::nil(),
        Some(text) => Uuid::parse_str(&text).map_err(|_| BadControl::ClientId(text))?,
    };
    let event = wire.event.unwrap_or_default();
    let reason = wire.reason.unwrap_or_default();
    let request = match event.as_str() {
        "disconnect" => Request::Disconnect { reason },
        "ping_client" => Request::PingClient,
        "pause_stream" => Request::PauseStream { reason },
        "resume_stream" => Request::ResumeStream {
            credits: wire.credits.unwrap_or_default(),
        },
        "outbound_connect" => Request::OutboundConnect {
            target: wire.target_addr.unwrap_or_default(),
        },
        _ => Request::Unknown { event },
    };
    Ok((client, request))
}

/// JSON objects of this protocol are read without regard to the case of their keys.
pub fn lower_keys(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .map(|(key, value)| (key.to_lowercase(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client() -> Uuid {
        Uuid::parse_str("950cb35c-00e9-4677-9bc2-f976af2814cd").unwrap()
    }

    fn origin() -> Origin {
        Origin {
            port: 28080,
            client: "127.0.0.1:33808".to_owned(),
            transport: Transport::Tcp,
            hostname: "probe.test".to_owned(),
            is_tls: false,
        }
    }

    #[test]
    fn connect_is_written_as_observed() {
        assert_eq!(
            encode(client(), &Notice::Connect(&origin())),
            r#"{"event":"connect","client_id":"950cb35c-00e9-4677-9bc2-f976af2814cd","conn_port":28080,"client_ip":"127.0.0.1:33808","transport":"tcp","hostname":"probe.test","credits":64}"#
        );
    }

    #[test]
    fn is_tls_stands_between_hostname_and_credits() {
        let origin = Origin {
            is_tls: true,
            ..origin()
        };
        assert!(
            encode(client(), &Notice::Connect(&origin))
                .ends_with(r#""hostname":"probe.test","is_tls":true,"credits":64}"#)
        );
    }

    #[test]
    fn the_short_notices_are_written_as_observed() {
        let id = r#""client_id":"950cb35c-00e9-4677-9bc2-f976af2814cd""#;
        for (notice, expected) in [
            (
                Notice::Disconnect,
                format!(r#"{{"event":"disconnect",{id}}}"#),
            ),
            (
                Notice::PongClient,
                format!(r#"{{"event":"pong_client",{id}}}"#),
            ),
            (
                Notice::ResumeStream { credits: 8 },
                format!(r#"{{"event":"resume_stream",{id},"credits":8}}"#),
            ),
            (
                Notice::OutboundConnected,
                format!(r#"{{"event":"outbound_result",{id},"success":true,"credits":64}}"#),
            ),
            (
                Notice::OutboundFailed {
                    reason: "dial failed",
                },
                format!(r#"{{"event":"outbound_result",{id},"reason":"dial failed"}}"#),
            ),
        ] {
            assert_eq!(encode(client(), &notice), expected);
        }
    }

    #[test]
    fn angle_brackets_and_ampersands_are_escaped() {
        let origin = Origin {
            hostname: "<a>&".to_owned(),
            ..origin()
        };
        assert!(
            encode(client(), &Notice::Connect(&origin))
                .contains(r#""hostname":"\u003ca\u003e\u0026""#)
        );
    }

    #[test]
    fn keys_of_any_case_and_all_spellings_of_an_id_are_read() {
        for id in [
            "950CB35C-00E9-4677-9BC2-F976AF2814CD",
            "{950cb35c-00e9-4677-9bc2-f976af2814cd}",
            "urn:uuid:950cb35c-00e9-4677-9bc2-f976af2814cd",
            "950cb35c00e946779bc2f976af2814cd",
        ] {
            let json =
                format!(r#"{{"EVENT":"resume_stream","Client_ID":"{id}","credits":9,"x":[]}}"#);
            let (read, request) = decode(json.as_bytes()).unwrap();
            assert_eq!(read, client());
            assert_eq!(request, Request::ResumeStream { credits: 9 });
        }
    }

    #[test]
    fn one_wrong_type_drops_the_whole_message() {
        for json in [
            r#"{"event":"resume_stream","credits":1.5}"#,
            r#"{"event":"disconnect","client_id":"no"}"#,
            r#"{"event":"disconnect","hostname":3}"#,
            r#"{"event":7}"#,
            r#"{"event":"disconnect"} x"#,
            "[]",
            "{",
        ] {
            assert!(decode(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let (id, request) =
            decode(br#"{"event":"ping_client","client_id":null,"credits":null}"#).unwrap();
        assert_eq!((id, request), (Uuid::nil(), Request::PingClient));
    }

    #[test]
    fn events_of_the_other_direction_are_unknown() {
        let (_, request) = decode(br#"{"event":"connect"}"#).unwrap();
        assert_eq!(
            request,
            Request::Unknown {
                event: "connect".to_owned()
            }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = decode(&bytes);
        }
    }
}
