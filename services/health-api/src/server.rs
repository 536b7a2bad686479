//! The two doors: `health.listen` and the Unix socket.

use crate::{App, door::Connection, table};
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use piccolo_bus_schema::endpoint;
use piccolo_runtime::{Exit, Shutdown};
use std::{io, net::SocketAddr, path::PathBuf, time::Duration};
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
};

/// How long answers in progress may take after the stop was asked for. Event streams never end by
/// themselves and are cut at once by their own watch on the shutdown.
const DRAIN: Duration = Duration::from_secs(3);

/// A door could not be opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("health.listen {address} can't be bound; is something else listening there?")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("socket {path} can't be bound")]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Both servers at work.
pub(crate) struct Servers {
    tasks: JoinSet<io::Result<()>>,
}

/// Opens both doors.
pub(crate) async fn start(app: App, shutdown: Shutdown) -> Result<Servers, Exit> {
    let address = app.config.listen;
    let tcp = TcpListener::bind(address)
        .await
        .map_err(|source| Exit::failed(OpenError::Listen { address, source }))?;
    let path = endpoint::portal(&app.config.runtime_dir);
    let unix = bind_unix(path)?;
    if let Ok(address) = tcp.local_addr() {
        tracing::info!(%address, "health and API on loopback");
    }
    let mut tasks = JoinSet::new();
    let router: IntoMakeServiceWithConnectInfo<_, Connection> =
        table::router(&app).into_make_service_with_connect_info();
    let stop = shutdown.clone();
    tasks.spawn(
        axum::serve(tcp, router.clone())
            .with_graceful_shutdown(async move { stop.requested().await })
            .into_future(),
    );
    tasks.spawn(
        axum::serve(unix, router)
            .with_graceful_shutdown(async move { shutdown.requested().await })
            .into_future(),
    );
    Ok(Servers { tasks })
}

fn bind_unix(path: PathBuf) -> Result<UnixListener, Exit> {
    if let Err(source) = std::fs::remove_file(&path)
        && source.kind() != io::ErrorKind::NotFound
    {
        return Err(Exit::failed(OpenError::Socket { path, source }));
    }
    UnixListener::bind(&path).map_err(|source| Exit::failed(OpenError::Socket { path, source }))
}

impl Servers {
    /// Waits for answers in progress, at most [`DRAIN`].
    pub(crate) async fn drain(mut self) {
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, finished).await.is_err() {
            tracing::info!("cut connections that did not end in time");
        }
    }
}
