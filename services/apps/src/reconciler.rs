//! Moves what is towards what should be: on every change, and by a timer.

use crate::{
    config::Config,
    engine::{Engine, Observed},
    error::{ENGINE_STEP, EngineError},
    jobs::Jobs,
    logs::Logs,
    picture::{Installed, Picture},
    settle::Failure,
    want::{Want, Why, pause, want},
};
use piccolo_bus_client::{Bus, Signal, Subscription};
use piccolo_bus_schema::{
    Fault, ServiceName,
    app::{AppChanged, AppStatus, EndpointChanged},
    control::ControlCommitted,
    health::Level,
    ids::AppName,
    leadership::LeadershipChanged,
    lock::{self, LockChanged, LockState},
    volume::VolumeChanged,
};
use piccolo_runtime::Board;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Nothing depends on an event.
const LOOK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);
/// A lock that did not come about within this time is no lock.
const LOCKING: Duration = Duration::from_secs(40);
/// Apps settled at once: pulls and starts are heavy.
const AT_ONCE: usize = 3;

/// What is known of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) status: AppStatus,
    pub(crate) detail: Option<String>,
}

#[derive(Default)]
pub(crate) struct State {
    /// `None` while locked.
    pub(crate) picture: Option<Picture>,
    known: HashMap<AppName, Known>,
    busy: HashSet<AppName>,
    failures: HashMap<AppName, (u32, Instant)>,
    /// Revision of the record each app was last settled for.
    settled_revisions: HashMap<AppName, u64>,
    /// Apps whose container must be made anew although nothing changed.
    pub(crate) anew: HashSet<AppName>,
    /// Apps whose image must be pulled although it is there.
    pub(crate) refresh: HashSet<AppName>,
    locking: Option<Instant>,
}

