//! One WebSocket to the relay, from dialling to its end.
//!
//! ```text
//!                       ┌────────────── shared: Mutex<Mux> ──────────────┐
//!   relay ──► this loop ┤ receive                                   next ├ writer.rs ──► relay
//!             ping,     │     Deliver ▼            ▲ send, consume       │
//!             timers    └──────── stream.rs, one task a visitor ─────────┘
//!                                    ▲▼  router-proxy's stream socket
//! ```
//!
//! The loop that reads never waits for a flow: what it can't pass on at once waits in the flow's
//! own queue, which credits and pauses keep short.

mod dial;
mod handshake;
mod shared;
mod stream;
mod writer;

use crate::{
    config::Config,
    error::TunnelError,
    message::Challenge,
    mux::{Mux, Outgoing},
    relay_address::RelayAddress,
    settings::DeviceSecret,
    timing::Timing,
    token::{Signer, Stage},
    traffic::Traffic,
    wall_clock::WallClock,
};
use bytes::Bytes;
use dial::Socket;
use futures_util::{StreamExt, stream::SplitStream};
use piccolo_bus_schema::ids::Hostname;
use shared::Shared;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

/// Which relay, with which secret, for which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) relay: RelayAddress,
    pub(crate) secret: DeviceSecret,
    pub(crate) hostnames: Vec<Hostname>,
}

/// What a session is made of.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) config: Config,
    pub(crate) timing: Timing,
    pub(crate) clock: WallClock,
    pub(crate) traffic: Arc<Traffic>,
}

/// What a session is told from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    /// End now.
    pub(crate) close: CancellationToken,
    /// End once nobody uses it.
    pub(crate) drain: CancellationToken,
}

/// Says that a session is established. Its end is the end of its task.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) session: u64,
}

/// How a session ended; its socket is closed.
#[derive(Debug)]
pub(crate) struct End {
    /// `None`: as ordered.
    pub(crate) error: Option<TunnelError>,
    /// How long it was established, if it ever was.
    pub(crate) lived: Option<Duration>,
}

/// Runs a session to its end.
pub(crate) async fn run(
    session: u64,
    target: Target,
    weight: u32,
    surroundings: Surroundings,
    orders: Orders,
    reports: mpsc::Sender<Established>,
) -> End {
    let signer = Signer {
        secret: target.secret,
        hostnames: target.hostnames,
        weight,
    };
    let begun = begin(&target.relay, &signer, &surroundings);
    let begun = tokio::select! {
        begun = begun => begun,
        () = orders.close.cancelled() => return End { error: None, lived: None },
    };
    let socket = match begun {
        Ok(socket) => socket,
        Err(error) => {
            return End {
                error: Some(error),
                lived: None,
            };
        }
    };
    let mut live = Live::start(session, socket, signer, surroundings, orders, reports);
    let error = live.serve().await.err();
    let lived = live.established.map(|at| at.elapsed());
    // Everything of the session is closed before anyone hears of its end: the relay must not keep
    // a dead session beside the next one, and no stream outlives it.
    live.stop().await;
    End { error, lived }
}

async fn begin(
    relay: &RelayAddress,
    signer: &Signer,
    surroundings: &Surroundings,
) -> Result<Socket, TunnelError> {
    let timing = &surroundings.timing;
    let tls = Arc::clone(&surroundings.config.tls);
    let mut socket = dial::dial(relay, tls, timing).await?;
    handshake::sign_in(&mut socket, signer, &surroundings.clock, timing).await?;
    Ok(socket)
}

/// A session after its handshake.
struct Live {
    session: u64,
    signer: Signer,
    surroundings: Surroundings,
    orders: Orders,
    reports: mpsc::Sender<Established>,
    messages: SplitStream<Socket>,
    shared: Arc<Shared>,
    writer: JoinHandle<Result<(), TunnelError>>,
    streams: JoinSet<()>,
    started: Instant,
    established: Option<Instant>,
    heard: Instant,
    ping: Ping,
    reauth: Option<(Instant, String)>,
    draining: Option<Instant>,
    /// When a flow was last open.
    busy: Instant,
}

/// Our own pings: they prove the relay's life and measure its distance.
struct Ping {
    count: u64,
    sent: Instant,
    awaited: bool,
}

impl Live {
    fn start(
        session: u64,
        socket: Socket,
        signer: Signer,
        surroundings: Surroundings,
        orders: Orders,
        reports: mpsc::Sender<Established>,
    ) -> Self {
        let now = Instant::now();
        let (sink, messages) = socket.split();
        let mux = Mux::new(surroundings.timing, Arc::clone(&surroundings.traffic), now);
        let shared = Arc::new(Shared::new(mux));
        let writing = writer::write(Arc::clone(&shared), sink, surroundings.timing);
        let mut live = Self {
            session,
            signer,
            surroundings,
            orders,
            reports,
            messages,
            writer: tokio::spawn(writing),
            shared,
            streams: JoinSet::new(),
            started: now,
            established: None,
            heard: now,
            ping: Ping {
                count: 0,
                sent: now,
                awaited: false,
            },
            reauth: None,
            draining: None,
            busy: now,
        };
        // The relay reads it only after it has accepted the second token: its pong is consent.
        live.send_ping(now);
        live
    }

