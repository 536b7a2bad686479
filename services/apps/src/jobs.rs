//! Jobs: what an owner sees of work under way.

use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    Fault,
    ids::{AppName, JobId},
    job::{Job, JobProgressed, JobState},
    local::{LocalChange, ReadJobs, Write},
};
use piccolo_runtime::clock;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(5);

/// The job of each app, while there is one.
pub(crate) struct Jobs {
    bus: Bus,
    running: Mutex<HashMap<AppName, Running>>,
}

/// A job under way.
#[derive(Clone)]
struct Running {
    job: Job,
    /// When its wish was recorded. Work on an older picture is not this job's work.
    armed_at: Option<Instant>,
}

impl Jobs {
    pub(crate) fn new(bus: Bus) -> Self {
        Self {
            bus,
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<AppName, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job; one at a time per app.
    pub(crate) fn begin(&self, app: &AppName, kind: &str) -> Result<Job, Fault> {
        let mut running = self.running();
        if let Some(Running { job, .. }) = running.get(app) {
            return Err(Fault::conflict(format!(
                "app {app} is busy: {} ({})",
                job.kind, job.stage
            )));
        }
        let id = JobId::new(format!("{:032x}", rand::random::<u128>())).map_err(|error| {
            Fault::Internal {
                log_id: error.to_string(),
            }
        })?;
        let job = Job {
            id,
            kind: kind.to_owned(),
            subject: format!("app {app}"),
            stage: "recorded".to_owned(),
            progress: 5,
            started: clock::now(),
            state: JobState::Running,
        };
        let entry = Running {
            job: job.clone(),
            armed_at: None,
        };
        running.insert(app.clone(), entry);
        Ok(job)
    }

    /// The running job of an app.
    pub(crate) fn of(&self, app: &AppName) -> Option<Job> {
        self.running().get(app).map(|running| running.job.clone())
    }

    /// Says a stage, if the app has a job.
    pub(crate) async fn stage(&self, app: &AppName, stage: &str, progress: u8) {
        let job = {
            let mut running = self.running();
            let Some(Running { job, .. }) = running.get_mut(app) else {
                return;
            };
            if job.stage == stage {
                return;
            }
            job.stage = stage.to_owned();
            job.progress = progress;
            job.clone()
        };
        self.tell(job).await;
    }

    /// The wish is recorded: whoever looks from now on sees it.
    pub(crate) fn arm(&self, app: &AppName) {
        if let Some(running) = self.running().get_mut(app) {
            running.armed_at = Some(Instant::now());
        }
    }

    /// Ends the app's job if the work was on a picture that shows its wish.
    pub(crate) async fn end_seen(
        &self,
        app: &AppName,
        seen_at: Instant,
        outcome: Result<(), Fault>,
    ) {
        let armed_at = self.running().get(app).and_then(|running| running.armed_at);
        if armed_at.is_some_and(|armed_at| armed_at <= seen_at) {
            self.end(app, outcome).await;
        }
    }

    /// Ends the app's job, if it has one.
    pub(crate) async fn end(&self, app: &AppName, outcome: Result<(), Fault>) {
        let Some(Running { mut job, .. }) = self.running().remove(app) else {
            return;
        };
        let finished = clock::now();
        job.progress = 100;
        match outcome {
            Ok(()) => {
                job.stage = "done".to_owned();
                job.state = JobState::Done { finished };
            }
            Err(error) => {
                job.stage = "failed".to_owned();
                job.state = JobState::Failed { finished, error };
            }
        }
        self.tell(job).await;
    }

    /// Writes a row and tells who listens.
    pub(crate) async fn tell(&self, job: Job) {
        let write = Write {
            changes: vec![LocalChange::PutJob(job.clone())],
        };
        if let Err(fault) = self.bus.call(write, PATIENCE).await {
            tracing::warn!(%fault, job = %job.id, "job not recorded");
        }
        self.bus.publish(&JobProgressed { job });
    }

    /// Takes up the jobs an earlier life of this process left running: the reconciler goes on with
    /// them and ends them.
    pub(crate) async fn take_up(&self) -> Result<(), Fault> {
        let jobs = self.bus.call(ReadJobs {}, PATIENCE).await?;
        for job in jobs.into_iter().filter(|job| !job.state.is_finished()) {
            let name = job
                .kind
                .starts_with("app.")
                .then(|| job.subject.strip_prefix("app "));
            let Some(app) = name.flatten().and_then(|name| AppName::new(name).ok()) else {
                continue;
            };
            if job.kind == "app.remove" {
                let why = "the removal was interrupted; the app is stopped, remove it again";
                let error = Fault::conflict(why);
                let finished = clock::now();
                self.tell(Job {
                    state: JobState::Failed { finished, error },
                    ..job
                })
                .await;
                continue;
            }
            let entry = Running {
                job,
                armed_at: Some(Instant::now()),
            };
            self.running().entry(app).or_insert(entry);
        }
        Ok(())
    }
}
