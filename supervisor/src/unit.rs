//! The life of one unit: a pure function of (unit, event, moment) to (unit, actions).
//!
//! ```text
//!              Start            Clear, patience over        Spawned           Ready
//!   Stopped ─────────► Waiting ─────────────────► Spawning ────────► Starting ─────► Ready
//!      ▲                  ▲                         ▲   │                │             │
//!      │ Stop             │ Restart                 │   │ SpawnFailed    │ exit, too   │ exit, no sign
//!      │                  │                         │   ▼                ▼ late        ▼ of life
//!   Stopping ◄────────────┴─────── Tick ──── BackOff | Degraded ◄─────── (via Stopping if alive)
//!      ▲ Stop, Restart (from Starting, Ready)              exit 78 ─────► Misconfigured
//! ```
//!
//! The shell's side of the bargain: `Spawn` is answered by `Spawned` or `SpawnFailed` before any
//! other event of the unit, and `Exited` is reported after the whole process group is gone.

use crate::history::{History, Limits, Moment, Verdict};
use rustix::process::Pid;
use std::{
    fmt,
    time::{Duration, Instant},
};

/// Exit code of a process whose configuration is wrong (EX_CONFIG of sysexits(3)).
const MISCONFIGURED: i32 = 78;

/// A unit: where it stands and what went before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    pub(crate) state: State,
    history: History,
}

/// Where a unit stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Not wanted.
    #[default]
    Stopped,
    /// For the units it starts after.
    Waiting { until: Instant },
    /// The shell was told to start a process.
    Spawning,
    /// A process lives and has not said READY.
    Starting { pid: Pid, deadline: Deadline },
    /// It has, and its watchdog is fed.
    Ready {
        pid: Pid,
        watchdog: Instant,
        /// When earlier failures are forgotten.
        stable: Instant,
    },
    /// A process lives that should not.
    Stopping { pid: Pid, stage: Stage, then: Then },
    /// Died; started again at `until`.
    BackOff { until: Instant },
    /// Died too often; tried again at `until`.
    Degraded { until: Instant },
    /// Exited with 78.
    Misconfigured,
}

/// A time limit that the process may stretch, up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    at: Instant,
    cap: Instant,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// TERM was sent.
    Asked(Deadline),
    /// KILL was sent.
    Killed { give_up: Instant },
    /// The kernel does not let the process go. Its end is still awaited, but nobody waits for it.
    Abandoned,
}

/// What follows when a stopping process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Stopped,
    StartAgain,
    /// It was stopped because it did not do its work.
    Fail,
}

/// What happened to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is wanted.
    Start,
    /// Every unit it starts after is ready.
    Clear,
    Spawned(Pid),
    SpawnFailed,
    /// READY=1.
    Ready,
    /// WATCHDOG=1.
    Alive,
    /// EXTEND_TIMEOUT_USEC.
    Extend(Duration),
    Exited(Exit),
    /// Time has passed.
    Tick,
    /// Its binary is another one.
    Changed,
    /// It is not wanted any more.
    Stop,
    /// It is wanted anew.
    Restart,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// What the shell does for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Spawn,
    /// TERM to the process.
    Terminate(Pid),
    /// KILL to its whole group.
    Kill(Pid),
}

type Step = (Unit, Vec<Action>);

impl Unit {
    /// What becomes of the unit, and what is to be done.
    pub(crate) fn step(self, event: Event, at: Moment, limits: &Limits) -> Step {
        match self.state {
            State::Stopped => self.stopped(&event, at, limits),
            State::Waiting { until } => self.waiting(&event, until, at),
            State::Spawning => self.spawning(&event, at, limits),
            State::Starting { pid, deadline } => self.starting(&event, pid, deadline, at, limits),
            State::Ready { pid, .. } => self.ready(&event, pid, at, limits),
            State::Stopping { pid, stage, then } => {
                self.stopping(&event, (pid, stage, then), at, limits)
            }
            State::BackOff { until } | State::Degraded { until } => {
                self.resting(&event, until, at, limits)
            }
            State::Misconfigured => self.misconfigured(&event, at, limits),
        }
    }

