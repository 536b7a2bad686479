//! One public UDP port. A flow is one user address; each datagram is one message.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::control::{Notice, Origin, Transport};
use crate::flow::{End, Flow};
use crate::frame;
use crate::handshake::canonical;
use crate::hub::Hub;
use crate::route::udp_key;
use crate::session::Session;
use crate::tasks::Tasks;

/// Expired flows are looked for this often.
const SWEEP: Duration = Duration::from_secs(5);
/// A credit report that found no room is tried again at this pace.
const REPORT_RETRY: Duration = Duration::from_millis(50);

/// The flows of one port, and what is needed to open more.
struct Port {
    number: u16,
    key: String,
    socket: Arc<UdpSocket>,
    hub: Arc<Hub>,
    tasks: Tasks,
    flows: HashMap<SocketAddr, Entry>,
    /// By last use, oldest first.
    ages: BTreeSet<(Instant, SocketAddr)>,
}

struct Entry {
    flow: Arc<Flow>,
    session: Arc<Session>,
    used: Instant,
    /// Set by the task that writes to the user when the flow is over.
    done: Arc<std::sync::atomic::AtomicBool>,
}

/// Receives datagrams for ever.
pub async fn run(socket: UdpSocket, number: u16, hub: Arc<Hub>, tasks: Tasks) {
    let mut port = Port {
        number,
        key: udp_key(number),
        socket: Arc::new(socket),
        hub,
        tasks,
        flows: HashMap::new(),
        ages: BTreeSet::new(),
    };
    let socket = Arc::clone(&port.socket);
    // One byte more than allowed shows that a datagram is too large.
    let mut buffer = vec![0; port.hub.config.udp.datagram + 1];
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, _)) if length >= buffer.len() => debug!(number, "datagram too large"),
                Ok((length, peer)) => port.forward(peer, &buffer[..length]),
                Err(error) => {
                    warn!(number, %error, "receive failed");
                    tokio::task::yield_now().await;
                }
            },
            _ = sweep.tick() => port.sweep(Instant::now()),
        }
    }
}

impl Port {
    fn forward(&mut self, peer: SocketAddr, datagram: &[u8]) {
        let now = Instant::now();
        if self.flows.get(&peer).is_some_and(Entry::is_done) {
            self.remove(peer);
        }
        if !self.flows.contains_key(&peer) && !self.open(peer, now) {
            return;
        }
        let Some(entry) = self.flows.get_mut(&peer) else {
            return;
        };
        self.ages.remove(&(entry.used, peer));
        entry.used = now;
        self.ages.insert((now, peer));
        // Without credit the datagram is dropped, as networks do: waiting would hold up every
        // other user of the port.
        if entry.flow.try_credit()
            && entry
                .session
                .lanes
                .data(frame::data(entry.flow.id, datagram))
                .is_err()
        {
            entry.flow.finish(End::LaneFull);
        }
    }

    fn open(&mut self, peer: SocketAddr, now: Instant) -> bool {
        let Some(session) = self.hub.pick(&self.key) else {
            return false;
        };
        if self.flows.len() >= self.hub.config.udp.flows
            && let Some((_, oldest)) = self.ages.first().copied()
        {
            self.end(oldest, End::Evicted);
        }
        let (flow, queue) = Flow::new(Uuid::new_v4());
        let origin = Origin {
            port: self.number,
            client: canonical(peer).to_string(),
            transport: Transport::Udp,
            hostname: self.key.clone(),
            is_tls: false,
        };
        if session.register(&flow).is_err() {
            return false;
        }
        if session
            .lanes
            .notify(flow.id, &Notice::Connect(&origin))
            .is_err()
        {
            session.release(&flow);
            return false;
        }
        let replies = Replies {
            flow: Arc::clone(&flow),
            session: Arc::clone(&session),
            socket: Arc::clone(&self.socket),
            peer,
            limit: self.hub.config.udp.datagram,
        };
        let entry = Entry {
            flow,
            session,
            used: now,
            done: Arc::default(),
        };
        let done = Arc::clone(&entry.done);
        self.tasks.spawn(async move {
            replies.run(queue).await;
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        self.flows.insert(peer, entry);
        self.ages.insert((now, peer));
        true
    }

    fn end(&mut self, peer: SocketAddr, end: End) {
        if let Some(entry) = self.remove(peer) {
            entry.flow.finish(end);
        }
    }

    fn remove(&mut self, peer: SocketAddr) -> Option<Entry> {
        let entry = self.flows.remove(&peer)?;
        self.ages.remove(&(entry.used, peer));
        Some(entry)
    }

    /// Ends flows whose users were silent for longer than the longest claim allows.
    fn sweep(&mut self, now: Instant) {
        let idle = self
            .hub
            .udp_idle(self.number, &self.key)
            .unwrap_or(self.hub.config.claims.udp_idle_default);
        while let Some((used, peer)) = self.ages.first().copied() {
            if now.saturating_duration_since(used) < idle {
                break;
            }
            self.end(peer, End::Idle);
        }
        let done: Vec<SocketAddr> = self
            .flows
            .iter()
            .filter(|(_, entry)| entry.is_done())
            .map(|(peer, _)| *peer)
            .collect();
        for peer in done {
            self.remove(peer);
        }
    }
}

impl Entry {
    fn is_done(&self) -> bool {
        self.done.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// Writes the backend's messages to one user, as datagrams.
struct Replies {
    flow: Arc<Flow>,
    session: Arc<Session>,
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    limit: usize,
}

impl Replies {
    async fn run(&self, mut queue: mpsc::Receiver<Bytes>) {
        let end = loop {
            tokio::select! {
                end = self.flow.finished() => break end,
                message = queue.recv() => match message {
                    Some(datagram) => self.send(&datagram).await,
                    None => break End::SessionEnded,
                },
                () = tokio::time::sleep(REPORT_RETRY), if self.flow.owes_credits() => {
                    self.flow.report(&self.session.lanes, std::time::Instant::now());
                }
            }
        };
        self.session.release(&self.flow);
        self.session.report_end(&self.flow, end).await;
    }

    /// An undeliverable datagram is lost like any other; its credit is returned.
    async fn send(&self, datagram: &[u8]) {
        if datagram.len() > self.limit {
            debug!(client = %self.flow.id, bytes = datagram.len(), "reply too large, dropped");
        } else if let Err(error) = self.socket.send_to(datagram, self.peer).await {
            debug!(client = %self.flow.id, %error, "reply not sent");
        }
        self.flow
            .written(&self.session.lanes, std::time::Instant::now());
    }
}
