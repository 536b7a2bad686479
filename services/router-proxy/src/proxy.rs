//! The HTTP side: connections served, requests answered or passed on.
//!
//! ```text
//!   connection ──► serve (limits of pace) ──► exchange ──► upstream ──► app or health-api
//!                                               │  └─ upgrade: bytes both ways
//!                                               └─ plain: the relay's port 80
//! ```

mod exchange;
mod pace;
mod plain;
mod progress;
mod upgrade;
pub(crate) mod upstream;

use crate::{admission::Seat, edge::Edge, visitor::Visitor};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use pace::{Guarded, Overdue, Pace, Paced};
use piccolo_bus_schema::ids::Hostname;
use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What visitors are sent: our own words or an app's stream.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Request and response heads, and one HTTP/1 line.
const HEAD_LIMIT: usize = 64 * 1024;
/// A browser opens a hundred at most.
const STREAMS_PER_CONNECTION: u32 = 128;
/// A silent HTTP/2 peer is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(15);
/// How often a connection's pace is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A connection asked to end may finish its requests for so long.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Through what a connection came in; each request is routed by it.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// The portal's own ports on the LAN.
    Portal,
    /// An app's port on the LAN.
    PublicPort(u16),
    /// TLS ended here for a name.
    Name(Hostname),
    /// Plain HTTP from the relay: challenges and redirects only.
    Plain,
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) door: Door,
    pub(crate) visitor: Visitor,
    /// Held until the last stream of the connection has ended.
    pub(crate) seat: Arc<Seat>,
}

/// The connection is closed without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no route, no answer")]
pub(crate) struct Cut;

/// Serves HTTP/1.1 or HTTP/2 on a connection until it ends, `ends` does, or the edge does.
pub(crate) async fn serve<S>(
    edge: Arc<Edge>,
    stream: S,
    connection: Connection,
    ends: impl Future<Output = ()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pace = Pace::new(Instant::now());
    let io = TokioIo::new(Paced::new(stream, Arc::clone(&pace)));
    let connection = Arc::new(connection);
    let shared = Arc::clone(&edge);
    let watched = Arc::clone(&pace);
    let service = service_fn(move |request: Request<Incoming>| {
        let in_flight = watched.begin(request.version() == http::Version::HTTP_2);
        let edge = Arc::clone(&shared);
        let connection = Arc::clone(&connection);
        async move {
            let response = exchange::answer(edge, connection, request).await?;
            Ok::<Response<_>, Cut>(response.map(|body| Guarded::new(body, in_flight)))
        }
    });
    let builder = builder();
    let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
    let mut ends = pin!(ends);
    let mut ending: Option<Instant> = None;
    loop {
        tokio::select! {
            result = serving.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = edge.cut.cancelled() => return,
            () = &mut ends, if ending.is_none() => {
                ending = Some(Instant::now() + FINISH_WITHIN);
                serving.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(LOOK_EVERY) => {
                let now = Instant::now();
                if ending.is_some_and(|end| end <= now) {
                    return;
                }
                match pace.overdue(now) {
                    Some(Overdue::Head) => return,
                    Some(Overdue::Idle) if ending.is_none() => {
                        ending = Some(now + FINISH_WITHIN);
                        serving.as_mut().graceful_shutdown();
                    }
                    Some(Overdue::Idle) | None => {}
                }
            }
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .max_buf_size(HEAD_LIMIT)
        .max_headers(256)
        .timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_LIMIT as u32)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}
