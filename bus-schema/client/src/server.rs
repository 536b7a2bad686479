//! The ROUTER a service answers commands on.

use crate::{
    door::{self, SocketKind},
    handlers::Handlers,
};
use bytes::Bytes;
use futures_util::StreamExt;
use piccolo_bus_schema::{
    Fault, ServiceName, codec, endpoint,
    envelope::{Outcome, Reply, Request, VERSION},
};
use std::{io, path::Path, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::UnixListener,
    sync::{Semaphore, mpsc},
};
use zeromq::{
    RouterSendHalf, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqMessage,
};

/// Commands a service works on at once; further ones are answered `Busy`. Six callers with 64 in
/// flight each stay below it.
const CONCURRENCY: usize = 512;
/// Replies waiting for the socket.
const REPLY_QUEUE: usize = 1024;
/// A peer that does not read for this long loses its reply.
const SEND_PATIENCE: Duration = Duration::from_secs(1);

/// The command endpoint could not be opened or was lost.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("can't clear the way for socket {path}")]
    Clear {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("can't bind socket {path}: {why}")]
    Bind { path: PathBuf, why: String },
    #[error("the command socket of {service} was lost: {why}")]
    Lost { service: ServiceName, why: String },
}

/// A bound command endpoint: requests queue from here on, [`run`](Self::run) answers them.
pub struct BoundServer {
    service: ServiceName,
    epoch: u64,
    socket: RouterSocket,
}

pub(crate) async fn bind(
    runtime_dir: &Path,
    service: ServiceName,
    epoch: u64,
) -> Result<BoundServer, ServeError> {
    let mut socket = RouterSocket::new();
    let path = endpoint::commands(runtime_dir, service);
    bind_behind_door(&mut socket, runtime_dir, path, SocketKind::Router).await?;
    Ok(BoundServer {
        service,
        epoch,
        socket,
    })
}

/// Gives the library a private socket and puts a door in front of it at `public`.
pub(crate) async fn bind_behind_door<S: Socket>(
    socket: &mut S,
    runtime_dir: &Path,
    public: PathBuf,
    kind: SocketKind,
) -> Result<(), ServeError> {
    let failed = |error: &dyn std::fmt::Display| ServeError::Bind {
        path: public.clone(),
        why: error.to_string(),
    };
    let private = door::private_path(runtime_dir).map_err(|error| failed(&error))?;
    socket
        .bind(&format!("ipc://{}", private.display()))
        .await
        .map_err(|error| failed(&error))?;
    clear(&public)?;
    let listener = UnixListener::bind(&public).map_err(|error| failed(&error))?;
    tokio::spawn(door::keep(listener, private, kind));
    Ok(())
}

/// Removes what a killed predecessor left: a stale socket file is EADDRINUSE.
pub(crate) fn clear(path: &Path) -> Result<(), ServeError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ServeError::Clear {
            path: path.to_owned(),
            source,
        }),
    }
}

impl BoundServer {
    /// Answers commands until dropped. `beat` is called at least every second by the very loop that
    /// serves, so that a watchdog fed from it proves service.
    ///
    /// Cancel safety: dropping it abandons requests in progress; callers see an unknown outcome.
    pub async fn run(
        mut self,
        handlers: Handlers,
        mut beat: impl FnMut(),
    ) -> Result<(), ServeError> {
        let mut monitor = self.socket.monitor();
        let (sender, mut receiver) = self.socket.split();
        let (replies, queue) = mpsc::channel(REPLY_QUEUE);
        let writer = tokio::spawn(write_replies(sender, queue));
        let _stop_writer = AbortOnDrop(writer);
        let desk = Arc::new(Desk {
            handlers,
            epoch: self.epoch,
            replies,
        });
        let permits = Arc::new(Semaphore::new(CONCURRENCY));
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = tick.tick() => beat(),
                event = monitor.next() => {
                    if let Some(SocketEvent::AcceptFailed(error)) = event {
                        // Out of descriptors most likely: the accept loop must not spin.
                        tracing::warn!(service = %self.service, %error, "accept failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
                message = receiver.recv() => match message {
                    Ok(message) => desk.clone().take(message, &permits),
                    // A peer that broke off in mid-message costs its own connection only.
                    Err(error) => tracing::debug!(%error, "peer lost"),
                },
            }
        }
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Desk {
    handlers: Handlers,
    epoch: u64,
    replies: mpsc::Sender<(Bytes, Reply)>,
}

impl Desk {
    /// Starts work on one message; malformed ones are dropped with a line in the log.
    fn take(self: Arc<Self>, message: ZmqMessage, permits: &Arc<Semaphore>) {
        let frames = message.into_vec();
        let [peer, body] = frames.as_slice() else {
            tracing::warn!(frames = frames.len(), "message of an unexpected shape");
            return;
        };
        let request: Request = match codec::decode(body) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%error, "message is not a request");
                return;
            }
        };
        let peer = peer.clone();
        let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
            let outcome = Outcome::Failed(Fault::busy(Duration::from_millis(100)));
            let reply = self.reply(request.correlation, outcome);
            if self.replies.try_send((peer, reply)).is_err() {
                tracing::warn!("reply queue is full");
            }
            return;
        };
        tokio::spawn(async move {
            let correlation = request.correlation;
            let outcome = self.handlers.dispatch(request).await;
            let reply = self.reply(correlation, outcome);
            // The receiver ends only with the whole server.
            let _ = self.replies.send((peer, reply)).await;
            drop(permit);
        });
    }

    const fn reply(&self, correlation: u64, outcome: Outcome) -> Reply {
        Reply {
            version: VERSION,
            correlation,
            epoch: self.epoch,
            outcome,
        }
    }
}

async fn write_replies(mut socket: RouterSendHalf, mut queue: mpsc::Receiver<(Bytes, Reply)>) {
    while let Some((peer, reply)) = queue.recv().await {
        let body = match codec::encode(&reply) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "reply can't be written");
                continue;
            }
        };
        let mut message = ZmqMessage::from(body);
        message.push_front(peer);
        match tokio::time::timeout(SEND_PATIENCE, socket.send(message)).await {
            Ok(Ok(())) => {}
            // The caller is gone; its deadline tells it.
            Ok(Err(error)) => tracing::debug!(%error, "caller is gone"),
            Err(_) => tracing::warn!("caller does not read its reply"),
        }
    }
}
