//! Finds the server name in a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3) without
//! taking part in the handshake. The bytes stay untouched: they are the backend's to answer.

/// What the first bytes of a connection are, seen as TLS.
#[derive(Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Could still become a ClientHello.
    Incomplete,
    NotTls,
    /// A whole ClientHello, with the name it asks for if it asks for one.
    Hello {
        server_name: Option<String>,
    },
}

const RECORD_HEADER: usize = 5;
const CONTENT_HANDSHAKE: u8 = 22;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_TYPE_HOST: u8 = 0;

/// Examines `captured`, the connection's bytes so far. Costs one pass; the caller bounds the size.
pub fn examine(captured: &[u8]) -> Sighting {
    match handshake_message(captured) {
        Reassembly::Incomplete => Sighting::Incomplete,
        Reassembly::NotTls => Sighting::NotTls,
        Reassembly::Whole(hello) => match server_name(&hello) {
            Ok(server_name) => Sighting::Hello { server_name },
            Err(Malformed) => Sighting::NotTls,
        },
    }
}

enum Reassembly {
    Incomplete,
    NotTls,
    /// The body of the ClientHello, without its four-byte header.
    Whole(Vec<u8>),
}

/// Joins the handshake message out of as many records as it was cut into.
fn handshake_message(captured: &[u8]) -> Reassembly {
    let mut message = Vec::new();
    let mut rest = captured;
    loop {
        if !could_be_record(rest) {
            return Reassembly::NotTls;
        }
        let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) else {
            return Reassembly::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // An empty handshake record is forbidden (RFC 8446 section 5.1), and would let a stranger
        // keep this loop busy for nothing.
        if length == 0 {
            return Reassembly::NotTls;
        }
        let present = length.min(after.len());
        message.extend_from_slice(&after[..present]);
        if message
            .first()
            .is_some_and(|kind| *kind != HANDSHAKE_CLIENT_HELLO)
        {
            return Reassembly::NotTls;
        }
        if let Some(body) = whole_body(&message) {
            return Reassembly::Whole(body.to_vec());
        }
        if present < length {
            return Reassembly::Incomplete;
        }
        rest = &after[length..];
    }
}

fn whole_body(message: &[u8]) -> Option<&[u8]> {
    let (header, body) = message.split_at_checked(4)?;
    let length =
        usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    body.get(..length)
}

/// A prefix of a handshake record: type 22, major version 3.
fn could_be_record(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|kind| *kind == CONTENT_HANDSHAKE)
        && bytes.get(1).is_none_or(|major| *major == 3)
}

struct Malformed;

/// Walks the ClientHello to the server_name extension.
fn server_name(hello: &[u8]) -> Result<Option<String>, Malformed> {
    let mut hello = Reader(hello);
    hello.take(2 + 32)?; // legacy_version, random
    hello.vector8()?; // legacy_session_id
    hello.vector16()?; // cipher_suites
    hello.vector8()?; // legacy_compression_methods
    if hello.0.is_empty() {
        return Ok(None); // TLS 1.2 without extensions
    }
    let mut extensions = Reader(hello.vector16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let body = extensions.vector16()?;
        if kind == EXTENSION_SERVER_NAME {
            return host_name(body);
        }
    }
    Ok(None)
}

fn host_name(extension: &[u8]) -> Result<Option<String>, Malformed> {
    let mut names = Reader(Reader(extension).vector16()?);
    while !names.0.is_empty() {
        let kind = names.take(1)?[0];
        let name = names.vector16()?;
        if kind == NAME_TYPE_HOST {
            let name = std::str::from_utf8(name).map_err(|_| Malformed)?;
            return Ok((!name.is_empty()).then(|| name.to_owned()));
        }
    }
    Ok(None)
}

/// The unread rest of a TLS structure.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector with a one-byte length.
    fn vector8(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    /// A vector with a two-byte length.
    fn vector16(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A minimal ClientHello, cut into records of at most `record` bytes.
    fn hello(server_name: Option<&str>, record: usize) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0]); // session id
        body.extend([0, 2, 0x13, 0x01]);
        body.extend([1, 0]);
        let mut extensions = vec![0x00, 0x0a, 0, 4, 0, 2, 0, 0x1d];
        if let Some(name) = server_name {
            let length = u16::try_from(name.len()).unwrap();
            extensions.extend([0, 0]);
            extensions.extend((length + 5).to_be_bytes());
            extensions.extend((length + 3).to_be_bytes());
            extensions.push(0);
            extensions.extend(length.to_be_bytes());
            extensions.extend(name.bytes());
        }
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let mut message = vec![1];
        message.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
        message.extend(body);
        message
            .chunks(record)
            .flat_map(|chunk| {
                let length = u16::try_from(chunk.len()).unwrap().to_be_bytes();
                [&[22, 3, 1], &length[..], chunk].concat()
            })
            .collect()
    }

    fn found(name: &str) -> Sighting {
        Sighting::Hello {
            server_name: Some(name.to_owned()),
        }
    }

    #[test]
    fn the_name_is_found_also_across_many_records() {
        assert_eq!(examine(&hello(Some("app.test"), 16_384)), found("app.test"));
        assert_eq!(examine(&hello(Some("app.test"), 1)), found("app.test"));
    }

    #[test]
    fn a_hello_without_name_is_still_a_hello() {
        assert_eq!(
            examine(&hello(None, 512)),
            Sighting::Hello { server_name: None }
        );
    }

    #[test]
    fn other_protocols_are_told_apart_at_their_first_bytes() {
        for first in [
            &b"GET / HTTP/1.1"[..],
            b"SSH-2.0-x",
            b"\x16\x02\x00",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x00\x01\x02",
        ] {
            assert_eq!(examine(first), Sighting::NotTls, "{first:?}");
        }
    }

    proptest! {
        #[test]
        fn every_proper_prefix_is_incomplete(cut in 0usize..100, record in 1usize..200) {
            let whole = hello(Some("some.name.example"), record);
            let cut = cut.min(whole.len() - 1);
            prop_assert_eq!(examine(&whole[..cut]), Sighting::Incomplete);
        }

        #[test]
        fn bytes_after_the_hello_change_nothing(tail in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut bytes = hello(Some("app.test"), 16_384);
            bytes.extend(tail);
            prop_assert_eq!(examine(&bytes), found("app.test"));
        }

        #[test]
        fn damaged_hellos_never_panic(at in 0usize..120, value: u8, record in 1usize..200) {
            let mut bytes = hello(Some("app.test"), record);
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = examine(&bytes);
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = examine(&bytes);
            let _ = examine(&[&[22, 3, 1, 0, 190, 1, 0, 0, 180], &bytes[..]].concat());
        }
    }
}
