//! Which sessions there are: one live, one on its way, some draining.
//!
//! ```text
//!            ┌─ new names: a second session, then the first drains (make before break) ─┐
//!   intent ──┤  new relay or secret: close, connect anew                               ├─► attempt
//!            └─ off: close                                                              ┘      │
//!   retry ◄── back-off ── ended ◄── live ◄── established ◄─────────────────────────────────────┘
//! ```

use crate::{
    backoff::{Backoff, Ending},
    error::TunnelError,
    intent::{Intent, Wanted},
    session::{self, End, Established, Orders, Surroundings, Target},
    status::{Phase, Status},
};
use piccolo_bus_schema::ids::{Hostname, UnixSeconds};
use piccolo_runtime::{Shutdown, clock};
use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinError, JoinSet},
    time::Instant,
};

/// Sessions with old names that are still in use. The oldest goes when there are more.
const MAX_DRAINING: usize = 4;
/// One report a session, and there is a handful of sessions.
const REPORTS: usize = 32;

/// The owner of all sessions.
pub(crate) struct Tunnel {
    surroundings: Surroundings,
    intent: watch::Receiver<Intent>,
    status: watch::Sender<Status>,
    reports: mpsc::Sender<Established>,
    heard: mpsc::Receiver<Established>,
    tasks: JoinSet<End>,
    sessions: u64,
    /// What the sessions are for; `None` while switched off.
    target: Option<Target>,
    live: Option<Session>,
    attempt: Option<Session>,
    draining: Vec<Session>,
    retry: Option<Retry>,
    backoff: Backoff,
    /// Start of the present phase.
    since: UnixSeconds,
    last_error: Option<String>,
}

struct Session {
    id: u64,
    task: task::Id,
    hostnames: Vec<Hostname>,
    weight: u32,
    orders: Orders,
}

impl Session {
    /// The share of a session that takes over from this one. The relay has no other way to be told
    /// where new visitors should go, and one who is sent to the old session just when it closes is
    /// lost. Small numbers, since a relay may count down from them; after three names in a row it
    /// begins anew, and that one change is no worse than without weights.
    const fn next_weight(&self) -> u32 {
        const FACTOR: u32 = 64;
        const HEAVIEST: u32 = FACTOR * FACTOR;
        if self.weight < HEAVIEST {
            self.weight * FACTOR
        } else {
            1
        }
    }
}

/// The next attempt.
#[derive(Clone, Copy)]
enum Retry {
    /// After a failure.
    At(Instant, UnixSeconds),
    /// Tokens carry the time, and there is none.
    ClockUnset(Instant),
}

impl Retry {
    const fn due(self) -> Instant {
        match self {
            Self::At(due, _) | Self::ClockUnset(due) => due,
        }
    }
}

/// Whatever can happen to the tunnel.
enum Event {
    Intent(Intent),
    Established(u64),
    Ended(task::Id, End),
    RetryDue,
    Stop,
}

impl Tunnel {
    pub(crate) fn new(
        surroundings: Surroundings,
        intent: watch::Receiver<Intent>,
        status: watch::Sender<Status>,
    ) -> Self {
        let (reports, heard) = mpsc::channel(REPORTS);
        Self {
            surroundings,
            intent,
            status,
            reports,
            heard,
            tasks: JoinSet::new(),
            sessions: 0,
            target: None,
            live: None,
            attempt: None,
            draining: Vec::new(),
            retry: None,
            backoff: Backoff::default(),
            since: clock::now(),
            last_error: None,
        }
    }

