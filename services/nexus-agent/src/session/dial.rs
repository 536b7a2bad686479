//! TCP, TLS and the upgrade to a WebSocket (RFC 6455).

use crate::{error::TunnelError, frame::MAX_MESSAGE, relay_address::RelayAddress, timing::Timing};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::WebSocketConfig};

pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Bytes gathered before they go to TLS: small enough that a control message, which waits behind
/// them, is not late; large enough for several frames in one write.
const WRITE_BUFFER: usize = 64 * 1024;

/// Connects to the relay within `timing.dial`.
pub(super) async fn dial(
    relay: &RelayAddress,
    tls: Arc<ClientConfig>,
    timing: &Timing,
) -> Result<Socket, TunnelError> {
    tokio::time::timeout(timing.dial, connect(relay, tls))
        .await
        .unwrap_or_else(|_| {
            Err(TunnelError::DialTimeout {
                relay: relay.clone(),
                limit: timing.dial,
            })
        })
}

async fn connect(relay: &RelayAddress, tls: Arc<ClientConfig>) -> Result<Socket, TunnelError> {
    let connect_error = |source| TunnelError::Connect {
        relay: relay.clone(),
        source,
    };
    let tls_error = |source| TunnelError::Tls {
        relay: relay.clone(),
        source,
    };
    let tcp = TcpStream::connect((relay.host(), relay.port()))
        .await
        .map_err(connect_error)?;
    // Frames are small and interactive; the writer gathers by itself.
    tcp.set_nodelay(true).map_err(connect_error)?;
    let name = ServerName::try_from(relay.host())
        .map_err(|error| tls_error(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let secured = TlsConnector::from(tls)
        .connect(name, tcp)
        .await
        .map_err(tls_error)?;
    let limits = WebSocketConfig::default()
        .read_buffer_size(WRITE_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let upgrade =
        tokio_tungstenite::client_async_with_config(relay.to_string(), secured, Some(limits)).await;
    let (socket, _) = upgrade.map_err(|source| TunnelError::Upgrade {
        relay: relay.clone(),
        source: Box::new(source),
    })?;
    Ok(socket)
}
