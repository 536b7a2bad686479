//! The lock before the end: a clean stop without systemd leaves no app running, no volume mounted
//! and no key behind.
//!
//! Under systemd it is not asked for: there `restart` looks like `stop`, keeps the unlock key in the
//! descriptor store, and must find apps and mounts as they were.

use piccolo_bus_schema::endpoint;
use std::{io, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Stopping apps takes their grace, unmounting a little more.
const PATIENCE: Duration = Duration::from_secs(45);

/// As the operator, through health-api's own door; the store does the rest in its order.
const LOCK: &[u8] = b"POST /api/v1/crypto/lock HTTP/1.1\r\nHost: localhost\r\n\
Content-Length: 0\r\nConnection: close\r\n\r\n";

/// Is this a stop that must not leave anything?
pub(crate) fn is_due() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_none()
}

/// Locks, or says why not; the stop goes on in any case.
pub(crate) async fn lock(runtime_dir: &Path) {
    match tokio::time::timeout(PATIENCE, ask(runtime_dir)).await {
        Ok(Ok(status)) if status.starts_with("HTTP/1.1 2") => tracing::info!("locked"),
        Ok(Ok(status)) => tracing::warn!(status, "stopping without a lock"),
        Ok(Err(error)) => tracing::info!(%error, "stopping without a lock"),
        Err(_) => tracing::warn!("the lock takes too long, stopping without it"),
    }
}

async fn ask(runtime_dir: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(endpoint::portal(runtime_dir)).await?;
    stream.write_all(LOCK).await?;
    let mut head = [0; 256];
    let read = stream.read(&mut head).await?;
    let head = String::from_utf8_lossy(&head[..read]);
    Ok(head.lines().next().unwrap_or_default().to_owned())
}
