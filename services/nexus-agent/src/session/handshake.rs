//! The two tokens and the challenge between them (protocol, 2.1).

use super::dial::Socket;
use crate::{
    error::TunnelError,
    message::Challenge,
    timing::Timing,
    token::{Signer, Stage},
    wall_clock::WallClock,
};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

/// Signs in as far as a client can know: the relay does not answer the second token.
pub(super) async fn sign_in(
    socket: &mut Socket,
    signer: &Signer,
    clock: &WallClock,
    timing: &Timing,
) -> Result<(), TunnelError> {
    send_token(socket, signer, Stage::Hello, clock, timing).await?;
    let challenge = tokio::time::timeout(timing.challenge, await_challenge(socket));
    let nonce = challenge
        .await
        .unwrap_or(Err(TunnelError::ChallengeTimeout {
            limit: timing.challenge,
        }))?;
    send_token(
        socket,
        signer,
        Stage::Attest { nonce: &nonce },
        clock,
        timing,
    )
    .await
}

async fn await_challenge(socket: &mut Socket) -> Result<String, TunnelError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => match Challenge::parse(&text) {
                Some(Challenge::Handshake { nonce }) if nonce.is_empty() => {
                    return Err(TunnelError::EmptyNonce);
                }
                Some(Challenge::Handshake { nonce }) => return Ok(nonce),
                Some(Challenge::Reauth { .. }) | None => {}
            },
            Some(Ok(Message::Close(frame))) => {
                return Err(TunnelError::of_close(frame).in_handshake());
            }
            Some(Ok(
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
            )) => {}
            Some(Err(_)) | None => return Err(TunnelError::RefusedSilently),
        }
    }
}

async fn send_token(
    socket: &mut Socket,
    signer: &Signer,
    stage: Stage<'_>,
    clock: &WallClock,
    timing: &Timing,
) -> Result<(), TunnelError> {
    let token = signer.sign(stage, clock.now());
    match tokio::time::timeout(timing.write, socket.send(Message::text(token))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(TunnelError::RefusedSilently),
        Err(_) => Err(TunnelError::WriteTimeout {
            limit: timing.write,
        }),
    }
}
