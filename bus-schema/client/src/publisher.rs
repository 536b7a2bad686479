//! The PUB a service announces events on.

use crate::{
    door::SocketKind,
    server::{ServeError, bind_behind_door},
};
use piccolo_bus_schema::{
    Event, ServiceName, Topic, codec, endpoint,
    envelope::{Notice, Trace, VERSION},
};
use std::{collections::HashMap, path::Path, sync::Mutex};
use tokio::sync::mpsc;
use zeromq::{PubSocket, Socket, SocketSend, ZmqMessage};

/// Events waiting for the socket. At the bound the event is dropped: subscribers see the gap in
/// the sequence and take a new snapshot.
const QUEUE: usize = 1024;

/// Publishes from any task; one task owns the socket.
pub(crate) struct Publisher {
    service: ServiceName,
    epoch: u64,
    sequences: Mutex<HashMap<Topic, u64>>,
    queue: mpsc::Sender<(Topic, Vec<u8>)>,
}

impl Publisher {
    pub(crate) async fn bind(
        runtime_dir: &Path,
        service: ServiceName,
        epoch: u64,
    ) -> Result<Self, ServeError> {
        let mut socket = PubSocket::new();
        let path = endpoint::events(runtime_dir, service);
        bind_behind_door(&mut socket, runtime_dir, path, SocketKind::Pub).await?;
        let (queue, events) = mpsc::channel(QUEUE);
        tokio::spawn(write_events(socket, events));
        Ok(Self {
            service,
            epoch,
            sequences: Mutex::new(HashMap::new()),
            queue,
        })
    }

    pub(crate) fn publish<E: Event>(&self, event: &E, trace: Trace) {
        let Some(bytes) = notice(self.service, self.epoch, &self.sequences, event, trace) else {
            return;
        };
        if self.queue.try_send((E::TOPIC, bytes)).is_err() {
            tracing::warn!(topic = %E::TOPIC, "event queue is full, event dropped");
        }
    }
}

/// Wraps an event; its sequence number is taken even when it is lost later.
pub(crate) fn notice<E: Event>(
    sender: ServiceName,
    epoch: u64,
    sequences: &Mutex<HashMap<Topic, u64>>,
    event: &E,
    trace: Trace,
) -> Option<Vec<u8>> {
    let body = match codec::encode(event) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(topic = %E::TOPIC, %error, "event can't be published");
            return None;
        }
    };
    let sequence = {
        let mut sequences = sequences
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = sequences.entry(E::TOPIC).or_insert(0);
        *next += 1;
        *next
    };
    codec::encode(&Notice {
        version: VERSION,
        sender,
        epoch,
        sequence,
        trace,
        body,
    })
    .inspect_err(|error| tracing::error!(topic = %E::TOPIC, %error, "event can't be published"))
    .ok()
}

async fn write_events(mut socket: PubSocket, mut events: mpsc::Receiver<(Topic, Vec<u8>)>) {
    while let Some((topic, bytes)) = events.recv().await {
        let mut message = ZmqMessage::from(topic.as_str());
        message.push_back(bytes.into());
        if let Err(error) = socket.send(message).await {
            tracing::debug!(%topic, %error, "event lost a subscriber");
        }
    }
}
