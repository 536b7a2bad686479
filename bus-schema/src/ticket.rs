//! A claim check for a secret: named in a frame, redeemed once over the holder's own socket.

use crate::ids::ServiceName;
use serde::{Deserialize, Serialize};

/// Where a secret waits. Worth nothing without access to the holder's secret socket, used up by
/// the first claim, and void after thirty seconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// The service that holds the bytes.
    pub holder: ServiceName,
    /// 128 random bits.
    #[serde(with = "serde_bytes")]
    pub id: [u8; 16],
}
