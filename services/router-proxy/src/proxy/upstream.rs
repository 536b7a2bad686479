//! Ways to what is behind the edge: app containers on loopback ports, health-api on its Unix
//! socket; HTTP/1.1 with connections kept alive.

use super::progress::Noted;
use http::{Response, Uri};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client, Error,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use piccolo_bus_schema::endpoint;
use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_util::either::Either;
use tower::Service;

/// Loopback answers at once or not at all.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Shorter than what common servers keep, so that a kept connection is rarely a dead one.
const IDLE: Duration = Duration::from_secs(20);
const IDLE_PER_UPSTREAM: usize = 32;
/// The authority that stands for health-api's socket; no app can have it.
const PORTAL: &str = "portal.internal";

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Portal,
    /// An app's loopback port.
    App(u16),
}

impl Upstream {
    /// The authority that the connector understands.
    pub(super) fn authority(self) -> String {
        match self {
            Self::Portal => PORTAL.to_owned(),
            Self::App(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        }
    }
}

/// The pool of connections.
#[derive(Clone)]
pub(crate) struct Upstreams {
    client: Client<Connector, Noted<Incoming>>,
}

impl Upstreams {
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        let connector = Connector {
            portal: endpoint::portal(runtime_dir).into(),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_UPSTREAM)
            .http1_max_buf_size(256 * 1024)
            .build(connector);
        Self { client }
    }

    pub(super) async fn send(
        &self,
        request: http::Request<Noted<Incoming>>,
    ) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await
    }
}

/// Connects to an authority of [`Upstream::authority`].
#[derive(Clone)]
struct Connector {
    portal: Arc<Path>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Link>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let portal = Arc::clone(&self.portal);
        Box::pin(async move {
            let connecting = async {
                match target.port_u16() {
                    Some(port) => connect_app(port).await.map(Either::Left),
                    None => UnixStream::connect(portal).await.map(Either::Right),
                }
            };
            let link = tokio::time::timeout(CONNECT_WITHIN, connecting).await??;
            Ok(TokioIo::new(Link(link)))
        })
    }
}

/// Connects to an app's loopback port.
pub(crate) async fn connect_app(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection to an app or to health-api.
struct Link(Either<TcpStream, UnixStream>);

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
