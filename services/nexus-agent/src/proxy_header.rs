//! The PROXY protocol header, version 2, that opens every stream handed to router-proxy
//! (haproxy's `proxy-protocol.txt`, section 2.2).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
const STREAM_OVER_V4: u8 = 0x11;
const STREAM_OVER_V6: u8 = 0x21;
/// `PP2_TYPE_AUTHORITY`: the host name the visitor asked for.
const AUTHORITY: u8 = 0x02;
/// A name a thousand times longer than DNS allows is nobody's.
const AUTHORITY_LIMIT: usize = 32 * 1024;

/// The header of a visitor; `None` when the host name is absurdly long.
///
/// `client` is `ip:port` as the relay sent it, untrusted text; what can't be read becomes the
/// unspecified address. The destination is the unspecified address of the same family with the
/// relay's port.
pub(crate) fn encode(client: &str, relay_port: u16, hostname: &str) -> Option<Vec<u8>> {
    if hostname.len() > AUTHORITY_LIMIT {
        return None;
    }
    let source = parse_client(client);
    let mut addresses = Vec::with_capacity(36);
    let family = match source.ip() {
        IpAddr::V4(ip) => {
            addresses.extend_from_slice(&ip.octets());
            addresses.extend_from_slice(&[0; 4]);
            STREAM_OVER_V4
        }
        IpAddr::V6(ip) => {
            addresses.extend_from_slice(&ip.octets());
            addresses.extend_from_slice(&[0; 16]);
            STREAM_OVER_V6
        }
    };
    addresses.extend_from_slice(&source.port().to_be_bytes());
    addresses.extend_from_slice(&relay_port.to_be_bytes());
    let name_length = u16::try_from(hostname.len()).ok()?;
    let length = u16::try_from(addresses.len() + 3 + hostname.len()).ok()?;

    let mut header = Vec::with_capacity(16 + usize::from(length));
    header.extend_from_slice(&SIGNATURE);
    header.extend_from_slice(&[VERSION_AND_COMMAND, family]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&addresses);
    header.push(AUTHORITY);
    header.extend_from_slice(&name_length.to_be_bytes());
    header.extend_from_slice(hostname.as_bytes());
    Some(header)
}

/// Reads `ip:port`, `[v6]:port` or a bare address; IPv4-mapped becomes IPv4.
fn parse_client(text: &str) -> SocketAddr {
    let text = text.trim();
    let address = text.parse::<SocketAddr>().ok().or_else(|| {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0))
    });
    let address = address.unwrap_or_else(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ipv4_visitor_has_the_bytes_of_the_specification() {
        let header = encode("192.0.2.7:33808", 443, "a.b").expect("a header");
        let expected = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x12\
            \xc0\x00\x02\x07\x00\x00\x00\x00\x84\x10\x01\xbb\x02\x00\x03a.b";
        assert_eq!(header, expected);
    }

    #[test]
    fn an_ipv6_visitor_keeps_its_family() {
        let header = encode("[2001:db8::1]:1", 80, "").expect("a header");
        assert_eq!(header[13], 0x21);
        assert_eq!(header[14..16], [0, 39]);
        assert_eq!(header[16..20], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(header[48..52], [0, 1, 0, 80]);
    }

    #[test]
    fn mapped_addresses_are_ipv4_and_nonsense_is_nobody() {
        assert_eq!(
            parse_client("[::ffff:192.0.2.7]:5"),
            "192.0.2.7:5".parse().expect("address")
        );
        assert_eq!(
            parse_client("2001:db8::1"),
            "[2001:db8::1]:0".parse().expect("address")
        );
        for text in ["", "nobody", "1.2.3.4:99999", "::"] {
            assert!(parse_client(text).ip().is_unspecified(), "{text}");
        }
    }

    #[test]
    fn an_absurd_name_has_no_header() {
        assert!(encode("192.0.2.7:1", 443, &"a".repeat(10_000)).is_some());
        assert!(encode("192.0.2.7:1", 443, &"a".repeat(40_000)).is_none());
    }

    proptest! {
        #[test]
        fn the_length_field_covers_the_rest(client in "\\PC{0,50}", port: u16, name in "\\PC{0,300}") {
            let header = encode(&client, port, &name).expect("a header");
            let length = u16::from_be_bytes([header[14], header[15]]);
            prop_assert_eq!(header.len(), 16 + usize::from(length));
        }
    }
}