/// The owner of all containers.
pub(crate) struct Reconciler {
    pub(crate) config: Config,
    pub(crate) bus: Bus,
    board: Board,
    engine: Mutex<Option<Engine>>,
    pub(crate) logs: Logs,
    pub(crate) jobs: Jobs,
    state: Mutex<State>,
    /// Containers whose output is followed.
    pub(crate) followed: Mutex<HashSet<String>>,
    wake: Notify,
    settled: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reconciler {
    pub(crate) fn new(config: Config, bus: Bus, board: Board) -> Self {
        Self {
            jobs: Jobs::new(bus.clone()),
            config,
            bus,
            board,
            engine: Mutex::default(),
            logs: Logs::default(),
            state: Mutex::default(),
            followed: Mutex::default(),
            wake: Notify::new(),
            settled: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Looks again now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The engine, if it answered last time.
    pub(crate) fn engine(&self) -> Result<Engine, Fault> {
        locked(&self.engine).clone().ok_or_else(|| {
            Fault::unavailable_until("the container engine", "it does not answer", ENGINE_STEP)
        })
    }

    /// Looks at every change and every few seconds, for ever.
    pub(crate) async fn keep(self: Arc<Self>) {
        let store = ServiceName::Store;
        let mut locks: Subscription<LockChanged> = self.bus.subscribe(store);
        let mut commits: Subscription<ControlCommitted> = self.bus.subscribe(store);
        let mut roles: Subscription<LeadershipChanged> = self.bus.subscribe(store);
        let mut volumes: Subscription<VolumeChanged> = self.bus.subscribe(store);
        let mut timer = tokio::time::interval(LOOK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.look().await;
            tokio::select! {
                signal = locks.next() => self.heard_lock(&signal),
                _ = commits.next() => {}
                _ = roles.next() => {}
                signal = volumes.next() => self.unsettle_users(&signal),
                _ = timer.tick() => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// A lock that was given up is said by an unlocked state.
    fn heard_lock(&self, signal: &Signal<LockChanged>) {
        if let Signal::Event(changed) = signal
            && changed.state == LockState::Unlocked
        {
            self.state().locking = None;
        }
    }

    /// A volume that was mounted anew is seen by no running container: its app is settled anew.
    fn unsettle_users(&self, signal: &Signal<VolumeChanged>) {
        let mut state = self.state();
        let names: Vec<AppName> = match (signal, &state.picture) {
            (_, None) => Vec::new(),
            (Signal::Resync, Some(picture)) => picture.apps.keys().cloned().collect(),
            (Signal::Event(changed), Some(picture)) => picture
                .apps
                .values()
                .filter(|installed| {
                    let volumes = installed.spec.iter().flat_map(|spec| &spec.persistent);
                    volumes
                        .map(|one| &one.volume)
                        .any(|id| *id == changed.volume.id)
                })
                .map(|installed| installed.record.name.clone())
                .collect(),
        };
        for name in names {
            state.unsettle(&name);
        }
    }

    /// Wakes the loop when something happens to a container.
    pub(crate) async fn watch_engine(self: Arc<Self>) {
        loop {
            match self.engine() {
                Ok(engine) => engine.next_event().await,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
            self.wake();
            // An engine that went away ends its events at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn look(self: &Arc<Self>) {
        let Some(unlocked) = self.take_picture().await else {
            return;
        };
        let observed = match self.observe().await {
            Ok(observed) => observed,
            Err(error) => {
                *locked(&self.engine) = None;
                tracing::debug!(%error, "no engine");
                return self.report(Some(&error));
            }
        };
        if unlocked {
            self.settle_all(&observed);
            self.clear_orphans(&observed).await;
        }
        self.report(None);
    }

    /// `None` when the store can't be asked: what was known stays, and nothing is started or stopped.
    async fn take_picture(&self) -> Option<bool> {
        let state = self.bus.call(lock::Status {}, PATIENCE).await.ok()?;
        if state != LockState::Unlocked {
            let before = {
                let mut state = self.state();
                state.locking = None;
                state.failures.clear();
                state.picture.take()
            };
            self.announce_all(before.as_ref());
            return Some(false);
        }
        let picture = Picture::take(&self.bus).await.ok()?;
        let (first, before) = {
            let mut state = self.state();
            if state.locking.is_some_and(|since| since.elapsed() > LOCKING) {
                state.locking = None;
            }
            let before = state.picture.replace(picture);
            (before.is_none(), before)
        };
        if first && let Err(fault) = self.jobs.take_up().await {
            tracing::debug!(%fault, "jobs can't be taken up yet");
        }
        if let Some(before) = before {
            self.announce_changed(&before);
        } else {
            let now = self.state().picture.clone();
            self.announce_all(now.as_ref());
        }
        Some(true)
    }

    fn announce_all(&self, picture: Option<&Picture>) {
        for app in picture.into_iter().flat_map(|picture| picture.apps.keys()) {
            self.bus.publish(&EndpointChanged { app: app.clone() });
        }
    }

    fn announce_changed(&self, before: &Picture) {
        let Some(now) = self.state().picture.clone() else {
            return;
        };
        let names: HashSet<&AppName> = before.apps.keys().chain(now.apps.keys()).collect();
        for app in names {
            let revision = |picture: &Picture| picture.apps.get(app).map(|one| one.revision);
            if revision(before) != revision(&now) {
                self.bus.publish(&EndpointChanged { app: app.clone() });
            }
        }
    }

    async fn observe(&self) -> Result<Vec<Observed>, EngineError> {
        let present = locked(&self.engine).clone();
        let engine = match present {
            Some(engine) => engine,
            None => {
                let engine = Engine::connect(&self.config.engine_socket).await?;
                let version = engine.version().await?;
                self.board.set_detail("engine", "version", version);
                *locked(&self.engine) = Some(engine.clone());
                engine
            }
        };
        engine.list().await
    }

    /// Starts work on every app that is not as it should be and not being worked on.
    fn settle_all(self: &Arc<Self>, observed: &[Observed]) {
        let work: Vec<(Installed, Want)> = {
            let mut state = self.state();
            if state.locking.is_some() {
                return;
            }
            let Some(picture) = state.picture.clone() else {
                return;
            };
            let mut room = AT_ONCE.saturating_sub(state.busy.len());
            let mut work = Vec::new();
            for installed in picture.apps.values() {
                let name = &installed.record.name;
                if room == 0 || state.busy.contains(name) || self.is_paused(&state, name) {
                    continue;
                }
                let policy = installed
                    .spec
                    .as_ref()
                    .map_or(crate::spec::RolePolicy::LeaderOnly, |s| s.role_policy);
                let want = want(installed.record.desired, picture.leads(name), policy);
                if self.is_settled(&state, installed, want, observed) {
                    continue;
                }
                state.busy.insert(name.clone());
                room -= 1;
                work.push((installed.clone(), want));
            }
            work
        };
        for (installed, want) in work {
            let reconciler = Arc::clone(self);
            tokio::spawn(async move {
                let name = installed.record.name.clone();
                let outcome = reconciler.settle(&installed, want).await;
                reconciler.settled_with(&installed, want, outcome).await;
                reconciler.state().busy.remove(&name);
                reconciler.settled.notify_waiters();
                reconciler.wake();
            });
        }
    }

    fn is_paused(&self, state: &State, app: &AppName) -> bool {
        // A job means the owner is waiting: no pause.
        self.jobs.of(app).is_none()
            && state
                .failures
                .get(app)
                .is_some_and(|(count, last)| last.elapsed() < Duration::from_secs(pause(*count)))
    }

    /// Is there nothing to do? Cheap: the full check is the work's own.
    fn is_settled(
        &self,
        state: &State,
        installed: &Installed,
        want: Want,
        observed: &[Observed],
    ) -> bool {
        let name = &installed.record.name;
        if self.jobs.of(name).is_some() || state.anew.contains(name) || state.refresh.contains(name)
        {
            return false;
        }
        let mut containers = observed.iter().filter(|one| one.app == *name);
        let status = state.known.get(name).map(|known| known.status);
        match want {
            Want::Run => {
                let followed = locked(&self.followed);
                status == Some(AppStatus::Running)
                    && containers.clone().count() == 1
                    && containers.all(|one| one.running && followed.contains(&one.id))
                    && !self.has_changed(state, installed)
            }
            Want::Rest(why) => {
                let expected = match why {
                    Why::Stopped => AppStatus::Stopped,
                    Why::Standby => AppStatus::Standby,
                };
                status == Some(expected) && containers.next().is_none()
            }
        }
    }

    /// A volume's generation or the spec may have moved on since the container was made: the
    /// settled print is compared by the work itself, which is cheap when nothing is to do.
    fn has_changed(&self, state: &State, installed: &Installed) -> bool {
        state
            .settled_revision(&installed.record.name)
            .is_none_or(|revision| revision != installed.revision)
    }

    async fn settled_with(&self, installed: &Installed, want: Want, outcome: Result<(), Failure>) {
        let app = &installed.record.name;
        let known = match (&outcome, want) {
            (Ok(()), Want::Run) => Known {
                status: AppStatus::Running,
                detail: None,
            },
            (Ok(()), Want::Rest(Why::Stopped)) => Known {
                status: AppStatus::Stopped,
                detail: None,
            },
            (Ok(()), Want::Rest(Why::Standby)) => Known {
                status: AppStatus::Standby,
                detail: Some("Another device leads this app.".to_owned()),
            },
            (Err(failure), _) if failure.old_serves => Known {
                status: AppStatus::Running,
                detail: Some(format!("The last change failed: {}", failure.fault)),
            },
            (Err(failure), _) => Known {
                status: AppStatus::Failed,
                detail: Some(failure.fault.to_string()),
            },
        };
        {
            let mut state = self.state();
            match &outcome {
                Ok(()) => {
                    state.note_settled(app, Some(installed.revision));
                }
                Err(Failure { fault, .. }) => {
                    tracing::warn!(%app, %fault, "app not settled");
                    let count = state.failures.get(app).map_or(1, |(count, _)| count + 1);
                    state.failures.insert(app.clone(), (count, Instant::now()));
                }
            }
        }
        self.set_known(app, known);
        let outcome = outcome.map_err(|failure| failure.fault);
        self.jobs.end_seen(app, installed.seen_at, outcome).await;
    }

    /// Notes a status and tells who listens, when it is another one.
    pub(crate) fn set_known(&self, app: &AppName, known: Known) {
        let status = known.status;
        let before = self.state().known.insert(app.clone(), known.clone());
        if before.as_ref() != Some(&known) {
            self.bus.publish(&AppChanged {
                app: app.clone(),
                status: Some(status),
            });
            self.bus.publish(&EndpointChanged { app: app.clone() });
        }
    }

    /// What is known of an app; one never settled is being installed.
    pub(crate) fn known(&self, app: &AppName) -> Known {
        let known = self.state().known.get(app).cloned();
        known.unwrap_or(Known {
            status: AppStatus::Installing,
            detail: None,
        })
    }

    /// Forgets an app that was removed.
    pub(crate) fn forget(&self, app: &AppName) {
        {
            let mut state = self.state();
            state.known.remove(app);
            state.failures.remove(app);
            state.anew.remove(app);
            state.refresh.remove(app);
            state.note_settled(app, None);
            if let Some(picture) = &mut state.picture {
                picture.apps.remove(app);
            }
        }
        self.logs.forget(app);
        self.bus.publish(&AppChanged {
            app: app.clone(),
            status: None,
        });
        self.bus.publish(&EndpointChanged { app: app.clone() });
    }

    /// Containers of apps that are not installed any more.
    async fn clear_orphans(&self, observed: &[Observed]) {
        let Ok(engine) = self.engine() else { return };
        for one in observed {
            let installed = {
                let state = self.state();
                state.busy.contains(&one.app)
                    || state
                        .picture
                        .as_ref()
                        .is_none_or(|picture| picture.apps.contains_key(&one.app))
            };
            if !installed {
                tracing::info!(app = %one.app, "removing a container of an app that is gone");
                if let Err(error) = engine.remove(&one.id).await {
                    tracing::warn!(%error, "it stays");
                }
            }
        }
    }

    /// Waits until nobody works on an app, and takes it.
    pub(crate) async fn take(&self, app: &AppName) {
        loop {
            let settled = self.settled.notified();
            if self.state().busy.insert(app.clone()) {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), settled).await;
        }
    }

    /// Gives an app back.
    pub(crate) fn give_back(&self, app: &AppName) {
        self.state().busy.remove(app);
        self.settled.notify_waiters();
        self.wake();
    }

    /// Stops and removes every container: their volumes are about to go.
    pub(crate) async fn stop_for_lock(&self) -> Result<(), Fault> {
        self.state().locking = Some(Instant::now());
        let Ok(engine) = self.engine() else {
            return Ok(());
        };
        while !self.state().busy.is_empty() {
            let settled = self.settled.notified();
            let _ = tokio::time::timeout(Duration::from_secs(1), settled).await;
        }
        let observed = engine.list().await?;
        let mut stopping = tokio::task::JoinSet::new();
        for one in observed {
            let engine = engine.clone();
            stopping.spawn(async move {
                engine.stop(&one.id).await?;
                engine.remove(&one.id).await
            });
        }
        while let Some(stopped) = stopping.join_next().await {
            match stopped {
                Ok(outcome) => outcome?,
                Err(error) => {
                    return Err(Fault::Internal {
                        log_id: error.to_string(),
                    });
                }
            }
        }
        self.state().known.clear();
        Ok(())
    }

    pub(crate) fn is_locking(&self) -> bool {
        self.state().locking.is_some()
    }

    fn report(&self, engine: Option<&EngineError>) {
        match engine {
            Some(error) => {
                let words = format!("{error}. {ENGINE_STEP}");
                self.board.set("engine", Level::Error, words);
            }
            None => self.board.ok("engine", "The container engine answers."),
        }
        let failed = {
            let state = self.state();
            let mut failed: Vec<(AppName, String)> = state
                .known
                .iter()
                .filter(|(_, known)| known.status == AppStatus::Failed)
                .map(|(name, known)| (name.clone(), known.detail.clone().unwrap_or_default()))
                .collect();
            failed.sort();
            failed
        };
        match failed.first() {
            Some((name, why)) => {
                let words = format!("App {name} does not run: {why}. It is tried again by itself.");
                self.board.set("apps", Level::Warn, words);
            }
            None => self.board.ok("apps", "Every app is as it should be."),
        }
    }
}

impl State {
    fn settled_revision(&self, app: &AppName) -> Option<u64> {
        self.settled_revisions.get(app).copied()
    }

    fn note_settled(&mut self, app: &AppName, revision: Option<u64>) {
        self.failures.remove(app);
        match revision {
            Some(revision) => self.settled_revisions.insert(app.clone(), revision),
            None => self.settled_revisions.remove(app),
        };
    }

    /// The next look settles the app anew.
    pub(crate) fn unsettle(&mut self, app: &AppName) {
        self.settled_revisions.remove(app);
        self.failures.remove(app);
    }
}
