use super::*;

struct Life {
    unit: Unit,
    now: Instant,
    limits: Limits,
}

impl Life {
    fn new() -> Self {
        Self {
            unit: Unit::default(),
            now: Instant::now(),
            limits: Limits::default(),
        }
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let at = Moment {
            now: self.now,
            jitter: 0.5,
        };
        let (unit, actions) = std::mem::take(&mut self.unit).step(event, at, &self.limits);
        self.unit = unit;
        actions
    }

    fn after(&mut self, milliseconds: u64) -> Vec<Action> {
        self.now += Duration::from_millis(milliseconds);
        self.on(Event::Tick)
    }

    fn started() -> Self {
        let mut life = Self::new();
        life.on(Event::Start);
        assert_eq!(life.on(Event::Clear), [Action::Spawn]);
        life.on(Event::Spawned(pid(10)));
        life
    }

    fn ready() -> Self {
        let mut life = Self::started();
        life.on(Event::Ready);
        assert!(matches!(life.unit.state, State::Ready { .. }));
        life
    }
}

fn pid(raw: i32) -> Pid {
    Pid::from_raw(raw).expect("not zero")
}

#[test]
fn a_killed_service_is_started_again_within_a_second() {
    let mut life = Life::ready();
    assert!(life.on(Event::Exited(Exit::Signal(9))).is_empty());
    assert!(life.after(199).is_empty());
    assert_eq!(life.after(1), [Action::Spawn]);
}

#[test]
fn a_unit_starts_anyway_when_those_before_it_are_not_ready_in_time() {
    let mut life = Life::new();
    life.on(Event::Start);
    assert!(life.after(9_999).is_empty());
    assert_eq!(life.after(1), [Action::Spawn]);
}

#[test]
fn a_process_that_never_says_ready_is_stopped_and_counted_as_failed() {
    let mut life = Life::started();
    assert!(life.after(29_999).is_empty());
    assert_eq!(life.after(1), [Action::Terminate(pid(10))]);
    assert_eq!(life.after(10_000), [Action::Kill(pid(10))]);
    life.on(Event::Exited(Exit::Signal(9)));
    assert!(matches!(life.unit.state, State::BackOff { .. }));
}

#[test]
fn a_start_can_be_extended_but_not_for_ever() {
    let mut life = Life::started();
    life.on(Event::Extend(Duration::from_secs(60)));
    assert!(life.after(59_000).is_empty());
    life.on(Event::Extend(Duration::MAX));
    assert!(life.after(240_000).is_empty());
    assert_eq!(life.after(1_000), [Action::Terminate(pid(10))]);
}

#[test]
fn a_loop_that_gives_no_sign_of_life_is_killed() {
    let mut life = Life::ready();
    life.after(19_000);
    life.on(Event::Alive);
    assert!(life.after(19_999).is_empty());
    assert_eq!(life.after(1), [Action::Kill(pid(10))]);
}

#[test]
fn exit_78_is_not_restarted_until_the_binary_changes_or_someone_asks() {
    for wish in [Event::Changed, Event::Restart, Event::Start] {
        let mut life = Life::started();
        life.on(Event::Exited(Exit::Code(78)));
        assert_eq!(life.unit.state, State::Misconfigured);
        assert!(life.after(3_600_000).is_empty());
        life.on(wish);
        assert_eq!(life.on(Event::Clear), [Action::Spawn]);
    }
}

#[test]
fn five_quick_deaths_are_degraded_and_a_minute_of_ready_forgets_them() {
    let mut life = Life::started();
    for _ in 0..4 {
        life.on(Event::Exited(Exit::Code(1)));
        assert!(matches!(life.unit.state, State::BackOff { .. }));
        assert_eq!(life.after(5_000), [Action::Spawn]);
        life.on(Event::Spawned(pid(11)));
    }
    life.on(Event::Exited(Exit::Code(1)));
    assert!(matches!(life.unit.state, State::Degraded { .. }));
    assert!(life.after(29_999).is_empty());
    assert_eq!(life.after(1), [Action::Spawn]);
    life.on(Event::Spawned(pid(12)));
    life.on(Event::Ready);
    assert!(life.unit.is_degraded());
    for _ in 0..6 {
        life.after(10_000);
        life.on(Event::Alive);
    }
    assert!(!life.unit.is_degraded());
    life.on(Event::Exited(Exit::Signal(11)));
    assert!(matches!(life.unit.state, State::BackOff { .. }));
}

#[test]
fn a_restart_waits_for_the_old_process_to_end() {
    let mut life = Life::ready();
    assert_eq!(life.on(Event::Restart), [Action::Terminate(pid(10))]);
    assert!(life.on(Event::Clear).is_empty());
    life.on(Event::Exited(Exit::Code(0)));
    assert_eq!(life.on(Event::Clear), [Action::Spawn]);
}

#[test]
fn stop_wins_over_an_earlier_restart_and_an_exit_of_78_does_not_matter_then() {
    let mut life = Life::ready();
    life.on(Event::Restart);
    life.on(Event::Stop);
    life.on(Event::Exited(Exit::Code(78)));
    assert_eq!(life.unit.state, State::Stopped);
}
