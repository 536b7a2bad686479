//! Through which door a request came, and so who may be asking.

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use http::HeaderMap;
use piccolo_bus_schema::lock::Client;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, UnixListener};

/// Set by router-proxy on every request it carries, and stripped from strangers: `lan 192.0.2.7`
/// or `remote 203.0.113.9`.
pub(crate) const CLIENT_HEADER: &str = "x-piccolo-client";
/// `1` when the visitor's connection is encrypted.
pub(crate) const TLS_HEADER: &str = "x-piccolo-tls";

/// The connection a request arrived on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// `health.listen`.
    Loopback(SocketAddr),
    /// The Unix socket; the user at its other end.
    Unix { uid: Option<u32> },
}

impl Connected<IncomingStream<'_, TcpListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self::Loopback(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self::Unix {
            uid: stream
                .io()
                .peer_cred()
                .ok()
                .map(|credentials| credentials.uid()),
        }
    }
}

/// Who a request may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Root on the device itself: signed in by being there.
    Operator,
    /// Somebody on the device's loopback address.
    Loopback(IpAddr),
    /// A visitor behind router-proxy.
    Edge { client: Client, tls: bool },
    /// Neither root nor router-proxy: refused.
    Stranger,
}

impl Door {
    /// Decides from the connection and the header router-proxy always sets.
    pub(crate) fn of(connection: Connection, headers: &HeaderMap) -> Self {
        match connection {
            Connection::Loopback(peer) => Self::Loopback(peer.ip()),
            Connection::Unix { uid } => match headers.get(CLIENT_HEADER) {
                Some(value) => match value.to_str().ok().and_then(parse_client) {
                    Some(client) => Self::Edge {
                        client,
                        tls: is_tls(headers),
                    },
                    None => Self::Stranger,
                },
                None if uid == Some(0) => Self::Operator,
                None => Self::Stranger,
            },
        }
    }

    /// As the throttle counts it.
    pub(crate) const fn client(self) -> Client {
        match self {
            Self::Operator => Client::Local,
            Self::Loopback(address) => Client::Lan(address),
            Self::Edge { client, .. } => client,
            Self::Stranger => Client::Remote(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        }
    }

    /// Through the relay?
    pub(crate) const fn is_remote(self) -> bool {
        matches!(
            self,
            Self::Edge {
                client: Client::Remote(_),
                ..
            } | Self::Stranger
        )
    }

    /// May a cookie be marked `Secure`?
    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Edge { tls: true, .. })
    }

    /// For the audit log.
    pub(crate) fn describe(self) -> String {
        match self.client() {
            Client::Local => "operator".to_owned(),
            Client::Lan(address) => format!("owner (LAN {address})"),
            Client::Remote(address) => format!("owner (remote {address})"),
        }
    }
}

fn is_tls(headers: &HeaderMap) -> bool {
    headers.get(TLS_HEADER).is_some_and(|value| value == "1")
}

fn parse_client(text: &str) -> Option<Client> {
    let (kind, address) = text.split_once(' ')?;
    let address = address.parse::<IpAddr>().ok()?.to_canonical();
    match kind {
        "lan" => Some(Client::Lan(address)),
        "remote" => Some(Client::Remote(address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(client: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(client) = client {
            headers.insert(CLIENT_HEADER, client.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn root_without_a_visitor_is_the_operator() {
        let root = Connection::Unix { uid: Some(0) };
        assert_eq!(Door::of(root, &headers(None)), Door::Operator);
    }

    #[test]
    fn a_visitor_is_never_the_operator_even_in_the_name_of_root() {
        let root = Connection::Unix { uid: Some(0) };
        for header in ["remote 203.0.113.9", "lan ::ffff:192.0.2.7", "junk", ""] {
            assert_ne!(
                Door::of(root, &headers(Some(header))),
                Door::Operator,
                "{header}"
            );
        }
    }

    #[test]
    fn other_users_of_the_device_are_strangers() {
        let someone = Connection::Unix { uid: Some(1000) };
        assert_eq!(Door::of(someone, &headers(None)), Door::Stranger);
    }

    #[test]
    fn the_loopback_door_ignores_the_visitor_header() {
        let loopback = Connection::Loopback(([127, 0, 0, 1], 9).into());
        let door = Door::of(loopback, &headers(Some("lan 192.0.2.7")));
        assert_eq!(door, Door::Loopback(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
