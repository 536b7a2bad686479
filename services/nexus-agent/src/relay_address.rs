//! Where the relay is: `wss://host[:port]/connect`.

use std::{fmt, net::Ipv6Addr, str::FromStr};

/// The hub of a relay, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelayAddress {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// A name or an IPv4 address, lower case.
    Plain(String),
    V6(Ipv6Addr),
}

/// The port of `wss` when none is named (RFC 6455 section 3).
const DEFAULT_PORT: u16 = 443;
/// The one path a hub answers (protocol, 1).
const PATH: &str = "connect";

impl RelayAddress {
    /// What is resolved, and what the relay's certificate must be for; no brackets.
    pub(crate) fn host(&self) -> String {
        match &self.host {
            Host::Plain(name) => name.clone(),
            Host::V6(address) => address.to_string(),
        }
    }

    /// Its TCP port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Plain(name) => write!(f, "wss://{name}")?,
            Host::V6(address) => write!(f, "wss://[{address}]")?,
        }
        if self.port != DEFAULT_PORT {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{PATH}")
    }
}

impl FromStr for RelayAddress {
    /// A sentence for the owner.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || "must look like wss://relay.example.com:8443/connect".to_owned();
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
        if !scheme.eq_ignore_ascii_case("wss") {
            return Err("must begin with wss://: the tunnel is always encrypted".to_owned());
        }
        let (authority, path) = rest.split_once('/').ok_or_else(shape)?;
        if path != PATH {
            return Err("must end with /connect, without a query".to_owned());
        }
        if authority.contains('@') {
            return Err("must not contain a user name or password".to_owned());
        }
        let (host, port) = split_port(authority).ok_or_else(shape)?;
        Ok(Self {
            host: parse_host(host).ok_or_else(shape)?,
            port,
        })
    }
}

/// Host (brackets kept) and port of an authority (RFC 3986 section 3.2).
fn split_port(authority: &str) -> Option<(&str, u16)> {
    let after_host = authority.find(']').map_or(0, |bracket| bracket + 1);
    match authority[after_host..].find(':') {
        None => Some((authority, DEFAULT_PORT)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_host + colon);
            let digits = &port[1..];
            let port = digits.parse().ok().filter(|port| *port != 0)?;
            digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some((host, port))
        }
    }
}

fn parse_host(text: &str) -> Option<Host> {
    if let Some(bracketed) = text.strip_prefix('[') {
        return Some(Host::V6(bracketed.strip_suffix(']')?.parse().ok()?));
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    let name = idna::domain_to_ascii(bare).ok()?;
    let valid = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (name.len() <= 253 && name.split('.').all(valid)).then_some(Host::Plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_addresses_are_read_and_written_in_one_form() {
        for (text, host, port, written) in [
            (
                "wss://relay.example.com:8443/connect",
                "relay.example.com",
                8443,
                "wss://relay.example.com:8443/connect",
            ),
            (
                "WSS://Relay.Example.Com./connect",
                "relay.example.com",
                443,
                "wss://relay.example.com/connect",
            ),
            (
                " wss://127.0.0.1:443/connect ",
                "127.0.0.1",
                443,
                "wss://127.0.0.1/connect",
            ),
            (
                "wss://[::1]:8443/connect",
                "::1",
                8443,
                "wss://[::1]:8443/connect",
            ),
            (
                "wss://relay:8443/connect",
                "relay",
                8443,
                "wss://relay:8443/connect",
            ),
        ] {
            let address: RelayAddress = text.parse().expect(text);
            assert_eq!((address.host().as_str(), address.port()), (host, port));
            assert_eq!(address.to_string(), written);
        }
    }

    #[test]
    fn bad_addresses_are_refused() {
        for text in [
            "",
            "relay.example.com",
            "ws://relay.example.com/connect",
            "https://relay.example.com/connect",
            "wss://relay.example.com",
            "wss://relay.example.com/",
            "wss://relay.example.com/connect/",
            "wss://relay.example.com/connect?x=1",
            "wss://relay.example.com/connect#x",
            "wss://me:pw@relay.example.com/connect",
            "wss://relay.example.com:0/connect",
            "wss://relay.example.com:70000/connect",
            "wss://relay.example.com:+80/connect",
            "wss:///connect",
            "wss://[::1/connect",
            "wss://-x.example/connect",
            "wss://a b/connect",
        ] {
            assert!(text.parse::<RelayAddress>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(text in "wss://[a-z0-9.:\\[\\]]{1,30}/connect") {
            if let Ok(address) = text.parse::<RelayAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
