//! The two tokens that open a session.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Message;
use tracing::debug;

use crate::claims::{Claims, Stage};
use crate::verifier::{Refusal, Verifier, fresh_nonce, unix_now};

/// For the first token, and again for the second.
const TOKEN_DEADLINE: Duration = Duration::from_secs(10);
/// A Close frame has 125 bytes, two of them the code (RFC 6455 section 5.5).
const MAX_REASON: usize = 123;

/// Why a backend was not let in. The text is the reason it is given.
#[derive(Debug, Error)]
pub enum HandshakeError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("expected text frame for {} token, got type {kind}", stage.label())]
    NotText { stage: Stage, kind: u8 },
    #[error("read {} token: read tcp {local}->{peer}: i/o timeout", stage.label())]
    Silent {
        stage: Stage,
        local: SocketAddr,
        peer: SocketAddr,
    },
    #[error("backend left before its {} token", .0.label())]
    Left(Stage),
    #[error("challenge could not be sent: {0}")]
    Challenge(String),
}

impl HandshakeError {
    /// The reason for a Close 1008. A text too long for the frame is not cut: the original sends
    /// no frame at all then, and neither do we. The same goes for silence before stage 1.
    pub fn close_reason(&self) -> Option<String> {
        match self {
            Self::Left(_)
            | Self::Challenge(_)
            | Self::Silent {
                stage: Stage::One | Stage::Reauth,
                ..
            } => None,
            Self::Refused(_) | Self::NotText { .. } | Self::Silent { .. } => {
                Some(self.to_string()).filter(|text| text.len() <= MAX_REASON)
            }
        }
    }
}

/// The ends of a backend's TCP connection, for the texts and the log.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// The JSON of a challenge; `kind` is `handshake_challenge` or `reauth_challenge`.
pub fn challenge(kind: &str, nonce: &str) -> String {
    format!(r#"{{"type":"{kind}","nonce":"{nonce}"}}"#)
}

/// Reads both tokens and returns the session's claims: the sets of the first, the terms of the
/// second. Success is silent.
pub async fn authenticate<S>(
    socket: &mut WebSocketStream<S>,
    verifier: &Verifier,
    ends: Ends,
) -> Result<Claims, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let token = read_token(socket, Stage::Zero, ends).await?;
    let first = verifier.first(&token, unix_now())?;
    let nonce = fresh_nonce().map_err(|error| HandshakeError::Challenge(error.to_string()))?;
    send_challenge(socket, &nonce).await?;
    let token = read_token(socket, Stage::One, ends).await?;
    let second = verifier.later(&token, Stage::One, &nonce, &first, unix_now())?;
    Ok(Claims {
        reauth: second.reauth,
        ..first
    })
}

async fn send_challenge<S>(
    socket: &mut WebSocketStream<S>,
    nonce: &str,
) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let text = Message::Text(challenge("handshake_challenge", nonce).into());
    match timeout_at(Instant::now() + TOKEN_DEADLINE, socket.send(text)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(HandshakeError::Challenge(error.to_string())),
        Err(_) => Err(HandshakeError::Challenge(
            "the backend does not read".to_owned(),
        )),
    }
}

/// Pings and Pongs do not prolong the deadline here.
async fn read_token<S>(
    socket: &mut WebSocketStream<S>,
    stage: Stage,
    ends: Ends,
) -> Result<String, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const BINARY: u8 = 2;
    let deadline = Instant::now() + TOKEN_DEADLINE;
    loop {
        let message = match timeout_at(deadline, socket.next()).await {
            Err(_) => {
                return Err(HandshakeError::Silent {
                    stage,
                    local: canonical(ends.local),
                    peer: canonical(ends.peer),
                });
            }
            Ok(None) => return Err(HandshakeError::Left(stage)),
            Ok(Some(Err(error))) => {
                debug!(%error, "handshake broke off");
                return Err(HandshakeError::Left(stage));
            }
            Ok(Some(Ok(message))) => message,
        };
        match message {
            Message::Text(token) => return Ok(token.as_str().to_owned()),
            Message::Binary(_) => {
                return Err(HandshakeError::NotText {
                    stage,
                    kind: BINARY,
                });
            }
            // Echoed when the socket is hung up.
            Message::Close(_) => return Err(HandshakeError::Left(stage)),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// IPv4-mapped addresses are shown as IPv4.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(stage: Stage) -> HandshakeError {
        HandshakeError::Silent {
            stage,
            local: "127.0.0.1:8443".parse().unwrap(),
            peer: canonical("[::ffff:10.0.0.1]:5".parse().unwrap()),
        }
    }

    #[test]
    fn silence_before_the_first_token_is_explained_and_before_the_second_is_not() {
        assert_eq!(
            silent(Stage::Zero).close_reason().unwrap(),
            "read stage0 token: read tcp 127.0.0.1:8443->10.0.0.1:5: i/o timeout"
        );
        assert_eq!(silent(Stage::One).close_reason(), None);
    }

    #[test]
    fn a_reason_of_124_bytes_is_not_sent() {
        let mismatch = |got: &str| {
            HandshakeError::from(Refusal::Nonce {
                expected: "n".repeat(43),
                got: got.to_owned(),
            })
        };
        assert!(mismatch("").close_reason().is_some());
        assert_eq!(mismatch(&"n".repeat(43)).close_reason(), None);
    }
}
