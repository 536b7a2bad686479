//! The binary messages of a session: one type byte, then data or control.
//!
//! ```text
//! 01 | client id, 16 bytes big-endian | payload, 0..=32768 bytes
//! 02 | one JSON object in UTF-8
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;
use uuid::Uuid;

const DATA: u8 = 0x01;
const CONTROL: u8 = 0x02;

/// Type byte and client id in front of every payload.
pub const DATA_HEADER: usize = 17;
/// The largest payload either side may put into one data message.
pub const MAX_PAYLOAD: usize = 32_768;
/// The largest message a backend may send after authentication.
pub const MAX_MESSAGE: usize = DATA_HEADER + MAX_PAYLOAD;

/// A message from a backend, split but not yet understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Data { client: Uuid, payload: Bytes },
    Control(Bytes),
}

/// Messages the protocol tells a relay to ignore.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Junk {
    #[error("empty message")]
    Empty,
    #[error("data message of {0} bytes is shorter than its header")]
    ShortData(usize),
    #[error("unknown message type {0:#04x}")]
    UnknownType(u8),
}

/// Splits one whole WebSocket message. The payload shares the message's memory.
pub fn decode(mut message: Bytes) -> Result<Frame, Junk> {
    match message.first().copied() {
        None => Err(Junk::Empty),
        Some(CONTROL) => Ok(Frame::Control(message.split_off(1))),
        Some(DATA) => {
            let short = Junk::ShortData(message.len());
            let payload = match message.len() {
                0..DATA_HEADER => return Err(short),
                _ => message.split_off(DATA_HEADER),
            };
            let client = Uuid::from_slice(&message[1..]).map_err(|_| short)?;
            Ok(Frame::Data { client, payload })
        }
        Some(other) => Err(Junk::UnknownType(other)),
    }
}

/// An empty buffer that already holds the data header and has room for `payload` more bytes, so
/// that a socket can be read straight into the frame.
pub fn begin_data(client: Uuid, payload: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(DATA_HEADER + payload);
    frame.put_u8(DATA);
    frame.put_slice(client.as_bytes());
    frame
}

/// A complete data message.
pub fn data(client: Uuid, payload: &[u8]) -> Bytes {
    let mut frame = begin_data(client, payload.len());
    frame.put_slice(payload);
    frame.freeze()
}

/// A complete control message around `json`.
pub fn control(json: &str) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + json.len());
    frame.put_u8(CONTROL);
    frame.put_slice(json.as_bytes());
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_data_message_is_type_id_payload() {
        let client = Uuid::parse_str("950cb35c-00e9-4677-9bc2-f976af2814cd").unwrap();
        let bytes = data(client, b"GET / H");
        assert_eq!(
            &bytes[..],
            b"\x01\x95\x0c\xb3\x5c\x00\xe9\x46\x77\x9b\xc2\xf9\x76\xaf\x28\x14\xcdGET / H"
        );
    }

    #[test]
    fn junk_is_named_for_what_it_is() {
        assert_eq!(decode(Bytes::new()), Err(Junk::Empty));
        assert_eq!(
            decode(Bytes::from_static(b"\x01abc")),
            Err(Junk::ShortData(4))
        );
        assert_eq!(
            decode(Bytes::from_static(b"\x07{}")),
            Err(Junk::UnknownType(7))
        );
    }

    #[test]
    fn an_empty_payload_is_a_data_message() {
        let client = Uuid::from_u128(7);
        assert_eq!(
            decode(data(client, b"")),
            Ok(Frame::Data {
                client,
                payload: Bytes::new()
            })
        );
    }

    proptest! {
        #[test]
        fn data_survives_the_round_trip(id: u128, payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let client = Uuid::from_u128(id);
            let decoded = decode(data(client, &payload));
            prop_assert_eq!(decoded, Ok(Frame::Data { client, payload: payload.into() }));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(bytes.into());
        }
    }
}
