//! The in-memory twin: the same handlers, codec and permission table, without sockets.

use crate::{Bus, Handlers, Subscription, publisher::notice, secrets::Secrets, subscription::Raw};
use piccolo_bus_schema::{
    Event, Fault, ServiceName, Topic,
    envelope::{Outcome, Request, Trace},
    ticket::Ticket,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// A bus inside one process.
#[derive(Clone, Default)]
pub struct MemoryBus {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    services: Mutex<HashMap<ServiceName, Arc<Handlers>>>,
    subscribers: Mutex<Vec<Subscriber>>,
    sequences: Mutex<HashMap<Topic, u64>>,
    secrets: Mutex<HashMap<ServiceName, Arc<Secrets>>>,
}

struct Subscriber {
    publisher: ServiceName,
    topic: Topic,
    signals: mpsc::Sender<Raw>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryBus {
    /// An empty bus.
    pub fn new() -> Self {
        Self::default()
    }

    /// A place on it.
    pub fn join(&self, me: ServiceName) -> Bus {
        Bus::in_memory(self.clone(), me)
    }

    /// Answers a service's commands from now on, in place of any earlier handlers.
    pub fn serve(&self, service: ServiceName, handlers: Handlers) {
        lock(&self.inner.services).insert(service, Arc::new(handlers));
    }

    /// Takes a service away: its commands answer `Unavailable`.
    pub fn stop(&self, service: ServiceName) {
        lock(&self.inner.services).remove(&service);
    }

    /// The secrets of a service: every place of the same name shares them, as one process would.
    pub(crate) fn secrets_of(&self, holder: ServiceName) -> Arc<Secrets> {
        let mut secrets = lock(&self.inner.secrets);
        Arc::clone(
            secrets
                .entry(holder)
                .or_insert_with(|| Secrets::new(holder)),
        )
    }

    pub(crate) fn claim(&self, ticket: &Ticket) -> Result<Zeroizing<Vec<u8>>, Fault> {
        lock(&self.inner.secrets)
            .get(&ticket.holder)
            .and_then(|secrets| secrets.take(&ticket.id))
            .ok_or_else(|| Fault::not_found("the secret of this ticket (used or expired)"))
    }

    pub(crate) async fn call(
        &self,
        destination: ServiceName,
        request: Request,
        within: Duration,
    ) -> Result<Vec<u8>, Fault> {
        let handlers = lock(&self.inner.services).get(&destination).cloned();
        let Some(handlers) = handlers else {
            return Err(Fault::unavailable(
                format!("service {destination}"),
                "it is stopped",
            ));
        };
        match tokio::time::timeout(within, handlers.dispatch(request)).await {
            Ok(Outcome::Done(body)) => Ok(body),
            Ok(Outcome::Failed(fault)) => Err(fault),
            Err(_) => Err(Fault::DeadlineExceeded),
        }
    }

    pub(crate) fn publish<E: Event>(&self, sender: ServiceName, epoch: u64, event: &E) {
        let trace = Trace::default();
        let Some(bytes) = notice(sender, epoch, &self.inner.sequences, event, trace) else {
            return;
        };
        lock(&self.inner.subscribers).retain(|subscriber| {
            if subscriber.publisher == sender && subscriber.topic == E::TOPIC {
                // A full queue loses the event, as on the real bus.
                let sent = subscriber.signals.try_send(Raw::Notice(bytes.clone()));
                return !matches!(sent, Err(mpsc::error::TrySendError::Closed(_)));
            }
            !subscriber.signals.is_closed()
        });
    }

    pub(crate) fn subscribe<E: Event>(&self, publisher: ServiceName) -> Subscription<E> {
        let (signals, receiver) = mpsc::channel(256);
        let _ = signals.try_send(Raw::Connected);
        lock(&self.inner.subscribers).push(Subscriber {
            publisher,
            topic: E::TOPIC,
            signals,
        });
        Subscription::over(receiver)
    }
}
