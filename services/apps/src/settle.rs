//! One app, brought to where it should be. Every step can be made again.

use crate::{
    engine::{Engine, Making, Observed},
    error::EngineError,
    identity,
    picture::Installed,
    probe,
    reconciler::{Known, Reconciler},
    spec::Spec,
    want::Want,
};
use piccolo_bus_schema::{
    Fault,
    app::{AppStatus, Protocol},
    control::{AppRecord, Change, Commit, Desired, Expectation, Record, RecordKey},
    host::{EgressRule, SetEgress},
    ids::{AppName, Generation},
    volume::{Attach, AttachMode, Detach, VolumeClass},
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// Mounting a volume, and unmounting one whose process ends slowly.
const VOLUME: Duration = Duration::from_secs(40);

/// What a container needs, made ready.
struct Ready {
    binds: Vec<(String, String)>,
    generations: Vec<Generation>,
    ports: Vec<(u16, u16, Protocol)>,
}

/// An app that is not as it should be.
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    /// The version before this one serves.
    pub(crate) old_serves: bool,
}

impl Reconciler {
    /// Does what is wanted.
    pub(crate) async fn settle(&self, installed: &Installed, want: Want) -> Result<(), Failure> {
        let outcome = match want {
            Want::Run => self.run_app(installed).await,
            Want::Rest(_) => self.rest(installed).await,
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(fault) => {
                let old_serves = want == Want::Run && self.go_back(installed).await;
                Err(Failure { fault, old_serves })
            }
        }
    }

    async fn run_app(&self, installed: &Installed) -> Result<(), Fault> {
        let name = &installed.record.name;
        let spec = installed.spec.as_ref().ok_or_else(|| {
            Fault::unavailable(
                format!("app {name}"),
                "its spec can't be read by this version",
            )
        })?;
        let engine = self.engine()?;
        self.jobs.stage(name, "getting the image", 15).await;
        let fresh = self.state().refresh.remove(name);
        let image = engine.image(&spec.image, fresh).await?;
        self.jobs.stage(name, "closing the way out", 35).await;
        self.set_egress().await?;
        self.jobs.stage(name, "preparing storage", 45).await;
        let ready = self.make_ready(spec).await?;
        let host_ports: Vec<u16> = ready.ports.iter().map(|(_, host, _)| *host).collect();
        let print = identity::print(spec, &image, &ready.generations, &host_ports);
        let anew = self.state().anew.remove(name);
        let all = engine.list().await?;
        let (same, other): (Vec<Observed>, Vec<Observed>) = all
            .into_iter()
            .filter(|one| one.app == *name)
            .partition(|one| one.print == print && one.running && !anew);
        if let Some(one) = same.first() {
            self.follow(&engine, one).await?;
            return remove_all(&engine, &other).await;
        }
        self.replace(&engine, spec, (image, print), ready, other)
            .await
    }

    /// Stops what runs and keeps it, starts the new one, and removes the old one once it answers.
    async fn replace(
        &self,
        engine: &Engine,
        spec: &Spec,
        (image, print): (String, String),
        ready: Ready,
        old: Vec<Observed>,
    ) -> Result<(), Fault> {
        let name = &spec.name;
        if self.is_locking() {
            return Err(Fault::Locked);
        }
        self.jobs.stage(name, "starting", 60).await;
        for one in &old {
            engine.stop(&one.id).await?;
        }
        let container = identity::container(name, &print);
        // A half-made one of an earlier try has the same name.
        for one in old.iter().filter(|one| one.print == print) {
            engine.remove(&one.id).await?;
        }
        let making = Making {
            spec,
            name: container,
            print,
            image,
            binds: ready.binds,
            ports: ready
                .ports
                .iter()
                .map(|(guest, host, _)| (*guest, *host))
                .collect(),
        };
        let probed: Vec<(u16, Protocol)> = ready
            .ports
            .iter()
            .map(|(_, host, protocol)| (*host, *protocol))
            .collect();
        self.start(engine, &making, &probed).await?;
        remove_all(engine, &old).await
    }

    async fn start(
        &self,
        engine: &Engine,
        making: &Making<'_>,
        probed: &[(u16, Protocol)],
    ) -> Result<(), EngineError> {
        let name = &making.spec.name;
        let gateway = engine.network(name).await?;
        let network = making.spec.network;
        // Nothing answers at the gateway: without a way out, names don't resolve either.
        let dns = if network.internet && network.dns {
            None
        } else {
            gateway
        };
        let id = engine.run(making, dns, &self.logs).await?;
        if let Ok(mut followed) = self.followed.lock() {
            followed.insert(id.clone());
        }
        self.jobs
            .stage(name, "waiting for the app to answer", 80)
            .await;
        if let Err(error) = probe::wait(engine, &id, probed).await {
            let last = self.logs.read(name, 1, 0).pop().map(|line| line.text);
            engine.remove(&id).await?;
            return Err(match (error, last) {
                (EngineError::Ended(how), Some(last)) => {
                    EngineError::Ended(format!("{how}; its last words: {last}"))
                }
                (error, _) => error,
            });
        }
        Ok(())
    }

