//! The desk: takes an owner's wish, checks it, records it, and answers with a job.

use crate::{
    config::Config,
    picture::{self, Installed, Picture},
    ports,
    reconciler::Reconciler,
    settle::runs,
    spec::{self, Spec},
};
use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    Fault,
    app::{
        Accepted, Act, Action, App, AppStatus, Endpoints, Install, LogLine, Planned, Problem,
        ReadLogs, Validation,
    },
    control::{AppRecord, Change, Commit, Desired, Expectation, Record, RecordKey},
    ids::{AppName, Generation, ListenerName},
    leadership::{Resource, Role},
    local::{LocalChange, Write},
    volume::Erase,
};
use piccolo_runtime::clock;
use std::{sync::Arc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(5);
const VOLUME: Duration = Duration::from_secs(40);

/// Where wishes are taken.
pub(crate) struct Desk {
    config: Config,
    bus: Bus,
    reconciler: Arc<Reconciler>,
}

impl Desk {
    pub(crate) fn new(config: Config, bus: Bus, reconciler: Arc<Reconciler>) -> Self {
        Self {
            config,
            bus,
            reconciler,
        }
    }

    /// Everything wrong with a spec.
    pub(crate) fn validate(text: &str) -> Validation {
        Validation {
            problems: spec::read(text).err().unwrap_or_default(),
        }
    }

    /// What an install would do.
    pub(crate) async fn plan(&self, text: &str) -> Result<Planned, Fault> {
        let spec = spec::read(text).map_err(|problems| first(&problems))?;
        let installed = match Picture::take(&self.bus).await {
            Ok(picture) => picture.apps.get(&spec.name).cloned(),
            Err(Fault::Locked) => None,
            Err(fault) => return Err(fault),
        };
        Ok(plan(&spec, installed.as_ref()))
    }

    /// Records a new app, or a new spec of one.
    pub(crate) async fn install(&self, install: Install) -> Result<Accepted, Fault> {
        let spec = spec::read(&install.spec).map_err(|problems| first(&problems))?;
        if spec.privileged && !install.allow_privileged {
            return Err(Fault::invalid(
                "permissions.resources.privileged",
                "a privileged app can do anything on this device; install it with \
                 ?allow_privileged=true if you mean it",
            ));
        }
        let picture = Picture::take(&self.bus).await?;
        check_leader(&picture)?;
        self.check_portal_name(&spec).await?;
        self.reconciler.engine()?;
        let listeners: Vec<ListenerName> = spec
            .listeners
            .iter()
            .map(|listener| listener.name.clone())
            .collect();
        let (host, public) = (&self.config.host_ports, &self.config.public_ports);
        let fresh = ports::missing(&spec.name, &listeners, &picture.ports, host, public)?;
        let before = picture.apps.get(&spec.name);
        let kind = if before.is_some() {
            "app.update"
        } else {
            "app.install"
        };
        let job = self.reconciler.jobs.begin(&spec.name, kind)?;
        let recorded = async {
            let changes: Vec<LocalChange> = fresh.into_iter().map(LocalChange::PutPort).collect();
            if !changes.is_empty() {
                self.bus.call(Write { changes }, PATIENCE).await?;
            }
            let record = next_record(&spec.name, install.spec, before);
            let seen = before.map_or(0, |before| before.revision);
            self.commit(record, install.expect_revision.unwrap_or(seen))
                .await
        };
        if let Err(fault) = recorded.await {
            self.reconciler
                .jobs
                .end(&spec.name, Err(fault.clone()))
                .await;
            return Err(fault);
        }
        self.reconciler.jobs.arm(&spec.name);
        self.reconciler.jobs.tell(job.clone()).await;
        let status = if before.is_some() {
            AppStatus::Updating
        } else {
            AppStatus::Installing
        };
        self.reconciler.working(&spec.name, status);
        self.reconciler.wake();
        Ok(Accepted {
            app: spec.name,
            job: job.id,
            created: before.is_none(),
        })
    }

    /// `<listener>.<tld>` must not be the portal's own name.
    async fn check_portal_name(&self, spec: &Spec) -> Result<(), Fault> {
        let Some(remote) = picture::remote(&self.bus).await? else {
            return Ok(());
        };
        for listener in &spec.listeners {
            let host = format!("{}.{}", listener.name, remote.tld);
            if host == remote.portal_hostname.as_str() {
                return Err(Fault::conflict(format!("{host} is the portal's own name")));
            }
        }
        Ok(())
    }

    async fn commit(&self, record: AppRecord, revision: u64) -> Result<(), Fault> {
        let key = RecordKey::App(record.name.clone());
        let changes = vec![Change::Put(Record::Apps(record))];
        let commit = Commit {
            changes,
            expect: vec![Expectation { key, revision }],
        };
        self.bus.call(commit, PATIENCE).await.map(|_| ())
    }

    /// Records what to do with an installed app.
    pub(crate) async fn act(self: &Arc<Self>, act: Act) -> Result<Accepted, Fault> {
        let picture = Picture::take(&self.bus).await?;
        let installed = picture
            .apps
            .get(&act.app)
            .cloned()
            .ok_or_else(|| Fault::not_found(format!("app {}", act.app)))?;
        check_leader(&picture)?;
        self.reconciler.engine()?;
        let record = changed(&installed, &act.action)?;
        let job = self.reconciler.jobs.begin(&act.app, kind(&act.action))?;
        if let Some(record) = record
            && let Err(fault) = self.commit(record, installed.revision).await
        {
            self.reconciler.jobs.end(&act.app, Err(fault.clone())).await;
            return Err(fault);
        }
        self.reconciler.jobs.tell(job.clone()).await;
        let removing = matches!(act.action, Action::Remove { .. });
        match act.action {
            Action::Remove { purge } => {
                let desk = Arc::clone(self);
                tokio::spawn(async move { desk.remove(installed, purge).await });
            }
            Action::Restart => {
                self.reconciler.state().anew.insert(act.app.clone());
            }
            Action::Update { image: None } => {
                self.reconciler.state().refresh.insert(act.app.clone());
            }
            Action::Start | Action::Stop | Action::Revert | Action::Update { image: Some(_) } => {}
        }
        self.reconciler.state().unsettle(&act.app);
        // A removal ends its own job: resting is only half of it.
        if !removing {
            self.reconciler.jobs.arm(&act.app);
        }
        self.reconciler.wake();
        Ok(Accepted {
            app: act.app,
            job: job.id,
            created: false,
        })
    }

    /// Removes an app; its data stays, and its address, unless they are purged.
    async fn remove(&self, installed: Installed, purge: bool) {
        let name = installed.record.name.clone();
        self.reconciler.take(&name).await;
        let outcome = self.remove_taken(&installed, purge).await;
        if outcome.is_ok() {
            self.reconciler.forget(&name);
        }
        self.reconciler.jobs.end(&name, outcome).await;
        self.reconciler.give_back(&name);
    }

    async fn remove_taken(&self, installed: &Installed, purge: bool) -> Result<(), Fault> {
        let name = &installed.record.name;
        self.reconciler.jobs.stage(name, "stopping", 30).await;
        self.reconciler.clear_containers(name).await?;
        for volume in installed.spec.iter().flat_map(|spec| &spec.persistent) {
            let id = volume.volume.clone();
            if purge {
                self.reconciler.jobs.stage(name, "erasing data", 60).await;
                self.bus.call(Erase { id }, VOLUME).await?;
            } else {
                self.bus
                    .call(piccolo_bus_schema::volume::Detach { id }, VOLUME)
                    .await?;
            }
        }
        if purge {
            let changes = vec![LocalChange::DeletePorts(name.clone())];
            self.bus.call(Write { changes }, PATIENCE).await?;
        }
        let changes = vec![Change::Delete(RecordKey::App(name.clone()))];
        self.bus
            .call(
                Commit {
                    changes,
                    expect: Vec::new(),
                },
                PATIENCE,
            )
            .await
            .map(|_| ())
    }

    /// All apps as the owner sees them.
    pub(crate) fn list(&self) -> Result<Vec<App>, Fault> {
        let picture = self
            .reconciler
            .state()
            .picture
            .clone()
            .ok_or(Fault::Locked)?;
        Ok(picture
            .apps
            .values()
            .map(|installed| self.view(&picture, installed))
            .collect())
    }

    fn view(&self, picture: &Picture, installed: &Installed) -> App {
        let record = &installed.record;
        let known = self.reconciler.known(&record.name);
        App {
            name: record.name.clone(),
            status: known.status,
            detail: known.detail,
            image: installed
                .spec
                .as_ref()
                .map(|spec| spec.image.clone())
                .unwrap_or_default(),
            spec: record.spec.clone(),
            revision: installed.revision,
            generation: Generation(record.generation),
            endpoints: picture.endpoints(installed, known.status == AppStatus::Running),
            installed_at: record.installed_at,
            can_revert: record.previous_spec.is_some(),
            job: self.reconciler.jobs.of(&record.name).map(|job| job.id),
        }
    }

    /// Every listener of every app; none while locked.
    pub(crate) fn endpoints(&self) -> Endpoints {
        let apps = self.list().unwrap_or_default();
        Endpoints {
            endpoints: apps.into_iter().flat_map(|app| app.endpoints).collect(),
        }
    }

    /// The last lines of an app.
    pub(crate) fn logs(&self, read: &ReadLogs) -> Result<Vec<LogLine>, Fault> {
        let installed = {
            let state = self.reconciler.state();
            let picture = state.picture.as_ref().ok_or(Fault::Locked)?;
            picture.apps.contains_key(&read.app)
        };
        if !installed {
            return Err(Fault::not_found(format!("app {}", read.app)));
        }
        let tail = usize::try_from(read.tail).unwrap_or(usize::MAX);
        Ok(self.reconciler.logs.read(&read.app, tail, read.after))
    }
}

/// The first problem as the answer's field, and how many more there are.
fn first(problems: &[Problem]) -> Fault {
    let Some(problem) = problems.first() else {
        return Fault::invalid("spec", "is not valid");
    };
    let field = if problem.path.is_empty() {
        "spec"
    } else {
        problem.path.as_str()
    };
    let more = match problems.len() - 1 {
        0 => String::new(),
        more => format!(" ({more} more: see apps/validate)"),
    };
    Fault::invalid(field, format!("{}{more}", problem.message))
}

fn check_leader(picture: &Picture) -> Result<(), Fault> {
    match picture.role(&Resource::Kernel) {
        Role::Leader => Ok(()),
        Role::Follower { leader } => Err(Fault::NotLeader {
            resource: "kernel".to_owned(),
            leader,
        }),
    }
}

const fn kind(action: &Action) -> &'static str {
    match action {
        Action::Start => "app.start",
        Action::Stop => "app.stop",
        Action::Restart => "app.restart",
        Action::Update { .. } => "app.update",
        Action::Revert => "app.revert",
        Action::Remove { .. } => "app.remove",
    }
}

