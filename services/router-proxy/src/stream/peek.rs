//! The first bytes of a stranger, within five seconds and sixteen KiB.

use super::{Stream, rewound::Rewound};
use crate::client_hello::{self, ClientHello, Peek};
use bytes::BytesMut;
use std::{io, time::Duration};
use tokio::io::AsyncReadExt;

const WITHIN: Duration = Duration::from_secs(5);
/// The hello itself and the headers of the records it may be split over.
const LIMIT: usize = client_hello::LIMIT + 1024;

/// What a connection begins with; the bytes are still there to be read.
#[derive(Debug)]
pub(crate) enum Opening<S> {
    Tls(ClientHello, Rewound<S>),
    Other(Rewound<S>),
}

/// Why a connection is closed before it was understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoOpening {
    #[error("no complete ClientHello within {} s", WITHIN.as_secs())]
    TooSlow,
    #[error("no complete ClientHello within {LIMIT} bytes")]
    TooLong,
    #[error("the ClientHello is malformed")]
    Malformed,
    #[error("the visitor went away")]
    Gone(#[source] Option<io::Error>),
}

/// Looks until the beginning is understood.
pub(crate) async fn look<S: Stream>(stream: S) -> Result<Opening<S>, NoOpening> {
    look_for(stream, WITHIN).await
}

async fn look_for<S: Stream>(stream: S, within: Duration) -> Result<Opening<S>, NoOpening> {
    tokio::time::timeout(within, read_opening(stream))
        .await
        .unwrap_or(Err(NoOpening::TooSlow))
}

async fn read_opening<S: Stream>(mut stream: S) -> Result<Opening<S>, NoOpening> {
    let mut bytes = BytesMut::with_capacity(2048);
    loop {
        let read = stream.read_buf(&mut bytes).await;
        if read.map_err(|error| NoOpening::Gone(Some(error)))? == 0 {
            return Err(NoOpening::Gone(None));
        }
        match client_hello::peek(&bytes) {
            Peek::Hello(hello) => {
                return Ok(Opening::Tls(hello, Rewound::new(bytes.freeze(), stream)));
            }
            Peek::NotTls => return Ok(Opening::Other(Rewound::new(bytes.freeze(), stream))),
            Peek::Malformed => return Err(NoOpening::Malformed),
            Peek::NeedMore if bytes.len() > LIMIT => return Err(NoOpening::TooLong),
            Peek::NeedMore => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn a_mute_stranger_is_closed_in_the_end() {
        let (_stranger, ours) = tokio::io::duplex(64);
        let looked = look_for(ours, Duration::from_millis(20)).await;
        assert!(matches!(looked, Err(NoOpening::TooSlow)));
    }

    #[tokio::test]
    async fn an_endless_hello_is_cut_at_its_bound() {
        let (mut stranger, ours) = tokio::io::duplex(64 * 1024);
        let writing = tokio::spawn(async move {
            // A hello of the largest length that is looked at, in records of one byte.
            let mut hello = vec![1, 0, 0x3f, 0xfc];
            hello.resize(16 * 1024, 0);
            for byte in hello {
                if stranger.write_all(&[22, 3, 1, 0, 1, byte]).await.is_err() {
                    return;
                }
            }
        });
        assert!(matches!(look(ours).await, Err(NoOpening::TooLong)));
        writing.await.expect("the writer");
    }

    #[tokio::test]
    async fn what_was_looked_at_is_read_again() {
        let (mut stranger, ours) = tokio::io::duplex(64);
        stranger.write_all(b"GET /").await.expect("written");
        drop(stranger);
        let Ok(Opening::Other(mut stream)) = look(ours).await else {
            panic!("not TLS");
        };
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "GET /");
    }
}
