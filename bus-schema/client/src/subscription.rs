//! Following a publisher: events, and the moments when a snapshot is needed.

use crate::{
    backoff::Backoff,
    door::{self, SocketKind},
};
use futures_util::StreamExt;
use piccolo_bus_schema::{Event, ServiceName, Topic, codec, endpoint, envelope::Notice};
use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;
use zeromq::{Socket, SocketEvent, SocketOptions, SocketRecv, SubSocket};

/// Signals waiting for a slow reader; at the bound the reader gets one `Resync` instead.
const QUEUE: usize = 256;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// What a subscriber hears.
#[derive(Debug)]
pub enum Signal<E> {
    Event(E),
    /// Connected (again), a gap, or a publisher that started anew: take a snapshot now.
    Resync,
}

/// A stream of signals of one topic of one publisher; it never ends by itself.
pub struct Subscription<E> {
    signals: mpsc::Receiver<Raw>,
    last: Option<(u64, u64)>,
    event: PhantomData<fn() -> E>,
}

/// What the socket's task passes on.
pub(crate) enum Raw {
    Connected,
    Notice(Vec<u8>),
}

impl<E: Event> Subscription<E> {
    pub(crate) fn start(runtime_dir: &Path, publisher: ServiceName) -> Self {
        let (sender, signals) = mpsc::channel(QUEUE);
        tokio::spawn(follow(runtime_dir.to_owned(), publisher, E::TOPIC, sender));
        Self::over(signals)
    }

    pub(crate) const fn over(signals: mpsc::Receiver<Raw>) -> Self {
        Self {
            signals,
            last: None,
            event: PhantomData,
        }
    }

    /// The next signal. Cancel safe. Pending for ever once the process shuts down.
    pub async fn next(&mut self) -> Signal<E> {
        loop {
            match self.signals.recv().await {
                None => std::future::pending().await,
                Some(Raw::Connected) => {
                    self.last = None;
                    return Signal::Resync;
                }
                Some(Raw::Notice(bytes)) => {
                    if let Some(signal) = self.read(&bytes) {
                        return signal;
                    }
                }
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Option<Signal<E>> {
        let notice: Notice = match codec::decode(bytes) {
            Ok(notice) => notice,
            Err(error) => {
                tracing::warn!(topic = %E::TOPIC, %error, "message is not an event");
                return None;
            }
        };
        let gap = self.last.is_some_and(|(epoch, sequence)| {
            epoch != notice.epoch || notice.sequence != sequence + 1
        });
        self.last = Some((notice.epoch, notice.sequence));
        if gap {
            return Some(Signal::Resync);
        }
        match codec::decode(&notice.body) {
            Ok(event) => Some(Signal::Event(event)),
            Err(error) => {
                tracing::warn!(topic = %E::TOPIC, %error, "event can't be read");
                Some(Signal::Resync)
            }
        }
    }
}

/// Connects, subscribes, passes on; for ever, until the subscription is dropped.
async fn follow(
    runtime_dir: PathBuf,
    publisher: ServiceName,
    topic: Topic,
    signals: mpsc::Sender<Raw>,
) {
    let path = endpoint::events(&runtime_dir, publisher);
    let mut backoff = Backoff::new();
    while !signals.is_closed() {
        if let Ok(mut socket) = connect(&runtime_dir, &path, topic).await {
            backoff.reset();
            if !pump(&mut socket, &signals).await {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.wait()) => {}
            () = signals.closed() => return,
        }
    }
}

async fn connect(runtime_dir: &Path, path: &Path, topic: Topic) -> Result<SubSocket, String> {
    let private = door::enter(runtime_dir, path, SocketKind::Sub)
        .await
        .map_err(|error| error.to_string())?;
    let mut options = SocketOptions::default();
    options.connect_timeout(CONNECT_TIMEOUT);
    let mut socket = SubSocket::with_options(options);
    let reason = |error: zeromq::ZmqError| error.to_string();
    socket
        .connect(&format!("ipc://{}", private.display()))
        .await
        .map_err(reason)?;
    socket.subscribe(topic.as_str()).await.map_err(reason)?;
    Ok(socket)
}

/// False when nobody listens any more. The crate's own slow reconnection is never waited for: a
/// lost publisher ends the pump and the socket is made anew.
async fn pump(socket: &mut SubSocket, signals: &mpsc::Sender<Raw>) -> bool {
    let mut monitor = socket.monitor();
    if signals.send(Raw::Connected).await.is_err() {
        return false;
    }
    loop {
        tokio::select! {
            message = socket.recv() => {
                let Ok(message) = message else { return true };
                let Some(body) = message.get(1) else { continue };
                match signals.try_send(Raw::Notice(body.to_vec())) {
                    Ok(()) => {}
                    // A gap is as good as a signal: the reader resynchronises at the next event.
                    Err(mpsc::error::TrySendError::Full(_)) => {}
                    Err(mpsc::error::TrySendError::Closed(_)) => return false,
                }
            }
            event = monitor.next() => match event {
                Some(SocketEvent::Disconnected(_) | SocketEvent::Closed) | None => return true,
                Some(_) => {}
            },
            () = signals.closed() => return false,
        }
    }
}
