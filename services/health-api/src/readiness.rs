//! Adds up components to one readiness. Pure.
//!
//! Standby is healthy, locked is healthy: neither may make an update gate roll back. Only what is
//! required and at `error` is a fault, and never anything that needs the internet.

use piccolo_bus_schema::{
    health::{Component, Level, Readiness},
    lock::LockState,
};
use std::time::Duration;

/// Components without which the device does not do its main job.
pub(crate) const REQUIRED: [&str; 7] = [
    "store",
    "apps",
    "engine",
    "router-proxy",
    "health-api",
    "host",
    "fuse",
];

/// How long a required service may take to its first report after the device's start.
pub(crate) const START_TIME: Duration = Duration::from_secs(60);

/// A component's report and how old it is.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) component: Component,
    /// Whether it was ever heard of since this process started.
    pub(crate) ever: bool,
}

/// The whole picture to judge.
pub(crate) struct Inputs<'a> {
    pub(crate) lock: Option<&'a LockState>,
    pub(crate) heard: &'a [Heard],
    /// Since this process started.
    pub(crate) uptime: Duration,
}

/// Is the device ready?
pub(crate) fn judge(inputs: &Inputs<'_>) -> Readiness {
    let failing = || {
        inputs
            .heard
            .iter()
            .filter(|heard| is_failing(&heard.component))
    };
    let starting = inputs.uptime < START_TIME;
    if let Some(LockState::Fault(_)) = inputs.lock {
        return Readiness::Fault;
    }
    if failing().any(|heard| heard.ever || !starting) {
        return Readiness::Fault;
    }
    if failing().next().is_some() {
        return Readiness::Starting;
    }
    match inputs.lock {
        Some(LockState::Unlocked) => Readiness::Ready,
        Some(LockState::Setup) => Readiness::Setup,
        Some(LockState::Locked | LockState::Preunlock) => Readiness::Locked,
        Some(LockState::Fault(_)) => Readiness::Fault,
        None if starting => Readiness::Starting,
        None => Readiness::Fault,
    }
}

fn is_failing(component: &Component) -> bool {
    component.level == Level::Error && REQUIRED.contains(&component.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use piccolo_bus_schema::{ids::UnixSeconds, lock::StoreFault};
    use proptest::prelude::*;

    fn heard(name: &str, level: Level, ever: bool) -> Heard {
        let component = Component {
            name: name.to_owned(),
            level,
            message: String::new(),
            role: None,
            since: UnixSeconds(0),
            details: Vec::new(),
        };
        Heard { component, ever }
    }

    fn judged(lock: Option<&LockState>, heard: &[Heard], uptime: u64) -> Readiness {
        judge(&Inputs {
            lock,
            heard,
            uptime: Duration::from_secs(uptime),
        })
    }

    #[test]
    fn a_device_that_waits_for_its_owner_is_healthy() {
        let fine = [heard("store", Level::Ok, true)];
        assert_eq!(
            judged(Some(&LockState::Locked), &fine, 600),
            Readiness::Locked
        );
        assert_eq!(
            judged(Some(&LockState::Setup), &fine, 600),
            Readiness::Setup
        );
    }

    #[test]
    fn a_missing_engine_is_a_fault_even_while_locked() {
        let broken = [heard("engine", Level::Error, true)];
        assert_eq!(
            judged(Some(&LockState::Locked), &broken, 1),
            Readiness::Fault
        );
    }

    #[test]
    fn a_service_not_yet_heard_of_is_starting_and_later_a_fault() {
        let silent = [heard("apps", Level::Error, false)];
        assert_eq!(
            judged(Some(&LockState::Unlocked), &silent, 5),
            Readiness::Starting
        );
        assert_eq!(
            judged(Some(&LockState::Unlocked), &silent, 600),
            Readiness::Fault
        );
    }

    #[test]
    fn a_damaged_store_is_a_fault() {
        let fault = LockState::Fault(StoreFault {
            explanation: "record damaged".into(),
            next_step: "restore".into(),
        });
        assert_eq!(judged(Some(&fault), &[], 1), Readiness::Fault);
    }

    proptest! {
        #[test]
        fn what_is_not_required_never_makes_a_fault(
            name in "(nexus-agent|acme|clock|firewall|disk)", level in 0..3_u8,
        ) {
            let level = [Level::Ok, Level::Warn, Level::Error][usize::from(level)];
            let heard = [heard(&name, level, true)];
            prop_assert_eq!(judged(Some(&LockState::Unlocked), &heard, 600), Readiness::Ready);
        }

        #[test]
        fn a_warning_is_still_ready(index in 0..REQUIRED.len()) {
            let heard = [heard(REQUIRED[index], Level::Warn, true)];
            prop_assert_eq!(judged(Some(&LockState::Unlocked), &heard, 600), Readiness::Ready);
        }
    }
}
