//! All units together: who may start, who must stop first. Pure, like [`crate::unit`].

use crate::{
    history::{Limits, Moment},
    table::UnitSpec,
    unit::{Action, Event, Stage, State, Then, Unit},
};
use std::time::Instant;

/// A unit's position in the table.
pub(crate) type UnitId = usize;

/// All units.
#[derive(Debug)]
pub(crate) struct Fleet {
    entries: Vec<Entry>,
    phase: Phase,
    limits: Limits,
}

#[derive(Debug)]
struct Entry {
    unit: Unit,
    after: Vec<UnitId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    ShuttingDown,
}

/// An action of one unit.
pub(crate) type Order = (UnitId, Action);

impl Fleet {
    /// All units of a table, none of them started.
    pub(crate) fn new(table: &[UnitSpec], limits: Limits) -> Self {
        let position = |name| table.iter().position(|unit| unit.service == name);
        let entries = table
            .iter()
            .map(|spec| Entry {
                unit: Unit::default(),
                after: spec
                    .after
                    .iter()
                    .filter_map(|name| position(*name))
                    .collect(),
            })
            .collect();
        Self {
            entries,
            phase: Phase::Running,
            limits,
        }
    }

    /// A unit.
    pub(crate) fn unit(&self, id: UnitId) -> &Unit {
        &self.entries[id].unit
    }

    /// Wants every unit.
    pub(crate) fn start_all(&mut self, at: Moment) -> Vec<Order> {
        let mut orders = Vec::new();
        for id in 0..self.entries.len() {
            self.apply(id, Event::Start, at, &mut orders);
        }
        self.settle(at, &mut orders);
        orders
    }

    /// Wants no unit any more. Units end in reverse order; nothing starts from here on.
    pub(crate) fn shut_down(&mut self, at: Moment) -> Vec<Order> {
        self.phase = Phase::ShuttingDown;
        let mut orders = Vec::new();
        self.settle(at, &mut orders);
        orders
    }

    /// Whether everything has ended that can be ended.
    pub(crate) fn is_down(&self) -> bool {
        self.phase == Phase::ShuttingDown && !self.entries.iter().any(|entry| entry.is_alive())
    }

    /// Something happened to one unit.
    pub(crate) fn step(&mut self, id: UnitId, event: Event, at: Moment) -> Vec<Order> {
        let wish = matches!(event, Event::Start | Event::Restart | Event::Changed);
        let mut orders = Vec::new();
        if !(wish && self.phase == Phase::ShuttingDown) {
            self.apply(id, event, at, &mut orders);
        }
        self.settle(at, &mut orders);
        orders
    }

    /// Time has passed for every unit.
    pub(crate) fn tick(&mut self, at: Moment) -> Vec<Order> {
        let mut orders = Vec::new();
        for id in 0..self.entries.len() {
            if self.due(id).is_some_and(|due| due <= at.now) {
                self.apply(id, Event::Tick, at, &mut orders);
            }
        }
        self.settle(at, &mut orders);
        orders
    }

    /// When [`Self::tick`] is due next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (0..self.entries.len()).filter_map(|id| self.due(id)).min()
    }

    /// During a shutdown nobody waits for a start any more, and its being late is no reason to
    /// stop a unit before its turn.
    fn due(&self, id: UnitId) -> Option<Instant> {
        let unit = self.unit(id);
        match (self.phase, &unit.state) {
            (Phase::ShuttingDown, State::Starting { .. }) => None,
            (Phase::Running | Phase::ShuttingDown, _) => unit.deadline(),
        }
    }

    fn apply(&mut self, id: UnitId, event: Event, at: Moment, orders: &mut Vec<Order>) {
        let entry = &mut self.entries[id];
        let (unit, actions) = std::mem::take(&mut entry.unit).step(event, at, &self.limits);
        entry.unit = unit;
        orders.extend(actions.into_iter().map(|action| (id, action)));
    }

    /// Draws the conclusions that one unit's state has for the others.
    fn settle(&mut self, at: Moment, orders: &mut Vec<Order>) {
        for id in 0..self.entries.len() {
            match self.phase {
                Phase::Running if self.is_clear(id) => self.apply(id, Event::Clear, at, orders),
                Phase::ShuttingDown if self.must_stop(id) => {
                    self.apply(id, Event::Stop, at, orders);
                }
                Phase::Running | Phase::ShuttingDown => {}
            }
        }
    }

    fn is_clear(&self, id: UnitId) -> bool {
        let entry = &self.entries[id];
        let ready = |id: &UnitId| matches!(self.unit(*id).state, State::Ready { .. });
        matches!(entry.unit.state, State::Waiting { .. }) && entry.after.iter().all(ready)
    }

    /// One without a process at once; one with a process when none that started after it is left.
    fn must_stop(&self, id: UnitId) -> bool {
        let is_dependent = |entry: &Entry| entry.after.contains(&id) && entry.is_alive();
        match self.unit(id).state {
            State::Stopped | State::Spawning => false,
            State::Waiting { .. }
            | State::BackOff { .. }
            | State::Degraded { .. }
            | State::Misconfigured => true,
            State::Stopping { then, .. } => then != Then::Stopped,
            State::Starting { .. } | State::Ready { .. } => !self.entries.iter().any(is_dependent),
        }
    }
}

impl Entry {
    /// Has a process whose end is worth waiting for.
    fn is_alive(&self) -> bool {
        match self.unit.state {
            State::Spawning | State::Starting { .. } | State::Ready { .. } => true,
            State::Stopping { stage, .. } => stage != Stage::Abandoned,
            State::Stopped
            | State::Waiting { .. }
            | State::BackOff { .. }
            | State::Degraded { .. }
            | State::Misconfigured => false,
        }
    }
}

#[cfg(test)]
mod properties;