    async fn serve(&mut self) -> Result<(), TunnelError> {
        let mut tick = tokio::time::interval(self.surroundings.timing.tick);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.messages.next() => self.receive(message).await?,
                _ = tick.tick() => {
                    self.tick(Instant::now()).await?;
                    if self.is_drained(Instant::now()) {
                        return Ok(());
                    }
                }
                ended = &mut self.writer => {
                    // The writer ends by an error or when told to, and nobody told it.
                    let error = match ended {
                        Ok(Err(error)) => error,
                        Ok(Ok(())) | Err(_) => TunnelError::Defect,
                    };
                    return Err(self.last_words(error).await);
                }
                () = self.orders.close.cancelled() => return Ok(()),
                Some(_) = self.streams.join_next(), if !self.streams.is_empty() => {}
            }
        }
    }

    async fn receive(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), TunnelError> {
        let now = Instant::now();
        let message = match message {
            Some(Ok(Message::Close(frame))) => Err(TunnelError::of_close(frame)),
            Some(Ok(message)) => Ok(message),
            Some(Err(source)) => Err(TunnelError::Read {
                source: Box::new(source),
            }),
            None => Err(TunnelError::of_close(None)),
        };
        let message = match (message, self.established) {
            (Ok(message), _) => message,
            (Err(error), None) => return Err(error.in_handshake()),
            (Err(error), Some(_)) => return Err(error),
        };
        self.heard = now;
        self.establish(now).await;
        match message {
            Message::Binary(bytes) => self.receive_binary(bytes, now),
            Message::Text(text) => self.receive_text(&text, now)?,
            Message::Pong(payload) => self.receive_pong(&payload, now),
            // Pings are answered by the WebSocket itself at the next read.
            Message::Ping(_) | Message::Close(_) | Message::Frame(_) => {}
        }
        Ok(())
    }

    /// A relay that refuses closes its end, so that our writing may fail before its reason is
    /// read.
    async fn last_words(&mut self, error: TunnelError) -> TunnelError {
        if self.established.is_some() {
            return error;
        }
        let limit = self.surroundings.timing.close;
        loop {
            let message = tokio::time::timeout(limit, self.messages.next()).await;
            match message {
                Ok(Some(Ok(Message::Close(frame)))) => {
                    return TunnelError::of_close(frame).in_handshake();
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) | Err(_) => return error.in_handshake(),
            }
        }
    }

    /// A relay never says yes: any message is consent, and so is not closing for a while.
    async fn establish(&mut self, now: Instant) {
        if self.established.is_none() {
            self.established = Some(now);
            let session = self.session;
            let _ = self.reports.send(Established { session }).await;
        }
    }

    fn receive_binary(&mut self, bytes: Bytes, now: Instant) {
        if let Some(opening) = self.shared.receive(bytes, now) {
            self.busy = now;
            self.streams.spawn(stream::carry(
                opening,
                Arc::clone(&self.shared),
                self.surroundings.config.streams.clone(),
                self.surroundings.timing,
            ));
        }
    }

    fn receive_text(&mut self, text: &str, now: Instant) -> Result<(), TunnelError> {
        match Challenge::parse(text) {
            Some(Challenge::Reauth { nonce }) if nonce.is_empty() => Err(TunnelError::EmptyNonce),
            Some(Challenge::Reauth { nonce }) => {
                self.reauth = Some((now + self.surroundings.timing.reauth_delay, nonce));
                Ok(())
            }
            Some(Challenge::Handshake { .. }) | None => Ok(()),
        }
    }

    fn receive_pong(&mut self, payload: &[u8], now: Instant) {
        if self.ping.awaited && payload == self.ping.count.to_be_bytes() {
            self.ping.awaited = false;
            let round_trip = now.saturating_duration_since(self.ping.sent);
            self.surroundings.traffic.ponged(round_trip);
        }
    }

    fn send_ping(&mut self, now: Instant) {
        self.ping.count += 1;
        self.ping.sent = now;
        self.ping.awaited = true;
        let payload = Bytes::copy_from_slice(&self.ping.count.to_be_bytes());
        self.shared.say(Outgoing::Ping(payload));
    }

    async fn tick(&mut self, now: Instant) -> Result<(), TunnelError> {
        let timing = self.surroundings.timing;
        let silence = now.saturating_duration_since(self.heard);
        if silence >= timing.dead {
            return Err(TunnelError::Dead { silence });
        }
        if now >= self.started + timing.consent {
            self.establish(now).await;
        }
        if now >= self.ping.sent + timing.ping {
            self.send_ping(now);
        }
        if let Some((due, nonce)) = &self.reauth
            && now >= *due
        {
            let stage = Stage::Attest { nonce };
            let at = self.surroundings.clock.now();
            let token = self.signer.sign(stage, at);
            self.shared.say(Outgoing::Text(token));
            self.reauth = None;
        }
        if self.shared.tick(now) {
            return Err(TunnelError::Choked);
        }
        Ok(())
    }

    /// May a session with old names go? While it is young it waits for a quiet moment, since the
    /// relay may be sending it a new visitor just now; later any moment without flows will do.
    fn is_drained(&mut self, now: Instant) -> bool {
        if !self.orders.drain.is_cancelled() {
            return false;
        }
        let timing = &self.surroundings.timing;
        let since = *self.draining.get_or_insert(now);
        if self.shared.open_flows() > 0 {
            self.busy = now;
            return now >= since + timing.drain_session;
        }
        let quiet = now.saturating_duration_since(self.busy.max(since));
        quiet >= timing.quiet || now >= since + timing.quiet * 15
    }

    /// Says goodbye, briefly, and closes everything.
    async fn stop(mut self) {
        self.streams.shutdown().await;
        if !self.writer.is_finished() {
            self.shared.say(Outgoing::Close);
            let limit = self.surroundings.timing.close;
            if tokio::time::timeout(limit, &mut self.writer).await.is_err() {
                self.writer.abort();
                // The sink holds half of the socket; wait until it is gone.
                let _ = self.writer.await;
            }
        }
    }
}
