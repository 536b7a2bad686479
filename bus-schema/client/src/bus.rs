//! A process's place on the bus.

use crate::{
    caller::Caller,
    clock,
    memory::MemoryBus,
    publisher::Publisher,
    secrets::{self, Secrets},
    server::{self, BoundServer, ServeError},
    subscription::Subscription,
};
use piccolo_bus_schema::{
    Command, Event, Fault, ServiceName, codec,
    envelope::{Request, Trace, VERSION},
    ticket::Ticket,
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use zeroize::Zeroizing;

/// How a call is made, where the default does not fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions {
    /// The same key for each repetition of one intent; random when `None`.
    pub idempotency_key: Option<[u8; 16]>,
    /// The caller's own trace, to be continued.
    pub trace: Option<Trace>,
}

/// The handle to the bus. Clones are cheap and share the links.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    me: ServiceName,
    /// Nanoseconds since boot at the start of this process: unique per start.
    epoch: u64,
    correlations: AtomicU64,
    secrets: Arc<Secrets>,
    link: Link,
}

enum Link {
    Sockets {
        runtime_dir: PathBuf,
        callers: Mutex<HashMap<ServiceName, Caller>>,
        publisher: OnceLock<Publisher>,
    },
    Memory(MemoryBus),
}

impl Bus {
    /// Takes a place on the bus of a runtime directory. Opens nothing yet.
    pub fn open(runtime_dir: &Path, me: ServiceName) -> Self {
        let link = Link::Sockets {
            runtime_dir: runtime_dir.to_owned(),
            callers: Mutex::new(HashMap::new()),
            publisher: OnceLock::new(),
        };
        Self::with_link(me, Secrets::new(me), link)
    }

    pub(crate) fn in_memory(memory: MemoryBus, me: ServiceName) -> Self {
        let secrets = memory.secrets_of(me);
        Self::with_link(me, secrets, Link::Memory(memory))
    }

    fn with_link(me: ServiceName, secrets: Arc<Secrets>, link: Link) -> Self {
        Self {
            inner: Arc::new(Inner {
                me,
                epoch: clock::boot_nanos(),
                correlations: AtomicU64::new(1),
                secrets,
                link,
            }),
        }
    }

    /// Whose place this is.
    pub fn me(&self) -> ServiceName {
        self.inner.me
    }

    /// This start of the process.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// Sends a command to its owner and waits for the answer, at most `within`.
    pub async fn call<C: Command>(&self, command: C, within: Duration) -> Result<C::Reply, Fault> {
        self.call_service(C::OWNER, command, within, CallOptions::default())
            .await
    }

    /// Sends a command every service answers to one of them, or a command with options.
    pub async fn call_service<C: Command>(
        &self,
        destination: ServiceName,
        command: C,
        within: Duration,
        options: CallOptions,
    ) -> Result<C::Reply, Fault> {
        let internal = |what: &str| Fault::Internal {
            log_id: format!("{}: {what}", C::NAME),
        };
        let body = codec::encode(&command).map_err(|error| {
            tracing::error!(command = C::NAME, %error, "command can't be written");
            internal("encode")
        })?;
        let request = Request {
            version: VERSION,
            correlation: self.inner.correlations.fetch_add(1, Ordering::Relaxed),
            idempotency_key: options.idempotency_key.unwrap_or_else(rand::random),
            deadline: clock::deadline(within),
            sender: self.inner.me,
            sender_epoch: self.inner.epoch,
            trace: options.trace.unwrap_or_else(|| Trace {
                trace_id: rand::random(),
                span_id: rand::random(),
            }),
            command: C::NAME.to_owned(),
            body,
        };
        let reply = match &self.inner.link {
            Link::Sockets { .. } => self.caller(destination).call(request, C::RETRY).await?,
            Link::Memory(memory) => memory.call(destination, request, within).await?,
        };
        codec::decode(&reply).map_err(|error| {
            tracing::error!(command = C::NAME, %error, "reply can't be read");
            internal("decode")
        })
    }

    fn caller(&self, destination: ServiceName) -> Caller {
        match &self.inner.link {
            Link::Sockets {
                runtime_dir,
                callers,
                ..
            } => callers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(destination)
                .or_insert_with(|| Caller::start(runtime_dir, destination))
                .clone(),
            Link::Memory(_) => unreachable!("the in-memory twin has no callers"),
        }
    }

    /// Announces an event to whoever listens; never waits. Events before [`bind`](Self::bind)
    /// go nowhere.
    pub fn publish<E: Event>(&self, event: &E) {
        let trace = Trace::default();
        match &self.inner.link {
            Link::Sockets { publisher, .. } => {
                if let Some(publisher) = publisher.get() {
                    publisher.publish(event, trace);
                }
            }
            Link::Memory(memory) => memory.publish(self.inner.me, self.inner.epoch, event),
        }
    }

    /// Follows a topic of one publisher, through its restarts.
    pub fn subscribe<E: Event>(&self, publisher: ServiceName) -> Subscription<E> {
        match &self.inner.link {
            Link::Sockets { runtime_dir, .. } => Subscription::start(runtime_dir, publisher),
            Link::Memory(memory) => memory.subscribe(publisher),
        }
    }

    /// Binds the command, event and secret endpoints of this service.
    pub async fn bind(&self) -> Result<BoundServer, ServeError> {
        match &self.inner.link {
            Link::Sockets {
                runtime_dir,
                publisher,
                ..
            } => {
                Arc::clone(&self.inner.secrets).serve(runtime_dir)?;
                let events = Publisher::bind(runtime_dir, self.inner.me, self.inner.epoch).await?;
                if publisher.set(events).is_err() {
                    tracing::warn!("endpoints were bound twice");
                }
                server::bind(runtime_dir, self.inner.me, self.inner.epoch).await
            }
            Link::Memory(_) => unreachable!("the in-memory twin serves through MemoryBus::serve"),
        }
    }

    /// Keeps a secret for one claim within thirty seconds.
    pub fn offer_secret(&self, bytes: Zeroizing<Vec<u8>>) -> Result<Ticket, Fault> {
        self.inner.secrets.offer(bytes)
    }

    /// Fetches the secret of a ticket from its holder.
    pub async fn claim_secret(&self, ticket: &Ticket) -> Result<Zeroizing<Vec<u8>>, Fault> {
        if ticket.holder == self.inner.me {
            let own = self.inner.secrets.take(&ticket.id);
            return own.ok_or_else(|| Fault::not_found("the secret of this ticket"));
        }
        match &self.inner.link {
            Link::Sockets { runtime_dir, .. } => secrets::claim(runtime_dir, ticket).await,
            Link::Memory(memory) => memory.claim(ticket),
        }
    }
}
