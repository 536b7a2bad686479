//! Binary messages: a byte that says what it is, then the thing (protocol, 3).

use crate::message::{FromRelay, ToRelay};
use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

const DATA: u8 = 0x01;
const CONTROL: u8 = 0x02;
/// Kind and ClientID.
const DATA_HEAD: usize = 17;

/// The largest payload we send: half of what the relay takes. Smaller frames mean fewer bytes in
/// flight for each credit.
pub(crate) const MAX_PAYLOAD: usize = 16_384;

/// The largest message we take. A relay replays up to 64 KiB of HTTP head in one frame, and a
/// `connect` grows with its hostname (protocol, 1 and 6.3).
pub(crate) const MAX_MESSAGE: usize = 1024 * 1024;

/// What a binary message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Data { id: Uuid, payload: Bytes },
    Control(FromRelay),
}

impl Frame {
    /// Reads a binary message; `None` for junk, which is ignored.
    pub(crate) fn decode(mut message: Bytes) -> Option<Self> {
        match *message.first()? {
            DATA if message.len() >= DATA_HEAD => {
                let payload = message.split_off(DATA_HEAD);
                let id = Uuid::from_slice(&message[1..]).ok()?;
                Some(Self::Data { id, payload })
            }
            CONTROL => FromRelay::parse(&message[1..]).map(Self::Control),
            _ => None,
        }
    }
}

/// A data message.
pub(crate) fn data(id: Uuid, payload: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(DATA_HEAD + payload.len());
    message.put_u8(DATA);
    message.put_slice(id.as_bytes());
    message.put_slice(payload);
    message.freeze()
}

/// A control message.
pub(crate) fn control(said: ToRelay) -> Bytes {
    let json = said.to_json();
    let mut message = BytesMut::with_capacity(1 + json.len());
    message.put_u8(CONTROL);
    message.put_slice(json.as_bytes());
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_data_message_is_kind_id_payload() {
        let id = Uuid::from_u128(0x950c_b35c_00e9_4677_9bc2_f976_af28_14cd);
        let message = data(id, b"GET");
        assert_eq!(
            message[..],
            *b"\x01\x95\x0c\xb3\x5c\x00\xe9\x46\x77\x9b\xc2\xf9\x76\xaf\x28\x14\xcdGET"
        );
        let payload = Bytes::from_static(b"GET");
        assert_eq!(Frame::decode(message), Some(Frame::Data { id, payload }));
    }

    #[test]
    fn short_empty_and_unknown_messages_are_junk() {
        for junk in [
            &b""[..],
            b"\x01abc",
            b"\x03",
            b"\x02",
            b"\x02{",
            b"\x00\x00",
        ] {
            assert_eq!(Frame::decode(Bytes::copy_from_slice(junk)), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Frame::decode(bytes.into());
        }

        #[test]
        fn data_survives_the_way(id: u128, payload in prop::collection::vec(any::<u8>(), 0..100)) {
            let id = Uuid::from_u128(id);
            let decoded = Frame::decode(data(id, &payload));
            prop_assert_eq!(decoded, Some(Frame::Data { id, payload: payload.into() }));
        }
    }
}
