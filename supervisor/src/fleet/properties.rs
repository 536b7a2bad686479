//! Thousands of random histories of all units, with processes that obey or don't.

use super::*;
use crate::{table::UNITS, unit::Exit};
use proptest::prelude::*;
use rustix::process::Pid;
use std::{collections::HashMap, time::Duration};

/// What the outside does.
#[derive(Clone, Debug)]
enum Move {
    Start(UnitId),
    Stop(UnitId),
    Restart(UnitId),
    Changed(UnitId),
    Ready(UnitId),
    Alive(UnitId),
    Extend(UnitId, u64),
    Die(UnitId, i32),
    Pass(u64),
}

fn any_move() -> impl Strategy<Value = Move> {
    let unit = 0..UNITS.len();
    prop_oneof![
        1 => unit.clone().prop_map(Move::Start),
        1 => unit.clone().prop_map(Move::Stop),
        1 => unit.clone().prop_map(Move::Restart),
        1 => unit.clone().prop_map(Move::Changed),
        6 => unit.clone().prop_map(Move::Ready),
        3 => unit.clone().prop_map(Move::Alive),
        1 => (unit.clone(), any::<u64>()).prop_map(|(unit, by)| Move::Extend(unit, by)),
        4 => (unit, prop_oneof![Just(0), Just(1), Just(78), Just(-9)])
            .prop_map(|(unit, code)| Move::Die(unit, code)),
        6 => (0_u64..40_000).prop_map(Move::Pass),
    ]
}

/// The processes of a machine, and what must be true of them.
struct World {
    fleet: Fleet,
    limits: Limits,
    now: Instant,
    live: HashMap<UnitId, Pid>,
    /// When a unit last failed with nobody asking for it since.
    failed: HashMap<UnitId, Instant>,
    next_pid: i32,
    /// Every how many starts fail.
    spawn_fails: usize,
    /// Whether processes end on TERM.
    obedient: bool,
    /// Processes that end at the next opportunity.
    ending: Vec<(UnitId, Exit)>,
    stopping: bool,
}

impl World {
    fn new(spawn_fails: usize, obedient: bool) -> Self {
        let limits = Limits::default();
        Self {
            fleet: Fleet::new(&UNITS, limits),
            limits,
            now: Instant::now(),
            live: HashMap::new(),
            failed: HashMap::new(),
            next_pid: 1,
            spawn_fails,
            obedient,
            ending: Vec::new(),
            stopping: false,
        }
    }

    fn at(&self) -> Moment {
        let jitter = f64::from(self.next_pid % 10) / 10.0;
        Moment {
            now: self.now,
            jitter,
        }
    }

    fn step(&mut self, id: UnitId, event: Event) {
        let orders = self.fleet.step(id, event, self.at());
        self.perform(orders);
    }

    fn perform(&mut self, orders: Vec<Order>) {
        for (id, action) in orders {
            match action {
                Action::Spawn => self.spawn(id),
                Action::Terminate(pid) => {
                    assert_eq!(
                        self.live.get(&id),
                        Some(&pid),
                        "TERM goes to a live process"
                    );
                    self.assert_stop_order(id);
                    if self.obedient {
                        self.ending.push((id, Exit::Code(0)));
                    }
                }
                Action::Kill(pid) => {
                    assert_eq!(
                        self.live.get(&id),
                        Some(&pid),
                        "KILL goes to a live process"
                    );
                    self.ending.push((id, Exit::Signal(9)));
                }
            }
        }
    }

    fn spawn(&mut self, id: UnitId) {
        assert!(!self.stopping, "nothing starts during a shutdown");
        assert!(!self.live.contains_key(&id), "one live process per unit");
        if let Some(failed) = self.failed.remove(&id) {
            let rested = self.now.duration_since(failed);
            assert!(
                rested >= self.limits.back_off_floor,
                "restarted after {rested:?}"
            );
        }
        self.next_pid += 1;
        let fails = usize::try_from(self.next_pid).is_ok_and(|n| n % self.spawn_fails == 0);
        if fails {
            self.failed.insert(id, self.now);
            self.step(id, Event::SpawnFailed);
        } else {
            let pid = Pid::from_raw(self.next_pid).expect("not zero");
            self.live.insert(id, pid);
            self.step(id, Event::Spawned(pid));
        }
    }

    fn assert_stop_order(&self, id: UnitId) {
        let after = |other: &&UnitId| self.fleet.entries[**other].after.contains(&id);
        let dependent = self.live.keys().find(after);
        assert!(
            !self.stopping || dependent.is_none(),
            "{id} before {dependent:?}"
        );
    }

