//! Everything the loop waits for, as one stream of events.

use crate::{control::Question, portal::BindError, process::ProcessEvent, systemd};
use std::{
    io,
    net::TcpListener,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};

/// How often a busy port is tried again and the binary of a misconfigured unit is looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(3);
/// The timer of a loop that has nothing to wait for.
const NEVER: Duration = Duration::from_secs(3600);

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    Process(ProcessEvent),
    Question(Question),
    Inner(Inner),
    /// SIGTERM, SIGINT or SIGHUP.
    StopAsked,
    /// SIGCHLD: a process of a unit or an adopted one has ended.
    ChildEnded,
    /// A unit's time has come.
    Due,
    Housekeeping,
    /// systemd wants a sign of life of this loop.
    WatchdogDue,
}

/// Work done aside.
#[derive(Debug)]
pub(super) enum Inner {
    /// No process of an earlier piccolod is left.
    PredecessorsGone,
    /// The lock before a clean stop is done, or given up.
    Farewell,
    DoorTried {
        door: usize,
        outcome: Result<TcpListener, BindError>,
    },
}

/// The sources.
pub(crate) struct Inputs {
    processes: mpsc::Receiver<ProcessEvent>,
    questions: mpsc::Receiver<Question>,
    inner: mpsc::Receiver<Inner>,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    child: Signal,
    housekeeping: Interval,
    watchdog: Interval,
}

impl Inputs {
    /// Takes over the signals of this process.
    pub(super) fn open(
        processes: mpsc::Receiver<ProcessEvent>,
        questions: mpsc::Receiver<Question>,
        inner: mpsc::Receiver<Inner>,
    ) -> io::Result<Self> {
        let watched = systemd::watchdog_interval().filter(|interval| !interval.is_zero());
        Ok(Self {
            processes,
            questions,
            inner,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
            housekeeping: calm(HOUSEKEEPING),
            watchdog: calm(watched.unwrap_or(NEVER)),
        })
    }

    /// The next event, or [`Event::Due`] at the deadline. Cancel safe. Signals come first, and
    /// what is due before what is said: chatter must delay neither.
    pub(super) async fn next(&mut self, deadline: Option<Instant>) -> Event {
        let due = deadline.unwrap_or_else(|| Instant::now() + NEVER);
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Event::StopAsked,
            _ = self.interrupt.recv() => Event::StopAsked,
            _ = self.hang_up.recv() => Event::StopAsked,
            _ = self.watchdog.tick() => Event::WatchdogDue,
            () = tokio::time::sleep_until(due.into()) => Event::Due,
            _ = self.child.recv() => Event::ChildEnded,
            Some(inner) = self.inner.recv() => Event::Inner(inner),
            _ = self.housekeeping.tick() => Event::Housekeeping,
            Some(event) = self.processes.recv() => Event::Process(event),
            Some(question) = self.questions.recv() => Event::Question(question),
        }
    }
}

fn calm(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
