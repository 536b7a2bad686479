//! The PROXY protocol header, version 2, that opens every remote stream (haproxy's
//! `proxy-protocol.txt` section 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The fixed part: signature, version and command, family, length of the rest.
pub const FIXED: usize = 16;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
const STREAM_OVER_V4: u8 = 0x11;
const STREAM_OVER_V6: u8 = 0x21;
/// `PP2_TYPE_AUTHORITY`.
const AUTHORITY: u8 = 0x02;
/// A longer name can't be in the DNS.
const NAME_LIMIT: usize = 255;

/// Who a stream is from and what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The visitor's own address.
    pub source: SocketAddr,
    /// The relay's port it reached.
    pub relay_port: u16,
    /// The host name it asked for, or `tcp:<port>` for a claimed port.
    pub authority: Option<String>,
}

/// Not a header that nexus-agent would write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the stream does not begin with a PROXY protocol version 2 signature")]
    Signature,
    #[error("version and command byte {0:#04x} is not version 2, PROXY")]
    Command(u8),
    #[error("family and transport byte {0:#04x} is not TCP over IPv4 or IPv6")]
    Family(u8),
    #[error("the header ends inside its addresses or a TLV")]
    Truncated,
}

/// Length of what follows the fixed part.
pub fn rest_length(fixed: &[u8; FIXED]) -> Result<usize, Invalid> {
    if fixed[..12] != SIGNATURE {
        return Err(Invalid::Signature);
    }
    Ok(usize::from(u16::from_be_bytes([fixed[14], fixed[15]])))
}

/// Reads a whole header: the fixed part and the rest it announces.
pub fn decode(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Header, Invalid> {
    if fixed[..12] != SIGNATURE {
        return Err(Invalid::Signature);
    }
    if fixed[12] != PROXY {
        return Err(Invalid::Command(fixed[12]));
    }
    let (source_ip, ports, tlvs) = match fixed[13] {
        STREAM_OVER_V4 => {
            let (addresses, rest) = rest.split_at_checked(8).ok_or(Invalid::Truncated)?;
            let ip: [u8; 4] = addresses[..4].try_into().map_err(|_| Invalid::Truncated)?;
            (IpAddr::from(Ipv4Addr::from(ip)), rest, rest.get(4..))
        }
        STREAM_OVER_V6 => {
            let (addresses, rest) = rest.split_at_checked(32).ok_or(Invalid::Truncated)?;
            let ip: [u8; 16] = addresses[..16].try_into().map_err(|_| Invalid::Truncated)?;
            (IpAddr::from(Ipv6Addr::from(ip)), rest, rest.get(4..))
        }
        other => return Err(Invalid::Family(other)),
    };
    let tlvs = tlvs.ok_or(Invalid::Truncated)?;
    Ok(Header {
        source: SocketAddr::new(source_ip.to_canonical(), port(&ports[..2])),
        relay_port: port(&ports[2..4]),
        authority: authority(tlvs)?,
    })
}

fn port(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// Walks the TLVs; unknown ones are skipped.
fn authority(mut tlvs: &[u8]) -> Result<Option<String>, Invalid> {
    let mut found = None;
    while !tlvs.is_empty() {
        let (head, rest) = tlvs.split_at_checked(3).ok_or(Invalid::Truncated)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Invalid::Truncated)?;
        if head[0] == AUTHORITY && value.len() <= NAME_LIMIT {
            found = std::str::from_utf8(value).ok().map(str::to_owned);
        }
        tlvs = rest;
    }
    Ok(found.filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(bytes: &[u8]) -> Result<Header, Invalid> {
        let fixed: [u8; FIXED] = bytes[..FIXED].try_into().expect("a fixed part");
        let length = rest_length(&fixed)?;
        let rest = bytes.get(FIXED..FIXED + length).ok_or(Invalid::Truncated)?;
        decode(&fixed, rest)
    }

    /// The encoder the tests need; the real one is nexus-agent's.
    fn encode(header: &Header) -> Vec<u8> {
        let mut body = Vec::new();
        let family = match header.source.ip() {
            IpAddr::V4(ip) => {
                body.extend_from_slice(&ip.octets());
                body.extend_from_slice(&[0; 4]);
                STREAM_OVER_V4
            }
            IpAddr::V6(ip) => {
                body.extend_from_slice(&ip.octets());
                body.extend_from_slice(&[0; 16]);
                STREAM_OVER_V6
            }
        };
        body.extend_from_slice(&header.source.port().to_be_bytes());
        body.extend_from_slice(&header.relay_port.to_be_bytes());
        if let Some(name) = &header.authority {
            body.push(AUTHORITY);
            body.extend_from_slice(&(name.len() as u16).to_be_bytes());
            body.extend_from_slice(name.as_bytes());
        }
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[PROXY, family]);
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    const IPV4: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x12\
        \xc0\x00\x02\x07\x00\x00\x00\x00\x84\x10\x01\xbb\x02\x00\x03a.b";

    #[test]
    fn the_bytes_of_the_specification_are_read() {
        let header = decode_all(IPV4).expect("a header");
        assert_eq!(
            header.source,
            "192.0.2.7:33808".parse().expect("an address")
        );
        assert_eq!(header.relay_port, 443);
        assert_eq!(header.authority.as_deref(), Some("a.b"));
    }

    #[test]
    fn other_commands_families_and_signatures_are_refused() {
        let change = |at: usize, byte: u8| {
            let mut bytes = IPV4.to_vec();
            bytes[at] = byte;
            decode_all(&bytes)
        };
        assert_eq!(change(0, 0), Err(Invalid::Signature));
        assert_eq!(change(12, 0x20), Err(Invalid::Command(0x20)));
        assert_eq!(change(13, 0x12), Err(Invalid::Family(0x12)));
        assert_eq!(change(30, 9), Err(Invalid::Truncated));
    }

    #[test]
    fn unknown_tlvs_are_skipped_and_absurd_names_are_nobodys() {
        let mut bytes = IPV4.to_vec();
        bytes.splice(28..28, [0x04, 0, 2, 9, 9]);
        bytes[15] += 5;
        assert_eq!(
            decode_all(&bytes).expect("a header").authority.as_deref(),
            Some("a.b")
        );
        let long = Header {
            source: "192.0.2.7:1".parse().expect("an address"),
            relay_port: 80,
            authority: Some("a".repeat(300)),
        };
        assert_eq!(
            decode_all(&encode(&long)).expect("a header").authority,
            None
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ip: IpAddr, port: u16, relay_port: u16, name in "[a-z.]{1,60}") {
            let header = Header {
                source: SocketAddr::new(ip.to_canonical(), port),
                relay_port,
                authority: Some(name),
            };
            prop_assert_eq!(decode_all(&encode(&header)), Ok(header));
        }

        #[test]
        fn no_bytes_make_it_panic(
            fixed: [u8; FIXED], rest in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let _ = decode(&fixed, &rest);
            let mut signed = fixed;
            signed[..12].copy_from_slice(&SIGNATURE);
            signed[12] = PROXY;
            let _ = decode(&signed, &rest);
        }
    }
}
