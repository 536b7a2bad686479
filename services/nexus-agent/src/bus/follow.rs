//! Keeping the intent true: events are hints, listing restores the truth.

use super::Peers;
use crate::{
    intent::{Intent, Known, Off},
    settings::{DeviceSecret, Settings},
    timing::Timing,
};
use piccolo_bus_client::{Bus, Subscription};
use piccolo_bus_schema::{
    Fault,
    app::EndpointChanged,
    control::{ControlCommitted, RemoteRecord},
    ids::{ListenerName, ServiceName},
    lock::{LockChanged, LockState},
};
use std::time::Duration;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

/// Peers that are down are asked again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait of a command for the change it made to be seen here. The change is recorded
/// already; this is only for prompt answers to the next question.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// Asks for the truth to be read at once.
#[derive(Clone)]
pub(crate) struct Poke(mpsc::Sender<oneshot::Sender<()>>);

impl Poke {
    /// Waits until it has been read, but not for long.
    pub(crate) async fn reconcile(&self) {
        let (done, seen) = oneshot::channel();
        let poking = async {
            if self.0.send(done).await.is_ok() {
                let _ = seen.await;
            }
        };
        if tokio::time::timeout(SEEN_WITHIN, poking).await.is_err() {
            tracing::warn!("a change of remote access is recorded but not read back yet");
        }
    }
}

/// Reads configuration, lock state and listeners, and says what is wanted.
pub(crate) struct Follower {
    peers: Peers,
    timing: Timing,
    intent: watch::Sender<Intent>,
    pokes: mpsc::Receiver<oneshot::Sender<()>>,
    commits: Subscription<ControlCommitted>,
    locks: Subscription<LockChanged>,
    endpoints: Subscription<EndpointChanged>,
    known: Known,
    /// Revision of the record `known` was made of.
    revision: Option<u64>,
    listeners: Vec<ListenerName>,
}

impl Follower {
    /// Subscribes; reads nothing yet.
    pub(crate) fn new(
        bus: &Bus,
        peers: Peers,
        timing: Timing,
        intent: watch::Sender<Intent>,
    ) -> (Self, Poke) {
        let (poke, pokes) = mpsc::channel(8);
        let follower = Self {
            peers,
            timing,
            intent,
            pokes,
            commits: bus.subscribe(ServiceName::Store),
            locks: bus.subscribe(ServiceName::Store),
            endpoints: bus.subscribe(ServiceName::Apps),
            known: Known::Nothing(Off::Unknown),
            revision: None,
            listeners: Vec::new(),
        };
        (follower, Poke(poke))
    }

    /// Follows for ever.
    pub(crate) async fn run(mut self) {
        let mut due = Instant::now();
        loop {
            let soon = || Instant::now() + self.timing.debounce;
            let poke = tokio::select! {
                _ = self.commits.next() => { due = due.min(soon()); continue }
                _ = self.locks.next() => { due = due.min(soon()); continue }
                _ = self.endpoints.next() => { due = due.min(soon()); continue }
                poke = self.pokes.recv() => match poke {
                    Some(poke) => Some(poke),
                    None => return,
                },
                () = tokio::time::sleep_until(due) => None,
            };
            due = Instant::now()
                + match self.reconcile().await {
                    Ok(()) => self.timing.reread,
                    Err(fault) => {
                        tracing::debug!(%fault, "the truth can't be read now");
                        RETRY
                    }
                };
            if let Some(poke) = poke {
                // Whoever asked may have given up.
                let _ = poke.send(());
            }
        }
    }

    /// Reads what can be read and keeps the rest as it was.
    async fn reconcile(&mut self) -> Result<(), Fault> {
        let outcome = self.read().await;
        let intent = Intent::of(&self.known, &self.listeners);
        self.intent.send_if_modified(|wanted| {
            let changed = *wanted != intent;
            if changed {
                *wanted = intent;
            }
            changed
        });
        outcome
    }

    async fn read(&mut self) -> Result<(), Fault> {
        match self.peers.lock_state().await? {
            LockState::Unlocked => match self.read_unlocked().await {
                // Locked between two questions.
                Err(Fault::Locked) => {
                    self.keep_through_lock(Off::Locked);
                    Ok(())
                }
                outcome => outcome,
            },
            // On its way to another state, which will be announced.
            LockState::Preunlock => Ok(()),
            LockState::Locked | LockState::Fault(_) => {
                self.keep_through_lock(Off::Locked);
                Ok(())
            }
            LockState::Setup => {
                self.keep_through_lock(Off::NotConfigured);
                Ok(())
            }
        }
    }

    async fn read_unlocked(&mut self) -> Result<(), Fault> {
        match self.peers.record().await? {
            None => {
                self.revision = None;
                self.known = Known::Nothing(Off::NotConfigured);
            }
            Some(versioned) => {
                // The secret changes only together with the record.
                if self.revision != Some(versioned.revision) {
                    self.known = self.read_known(versioned.record).await?;
                    self.revision = Some(versioned.revision);
                }
            }
        }
        self.listeners = self.peers.listeners().await?;
        self.listeners.sort();
        Ok(())
    }

    async fn read_known(&self, record: RemoteRecord) -> Result<Known, Fault> {
        let enabled = record.enabled;
        let relay = match record.endpoint.parse() {
            Ok(relay) => relay,
            Err(why) => {
                tracing::error!(
                    endpoint = record.endpoint,
                    why,
                    "the stored endpoint is unusable"
                );
                return Ok(Known::Nothing(Off::NotConfigured));
            }
        };
        let settings = Settings {
            relay,
            tld: record.tld,
            portal: record.portal_hostname,
            acme_email: record.acme_email,
        };
        if !enabled {
            return Ok(Known::Disabled(settings));
        }
        let secret: Option<DeviceSecret> = self.peers.secret().await?;
        Ok(match secret {
            Some(secret) => Known::Enabled(settings, secret),
            None => Known::NoSecret(settings),
        })
    }

    /// What was known before the lock stays, without the apps.
    fn keep_through_lock(&mut self, otherwise: Off) {
        self.listeners.clear();
        if let Known::Nothing(_) = self.known {
            self.known = Known::Nothing(otherwise);
        }
    }
}