    fn die(&mut self, id: UnitId, exit: Exit) {
        if self.live.remove(&id).is_some() {
            let again = Then::StartAgain;
            if !matches!(&self.fleet.unit(id).state, State::Stopping { then, .. } if *then == again)
            {
                self.failed.insert(id, self.now);
            }
            self.step(id, Event::Exited(exit));
        }
    }

    fn end_processes(&mut self) {
        while let Some((id, exit)) = self.ending.pop() {
            self.die(id, exit);
        }
    }

    fn wish(&mut self, id: UnitId, event: Event) {
        self.failed.remove(&id);
        self.step(id, event);
        // A wish during a stop takes effect when the process has ended.
        self.end_processes();
        self.failed.remove(&id);
    }

    fn pass(&mut self, milliseconds: u64) {
        let until = self.now + Duration::from_millis(milliseconds);
        while let Some(due) = self.fleet.deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let orders = self.fleet.tick(self.at());
            self.perform(orders);
            self.end_processes();
        }
        self.now = until;
    }

    fn play(&mut self, step: Move) {
        match step {
            Move::Start(id) => self.wish(id, Event::Start),
            Move::Stop(id) => self.wish(id, Event::Stop),
            Move::Restart(id) => self.wish(id, Event::Restart),
            Move::Changed(id) => self.wish(id, Event::Changed),
            Move::Ready(id) if self.live.contains_key(&id) => self.step(id, Event::Ready),
            Move::Alive(id) if self.live.contains_key(&id) => self.step(id, Event::Alive),
            Move::Extend(id, by) if self.live.contains_key(&id) => {
                self.step(id, Event::Extend(Duration::from_micros(by)));
            }
            Move::Die(id, code) if code < 0 => self.die(id, Exit::Signal(-code)),
            Move::Die(id, code) => self.die(id, Exit::Code(code)),
            Move::Pass(milliseconds) => self.pass(milliseconds),
            Move::Ready(_) | Move::Alive(_) | Move::Extend(..) => {}
        }
        self.assert_sound();
    }

    fn assert_sound(&self) {
        for id in 0..UNITS.len() {
            let unit = self.fleet.unit(id);
            assert_eq!(unit.pid(), self.live.get(&id).copied(), "{:?}", unit.state);
            assert_ne!(unit.state, State::Spawning, "every spawn was answered");
        }
    }

    /// Longest a shutdown may take: grace, stretched at most once to its cap, KILL, per layer.
    fn shut_down(&mut self) {
        self.stopping = true;
        let orders = self.fleet.shut_down(self.at());
        self.perform(orders);
        self.end_processes();
        let bound = (self.limits.extension + self.limits.grace + self.limits.give_up) * 4;
        let until = self.now + bound;
        while !self.fleet.is_down() {
            assert!(self.now < until, "a stop always terminates");
            let due = self.fleet.deadline().expect("something is awaited");
            self.now = self.now.max(due);
            let orders = self.fleet.tick(self.at());
            self.perform(orders);
            self.end_processes();
        }
        assert!(self.live.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whatever_happens_one_process_a_unit_no_hurry_and_an_orderly_end(
        moves in proptest::collection::vec(any_move(), 0..120),
        spawn_fails in 2_usize..20,
        obedient in any::<bool>(),
    ) {
        let mut world = World::new(spawn_fails, obedient);
        let orders = world.fleet.start_all(world.at());
        world.perform(orders);
        for step in moves {
            world.play(step);
        }
        world.shut_down();
    }
}

#[test]
fn health_api_and_host_start_at_once_and_the_rest_when_those_before_are_ready() {
    let mut world = World::new(1_000, true);
    let orders = world.fleet.start_all(world.at());
    world.perform(orders);
    let names = |world: &World| {
        let mut names: Vec<_> = world.live.keys().map(|id| UNITS[*id].name()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&world), ["health-api", "host"]);
    world.step(1, Event::Ready);
    assert_eq!(names(&world), ["health-api", "host", "store"]);
    world.step(2, Event::Ready);
    assert_eq!(world.live.len(), UNITS.len());
}

#[test]
fn a_process_the_kernel_does_not_let_go_does_not_hold_up_the_end() {
    let mut world = World::new(1_000, false);
    let orders = world.fleet.start_all(world.at());
    world.perform(orders);
    world.stopping = true;
    let _never_performed = world.fleet.shut_down(world.at());
    for _ in 0..100 {
        if let Some(due) = world.fleet.deadline() {
            world.now = due;
        }
        let _never_performed = world.fleet.tick(world.at());
    }
    assert!(world.fleet.is_down());
}
