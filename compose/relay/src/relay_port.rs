//! One public TCP port.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, info};

use crate::control::{Origin, Transport};
use crate::handshake::canonical;
use crate::hub::Hub;
use crate::listen::accept;
use crate::route::tcp_key;
use crate::sniff::sniff;
use crate::tasks::Tasks;
use crate::tcp_flow;

/// Accepts users for ever. `peeks` bounds, over all ports, how many may be listened to at a time
/// before their route is known; more are closed at once.
pub async fn run(
    listener: TcpListener,
    port: u16,
    hub: Arc<Hub>,
    peeks: Arc<Semaphore>,
    tasks: Tasks,
) {
    loop {
        let (stream, peer) = accept(&listener).await;
        let Ok(permit) = Arc::clone(&peeks).try_acquire_owned() else {
            debug!(port, "connection refused: too many are being sniffed");
            continue;
        };
        let hub = Arc::clone(&hub);
        tasks.spawn(async move {
            serve(stream, canonical(peer), port, &hub, permit).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    hub: &Hub,
    permit: tokio::sync::OwnedSemaphorePermit,
) {
    let sniffed = match sniff(&mut stream, hub.config.peek).await {
        Ok(sniffed) => sniffed,
        Err(why) => {
            debug!(port, %peer, %why, "connection closed");
            return;
        }
    };
    drop(permit);
    let hostname = sniffed.name.unwrap_or_else(|| tcp_key(port));
    let Some(session) = hub.pick(&hostname) else {
        debug!(port, %peer, hostname, "connection closed: nobody owns the route");
        return;
    };
    info!(port, %peer, hostname, session = session.id, "user connected");
    let origin = Origin {
        port,
        client: peer.to_string(),
        transport: Transport::Tcp,
        hostname,
        is_tls: sniffed.is_tls,
    };
    tcp_flow::serve(
        &session,
        stream,
        &origin,
        &sniffed.captured,
        hub.config.idle,
    )
    .await;
}
