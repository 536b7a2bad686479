//! All topics of the bus as one numbered stream, with a memory for those who come back.

use crate::picture::Picture;
use piccolo_bus_client::{Bus, Signal};
use piccolo_bus_schema::{
    Event, ServiceName, Topic,
    app::{AppChanged, EndpointChanged},
    certificate::CertificateChanged,
    control::{ControlAnnounced, ControlCommitted},
    health::HealthChanged,
    host::{DeviceChanged, UpdateChanged},
    ids::JobId,
    job::{Job, JobProgressed},
    leadership::LeadershipChanged,
    local::AuditRecorded,
    lock::LockChanged,
    remote::RemoteChanged,
    route::RouteChanged,
    volume::VolumeChanged,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::broadcast;

/// Events remembered for `Last-Event-ID`.
const MEMORY: usize = 1024;
/// Events a slow reader may be behind before it is told to start over.
const LAG: usize = 256;

/// One event as the stream carries it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    /// The topic, or `reset`: list everything again.
    pub(crate) name: &'static str,
    /// JSON.
    pub(crate) data: Arc<str>,
}

/// The stream and its memory.
#[derive(Clone)]
pub(crate) struct Hub {
    /// Names this start of the process, so that ids of an earlier one are unknown.
    pub(crate) epoch: u64,
    memory: Arc<Mutex<Memory>>,
    entries: broadcast::Sender<Entry>,
    jobs: broadcast::Sender<Job>,
}

#[derive(Default)]
struct Memory {
    next: u64,
    entries: VecDeque<Entry>,
}

/// Where a stream starts.
pub(crate) struct Start {
    /// What was missed; `None` when it can't be told and the client must list again.
    pub(crate) missed: Option<Vec<Entry>>,
    pub(crate) entries: broadcast::Receiver<Entry>,
}

impl Hub {
    /// Starts following every publisher.
    pub(crate) fn follow(bus: &Bus, picture: Picture) -> Self {
        let (entries, _) = broadcast::channel(LAG);
        let (jobs, _) = broadcast::channel(LAG);
        let hub = Self {
            epoch: bus.epoch(),
            memory: Arc::default(),
            entries,
            jobs,
        };
        let store = ServiceName::Store;
        hub.pass::<ControlAnnounced>(bus, store);
        hub.pass::<ControlCommitted>(bus, store);
        hub.pass::<LeadershipChanged>(bus, store);
        hub.pass::<VolumeChanged>(bus, store);
        hub.pass::<AuditRecorded>(bus, store);
        hub.pass::<AppChanged>(bus, ServiceName::Apps);
        hub.pass::<EndpointChanged>(bus, ServiceName::Apps);
        hub.pass::<RouteChanged>(bus, ServiceName::RouterProxy);
        hub.pass::<RemoteChanged>(bus, ServiceName::NexusAgent);
        hub.pass::<CertificateChanged>(bus, ServiceName::Acme);
        hub.pass::<UpdateChanged>(bus, ServiceName::Host);
        hub.pass::<DeviceChanged>(bus, ServiceName::Host);
        hub.pass::<HealthChanged>(bus, ServiceName::HealthApi);
        for owner in [ServiceName::Apps, ServiceName::Acme, ServiceName::Host] {
            hub.pass_jobs(bus, owner);
        }
        hub.pass_locks(bus, picture);
        hub
    }

    fn pass<E: Event>(&self, bus: &Bus, publisher: ServiceName) {
        let hub = self.clone();
        let mut events = bus.subscribe::<E>(publisher);
        tokio::spawn(async move {
            loop {
                hub.push_signal(events.next().await);
            }
        });
    }

    fn pass_jobs(&self, bus: &Bus, owner: ServiceName) {
        let hub = self.clone();
        let mut events = bus.subscribe::<JobProgressed>(owner);
        tokio::spawn(async move {
            loop {
                let signal = events.next().await;
                if let Signal::Event(progressed) = &signal {
                    // Nobody may be waiting.
                    let _ = hub.jobs.send(progressed.job.clone());
                }
                hub.push_signal(signal);
            }
        });
    }

    /// The picture is refreshed first, so that who reacts to the event meets the new state.
    fn pass_locks(&self, bus: &Bus, picture: Picture) {
        let hub = self.clone();
        let mut events = bus.subscribe::<LockChanged>(ServiceName::Store);
        tokio::spawn(async move {
            loop {
                let signal = events.next().await;
                let _ = picture.refresh().await;
                hub.push_signal(signal);
            }
        });
    }

    fn push_signal<E: Event>(&self, signal: Signal<E>) {
        match signal {
            Signal::Event(event) => self.push(E::TOPIC, &event),
            // A publisher came back: whoever listens looks at this noun again.
            Signal::Resync => self.push_json(E::TOPIC.as_str(), "{\"resync\":true}".into()),
        }
    }

    /// Adds an event of our own.
    pub(crate) fn push<E: Event>(&self, topic: Topic, event: &E) {
        match serde_json::to_string(event) {
            Ok(json) => self.push_json(topic.as_str(), json.into()),
            Err(error) => tracing::error!(%topic, %error, "event has no JSON form"),
        }
    }

    fn push_json(&self, name: &'static str, data: Arc<str>) {
        let mut memory = self.memory();
        memory.next += 1;
        let entry = Entry {
            sequence: memory.next,
            name,
            data,
        };
        if memory.entries.len() == MEMORY {
            memory.entries.pop_front();
        }
        memory.entries.push_back(entry.clone());
        // Nobody may be listening.
        let _ = self.entries.send(entry);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a stream; `last` is the `Last-Event-ID` of a client that comes back.
    pub(crate) fn start(&self, last: Option<&str>) -> Start {
        let memory = self.memory();
        // Subscribed under the lock: nothing falls between memory and stream.
        let entries = self.entries.subscribe();
        let missed = match last {
            None => Some(Vec::new()),
            Some(id) => self.after(&memory, id),
        };
        Start { missed, entries }
    }

    fn after(&self, memory: &Memory, id: &str) -> Option<Vec<Entry>> {
        let (epoch, sequence) = id.split_once('-')?;
        let (epoch, sequence) = (epoch.parse::<u64>().ok()?, sequence.parse::<u64>().ok()?);
        let oldest = memory
            .entries
            .front()
            .map_or(memory.next + 1, |entry| entry.sequence);
        if epoch != self.epoch || sequence > memory.next || sequence + 1 < oldest {
            return None;
        }
        Some(
            memory
                .entries
                .iter()
                .filter(|entry| entry.sequence > sequence)
                .cloned()
                .collect(),
        )
    }

    /// The id of an entry: `<epoch>-<sequence>`.
    pub(crate) fn id(&self, sequence: u64) -> String {
        format!("{}-{sequence}", self.epoch)
    }

    /// Listens for the progress of one job; subscribe before the command that starts it.
    pub(crate) fn jobs(&self) -> JobFollower {
        JobFollower {
            jobs: self.jobs.subscribe(),
        }
    }
}

/// Waits for jobs to end.
pub(crate) struct JobFollower {
    jobs: broadcast::Receiver<Job>,
}

impl JobFollower {
    /// The finished job; pending when events were lost (the caller has a slow look as well).
    pub(crate) async fn finished(&mut self, id: &JobId) -> Job {
        loop {
            match self.jobs.recv().await {
                Ok(job) if job.id == *id && job.state.is_finished() => return job,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