    /// After a failed change: the old container serves again, and the record says the old spec
    /// again. True when it does.
    async fn go_back(&self, installed: &Installed) -> bool {
        let name = &installed.record.name;
        let changing = self
            .jobs
            .of(name)
            .is_some_and(|job| matches!(job.kind.as_str(), "app.update" | "app.revert"));
        let Some(previous) = installed.record.previous_spec.clone().filter(|_| changing) else {
            return false;
        };
        match self.bring_back(installed, previous).await {
            Ok(serves) => serves,
            Err(fault) => {
                tracing::warn!(app = %name, %fault, "the old version is not back");
                false
            }
        }
    }

    async fn bring_back(&self, installed: &Installed, previous: String) -> Result<bool, Fault> {
        let name = &installed.record.name;
        let engine = self.engine()?;
        let old = engine
            .list()
            .await?
            .into_iter()
            .find(|one| one.app == *name);
        let Some(old) = old else { return Ok(false) };
        let record = AppRecord {
            spec: previous,
            previous_spec: None,
            generation: installed.record.generation + 1,
            ..installed.record.clone()
        };
        let key = RecordKey::App(name.clone());
        let expect = vec![Expectation {
            key,
            revision: installed.revision,
        }];
        let changes = vec![Change::Put(Record::Apps(record))];
        self.bus.call(Commit { changes, expect }, PATIENCE).await?;
        engine.start(&old.id).await?;
        tracing::warn!(app = %name, "the change failed, the old version serves again");
        Ok(true)
    }

    /// Volumes attached, ports known.
    async fn make_ready(&self, spec: &Spec) -> Result<Ready, Fault> {
        let mut binds = Vec::new();
        let mut generations = Vec::new();
        for volume in &spec.persistent {
            let attach = Attach {
                id: volume.volume.clone(),
                class: VolumeClass::Application,
                mode: AttachMode::ReadWrite,
            };
            let attached = self.bus.call(attach, VOLUME).await?;
            binds.push((
                attached.path.display().to_string(),
                volume.container.clone(),
            ));
            generations.push(attached.generation);
        }
        let allocated = self
            .state()
            .picture
            .as_ref()
            .map(|p| p.ports.clone())
            .unwrap_or_default();
        let ports = spec.listeners.iter().map(|listener| {
            let ports = allocated.iter().find(|one| one.listener == listener.name);
            let host = ports.map(|one| one.host_port);
            host.map(|host| (listener.guest_port, host, listener.protocol))
                .ok_or_else(|| Fault::unavailable("the app's ports", "they are not allocated yet"))
        });
        Ok(Ready {
            binds,
            generations,
            ports: ports.collect::<Result<_, _>>()?,
        })
    }

    /// The whole egress table, before any container of it starts.
    async fn set_egress(&self) -> Result<(), Fault> {
        let rules = {
            let state = self.state();
            let apps = state
                .picture
                .iter()
                .flat_map(|picture| picture.apps.values());
            apps.filter_map(|installed| installed.spec.as_ref())
                .map(|spec| EgressRule {
                    bridge: identity::bridge(&spec.name),
                    internet: spec.network.internet,
                    local_network: spec.network.local_network,
                })
                .collect()
        };
        self.bus.call(SetEgress { rules }, PATIENCE).await
    }

    async fn follow(&self, engine: &Engine, one: &Observed) -> Result<(), Fault> {
        let fresh = self
            .followed
            .lock()
            .is_ok_and(|mut followed| followed.insert(one.id.clone()));
        if fresh {
            engine.attach(&one.id, &one.app, &self.logs).await?;
        }
        Ok(())
    }

    async fn rest(&self, installed: &Installed) -> Result<(), Fault> {
        let name = &installed.record.name;
        self.jobs.stage(name, "stopping", 40).await;
        self.clear_containers(name).await?;
        self.jobs.stage(name, "putting storage away", 70).await;
        self.detach_volumes(installed).await
    }

    /// Stops and removes every container of an app.
    pub(crate) async fn clear_containers(&self, app: &AppName) -> Result<(), Fault> {
        let engine = self.engine()?;
        let own: Vec<Observed> = engine
            .list()
            .await?
            .into_iter()
            .filter(|one| one.app == *app)
            .collect();
        for one in &own {
            engine.stop(&one.id).await?;
        }
        remove_all(&engine, &own).await?;
        engine.remove_network(app).await;
        Ok(())
    }

    async fn detach_volumes(&self, installed: &Installed) -> Result<(), Fault> {
        for volume in installed.spec.iter().flat_map(|spec| &spec.persistent) {
            self.bus
                .call(
                    Detach {
                        id: volume.volume.clone(),
                    },
                    VOLUME,
                )
                .await?;
        }
        Ok(())
    }

    /// Says that an app is being worked on.
    pub(crate) fn working(&self, app: &AppName, status: AppStatus) {
        self.set_known(
            app,
            Known {
                status,
                detail: None,
            },
        );
    }
}

/// Whether a record wants its app to run.
pub(crate) const fn runs(record: &AppRecord) -> bool {
    matches!(record.desired, Desired::Running)
}

async fn remove_all(engine: &Engine, containers: &[Observed]) -> Result<(), Fault> {
    for one in containers {
        engine.remove(&one.id).await?;
    }
    Ok(())
}