    /// When [`Event::Tick`] is due next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } | State::BackOff { until } | State::Degraded { until } => {
                Some(*until)
            }
            State::Starting { deadline, .. } => Some(deadline.at),
            State::Ready {
                watchdog, stable, ..
            } if !self.history.is_clean() => Some((*watchdog).min(*stable)),
            State::Ready { watchdog, .. } => Some(*watchdog),
            State::Stopping { stage, .. } => match stage {
                Stage::Asked(deadline) => Some(deadline.at),
                Stage::Killed { give_up } => Some(*give_up),
                Stage::Abandoned => None,
            },
            State::Stopped | State::Spawning | State::Misconfigured => None,
        }
    }

    /// The live process.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match &self.state {
            State::Starting { pid, .. }
            | State::Ready { pid, .. }
            | State::Stopping { pid, .. } => Some(*pid),
            State::Stopped
            | State::Waiting { .. }
            | State::Spawning
            | State::BackOff { .. }
            | State::Degraded { .. }
            | State::Misconfigured => None,
        }
    }

    /// Died too often, and not stable since.
    pub(crate) const fn is_degraded(&self) -> bool {
        self.history.is_degraded()
    }

    fn stopped(self, event: &Event, at: Moment, limits: &Limits) -> Step {
        match event {
            Event::Start | Event::Restart => self.wait(at, limits),
            Event::Clear
            | Event::Spawned(_)
            | Event::SpawnFailed
            | Event::Ready
            | Event::Alive
            | Event::Extend(_)
            | Event::Exited(_)
            | Event::Tick
            | Event::Changed
            | Event::Stop => self.stay(),
        }
    }

    fn waiting(self, event: &Event, until: Instant, at: Moment) -> Step {
        match event {
            Event::Clear => self.spawn(),
            Event::Tick if at.now >= until => self.spawn(),
            Event::Stop => self.become_state(State::Stopped),
            Event::Tick
            | Event::Start
            | Event::Restart
            | Event::Spawned(_)
            | Event::SpawnFailed
            | Event::Ready
            | Event::Alive
            | Event::Extend(_)
            | Event::Exited(_)
            | Event::Changed => self.stay(),
        }
    }

    fn spawning(self, event: &Event, at: Moment, limits: &Limits) -> Step {
        match event {
            Event::Spawned(pid) => self.become_state(State::Starting {
                pid: *pid,
                deadline: Deadline::after(limits.start, at, limits),
            }),
            Event::SpawnFailed => self.fail(at, limits),
            // The shell answers first.
            Event::Start
            | Event::Clear
            | Event::Ready
            | Event::Alive
            | Event::Extend(_)
            | Event::Exited(_)
            | Event::Tick
            | Event::Changed
            | Event::Stop
            | Event::Restart => self.stay(),
        }
    }

    fn starting(
        self,
        event: &Event,
        pid: Pid,
        deadline: Deadline,
        at: Moment,
        limits: &Limits,
    ) -> Step {
        match event {
            Event::Ready => self.become_state(State::Ready {
                pid,
                watchdog: at.now + limits.watchdog,
                stable: at.now + limits.stable,
            }),
            Event::Extend(by) => self.become_state(State::Starting {
                pid,
                deadline: deadline.extended(at.now, *by),
            }),
            Event::Exited(exit) => self.died(*exit, at, limits),
            Event::Tick if at.now >= deadline.at => self.ask(pid, Then::Fail, at, limits),
            Event::Stop => self.ask(pid, Then::Stopped, at, limits),
            Event::Restart => self.ask(pid, Then::StartAgain, at, limits),
            Event::Tick
            | Event::Start
            | Event::Clear
            | Event::Spawned(_)
            | Event::SpawnFailed
            | Event::Alive
            | Event::Changed => self.stay(),
        }
    }

    fn ready(mut self, event: &Event, pid: Pid, at: Moment, limits: &Limits) -> Step {
        let State::Ready {
            watchdog, stable, ..
        } = self.state
        else {
            return self.stay();
        };
        match event {
            Event::Alive => self.become_state(State::Ready {
                pid,
                watchdog: at.now + limits.watchdog,
                stable,
            }),
            Event::Exited(exit) => self.died(*exit, at, limits),
            // A loop that stands still would not hear TERM either.
            Event::Tick if at.now >= watchdog => self.kill(pid, Then::Fail, at, limits),
            Event::Tick if at.now >= stable => {
                self.history = History::default();
                self.stay()
            }
            Event::Stop => self.ask(pid, Then::Stopped, at, limits),
            Event::Restart => self.ask(pid, Then::StartAgain, at, limits),
            Event::Tick
            | Event::Start
            | Event::Clear
            | Event::Spawned(_)
            | Event::SpawnFailed
            | Event::Ready
            | Event::Extend(_)
            | Event::Changed => self.stay(),
        }
    }

    fn stopping(
        self,
        event: &Event,
        (pid, stage, then): (Pid, Stage, Then),
        at: Moment,
        limits: &Limits,
    ) -> Step {
        let but = |unit: Self, stage, then| unit.become_state(State::Stopping { pid, stage, then });
        match (event, stage) {
            (Event::Exited(_), _) => match then {
                Then::Stopped => self.become_state(State::Stopped),
                Then::StartAgain => self.wait(at, limits),
                Then::Fail => self.fail(at, limits),
            },
            (Event::Tick, Stage::Asked(deadline)) if at.now >= deadline.at => {
                self.kill(pid, then, at, limits)
            }
            (Event::Tick, Stage::Killed { give_up }) if at.now >= give_up => {
                but(self, Stage::Abandoned, then)
            }
            (Event::Extend(by), Stage::Asked(deadline)) => {
                but(self, Stage::Asked(deadline.extended(at.now, *by)), then)
            }
            (Event::Stop, _) => but(self, stage, Then::Stopped),
            (Event::Start | Event::Restart, _) => but(self, stage, Then::StartAgain),
            (
                Event::Tick
                | Event::Extend(_)
                | Event::Clear
                | Event::Spawned(_)
                | Event::SpawnFailed
                | Event::Ready
                | Event::Alive
                | Event::Changed,
                _,
            ) => self.stay(),
        }
    }

    fn resting(self, event: &Event, until: Instant, at: Moment, limits: &Limits) -> Step {
        match event {
            Event::Tick if at.now >= until => self.spawn(),
            // Someone wants it now, and does not care how often it has died.
            Event::Start | Event::Restart => self.wait(at, limits),
            Event::Stop => self.become_state(State::Stopped),
            Event::Tick
            | Event::Clear
            | Event::Spawned(_)
            | Event::SpawnFailed
            | Event::Ready
            | Event::Alive
            | Event::Extend(_)
            | Event::Exited(_)
            | Event::Changed => self.stay(),
        }
    }

    fn misconfigured(self, event: &Event, at: Moment, limits: &Limits) -> Step {
        match event {
            Event::Start | Event::Restart | Event::Changed => self.wait(at, limits),
            Event::Stop => self.become_state(State::Stopped),
            Event::Clear
            | Event::Spawned(_)
            | Event::SpawnFailed
            | Event::Ready
            | Event::Alive
            | Event::Extend(_)
            | Event::Exited(_)
            | Event::Tick => self.stay(),
        }
    }

    fn stay(self) -> Step {
        (self, Vec::new())
    }

    fn become_state(self, state: State) -> Step {
        (Self { state, ..self }, Vec::new())
    }

    /// Only someone's wish leads here, so earlier failures no longer count.
    fn wait(self, at: Moment, limits: &Limits) -> Step {
        let state = State::Waiting {
            until: at.now + limits.patience,
        };
        let history = History::default();
        (Self { state, history }, Vec::new())
    }

    fn spawn(self) -> Step {
        let unit = Self {
            state: State::Spawning,
            ..self
        };
        (unit, vec![Action::Spawn])
    }

    fn ask(self, pid: Pid, then: Then, at: Moment, limits: &Limits) -> Step {
        let stage = Stage::Asked(Deadline::after(limits.grace, at, limits));
        let state = State::Stopping { pid, stage, then };
        (Self { state, ..self }, vec![Action::Terminate(pid)])
    }

    fn kill(self, pid: Pid, then: Then, at: Moment, limits: &Limits) -> Step {
        let give_up = at.now + limits.give_up;
        let stage = Stage::Killed { give_up };
        let state = State::Stopping { pid, stage, then };
        (Self { state, ..self }, vec![Action::Kill(pid)])
    }

    /// Nobody asked it to. An exit code of 0 is a failure too: a service ends when it is told to.
    fn died(self, exit: Exit, at: Moment, limits: &Limits) -> Step {
        match exit {
            Exit::Code(MISCONFIGURED) => self.become_state(State::Misconfigured),
            Exit::Code(_) | Exit::Signal(_) => self.fail(at, limits),
        }
    }

    fn fail(mut self, at: Moment, limits: &Limits) -> Step {
        self.state = match self.history.fail(at, limits) {
            Verdict::BackOff { until } => State::BackOff { until },
            Verdict::Degraded { until } => State::Degraded { until },
        };
        self.stay()
    }
}

impl Deadline {
    fn after(limit: Duration, at: Moment, limits: &Limits) -> Self {
        Self {
            at: at.now + limit,
            cap: at.now + limits.extension.max(limit),
        }
    }

    /// At least `by` from now, within the cap. Never earlier than before.
    fn extended(self, now: Instant, by: Duration) -> Self {
        let wished = now.checked_add(by).unwrap_or(self.cap);
        Self {
            at: wished.min(self.cap).max(self.at),
            cap: self.cap,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests;
