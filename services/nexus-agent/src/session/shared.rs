//! The flows of a session between its three kinds of tasks: one lock, held for moments.

use crate::{
    flow::Chunk,
    message::Reason,
    mux::{Mux, Order, Outgoing},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The mux with the ways to its flows' tasks.
pub(super) struct Shared {
    state: Mutex<State>,
    /// There may be something to write.
    wake: Notify,
}

struct State {
    mux: Mux,
    pipes: HashMap<Uuid, Pipe>,
}

/// The way to one flow's task. Dropping `to_local` says that nothing more will come; the queue is
/// bounded in bytes by the flow's receive window.
struct Pipe {
    to_local: mpsc::UnboundedSender<Bytes>,
    ends: Ends,
}

/// How a flow's task learns of its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// Write what is there, read no more.
    pub(super) finish: CancellationToken,
    /// Close now.
    pub(super) abort: CancellationToken,
}

/// A flow that wants a task.
pub(super) struct Opening {
    pub(super) id: Uuid,
    /// Written before anything else.
    pub(super) header: Vec<u8>,
    pub(super) from_relay: mpsc::UnboundedReceiver<Bytes>,
    pub(super) ends: Ends,
}

impl Shared {
    pub(super) fn new(mux: Mux) -> Self {
        Self {
            state: Mutex::new(State {
                mux,
                pipes: HashMap::new(),
            }),
            wake: Notify::new(),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
        result
    }

    /// A binary message from the relay.
    pub(super) fn receive(&self, message: Bytes, now: Instant) -> Option<Opening> {
        self.with(|state| {
            let order = state.mux.receive(message, now)?;
            state.obey(order)
        })
    }

    /// A message of the session itself.
    pub(super) fn say(&self, message: Outgoing) {
        self.with(|state| state.mux.say(message));
    }

    /// Bytes from the local side.
    pub(super) fn send(&self, id: Uuid, chunk: Chunk) {
        self.with(|state| state.mux.send(id, chunk, Instant::now()));
    }

    /// The local side took a frame.
    pub(super) fn consume(&self, id: Uuid, length: usize) {
        self.with(|state| state.mux.consume(id, length));
    }

    /// The local side has no more to say.
    pub(super) fn end_local(&self, id: Uuid, reason: Reason) {
        self.with(|state| {
            let order = state.mux.end_local(id, reason, Instant::now());
            order.and_then(|order| state.obey(order));
        });
    }

    /// router-proxy can't be reached.
    pub(super) fn fail_dial(&self, id: Uuid) {
        self.with(|state| {
            let order = state.mux.fail_dial(id);
            order.and_then(|order| state.obey(order));
        });
    }

    /// Looks at all flows' timers; true when the relay sends but does not read.
    pub(super) fn tick(&self, now: Instant) -> bool {
        self.with(|state| {
            for order in state.mux.tick(now) {
                state.obey(order);
            }
            state.mux.is_choked()
        })
    }

    pub(super) fn open_flows(&self) -> usize {
        self.with(|state| state.mux.open_flows())
    }

    /// The next message to write, if there is one.
    pub(super) fn next(&self) -> Option<Outgoing> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (message, order) = state.mux.next(Instant::now());
        order.and_then(|order| state.obey(order));
        message
    }

    /// Waits until there may be something to write. Cancel safe.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl State {
    fn obey(&mut self, order: Order) -> Option<Opening> {
        match order {
            Order::Open { id, header } => {
                let (to_local, from_relay) = mpsc::unbounded_channel();
                let ends = Ends::default();
                let pipe = Pipe {
                    to_local,
                    ends: ends.clone(),
                };
                self.pipes.insert(id, pipe);
                return Some(Opening {
                    id,
                    header,
                    from_relay,
                    ends,
                });
            }
            Order::Deliver { id, bytes } => {
                let length = bytes.len();
                let taken = self
                    .pipes
                    .get(&id)
                    .is_some_and(|pipe| pipe.to_local.send(bytes).is_ok());
                if !taken {
                    // Its task is gone and will say so; nobody else gives the credit back.
                    self.mux.consume(id, length);
                }
            }
            Order::Finish { id } => {
                if let Some(pipe) = self.pipes.remove(&id) {
                    pipe.ends.finish.cancel();
                }
            }
            Order::Abort { id } => {
                if let Some(pipe) = self.pipes.remove(&id) {
                    pipe.ends.abort.cancel();
                }
            }
        }
        None
    }
}
