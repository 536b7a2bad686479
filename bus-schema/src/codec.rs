//! MessagePack with field names, bounded.

use crate::envelope::PAYLOAD_LIMIT;
use serde::{Serialize, de::DeserializeOwned};

/// A message could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("message of {size} bytes is over the limit of {PAYLOAD_LIMIT}")]
    TooLarge { size: usize },
    #[error("message can't be written as MessagePack")]
    Encode(#[source] rmp_serde::encode::Error),
}

/// Bytes are not the message they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("message of {size} bytes is over the limit of {PAYLOAD_LIMIT}")]
    TooLarge { size: usize },
    #[error("bytes are not this message")]
    Decode(#[source] rmp_serde::decode::Error),
}

/// Writes a message as a MessagePack map of field names.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, EncodeError> {
    let bytes = rmp_serde::to_vec_named(message).map_err(EncodeError::Encode)?;
    if bytes.len() > PAYLOAD_LIMIT {
        return Err(EncodeError::TooLarge { size: bytes.len() });
    }
    Ok(bytes)
}

/// Reads a message. Unknown fields are skipped, so that a newer peer is understood.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > PAYLOAD_LIMIT {
        return Err(DecodeError::TooLarge { size: bytes.len() });
    }
    rmp_serde::from_slice(bytes).map_err(DecodeError::Decode)
}