fn next_record(name: &AppName, spec: String, before: Option<&Installed>) -> AppRecord {
    AppRecord {
        name: name.clone(),
        desired: Desired::Running,
        generation: before.map_or(1, |before| before.record.generation + 1),
        previous_spec: before
            .map(|before| before.record.spec.clone())
            .filter(|previous| *previous != spec)
            .or_else(|| before.and_then(|before| before.record.previous_spec.clone())),
        installed_at: before.map_or_else(clock::now, |before| before.record.installed_at),
        spec,
    }
}

/// The record after an action; `None` when the record says it already.
fn changed(installed: &Installed, action: &Action) -> Result<Option<AppRecord>, Fault> {
    let record = &installed.record;
    let next = |change: AppRecord| AppRecord {
        generation: record.generation + 1,
        ..change
    };
    Ok(match action {
        Action::Start | Action::Restart if runs(record) => None,
        Action::Start | Action::Restart => Some(AppRecord {
            desired: Desired::Running,
            ..record.clone()
        }),
        // A removal that is cut off must not leave an app that starts again.
        Action::Stop | Action::Remove { .. } if runs(record) => Some(AppRecord {
            desired: Desired::Stopped,
            ..record.clone()
        }),
        Action::Stop | Action::Remove { .. } | Action::Update { image: None } => None,
        Action::Update { image: Some(image) } => {
            let spec = with_image(&record.spec, image)?;
            let previous_spec = Some(record.spec.clone());
            Some(next(AppRecord {
                spec,
                previous_spec,
                ..record.clone()
            }))
        }
        Action::Revert => {
            let previous = record
                .previous_spec
                .clone()
                .ok_or_else(|| Fault::conflict("there is no version before this one"))?;
            let previous_spec = Some(record.spec.clone());
            Some(next(AppRecord {
                spec: previous,
                previous_spec,
                ..record.clone()
            }))
        }
    })
}

