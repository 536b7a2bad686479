//! Watches which names are due and starts their orders.

use crate::{
    directory::Directory,
    error::OrderError,
    inventory, names,
    order::Work,
    records,
    schedule::{self, Due},
};
use piccolo_bus_client::{Bus, Subscription};
use piccolo_bus_schema::{
    Fault, ServiceName,
    app::{EndpointChanged, ListEndpoints},
    certificate::{Certificate, CertificateChanged},
    control::{CertificateRecord, ControlCommitted, OrderState, RemoteRecord},
    health::Level,
    ids::{Hostname, JobId, UnixSeconds},
    job::{Job, JobProgressed, JobState},
    leadership::{LeadershipChanged, Resource, Show},
    local::{LocalChange, Write},
    lock::LockChanged,
    remote::{self, RemoteChanged},
};
use piccolo_runtime::{Board, clock};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Orders at work at once: one that hangs must not delay the others, and an authority counts.
const AT_ONCE: usize = 4;
/// Nothing depends on an event.
const LOOK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon a name is looked at again that failed for a reason of this device's own. Seconds.
const SOON: u64 = 3;

/// What is known and under way.
#[derive(Default)]
struct State {
    picture: Option<Picture>,
    working: HashSet<Hostname>,
    /// Names the owner wants anew, with the job that tells of it.
    renewals: HashMap<Hostname, Job>,
    /// Names that failed for a reason of our own: not before.
    not_before: HashMap<Hostname, UnixSeconds>,
}

/// The store's and the apps' word, as last heard. `None` while locked.
#[derive(Clone)]
struct Picture {
    remote: Option<RemoteRecord>,
    wanted: BTreeSet<Hostname>,
    records: BTreeMap<Hostname, CertificateRecord>,
}

/// The owner of all orders.
pub(crate) struct Keeper {
    bus: Bus,
    board: Board,
    directory: Arc<Directory>,
    state: Mutex<State>,
    wake: Notify,
}

impl Keeper {
    pub(crate) fn new(bus: Bus, board: Board, directory: Arc<Directory>) -> Self {
        Self {
            bus,
            board,
            directory,
            state: Mutex::default(),
            wake: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at every change and every few seconds, for ever.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut locks: Subscription<LockChanged> = self.bus.subscribe(ServiceName::Store);
        let mut commits: Subscription<ControlCommitted> = self.bus.subscribe(ServiceName::Store);
        let mut roles: Subscription<LeadershipChanged> = self.bus.subscribe(ServiceName::Store);
        let mut endpoints: Subscription<EndpointChanged> = self.bus.subscribe(ServiceName::Apps);
        let mut tunnel: Subscription<RemoteChanged> = self.bus.subscribe(ServiceName::NexusAgent);
        let mut timer = tokio::time::interval(LOOK);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.look().await;
            tokio::select! {
                _ = locks.next() => {}
                _ = commits.next() => {}
                _ = roles.next() => {}
                _ = endpoints.next() => {}
                _ = tunnel.next() => {}
                _ = timer.tick() => {}
                () = self.wake.notified() => {}
            }
        }
    }

    async fn look(self: &Arc<Self>) {
        match self.picture().await {
            Ok(picture) => self.state().picture = Some(picture),
            Err(Fault::Locked) => {
                self.state().picture = None;
                self.directory.forget_account().await;
            }
            // The store or apps is away: what was known stays.
            Err(fault) => tracing::debug!(%fault, "can't look at what is wanted"),
        }
        self.report();
        if !clock::is_plausible() || !self.leads().await {
            return;
        }
        let claimed = match self.bus.call(remote::Status {}, PATIENCE).await {
            Ok(status) => status.hostnames,
            Err(_) => return,
        };
        for host in self.due(&claimed) {
            self.start(host);
        }
    }

    async fn picture(&self) -> Result<Picture, Fault> {
        let remote = records::remote(&self.bus).await?;
        let records = records::certificates(&self.bus).await?;
        let endpoints = self.bus.call(ListEndpoints {}, PATIENCE).await?.endpoints;
        let wanted = names::wanted(remote.as_ref(), &endpoints);
        Ok(Picture {
            remote,
            wanted,
            records,
        })
    }

