//! The WebSocket of an authenticated backend: one reader, one writer, one clock.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};

use crate::frame::MAX_MESSAGE;
use crate::lanes::{LaneEnds, Outgoing};
use crate::session::{Dial, Session};

/// A backend that sends neither a whole data message nor a Pong for this long is dead.
const READ_DEADLINE: Duration = Duration::from_secs(60);
/// A little under the read deadline, so that a living backend's Pong renews it in time.
const PING_EVERY: Duration = Duration::from_secs(54);
/// A backend whose socket takes nothing for this long is dead.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// For the last frame, and for the backend to see the end of the connection before it is reset.
const FAREWELL: Duration = Duration::from_secs(1);
/// Messages written together before the socket is flushed once.
const WRITE_BATCH: usize = 16;
/// The protocol sets no limit during the handshake; memory does. Many times the size of any token.
const HANDSHAKE_MESSAGE: usize = 1 << 20;

/// Why a session is over.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SessionEnd {
    #[error("backend closed")]
    Closed,
    #[error("connection lost: {0}")]
    Lost(String),
    #[error("nothing heard for {} s", READ_DEADLINE.as_secs())]
    Silent,
    #[error("message of more than {MAX_MESSAGE} bytes")]
    Oversize,
    #[error("WebSocket protocol error: {0}")]
    Protocol(String),
    #[error("write stalled for {} s", WRITE_DEADLINE.as_secs())]
    Stalled,
    #[error("re-authentication failed: {0}")]
    Reauth(String),
}

impl SessionEnd {
    /// Only these two are said in a Close frame; every other end is a bare end of TCP.
    fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Oversize => Some(CloseCode::Size),
            Self::Protocol(_) => Some(CloseCode::Protocol),
            Self::Closed | Self::Lost(_) | Self::Silent | Self::Stalled | Self::Reauth(_) => None,
        }
    }
}

/// The limits of a backend's WebSocket. The session's own, smaller limit is checked per message.
pub fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(32 * 1024)
        .write_buffer_size(64 * 1024)
        .max_message_size(Some(HANDSHAKE_MESSAGE))
        .max_frame_size(Some(HANDSHAKE_MESSAGE))
}

/// Runs the session until it ends, says why if the protocol allows it, and closes the connection.
/// `proving` re-authenticates and returns only when that fails; `leave` takes the session out of
/// the routes, before the farewell takes its time; `dial` starts outbound requests.
pub async fn serve<S>(
    socket: WebSocketStream<S>,
    session: &Arc<Session>,
    mut lanes: LaneEnds,
    proving: impl Future<Output = SessionEnd>,
    leave: impl FnOnce(),
    dial: impl Fn(Dial),
) -> SessionEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let end = tokio::select! {
        end = read(&mut stream, session, dial) => end,
        end = write(&mut sink, &mut lanes) => end,
        end = proving => end,
    };
    leave();
    session.end_flows();
    if let Ok(mut socket) = stream.reunite(sink) {
        if let Some(code) = end.close_code() {
            say_close(&mut socket, code, String::new()).await;
        }
        hang_up(socket).await;
    }
    end
}

async fn read<S>(
    stream: &mut SplitStream<WebSocketStream<S>>,
    session: &Session,
    dial: impl Fn(Dial),
) -> SessionEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut deadline = Instant::now() + READ_DEADLINE;
    loop {
        let message = match timeout_at(deadline, stream.next()).await {
            Err(_) => return SessionEnd::Silent,
            Ok(None) => return SessionEnd::Closed,
            Ok(Some(Err(error))) => return classify(error),
            Ok(Some(Ok(message))) => message,
        };
        match message {
            Message::Binary(bytes) if bytes.len() <= MAX_MESSAGE => {
                deadline = Instant::now() + READ_DEADLINE;
                if let Some(request) = session.receive(bytes) {
                    dial(request);
                }
            }
            Message::Text(text) if text.len() <= MAX_MESSAGE => {
                deadline = Instant::now() + READ_DEADLINE;
                session.answer(text.as_str().to_owned());
            }
            Message::Binary(_) | Message::Text(_) => return SessionEnd::Oversize,
            Message::Pong(_) => deadline = Instant::now() + READ_DEADLINE,
            // Answered by the library; a backend's Ping proves nothing about its reading.
            Message::Ping(_) | Message::Frame(_) => {}
            // Echoed by the farewell, once no more users are sent here.
            Message::Close(_) => return SessionEnd::Closed,
        }
    }
}

fn classify(error: WsError) -> SessionEnd {
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed => SessionEnd::Closed,
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => SessionEnd::Closed,
        WsError::Capacity(_) => SessionEnd::Oversize,
        WsError::Protocol(error) => SessionEnd::Protocol(error.to_string()),
        WsError::Utf8(error) => SessionEnd::Protocol(error),
        other => SessionEnd::Lost(other.to_string()),
    }
}

async fn write<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    lanes: &mut LaneEnds,
) -> SessionEnd
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            message = lanes.next() => match message {
                Some(message) => to_message(message),
                None => return SessionEnd::Closed,
            },
            _ = ping.tick() => Message::Ping(Default::default()),
        };
        match timeout(WRITE_DEADLINE, write_batch(sink, lanes, first)).await {
            Err(_) => return SessionEnd::Stalled,
            Ok(Err(error)) => return SessionEnd::Lost(error.to_string()),
            Ok(Ok(())) => {}
        }
    }
}

/// Writes `first` and what else is ready, up to a batch, and flushes once.
async fn write_batch<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    lanes: &mut LaneEnds,
    first: Message,
) -> Result<(), WsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    sink.feed(first).await?;
    let mut written = 1;
    while written < WRITE_BATCH {
        let before = written;
        for message in lanes.ready() {
            sink.feed(to_message(message)).await?;
            written += 1;
        }
        if written == before {
            break;
        }
    }
    sink.flush().await
}

fn to_message(outgoing: Outgoing) -> Message {
    match outgoing {
        Outgoing::Text(text) => Message::Text(text.into()),
        Outgoing::Binary(bytes) => Message::Binary(bytes),
    }
}

/// Sends a Close frame, if the peer takes it in time.
pub async fn say_close<S>(socket: &mut WebSocketStream<S>, code: CloseCode, reason: String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let close = CloseFrame {
        code,
        reason: reason.into(),
    };
    let _ = timeout(FAREWELL, socket.send(Message::Close(Some(close)))).await;
}

/// Sends what is still buffered, the echo of a Close among it, ends TLS and TCP properly, and reads on for a moment: closing a socket with unread bytes
/// resets it, and the peer could lose the last frame.
pub async fn hang_up<S>(mut socket: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = timeout(FAREWELL, socket.flush()).await;
    let stream = socket.get_mut();
    let farewell = async {
        stream.shutdown().await?;
        let mut scrap = [0; 4096];
        while stream.read(&mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(FAREWELL, farewell).await;
}
