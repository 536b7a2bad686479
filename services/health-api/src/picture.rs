//! What the gates must know at once: lock state, leadership, the portal's own name.
//!
//! A copy of what the store says, refreshed by events, by our own commands and by a slow timer. The
//! store stays the final gate; this copy only makes for early and clear answers.

use piccolo_bus_client::{Bus, Subscription};
use piccolo_bus_schema::{
    Fault, ServiceName,
    control::{self, ControlCommitted, Record, RemoteRecord, Repository},
    leadership::{self, Leadership, LeadershipChanged, Resource, Role},
    lock::{self, LockChanged, LockState},
};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// Nothing may depend on an event: this is how stale the picture can get without one.
const REFRESH: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Default)]
struct Facts {
    /// `None` until the store has answered once.
    lock: Option<LockState>,
    roles: Vec<Leadership>,
    /// Kept through a lock: the unlock page answers at the same name.
    remote: Option<RemoteRecord>,
}

/// The shared picture.
#[derive(Clone)]
pub(crate) struct Picture {
    bus: Bus,
    facts: Arc<RwLock<Facts>>,
}

impl Picture {
    /// Starts following the store.
    pub(crate) fn follow(bus: &Bus) -> Self {
        let picture = Self {
            bus: bus.clone(),
            facts: Arc::default(),
        };
        tokio::spawn(picture.clone().keep_fresh());
        picture
    }

    async fn keep_fresh(self) {
        let mut locks: Subscription<LockChanged> = self.bus.subscribe(ServiceName::Store);
        let mut roles: Subscription<LeadershipChanged> = self.bus.subscribe(ServiceName::Store);
        let mut commits: Subscription<ControlCommitted> = self.bus.subscribe(ServiceName::Store);
        let mut timer = tokio::time::interval(REFRESH);
        loop {
            tokio::select! {
                _ = locks.next() => {}
                _ = roles.next() => {}
                _ = commits.next() => {}
                _ = timer.tick() => {}
            }
            if let Err(fault) = self.refresh().await {
                tracing::debug!(%fault, "the store can't be asked");
            }
        }
    }

    /// Asks the store anew; called after each command that changes what is pictured.
    pub(crate) async fn refresh(&self) -> Result<(), Fault> {
        let lock = self.bus.call(lock::Status {}, PATIENCE).await?;
        let unlocked = lock == LockState::Unlocked;
        self.change(|facts| facts.lock = Some(lock));
        let roles = self.bus.call(leadership::Show {}, PATIENCE).await?;
        self.change(|facts| facts.roles = roles);
        if unlocked {
            let read = control::Read {
                repository: Repository::Remote,
            };
            let records = self.bus.call(read, PATIENCE).await?;
            let remote = records
                .into_iter()
                .find_map(|versioned| match versioned.record {
                    Record::Remote(remote) => Some(remote),
                    Record::Apps(_) | Record::Certificates(_) | Record::Settings(_) => None,
                });
            self.change(|facts| facts.remote = remote);
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.facts.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn facts(&self) -> std::sync::RwLockReadGuard<'_, Facts> {
        self.facts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock state, as last heard.
    pub(crate) fn lock(&self) -> Option<LockState> {
        self.facts().lock.clone()
    }

    /// This node's part in a resource; one that was never decided is led here.
    pub(crate) fn role(&self, resource: &Resource) -> Role {
        self.facts()
            .roles
            .iter()
            .find(|leadership| leadership.resource == *resource)
            .map_or(Role::Leader, |leadership| leadership.role.clone())
    }

    /// Remote access as configured, if it is.
    pub(crate) fn remote(&self) -> Option<RemoteRecord> {
        self.facts().remote.clone()
    }

    /// The portal's name from outside, if remote access is configured.
    pub(crate) fn is_portal_host(&self, host: &str) -> bool {
        self.facts()
            .remote
            .as_ref()
            .is_some_and(|remote| remote.portal_hostname.as_str() == host)
    }
}