/// The owner's text with another image; everything else stays, comments and all.
fn with_image(text: &str, image: &str) -> Result<String, Fault> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = lines
        .iter_mut()
        .find(|line| line.starts_with("image:"))
        .ok_or_else(|| {
            Fault::conflict("the spec has no line `image:` to change; post the whole spec")
        })?;
    *line = format!("image: {image}");
    let changed = lines.join("\n") + "\n";
    match spec::read(&changed) {
        Ok(spec) if spec.image == image => Ok(changed),
        Ok(_) => Err(Fault::invalid("image", "is not an image reference")),
        Err(problems) => Err(first(&problems)),
    }
}

fn plan(spec: &Spec, installed: Option<&Installed>) -> Planned {
    let mut changes = Vec::new();
    match installed.and_then(|installed| installed.spec.as_ref()) {
        None => changes.push(format!(
            "App {} is installed from {}.",
            spec.name, spec.image
        )),
        Some(before) if before.image != spec.image => {
            changes.push(format!(
                "The image changes from {} to {}.",
                before.image, spec.image
            ));
        }
        Some(before) if before != spec => changes.push("The app is started anew.".to_owned()),
        Some(_) => changes.push("Nothing changes.".to_owned()),
    }
    for volume in &spec.persistent {
        changes.push(format!(
            "{} lives on an encrypted volume.",
            volume.container
        ));
    }
    let mut risks = Vec::new();
    if spec.privileged {
        risks.push("It is privileged: it can do anything on this device.".to_owned());
    }
    if spec.network.internet {
        risks.push("It may connect to the internet.".to_owned());
    }
    if spec.network.local_network {
        risks.push("It may connect to devices of your own network.".to_owned());
    }
    let mut leaks = vec![
        "The image lies in the engine's own storage, outside the encrypted volumes.".to_owned(),
    ];
    for key in spec.environment.keys().filter(|key| looks_secret(key)) {
        leaks.push(format!(
            "{key} looks like a secret: the engine keeps environments in plain files."
        ));
    }
    Planned {
        changes,
        risks,
        leaks,
    }
}

fn looks_secret(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    ["PASSWORD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"]
        .iter()
        .any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str =
        "# mine\nname: demo\nimage: a:1 # old\nlisteners: [{ name: demo, guest_port: 1 }]\n";

    #[test]
    fn another_image_leaves_the_rest_of_the_text_alone() {
        let changed = with_image(SPEC, "a:2").expect("a spec");
        assert!(changed.starts_with("# mine\nname: demo\nimage: a:2\n"));
        assert!(with_image(SPEC, "A B").is_err());
    }

    #[test]
    fn secrets_in_the_environment_are_pointed_out() {
        let spec = spec::read(&format!(
            "{SPEC}environment: {{ DB_PASSWORD: x, LEVEL: y }}\n"
        ))
        .expect("a spec");
        let planned = plan(&spec, None);
        assert_eq!(planned.leaks.len(), 2, "{planned:?}");
    }
}