    async fn leads(&self) -> bool {
        match self.bus.call(Show {}, PATIENCE).await {
            Ok(roles) => roles
                .iter()
                .find(|leadership| leadership.resource == Resource::Kernel)
                .is_none_or(|leadership| leadership.role.is_leader()),
            Err(_) => false,
        }
    }

    /// Names to order now: wanted, due, claimed at the relay, not under way.
    fn due(&self, claimed: &[Hostname]) -> Vec<Hostname> {
        let now = clock::now();
        let state = self.state();
        let Some(picture) = &state.picture else {
            return Vec::new();
        };
        let room = AT_ONCE.saturating_sub(state.working.len());
        picture
            .wanted
            .iter()
            .filter(|host| !state.working.contains(*host) && claimed.contains(host))
            .filter(|host| state.not_before.get(*host).is_none_or(|at| *at <= now))
            .filter(|host| {
                state.renewals.contains_key(*host)
                    || schedule::due(picture.records.get(*host), now) == Due::Now
            })
            .take(room)
            .cloned()
            .collect()
    }

    fn start(self: &Arc<Self>, host: Hostname) {
        let (record, email, job) = {
            let mut state = self.state();
            let Some(picture) = state.picture.clone() else {
                return;
            };
            state.working.insert(host.clone());
            let record = picture
                .records
                .get(&host)
                .cloned()
                .unwrap_or_else(|| fresh(&host));
            let email = picture.remote.and_then(|remote| remote.acme_email);
            (record, email, state.renewals.remove(&host))
        };
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            keeper.order(record, email, job).await;
            keeper.state().working.remove(&host);
            keeper.wake.notify_one();
        });
    }

    async fn order(&self, record: CertificateRecord, email: Option<String>, job: Option<Job>) {
        let host = record.host.clone();
        let work = Work {
            bus: self.bus.clone(),
            directory: Arc::clone(&self.directory),
            email: email.clone(),
            record: record.clone(),
        };
        let outcome = work.run().await;
        let ended = match &outcome {
            Ok(stored) => {
                self.announce(stored);
                JobState::Done {
                    finished: clock::now(),
                }
            }
            Err(error) => {
                tracing::warn!(%host, %error, "order failed");
                self.failed(record, error, email.as_deref()).await;
                let error = Fault::unavailable("the certificate", error.to_string());
                JobState::Failed {
                    finished: clock::now(),
                    error,
                }
            }
        };
        if let Some(job) = job {
            let stage = if outcome.is_ok() { "issued" } else { "failed" };
            self.tell(Job {
                stage: stage.to_owned(),
                progress: 100,
                state: ended,
                ..job
            })
            .await;
        }
    }

    /// Counts the failure and says when the next try is; a reason of this device's own is not held
    /// against the name.
    async fn failed(&self, before: CertificateRecord, error: &OrderError, email: Option<&str>) {
        let now = clock::now();
        let soon = UnixSeconds(now.0 + SOON);
        self.state().not_before.insert(before.host.clone(), soon);
        match error {
            OrderError::Device(_) => return,
            OrderError::Refused(_) => {
                // An authority that forgot our account refuses everything until there is a new one.
                if is_about_the_account(error) && self.directory.renew_account(email).await.is_ok()
                {
                    return;
                }
            }
            OrderError::Unreachable(_) => self.directory.forget_account().await,
            OrderError::Challenge(_)
            | OrderError::TooLate
            | OrderError::NoChallenge
            | OrderError::Key(_)
            | OrderError::Unusable(_) => {}
        }
        let attempts = before.attempts + 1;
        let spread = rand::random_range(0..100);
        let record = CertificateRecord {
            attempts,
            next_attempt: Some(schedule::next_attempt(attempts, spread, now)),
            last_error: Some(error.to_string()),
            order: OrderState::Idle,
            ..before
        };
        match records::put(&self.bus, record.clone()).await {
            Ok(()) => self.announce(&record),
            Err(fault) => tracing::warn!(%fault, host = %record.host, "failure not recorded"),
        }
    }

    fn announce(&self, record: &CertificateRecord) {
        let status = inventory::status(record, clock::now());
        self.bus.publish(&CertificateChanged {
            host: record.host.clone(),
            status,
        });
    }

    async fn tell(&self, job: Job) {
        self.bus.publish(&JobProgressed { job: job.clone() });
        let write = Write {
            changes: vec![LocalChange::PutJob(job)],
        };
        if let Err(fault) = self.bus.call(write, PATIENCE).await {
            tracing::warn!(%fault, "job not recorded");
        }
    }

    /// The inventory: wanted names, and what is still alive of others.
    pub(crate) fn inventory(&self) -> Result<Vec<Certificate>, Fault> {
        let now = clock::now();
        let state = self.state();
        let picture = state.picture.as_ref().ok_or(Fault::Locked)?;
        let alive = picture
            .records
            .values()
            .filter(|record| record.expires_at.is_some_and(|expires| expires > now))
            .map(|record| &record.host);
        let names: BTreeSet<&Hostname> = picture.wanted.iter().chain(alive).collect();
        Ok(names
            .into_iter()
            .map(|host| inventory::line(host, picture.records.get(host), now))
            .collect())
    }

    /// Orders a name anew as soon as it can be.
    pub(crate) async fn renew(&self, host: Hostname) -> Result<JobId, Fault> {
        let id = JobId::new(format!("{:032x}", rand::random::<u128>())).map_err(|error| {
            Fault::Internal {
                log_id: error.to_string(),
            }
        })?;
        let job = Job {
            id: id.clone(),
            kind: "certificate.renew".to_owned(),
            subject: format!("certificate {host}"),
            stage: "ordering".to_owned(),
            progress: 10,
            started: clock::now(),
            state: JobState::Running,
        };
        {
            let mut state = self.state();
            let picture = state.picture.as_ref().ok_or(Fault::Locked)?;
            if !picture.wanted.contains(&host) {
                return Err(Fault::not_found(format!("certificate {host}")));
            }
            if state.renewals.contains_key(&host) || state.working.contains(&host) {
                return Err(Fault::conflict(format!("{host} is being ordered already")));
            }
            state.renewals.insert(host.clone(), job.clone());
            state.not_before.remove(&host);
        }
        self.tell(job).await;
        self.wake.notify_one();
        Ok(id)
    }

    /// What the board says: never an error, the device serves without certificates.
    fn report(&self) {
        if !clock::is_plausible() {
            let words = "Certificates wait for the clock to be set by the network.";
            return self.board.set("acme", Level::Warn, words);
        }
        let now = clock::now();
        let state = self.state();
        let Some(picture) = &state.picture else {
            return self
                .board
                .ok("acme", "Certificates wait for the device to be unlocked.");
        };
        let failing = picture.wanted.iter().find_map(|host| {
            let record = picture.records.get(host)?;
            let error = record.last_error.as_ref().filter(|_| record.attempts > 0)?;
            let soon = record
                .expires_at
                .is_none_or(|expires| expires.0 < now.0 + 7 * 86_400);
            soon.then(|| {
                format!("No certificate for {host} yet: {error}. It is tried again by itself.")
            })
        });
        match failing {
            Some(words) => self.board.set("acme", Level::Warn, words),
            None => {
                let valid = picture
                    .records
                    .values()
                    .filter(|record| record.chain_pem.is_some());
                self.board
                    .ok("acme", format!("{} certificates are kept.", valid.count()));
            }
        }
    }
}

fn is_about_the_account(error: &OrderError) -> bool {
    error.to_string().to_lowercase().contains("account")
}

fn fresh(host: &Hostname) -> CertificateRecord {
    CertificateRecord {
        host: host.clone(),
        chain_pem: None,
        issuer: None,
        issued_at: None,
        expires_at: None,
        generation: 0,
        order: OrderState::Idle,
        attempts: 0,
        next_attempt: None,
        last_error: None,
    }
}
