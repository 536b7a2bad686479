//! Asks every service how it is, once a second, and keeps the answers.

use crate::{
    Config,
    picture::Picture,
    readiness::{self, Heard, Inputs},
    supervisor,
};
use piccolo_bus_client::{Bus, CallOptions};
use piccolo_bus_schema::{
    ServiceName,
    health::{Component, HealthChanged, Level, Readiness, Report},
    lock::LockState,
    supervisor::{Status, UnitState},
};
use piccolo_runtime::clock;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const PERIOD: Duration = Duration::from_secs(1);
/// A component not heard of for this long is not ok.
const SILENCE: Duration = Duration::from_secs(5);
/// Shorter than the silence, so that one lost report is not yet a failure.
const PATIENCE: Duration = Duration::from_secs(2);

/// A service's last report.
struct Last {
    components: Vec<Component>,
    at: Instant,
}

#[derive(Default)]
struct State {
    reports: BTreeMap<ServiceName, Last>,
    /// When a silence was first noticed, for `since`.
    silent_since: BTreeMap<ServiceName, piccolo_bus_schema::ids::UnixSeconds>,
    units: Option<Status>,
    readiness: Option<Readiness>,
}

/// What is known of every component.
#[derive(Clone)]
pub(crate) struct Watch {
    state: Arc<Mutex<State>>,
    picture: Picture,
    started: Instant,
}

/// One look at everything.
pub(crate) struct Look {
    pub(crate) readiness: Readiness,
    pub(crate) components: Vec<Component>,
}

impl Watch {
    /// Starts one asking task per service.
    pub(crate) fn start(bus: &Bus, config: &Config, picture: Picture) -> Self {
        let watch = Self {
            state: Arc::default(),
            picture,
            started: Instant::now(),
        };
        for service in ServiceName::ALL {
            tokio::spawn(watch.clone().ask(bus.clone(), service));
        }
        tokio::spawn(watch.clone().follow_units(config.runtime_dir.clone()));
        tokio::spawn(watch.clone().announce(bus.clone()));
        watch
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(self, bus: Bus, service: ServiceName) {
        let mut timer = tokio::time::interval(PERIOD);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let asked = bus.call_service(service, Report {}, PATIENCE, CallOptions::default());
            if let Ok(components) = asked.await {
                let mut state = self.state();
                state.reports.insert(
                    service,
                    Last {
                        components,
                        at: Instant::now(),
                    },
                );
                state.silent_since.remove(&service);
            }
        }
    }

    async fn follow_units(self, runtime_dir: std::path::PathBuf) {
        let mut timer = tokio::time::interval(PERIOD);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let units = supervisor::status(&runtime_dir).await.ok();
            self.state().units = units;
        }
    }

    async fn announce(self, bus: Bus) {
        let mut timer = tokio::time::interval(PERIOD);
        loop {
            timer.tick().await;
            let readiness = self.look().readiness;
            let before = self.state().readiness.replace(readiness);
            if before != Some(readiness) {
                tracing::info!(?readiness, ?before, "readiness changed");
                bus.publish(&HealthChanged { readiness });
            }
        }
    }

    /// The units as piccolod last reported them; `None` when it can't be asked.
    pub(crate) fn units(&self) -> Option<Status> {
        self.state().units.clone()
    }

    /// Everything, now.
    pub(crate) fn look(&self) -> Look {
        let lock = self.picture.lock();
        let heard = self.heard(lock.as_ref());
        let readiness = readiness::judge(&Inputs {
            lock: lock.as_ref(),
            heard: &heard,
            uptime: self.started.elapsed(),
        });
        Look {
            readiness,
            components: heard.into_iter().map(|heard| heard.component).collect(),
        }
    }

    fn heard(&self, lock: Option<&LockState>) -> Vec<Heard> {
        let mut state = self.state();
        let mut heard = Vec::new();
        for service in ServiceName::ALL {
            match state.reports.get(&service) {
                Some(last) if last.at.elapsed() < SILENCE => {
                    heard.extend(last.components.iter().map(|component| Heard {
                        component: component.clone(),
                        ever: true,
                    }));
                }
                last => {
                    let ever = last.is_some();
                    let seconds = last.map_or(self.started.elapsed(), |last| last.at.elapsed());
                    let unit = unit_words(state.units.as_ref(), service);
                    let since = *state.silent_since.entry(service).or_insert_with(clock::now);
                    heard.push(Heard {
                        component: silent(service, seconds, &unit, since),
                        ever,
                    });
                }
            }
        }
        if let Some(LockState::Fault(fault)) = lock
            && let Some(store) = heard
                .iter_mut()
                .find(|heard| heard.component.name == "store")
        {
            store.component.level = Level::Error;
            store.component.message = format!("{} {}", fault.explanation, fault.next_step);
        }
        heard
    }
}

/// The component of a service that does not answer.
fn silent(
    service: ServiceName,
    silence: Duration,
    unit: &str,
    since: piccolo_bus_schema::ids::UnixSeconds,
) -> Component {
    let required = readiness::REQUIRED.contains(&service.as_str());
    Component {
        name: service.to_string(),
        level: if required { Level::Error } else { Level::Warn },
        message: format!("Not heard of for {} s{unit}", silence.as_secs()),
        role: None,
        since,
        details: Vec::new(),
    }
}

/// What piccolod says of a service, with its last log lines when it keeps failing.
fn unit_words(status: Option<&Status>, service: ServiceName) -> String {
    let unit = status.and_then(|s| s.units.iter().find(|unit| unit.name == service.as_str()));
    let Some(unit) = unit else {
        return "; the supervisor can't be asked.".to_owned();
    };
    let words = match unit.state {
        UnitState::Stopped => "; it was stopped. Start it with `piccoloctl service start`.",
        UnitState::Waiting | UnitState::Starting => "; it is starting.",
        UnitState::Ready => "; it runs but does not answer.",
        UnitState::Stopping => "; it is stopping.",
        UnitState::BackOff => "; it died and is being restarted.",
        UnitState::Degraded => "; it keeps failing and is restarted slowly.",
        UnitState::Misconfigured => "; its configuration is wrong.",
    };
    match unit.last_lines.last() {
        Some(line) => format!("{words} Its last words: {line}"),
        None => words.to_owned(),
    }
}
