//! What the outside sees: the status on the control socket, and a line for systemd.

use super::{Supervisor, record::Record, seconds};
use crate::{
    fleet::UnitId,
    notify::one_line,
    portal::Door,
    procfs, systemd,
    unit::{State, Unit},
};
use piccolo_bus_schema::supervisor::{self as wire, UnitState};
use std::time::Instant;

/// Log lines shown of a unit that failed, and their length: the status of all units is one line
/// of the control protocol.
const LAST_LINES: usize = 8;
const LAST_LINE_LIMIT: usize = 300;

/// What makes two statuses differ. Ages and memory do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Face {
    state: UnitState,
    pid: Option<u32>,
    restarts: u32,
    last_exit: Option<String>,
    status_text: Option<String>,
}

impl Supervisor {
    /// The whole status.
    pub(super) fn status(&self) -> wire::Status {
        wire::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: seconds(self.started.elapsed()),
            pid: std::process::id(),
            privileges: self.config.privileges.to_string(),
            units: (0..self.records.len())
                .map(|unit| self.unit(unit))
                .collect(),
        }
    }

    /// Tells watchers and systemd when something has changed.
    pub(super) fn publish(&mut self) {
        for (unit, record) in self.records.iter_mut().enumerate() {
            let state = wire_state(self.fleet.unit(unit));
            if record.shown != state {
                record.shown = state;
                record.since = Instant::now();
            }
        }
        let faces: Vec<_> = (0..self.records.len())
            .map(|unit| self.face(unit))
            .collect();
        if faces != self.faces {
            self.faces = faces;
            self.changes.send_modify(|change| *change += 1);
            systemd::status(&self.summary());
        }
    }

    fn face(&self, unit: UnitId) -> Face {
        let record = &self.records[unit];
        let pid = record.process.as_ref().map(crate::process::Process::pid);
        Face {
            state: record.shown,
            pid: pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()),
            restarts: record.starts.saturating_sub(1),
            last_exit: record.last_exit.clone(),
            status_text: self.status_text(record),
        }
    }

    fn unit(&self, unit: UnitId) -> wire::Unit {
        let record = &self.records[unit];
        let face = self.face(unit);
        let pid = record.process.as_ref().map(crate::process::Process::pid);
        wire::Unit {
            name: record.name().to_owned(),
            state: face.state,
            for_seconds: seconds(record.since.elapsed()),
            pid: face.pid,
            restarts: face.restarts,
            memory: pid.and_then(procfs::resident_memory),
            last_exit: face.last_exit,
            status_text: face.status_text,
            last_lines: self.last_lines(record),
        }
    }

    /// Busy ports first: they are why the rest may not be true.
    fn status_text(&self, record: &Record) -> Option<String> {
        let mut texts = self.complaints(record);
        texts.extend(record.words.clone());
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    fn complaints(&self, record: &Record) -> Vec<String> {
        if !record.spec.portal {
            return Vec::new();
        }
        self.doors.iter().filter_map(Door::complaint).collect()
    }

    fn last_lines(&self, record: &Record) -> Vec<String> {
        let mut lines = self.complaints(record);
        if has_failed(record.shown) {
            let tail = self
                .logs
                .tail(record.name(), LAST_LINES)
                .unwrap_or_default();
            lines.extend(tail.iter().map(|line| one_line(line, LAST_LINE_LIMIT)));
        }
        lines
    }

    fn summary(&self) -> String {
        let ready = self
            .faces
            .iter()
            .filter(|face| face.state == UnitState::Ready);
        let failed: Vec<_> = self
            .records
            .iter()
            .filter(|record| has_failed(record.shown))
            .map(Record::name)
            .collect();
        let mut text = format!("{} of {} services ready", ready.count(), self.faces.len());
        if !failed.is_empty() {
            text.push_str("; failed: ");
            text.push_str(&failed.join(", "));
        }
        text
    }
}

const fn has_failed(state: UnitState) -> bool {
    match state {
        UnitState::BackOff | UnitState::Degraded | UnitState::Misconfigured => true,
        UnitState::Stopped
        | UnitState::Waiting
        | UnitState::Starting
        | UnitState::Ready
        | UnitState::Stopping => false,
    }
}

/// A slow retry of a degraded unit is still degraded, until it says READY.
const fn wire_state(unit: &Unit) -> UnitState {
    match &unit.state {
        State::Spawning | State::Starting { .. } if unit.is_degraded() => UnitState::Degraded,
        State::Stopped => UnitState::Stopped,
        State::Waiting { .. } => UnitState::Waiting,
        State::Spawning | State::Starting { .. } => UnitState::Starting,
        State::Ready { .. } => UnitState::Ready,
        State::Stopping { .. } => UnitState::Stopping,
        State::BackOff { .. } => UnitState::BackOff,
        State::Degraded { .. } => UnitState::Degraded,
        State::Misconfigured => UnitState::Misconfigured,
    }
}
