//! The loop: one event at a time, through the pure core, into the world.

mod inputs;
mod record;
mod view;

pub(crate) use inputs::Inputs;

use self::{
    inputs::{Event, Inner},
    record::Record,
    view::Face,
};
use crate::{
    Config, Deployment, RunError,
    control::{Ask, Control, Peer, Question},
    farewell,
    fleet::{Fleet, Order, UnitId},
    history::{Limits, Moment},
    logs::Logs,
    notify::Notice,
    portal::{self, BindError, Door, DoorState},
    process::{Blueprint, Process, ProcessEvent},
    reaper,
    roster::Roster,
    systemd,
    unit::{self, Action, Exit},
};
use piccolo_bus_schema::{endpoint, supervisor::Response};
use std::{
    collections::VecDeque,
    error::Error,
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// The search path of children: nothing of ours, everything of the system's.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything, owned by one task.
pub(crate) struct Supervisor {
    config: Config,
    limits: Limits,
    fleet: Fleet,
    records: Vec<Record>,
    doors: Vec<Door>,
    logs: Logs,
    roster: Roster,
    /// Given to each process's attendant.
    processes: mpsc::Sender<ProcessEvent>,
    /// For work done aside.
    inner: mpsc::Sender<Inner>,
    changes: watch::Sender<u64>,
    faces: Vec<Face>,
    started: Instant,
    stopping: bool,
    /// The lock before the stop is under way.
    parting: bool,
}

impl Supervisor {
    /// Opens signals, the control socket and the portal; starts nothing yet.
    pub(crate) async fn open(
        config: Config,
        deployment: Deployment,
        logs: Logs,
        kept: systemd::Kept,
    ) -> Result<(Self, Inputs), RunError> {
        let (processes, process_events) = mpsc::channel(256);
        let (questions, asked) = mpsc::channel(64);
        let (inner, inner_events) = mpsc::channel(16);
        let (changes, changed) = watch::channel(0);
        let inputs =
            Inputs::open(process_events, asked, inner_events).map_err(RunError::Signals)?;
        let records = deployment
            .units
            .iter()
            .map(|spec| Record::new(*spec, &deployment.binaries))
            .collect();
        let mut supervisor = Self {
            limits: deployment.limits,
            fleet: Fleet::new(&deployment.units, deployment.limits),
            records,
            doors: vec![
                Door::new("portal-http", "portal.http", config.portal.http),
                Door::new("portal-https", "portal.https", config.portal.https),
            ],
            roster: Roster::new(&config.runtime_dir),
            logs: logs.clone(),
            processes,
            inner,
            changes,
            faces: Vec::new(),
            started: Instant::now(),
            stopping: false,
            parting: false,
            config,
        };
        supervisor.restore(kept);
        supervisor.open_doors().await;
        let control = Control {
            questions,
            changes: changed,
            logs,
        };
        control
            .listen(&endpoint::control(&supervisor.config.runtime_dir))
            .map_err(RunError::Control)?;
        Ok((supervisor, inputs))
    }

    /// Runs until everything has ended.
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        self.await_predecessors();
        self.publish();
        systemd::ready();
        tracing::info!(units = self.records.len(), "supervising");
        while !self.fleet.is_down() {
            let event = inputs.next(self.fleet.deadline()).await;
            self.handle(event);
            self.publish();
        }
        let control = endpoint::control(&self.config.runtime_dir);
        if let Err(error) = std::fs::remove_file(control) {
            tracing::debug!(%error, "the control socket was removed by somebody else");
        }
        tracing::info!("everything has stopped");
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Process(ProcessEvent::Noticed { unit, pid, notices }) => {
                if self.fleet.unit(unit).pid() == Some(pid) {
                    notices
                        .into_iter()
                        .for_each(|notice| self.noticed(unit, notice));
                }
            }
            Event::Process(ProcessEvent::Impostor { unit, sender }) => {
                let sender = sender.map(|pid| pid.as_raw_nonzero().get());
                let unit = self.records[unit].name();
                tracing::warn!(unit, sender, "a notification of another process is refused");
            }
            Event::Process(ProcessEvent::Ended { unit, pid }) => self.ended(unit, pid),
            Event::Question(question) => self.answer(question),
            Event::Inner(Inner::PredecessorsGone) => {
                if !self.stopping {
                    let orders = self.fleet.start_all(moment());
                    self.perform(orders);
                }
            }
            Event::Inner(Inner::DoorTried { door, outcome }) => self.door_tried(door, outcome),
            Event::Inner(Inner::Farewell) => self.shut_down(),
            Event::StopAsked => self.stop_asked(),
            Event::ChildEnded => self.look_after_children(),
            Event::Due => {
                let orders = self.fleet.tick(moment());
                self.perform(orders);
            }
            Event::Housekeeping => self.keep_house(),
            Event::WatchdogDue => systemd::alive(),
        }
    }

    fn step(&mut self, unit: UnitId, event: unit::Event) {
        let orders = self.fleet.step(unit, event, moment());
        self.perform(orders);
    }

    fn perform(&mut self, orders: Vec<Order>) {
        let mut orders = VecDeque::from(orders);
        while let Some((unit, action)) = orders.pop_front() {
            let record = &mut self.records[unit];
            let process = record.process.as_ref();
            match action {
                Action::Spawn => {
                    let answer = self.spawn(unit);
                    // Its own answer comes before anything else of this unit.
                    for order in self.fleet.step(unit, answer, moment()).into_iter().rev() {
                        orders.push_front(order);
                    }
                }
                Action::Terminate(_) => {
                    tracing::info!(unit = record.name(), "asked to stop");
                    process.into_iter().for_each(Process::terminate);
                }
                Action::Kill(_) => {
                    tracing::warn!(unit = record.name(), "does not stop or react: killed");
                    process.into_iter().for_each(Process::kill_group);
                }
            }
        }
    }

    fn spawn(&mut self, unit: UnitId) -> unit::Event {
        let environment = self.environment(unit);
        let record = &mut self.records[unit];
        let name = record.name();
        let mut descriptors = Vec::new();
        if record.spec.portal {
            descriptors.extend(self.doors.iter().filter_map(Door::duplicate));
        }
        match record.kept.duplicates() {
            Ok(kept) => descriptors.extend(kept),
            Err(error) => tracing::error!(unit = name, %error, "descriptors can't be duplicated"),
        }
        record.starting();
        let blueprint = Blueprint {
            unit,
            binary: &record.binary,
            environment,
            descriptors,
            notify_path: &notify_path(&self.config, name),
        };
        match Process::spawn(blueprint, self.processes.clone()) {
            Ok((process, output)) => {
                let pid = process.pid();
                tracing::info!(unit = name, pid = pid.as_raw_nonzero().get(), "started");
                record.process = Some(process);
                tokio::spawn(self.logs.clone().read(name, output));
                self.write_roster();
                unit::Event::Spawned(pid)
            }
            Err(error) => {
                let why = chain(&error);
                tracing::error!(unit = name, why, "not started");
                record.last_exit = Some(format!("not started: {why}"));
                unit::Event::SpawnFailed
            }
        }
    }

    fn environment(&self, unit: UnitId) -> Vec<(String, String)> {
        let path = notify_path(&self.config, self.records[unit].name());
        let mut environment = self.config.environment();
        let watchdog = self.limits.watchdog.as_micros();
        environment.extend([
            ("PATH".to_owned(), PATH.to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            (
                "NOTIFY_SOCKET".to_owned(),
                path.to_string_lossy().into_owned(),
            ),
            ("WATCHDOG_USEC".to_owned(), watchdog.to_string()),
        ]);
        environment
    }

    fn noticed(&mut self, unit: UnitId, notice: Notice) {
        let record = &mut self.records[unit];
        let name = record.name();
        match notice {
            Notice::Ready => {
                tracing::info!(unit = name, "ready");
                self.step(unit, unit::Event::Ready);
            }
            Notice::Alive => self.step(unit, unit::Event::Alive),
            Notice::Extend(by) => self.step(unit, unit::Event::Extend(by)),
            Notice::Status(text) => record.words = Some(text).filter(|text| !text.is_empty()),
            Notice::Deposit { name: key, .. } if self.doors.iter().any(|door| door.name == key) => {
                tracing::warn!(unit = name, key, "this name is piccolod's own; not kept");
            }
            Notice::Deposit {
                name: key,
                descriptor,
            } => {
                systemd::keep(name, &key, &descriptor);
                if let Err(error) = record.kept.deposit(key, descriptor) {
                    tracing::warn!(unit = name, %error, "not kept");
                }
            }
            Notice::Withdraw { name: key } => {
                systemd::forget(name, &key);
                record.kept.withdraw(&key);
            }
        }
    }

    fn ended(&mut self, unit: UnitId, pid: rustix::process::Pid) {
        let record = &mut self.records[unit];
        let name = record.name();
        let Some(process) = record.process.take_if(|process| process.pid() == pid) else {
            return;
        };
        let exit = process.reap().unwrap_or_else(|error| {
            tracing::error!(unit = name, %error, "the exit of a process can't be read");
            Exit::Code(-1)
        });
        tracing::info!(unit = name, exit = %exit, "ended");
        record.last_exit = Some(exit.to_string());
        record.words = None;
        self.write_roster();
        self.step(unit, unit::Event::Exited(exit));
    }

    fn answer(&mut self, question: Question) {
        let Question { ask, peer, answer } = question;
        let response = match ask {
            Ask::Status => Response::Status(self.status()),
            Ask::Start(name) => self.obey(&name, "start", unit::Event::Start, peer),
            Ask::Stop(name) => self.obey(&name, "stop", unit::Event::Stop, peer),
            Ask::Restart(name) => self.obey(&name, "restart", unit::Event::Restart, peer),
        };
        // The client may have closed meanwhile.
        let _ = answer.send(response);
    }

    fn obey(&mut self, name: &str, wish: &str, event: unit::Event, peer: Peer) -> Response {
        let Some(unit) = self.records.iter().position(|record| record.name() == name) else {
            let known: Vec<_> = self.records.iter().map(Record::name).collect();
            let known = known.join(", ");
            let why = format!("there is no unit {name:?}; the units are {known}");
            return Response::Failed { why };
        };
        if self.stopping {
            let why = "piccolod is stopping".to_owned();
            return Response::Failed { why };
        }
        tracing::info!(
            unit = name,
            wish,
            uid = peer.uid,
            pid = peer.pid,
            "operator"
        );
        self.step(unit, event);
        Response::Done
    }

    /// The first request says farewell before it stops anything; a second one does not wait.
    fn stop_asked(&mut self) {
        if self.parting || self.stopping || !farewell::is_due() {
            return self.shut_down();
        }
        self.parting = true;
        tracing::info!("locking before the stop");
        let (inner, runtime_dir) = (self.inner.clone(), self.config.runtime_dir.clone());
        tokio::spawn(async move {
            farewell::lock(&runtime_dir).await;
            let _ = inner.send(Inner::Farewell).await;
        });
    }

    fn shut_down(&mut self) {
        if !self.stopping {
            self.stopping = true;
            tracing::info!("stopping everything");
            systemd::stopping();
        }
        let orders = self.fleet.shut_down(moment());
        self.perform(orders);
    }

    fn look_after_children(&mut self) {
        for record in &mut self.records {
            record.process.iter_mut().for_each(Process::look);
        }
        let ours: Vec<_> = self.live().map(|(_, pid)| pid).collect();
        reaper::reap_orphans(&ours);
    }

    fn keep_house(&mut self) {
        // One SIGCHLD may stand for several, and an orphan may have been dead when it became ours.
        self.look_after_children();
        for unit in 0..self.records.len() {
            let misconfigured = self.fleet.unit(unit).state == unit::State::Misconfigured;
            if misconfigured && self.records[unit].binary_changed() {
                tracing::info!(
                    unit = self.records[unit].name(),
                    "the binary is another one"
                );
                self.step(unit, unit::Event::Changed);
            }
        }
        for (index, door) in self.doors.iter().enumerate() {
            if matches!(door.state, DoorState::Closed { .. }) && !self.stopping {
                self.try_door(index);
            }
        }
    }

    fn live(&self) -> impl Iterator<Item = (&'static str, rustix::process::Pid)> {
        self.records.iter().filter_map(|record| {
            let process = record.process.as_ref()?;
            Some((record.name(), process.pid()))
        })
    }

    fn write_roster(&self) {
        if let Err(error) = self.roster.write(self.live()) {
            tracing::warn!(%error, "the roster of processes can't be written");
        }
    }

    /// Starting is put off until the children of a killed piccolod have ended: one process a unit.
    fn await_predecessors(&self) {
        let roster = Roster::new(&self.config.runtime_dir);
        let grace = self.limits.grace;
        let inner = self.inner.clone();
        tokio::spawn(async move {
            roster.await_predecessors(grace).await;
            // The loop is gone only when it was stopped meanwhile.
            let _ = inner.send(Inner::PredecessorsGone).await;
        });
    }

    /// Puts what systemd kept back to where it belongs, and lets go of the rest.
    fn restore(&mut self, kept: systemd::Kept) {
        for (full_name, descriptor) in kept {
            let (unit, name) = full_name.split_once('/').unwrap_or_default();
            let record = self.records.iter_mut().find(|record| record.name() == unit);
            if let Some(record) = record {
                if let Err(error) = record.kept.deposit(name.to_owned(), descriptor) {
                    tracing::warn!(unit, %error, "not kept");
                }
                continue;
            }
            let listener = TcpListener::from(descriptor);
            let door = self.doors.iter_mut().find(|door| door.name == name);
            match door.filter(|door| door.matches(&listener)) {
                Some(door) => door.state = DoorState::Bound(listener),
                None => systemd::forget_named(&full_name),
            }
        }
    }

    /// The first try, before anything starts.
    async fn open_doors(&mut self) {
        for door in &mut self.doors {
            if matches!(door.state, DoorState::Bound(_)) {
                continue;
            }
            let address = door.address;
            let tried = tokio::task::spawn_blocking(move || portal::open(address)).await;
            settle(door, tried.ok());
        }
    }

    fn try_door(&self, door: usize) {
        let address = self.doors[door].address;
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || {
            let outcome = portal::open(address);
            // Tried again at the next opportunity if nobody listens now.
            let _ = inner.blocking_send(Inner::DoorTried { door, outcome });
        });
    }

    fn door_tried(&mut self, door: usize, outcome: Result<TcpListener, BindError>) {
        // An earlier, slower try may have succeeded meanwhile.
        if matches!(self.doors[door].state, DoorState::Bound(_)) {
            return;
        }
        settle(&mut self.doors[door], Some(outcome));
        if matches!(self.doors[door].state, DoorState::Bound(_)) {
            for unit in 0..self.records.len() {
                if self.records[unit].spec.portal && self.records[unit].process.is_some() {
                    self.step(unit, unit::Event::Restart);
                }
            }
        }
    }
}

/// What a try to bind a door has led to.
fn settle(door: &mut Door, outcome: Option<Result<TcpListener, BindError>>) {
    let outcome = outcome.map(|outcome| outcome.map_err(|error| error.to_string()));
    match outcome {
        Some(Ok(listener)) => {
            tracing::info!(door = door.name, address = %door.address, "listening");
            systemd::keep(crate::logs::OURSELVES, door.name, &listener);
            door.state = DoorState::Bound(listener);
        }
        Some(Err(why)) => {
            let before = door.complaint();
            door.state = DoorState::Closed { why };
            // Said once, not every few seconds.
            if let Some(complaint) = door.complaint().filter(|now| before.as_ref() != Some(now)) {
                tracing::error!(door = door.name, complaint, "not listening; will try again");
            }
        }
        None => {}
    }
}

fn notify_path(config: &Config, unit: &str) -> PathBuf {
    config
        .runtime_dir
        .join("notify")
        .join(format!("{unit}.sock"))
}

fn moment() -> Moment {
    Moment {
        now: Instant::now(),
        jitter: rand::random(),
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Seconds, for the wire.
fn seconds(since: Duration) -> u64 {
    since.as_secs()
}
