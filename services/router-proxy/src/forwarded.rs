//! What the next hop is told of a visitor: `Forwarded` (RFC 7239), `X-Forwarded-*`, and towards
//! health-api `X-Piccolo-*`. Strangers can't say any of it: everything of the kind is taken out
//! before ours is put in.

use crate::visitor::{Via, Visitor};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::IpAddr;

/// `lan 192.0.2.7` or `remote 203.0.113.9`. health-api takes a request on its Unix socket without
/// it for the operator's, so it is on every request that goes there.
const CLIENT: HeaderName = HeaderName::from_static("x-piccolo-client");
/// `1` when the visitor's connection is encrypted, else `0`.
const TLS: HeaderName = HeaderName::from_static("x-piccolo-tls");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Fields of one connection only (RFC 9110 section 7.6.1), and those a proxy answers itself.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Takes out what ends at this hop, and what the `Connection` field names. A stranger can't have
/// the framing or the host taken out that way.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Takes out every claim about the visitor. `X_Forwarded_For` too: to a CGI program it is the same
/// name (RFC 3875 section 4.1.18).
pub fn remove_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name.as_str()))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

fn is_claim(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with("x-forwarded")
        || name.starts_with("x-piccolo-")
        || name == "forwarded"
        || name == "x-real-ip"
        || name == "x-original-host"
}

/// Tells an app or health-api who is asking. `host` is the authority the visitor asked for.
pub fn tell(headers: &mut HeaderMap, visitor: &Visitor, host: &str) {
    let proto = if visitor.tls { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    headers.insert(FORWARDED_PORT, HeaderValue::from(visitor.port));
    put(headers, FORWARDED_FOR, &visitor.address.to_string());
    put(headers, FORWARDED_HOST, host);
    put(
        headers,
        header::FORWARDED,
        &element(visitor.address, host, proto),
    );
}

/// Tells health-api by which door the visitor came.
pub fn tell_portal(headers: &mut HeaderMap, visitor: &Visitor) {
    let way = match visitor.via {
        Via::Lan => "lan",
        Via::Remote => "remote",
    };
    // An address is always a valid header value; an empty one would still not be the operator's.
    let client = HeaderValue::from_str(&format!("{way} {}", visitor.address))
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"));
    headers.insert(CLIENT, client);
    let tls = if visitor.tls { "1" } else { "0" };
    headers.insert(TLS, HeaderValue::from_static(tls));
}

/// One `forwarded-element`; IPv6 addresses and everything that is no token are quoted.
fn element(client: IpAddr, host: &str, proto: &str) -> String {
    let node = match client {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let host = if !host.is_empty() && host.bytes().all(is_token) {
        host.to_owned()
    } else {
        format!("\"{}\"", host.replace('\\', "\\\\").replace('"', "\\\""))
    };
    format!("for={node};host={host};proto={proto}")
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        headers
    }

    fn visitor(address: &str, via: Via, tls: bool) -> Visitor {
        let address: IpAddr = address.parse().expect("an address");
        match via {
            Via::Lan => Visitor::lan(address, 35_000, tls),
            Via::Remote => Visitor::remote(address, 443, tls),
        }
    }

    #[test]
    fn a_visitor_is_described_in_both_dialects() {
        let mut headers = HeaderMap::new();
        tell(
            &mut headers,
            &visitor("2001:db8::7", Via::Remote, true),
            "a.example:8443",
        );
        assert_eq!(headers["x-forwarded-for"], "2001:db8::7");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "a.example:8443");
        assert_eq!(headers["x-forwarded-port"], "443");
        let forwarded = "for=\"[2001:db8::7]\";host=\"a.example:8443\";proto=https";
        assert_eq!(headers["forwarded"], forwarded);
    }

    #[test]
    fn the_portal_always_learns_the_door() {
        let mut headers = HeaderMap::new();
        tell_portal(&mut headers, &visitor("::ffff:192.0.2.7", Via::Lan, false));
        assert_eq!(headers["x-piccolo-client"], "lan 192.0.2.7");
        assert_eq!(headers["x-piccolo-tls"], "0");
        tell_portal(&mut headers, &visitor("203.0.113.9", Via::Remote, true));
        assert_eq!(headers["x-piccolo-client"], "remote 203.0.113.9");
        assert_eq!(headers["x-piccolo-tls"], "1");
    }

    #[test]
    fn strangers_claims_are_taken_out() {
        let mut spoofed = headers(&[
            ("X-Forwarded-For", "10.0.0.1"),
            ("X_Forwarded_For", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("Forwarded", "for=10.0.0.1"),
            ("X-Real-IP", "10.0.0.1"),
            ("X-Piccolo-Client", "lan 10.0.0.1"),
            ("accept", "*/*"),
        ]);
        remove_claims(&mut spoofed);
        assert_eq!(spoofed, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn fields_of_one_hop_end_here() {
        let mut fields = headers(&[
            ("connection", "close, x-mine, content-length, host"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("host", "a.example"),
            ("content-length", "3"),
        ]);
        remove_hop_by_hop(&mut fields);
        assert_eq!(
            fields,
            headers(&[("host", "a.example"), ("content-length", "3")])
        );
    }

    proptest! {
        #[test]
        fn whatever_is_claimed_only_ours_is_said(
            name in "[xX][-_](forwarded|piccolo|real)[-_][a-z]{1,8}", value in "[ -~]{0,20}",
            host in "[ -~]{0,30}",
        ) {
            let mut claimed = headers(&[(&name, &value)]);
            let visitor = visitor("192.0.2.7", Via::Lan, true);
            remove_claims(&mut claimed);
            tell(&mut claimed, &visitor, &host);
            tell_portal(&mut claimed, &visitor);
            prop_assert_eq!(claimed.get_all("x-forwarded-for").iter().count(), 1);
            prop_assert_eq!(&claimed["x-forwarded-for"], "192.0.2.7");
            prop_assert_eq!(&claimed["x-piccolo-client"], "lan 192.0.2.7");
            prop_assert_eq!(claimed.get_all("x-piccolo-client").iter().count(), 1);
        }
    }
}