    /// Runs until asked to stop; then all sessions are closed.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let first = self.intent.borrow_and_update().clone();
        self.handle(Event::Intent(first));
        loop {
            let event = self.next_event(&shutdown).await;
            let stop = matches!(event, Event::Stop);
            self.handle(event);
            if stop {
                break;
            }
        }
        let closing = async { while self.tasks.join_next().await.is_some() {} };
        let limit = self.surroundings.timing.close * 2;
        if tokio::time::timeout(limit, closing).await.is_err() {
            tracing::info!("sessions were cut at the end");
        }
    }

    async fn next_event(&mut self, shutdown: &Shutdown) -> Event {
        let due = self.retry.map(Retry::due);
        let retry = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(retry);
        tokio::select! {
                changed = self.intent.changed() => match changed {
                    Ok(()) => Event::Intent(self.intent.borrow_and_update().clone()),
                    Err(_) => Event::Stop,
                },
                Some(Established { session }) = self.heard.recv() => Event::Established(session),
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => ended_event(ended),
                () = &mut retry => Event::RetryDue,
                () = shutdown.requested() => Event::Stop,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Intent(intent) => self.follow(intent),
            Event::Established(session) => self.establish(session),
            Event::Ended(task, end) => self.end(task, end),
            Event::RetryDue => {
                self.retry = None;
                self.connect();
            }
            Event::Stop => self.close_all(),
        }
        self.show();
    }

    fn follow(&mut self, intent: Intent) {
        let target = match intent.wanted {
            Wanted::On(target) => target,
            Wanted::Off(_) => {
                self.close_all();
                self.target = None;
                self.last_error = None;
                return;
            }
        };
        let old = self.target.replace(target.clone());
        match old {
            Some(old) if old == target => {}
            Some(old) if old.relay == target.relay && old.secret == target.secret => {
                self.rename(&target.hostnames);
            }
            Some(_) | None => {
                self.close_all();
                self.backoff.reset();
                self.last_error = None;
                self.since = clock::now();
                self.connect();
            }
        }
    }

    /// Make before break. A session that is on its way with other names is given up.
    fn rename(&mut self, hostnames: &[Hostname]) {
        if let Some(attempt) = self.attempt.take() {
            attempt.orders.close.cancel();
        }
        self.retry = None;
        let is_current = |session: &Session| session.hostnames == hostnames;
        if !self.live.as_ref().is_some_and(is_current) {
            self.connect();
        }
    }

    fn connect(&mut self) {
        let Some(target) = self.target.clone() else {
            return;
        };
        if !self.surroundings.clock.is_set() {
            let due = Instant::now() + self.surroundings.timing.clock;
            self.retry = Some(Retry::ClockUnset(due));
            return;
        }
        if self.live.is_none() {
            self.surroundings.traffic.restart();
        }
        self.sessions += 1;
        let id = self.sessions;
        let hostnames = target.hostnames.clone();
        let weight = self.live.as_ref().map_or(1, Session::next_weight);
        let orders = Orders::default();
        tracing::info!(session = id, relay = %target.relay, names = hostnames.len(), "connecting");
        let running = self.tasks.spawn(session::run(
            id,
            target,
            weight,
            self.surroundings.clone(),
            orders.clone(),
            self.reports.clone(),
        ));
        self.attempt = Some(Session {
            id,
            task: running.id(),
            hostnames,
            weight,
            orders,
        });
    }

    fn establish(&mut self, id: u64) {
        let Some(session) = self.attempt.take_if(|attempt| attempt.id == id) else {
            return;
        };
        tracing::info!(session = id, "established");
        self.retry = None;
        self.last_error = None;
        match self.live.replace(session) {
            Some(old) => self.drain(old),
            None => self.since = clock::now(),
        }
    }

    fn drain(&mut self, old: Session) {
        old.orders.drain.cancel();
        self.draining.push(old);
        if self.draining.len() > MAX_DRAINING {
            self.draining.remove(0).orders.close.cancel();
        }
    }

    fn end(&mut self, task: task::Id, end: End) {
        let End { error, lived } = end;
        if let Some(error) = &error {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, ?lived, "session ended");
        }
        let is_it = |session: &mut Session| session.task == task;
        self.draining.retain(|session| session.task != task);
        let was_attempt = self.attempt.take_if(is_it).is_some();
        let was_live = self.live.take_if(is_it).is_some();
        if !was_attempt && !was_live {
            return;
        }
        if was_live {
            self.since = clock::now();
        }
        let ending = match (&error, lived) {
            (Some(error), _) if error.is_refusal() => Ending::Refused,
            (_, Some(lived)) => Ending::Lost { lived },
            (_, None) => Ending::Unreachable,
        };
        self.last_error = error.map(|error| error.in_plain_words());
        if self.attempt.is_none() {
            self.schedule(ending);
        }
    }

    fn schedule(&mut self, ending: Ending) {
        let jitter = rand::random();
        let wait = self.backoff.next(ending, jitter, &self.surroundings.timing);
        if wait.is_zero() {
            self.connect();
            return;
        }
        // Rounded up: an attempt that comes later than announced looks broken.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let announced = UnixSeconds(clock::now().0.saturating_add(seconds));
        self.retry = Some(Retry::At(Instant::now() + wait, announced));
    }

    fn close_all(&mut self) {
        let sessions = self.live.take().into_iter().chain(self.attempt.take());
        for session in sessions.chain(self.draining.drain(..)) {
            session.orders.close.cancel();
        }
        self.retry = None;
    }

    /// Publishes what is true now, if it changed.
    fn show(&self) {
        let intent = self.intent.borrow();
        let phase = match (&intent.wanted, &self.live, &self.attempt, self.retry) {
            (Wanted::Off(why), ..) => Phase::Off(*why),
            (Wanted::On(_), Some(_), ..) => Phase::Connected { since: self.since },
            (Wanted::On(_), None, None, Some(Retry::At(_, next_attempt))) => Phase::Waiting {
                since: self.since,
                next_attempt,
            },
            (Wanted::On(_), None, None, Some(Retry::ClockUnset(_))) => {
                Phase::ClockUnset { since: self.since }
            }
            (Wanted::On(_), None, Some(_), _) | (Wanted::On(_), None, None, None) => {
                Phase::Connecting { since: self.since }
            }
        };
        let status = Status {
            phase,
            settings: intent.settings.clone(),
            hostnames: self
                .live
                .as_ref()
                .map(|live| live.hostnames.clone())
                .unwrap_or_default(),
            last_error: self.last_error.clone(),
        };
        drop(intent);
        self.status.send_if_modified(|shown| {
            let changed = *shown != status;
            if changed {
                *shown = status;
            }
            changed
        });
    }
}

/// A session that panics is one that ended; the next one is tried like after any other.
fn ended_event(ended: Result<(task::Id, End), JoinError>) -> Event {
    match ended {
        Ok((task, end)) => Event::Ended(task, end),
        Err(error) => {
            let end = End {
                error: Some(TunnelError::Defect),
                lived: None,
            };
            Event::Ended(error.id(), end)
        }
    }
}
