//! Accepting on a TCP listener: never more than there are seats, and never stuck behind one
//! visitor.

use crate::{admission::Seat, edge::Edge, refusal::Refusal};
use http::HeaderMap;
use socket2::{SockRef, TcpKeepalive};
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Out of descriptors, most likely: wait for some to come back.
const PAUSE: Duration = Duration::from_millis(100);
/// A dead peer of a quiet raw connection is noticed after some two minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// Visitors beyond the limit that are being told so.
const TOLD_AT_ONCE: usize = 32;
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// What a visitor beyond the limit is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Plain HTTP is spoken here.
    SayBusy,
    Close,
}

/// Accepts until `stop`; each connection is a task of the edge.
pub(crate) async fn accept<F, Fut>(
    edge: Arc<Edge>,
    listener: TcpListener,
    stop: CancellationToken,
    when_full: WhenFull,
    serve: F,
) where
    F: Fn(Arc<Edge>, TcpStream, SocketAddr, Arc<Seat>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let entrance = edge.admission.entrance();
    let told = Arc::new(tokio::sync::Semaphore::new(TOLD_AT_ONCE));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            () = edge.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "connection not prepared");
        }
        match entrance.enter() {
            Some(seat) => {
                let connection = serve(Arc::clone(&edge), stream, peer, seat);
                edge.tasks.spawn(connection);
            }
            None if when_full == WhenFull::SayBusy => {
                if let Ok(permit) = Arc::clone(&told).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _permit = permit;
                        let _ = tokio::time::timeout(TELL_WITHIN, say_busy(stream)).await;
                    });
                }
            }
            None => tracing::debug!(%peer, "closed: too many connections"),
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Answers, and reads what comes until the visitor has read it: closing with unread bytes would
/// reset the connection and lose the answer.
async fn say_busy(mut stream: TcpStream) -> io::Result<()> {
    let refusal = Refusal::TooManyConnections;
    let body = refusal.response(&HeaderMap::new()).into_body();
    let head = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\nretry-after: 2\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        refusal.status(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await?;
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}
