//! Bytes carried to an app untouched, each direction to its own end.

use super::Stream;
use crate::{
    admission::Seat,
    edge::Edge,
    proxy::upstream::{CONNECT_WITHIN, connect_app},
    table::Listener,
};
use std::{net::IpAddr, sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;

/// Each way of each connection.
const BUFFER: usize = 16 * 1024;

/// Carries bytes until both sides have ended, the device locks, or the edge is cut. A listener that
/// is not available here closes: there are no words to say.
pub(crate) async fn carry<S: Stream>(
    edge: Arc<Edge>,
    listener: Arc<Listener>,
    period: CancellationToken,
    mut stream: S,
    visitor: IpAddr,
    seat: Arc<Seat>,
) {
    let _seat = seat;
    let admitted = listener.chain.admit(visitor, Instant::now()).map(|_| ());
    if let Err(refusal) = admitted.and_then(|()| listener.available()) {
        tracing::info!(listener = %listener.name, client = %visitor, ?refusal, "connection closed");
        return;
    }
    let connecting = connect_app(listener.host_port);
    let mut app = match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
        Ok(Ok(app)) => app,
        Ok(Err(error)) => {
            tracing::info!(listener = %listener.name, %error, "app not reachable");
            return;
        }
        Err(_) => {
            tracing::info!(listener = %listener.name, "app does not accept connections");
            return;
        }
    };
    let copying = tokio::io::copy_bidirectional_with_sizes(&mut stream, &mut app, BUFFER, BUFFER);
    tokio::select! {
        result = copying => if let Err(error) = result {
            tracing::debug!(listener = %listener.name, %error, "connection broke");
        },
        () = period.cancelled() => {}
        () = edge.cut.cancelled() => {}
    }
}
