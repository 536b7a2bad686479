//! Looking at a TLS ClientHello without consuming it: the server name and the protocols asked for
//! (RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301).
//!
//! Bytes from strangers: nothing here allocates by a length they claim, and nothing panics.

use piccolo_bus_schema::ids::Hostname;

/// Most bytes of a ClientHello that are looked at. Today's browsers send two KiB.
pub const LIMIT: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const HOST_NAME: u8 = 0;
const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
/// Largest plaintext record (RFC 8446 section 5.1).
const RECORD_LIMIT: usize = 1 << 14;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// So far a ClientHello, but not all of it.
    NeedMore,
    Hello(ClientHello),
    /// Something else; HTTP, perhaps.
    NotTls,
    /// Begins like TLS and breaks its rules.
    Malformed,
}

/// What a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Lower case; `None` when absent or not a host name of two or more labels.
    pub server_name: Option<Hostname>,
    /// In the client's order, e.g. `h2`, `http/1.1`.
    pub alpn: Vec<Vec<u8>>,
}

/// Looks at the first bytes of a connection.
pub fn peek(bytes: &[u8]) -> Peek {
    let mut handshake = Vec::new();
    let mut rest = bytes;
    loop {
        match rest.first() {
            None => return Peek::NeedMore,
            Some(&HANDSHAKE) => {}
            Some(_) if handshake.is_empty() => return Peek::NotTls,
            Some(_) => return Peek::Malformed,
        }
        if rest.get(1).is_some_and(|major| *major != 3) {
            return Peek::NotTls;
        }
        let Some(header) = rest.get(..RECORD_HEADER) else {
            return Peek::NeedMore;
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > RECORD_LIMIT {
            return Peek::Malformed;
        }
        let body = &rest[RECORD_HEADER..];
        let present = length.min(body.len());
        handshake.extend_from_slice(&body[..present]);
        if let Some(answer) = of_handshake(&handshake) {
            return answer;
        }
        if present < length {
            return Peek::NeedMore;
        }
        rest = &body[length..];
    }
}

/// `None` while the message is incomplete.
fn of_handshake(bytes: &[u8]) -> Option<Peek> {
    let header = bytes.get(..HANDSHAKE_HEADER)?;
    let length =
        usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    if header[0] != CLIENT_HELLO || length > LIMIT - HANDSHAKE_HEADER {
        return Some(Peek::Malformed);
    }
    let body = bytes.get(HANDSHAKE_HEADER..HANDSHAKE_HEADER + length)?;
    Some(of_body(body).map_or(Peek::Malformed, Peek::Hello))
}

fn of_body(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?; // legacy_version, random
    reader.short_vector()?; // legacy_session_id
    reader.vector()?; // cipher_suites
    reader.short_vector()?; // legacy_compression_methods
    let mut hello = ClientHello::default();
    if reader.0.is_empty() {
        return Some(hello); // TLS 1.2 without extensions
    }
    let mut extensions = Reader(reader.vector()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vector()?;
        match kind {
            SERVER_NAME => hello.server_name = server_name(data)?,
            ALPN => hello.alpn = protocols(data)?,
            _ => {}
        }
    }
    Some(hello)
}

/// The outer `None` is a broken extension, the inner one a name that is nobody's.
fn server_name(data: &[u8]) -> Option<Option<Hostname>> {
    let mut list = Reader(Reader(data).vector()?);
    while !list.0.is_empty() {
        let kind = list.take(1)?[0];
        let name = list.vector()?;
        if kind == HOST_NAME {
            return Some(std::str::from_utf8(name).ok().and_then(normal_name));
        }
    }
    Some(None)
}

fn protocols(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut list = Reader(Reader(data).vector()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(list.short_vector()?.to_vec());
    }
    Some(protocols)
}

/// A host name as typed, in its normal form: lower case, without the root's dot.
pub fn normal_name(text: &str) -> Option<Hostname> {
    let text = text.strip_suffix('.').unwrap_or(text);
    Hostname::new(text.to_ascii_lowercase()).ok()
}

/// The rest of a structure.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn short_vector(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.take(1)?[0]);
        self.take(length)
    }

    fn vector(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use std::sync::Arc;

    /// The real thing, from rustls.
    fn hello(name: &'static str, alpn: &[&str]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name).expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("a hello");
        bytes
    }

    fn expected(name: Option<&str>, alpn: &[&str]) -> Peek {
        Peek::Hello(ClientHello {
            server_name: name.map(|name| Hostname::new(name).expect("a name")),
            alpn: alpn.iter().map(|p| p.as_bytes().to_vec()).collect(),
        })
    }

    #[test]
    fn name_and_protocols_of_a_real_client_are_seen() {
        let bytes = hello("App.Example.COM", &["h2", "http/1.1"]);
        assert_eq!(
            peek(&bytes),
            expected(Some("app.example.com"), &["h2", "http/1.1"])
        );
    }

    #[test]
    fn a_client_that_names_an_address_has_no_name() {
        assert_eq!(peek(&hello("192.0.2.1", &[])), expected(None, &[]));
    }

    #[test]
    fn every_beginning_of_a_hello_needs_more() {
        let bytes = hello("app.example.com", &[]);
        for end in 0..bytes.len() {
            assert_eq!(peek(&bytes[..end]), Peek::NeedMore, "{end}");
        }
    }

    #[test]
    fn a_hello_split_over_records_is_read() {
        let bytes = hello("app.example.com", &["h2"]);
        let mut split = Vec::new();
        for part in bytes[RECORD_HEADER..].chunks(7) {
            split.extend_from_slice(&[HANDSHAKE, 3, 1, 0, part.len() as u8]);
            split.extend_from_slice(part);
        }
        assert_eq!(peek(&split), expected(Some("app.example.com"), &["h2"]));
    }

    #[test]
    fn http_is_not_tls_and_absurd_lengths_are_malformed() {
        assert_eq!(peek(b"GET / HTTP/1.1\r\n"), Peek::NotTls);
        assert_eq!(peek(&[22, 3, 1, 0xff, 0xff]), Peek::Malformed);
        assert_eq!(
            peek(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]),
            Peek::Malformed
        );
        assert_eq!(peek(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Peek::Malformed);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = peek(&bytes);
        }

        #[test]
        fn no_damage_to_a_real_hello_makes_it_panic(
            at in 0_usize..400, byte: u8, cut in 0_usize..600,
        ) {
            let mut bytes = hello("app.example.com", &["h2", "http/1.1"]);
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(cut);
            let _ = peek(&bytes);
        }
    }
}
