//! TLS that ends here, then HTTP.

use super::Stream;
use crate::{
    edge::Edge,
    proxy::{self, Connection},
};
use rustls::ServerConfig;
use std::{future::Future, sync::Arc, time::Duration};
use tokio_rustls::TlsAcceptor;

/// From the hello on; a phone on a bad line needs three round trips.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Ends TLS with a certificate and serves HTTP until `ends`.
pub(crate) async fn serve<S: Stream>(
    edge: Arc<Edge>,
    stream: S,
    config: Arc<ServerConfig>,
    connection: Connection,
    ends: impl Future<Output = ()>,
) {
    let handshake = TlsAcceptor::from(config).accept(stream);
    let handshake = tokio::time::timeout(HANDSHAKE_WITHIN, handshake);
    match edge.unless_closing(handshake).await {
        Some(Ok(Ok(stream))) => proxy::serve(edge, stream, connection, ends).await,
        Some(Ok(Err(error))) => tracing::debug!(%error, "TLS handshake failed"),
        Some(Err(_)) => tracing::debug!("TLS handshake took too long"),
        None => {}
    }
}
