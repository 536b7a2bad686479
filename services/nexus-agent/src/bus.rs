//! The wire: `remote.*` answered, `remote.changed` published.

mod follow;
mod peers;

pub(crate) use follow::Follower;
pub(crate) use peers::Peers;

use crate::{
    hostname,
    settings::{DeviceSecret, Settings},
    status::{Phase, Status},
    traffic::Traffic,
};
use follow::Poke;
use piccolo_bus_client::{Bus, Handlers};
use piccolo_bus_schema::{
    Fault,
    control::RemoteRecord,
    health::Level,
    ids::ServiceName,
    remote::{Configure, Disable, RemoteChanged, RemoteStatus, Status as AskStatus, TunnelState},
};
use piccolo_runtime::Board;
use std::sync::Arc;
use tokio::sync::watch;

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) peers: Peers,
    pub(crate) poke: Poke,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) traffic: Arc<Traffic>,
}

/// Answers the three commands.
pub(crate) fn handlers(desk: Desk) -> Handlers {
    let configuring = desk.clone();
    let disabling = desk.clone();
    Handlers::new()
        .on::<Configure, _, _>(move |command, _| {
            let desk = configuring.clone();
            async move { desk.configure(command).await }
        })
        .on::<Disable, _, _>(move |_, _| {
            let desk = disabling.clone();
            async move { desk.disable().await }
        })
        .on::<AskStatus, _, _>(move |_, _| {
            let status = wire(&desk.status.borrow(), &desk.traffic);
            async move { Ok(status) }
        })
}

impl Desk {
    async fn configure(&self, command: Configure) -> Result<(), Fault> {
        let settings = Settings::check(
            &command.endpoint,
            &command.tld,
            &command.portal_hostname,
            command.acme_email.as_deref(),
        )?;
        let secret = self.peers.claim(&command.device_secret).await?;
        let secret = DeviceSecret::new(secret)?;
        self.refuse_taken_portal(&settings).await?;
        self.peers
            .commit(record(settings, true), Some(&secret))
            .await?;
        self.poke.reconcile().await;
        Ok(())
    }

    /// One name, one owner: the portal can't take a listener's.
    async fn refuse_taken_portal(&self, settings: &Settings) -> Result<(), Fault> {
        let listeners = self.peers.listeners().await?;
        let taken = listeners.iter().find(|listener| {
            hostname::of_listener(listener, &settings.tld).as_ref() == Some(&settings.portal)
        });
        match taken {
            None => Ok(()),
            Some(listener) => Err(Fault::conflict(format!(
                "{} is the name of the listener {listener}; choose another portal_hostname",
                settings.portal
            ))),
        }
    }

    async fn disable(&self) -> Result<(), Fault> {
        if let Some(versioned) = self.peers.record().await? {
            let record = versioned.record;
            if record.enabled {
                let off = RemoteRecord {
                    enabled: false,
                    ..record
                };
                self.peers.commit(off, None).await?;
            }
        }
        self.poke.reconcile().await;
        Ok(())
    }
}

fn record(settings: Settings, enabled: bool) -> RemoteRecord {
    RemoteRecord {
        enabled,
        endpoint: settings.relay.to_string(),
        tld: settings.tld,
        portal_hostname: settings.portal,
        acme_email: settings.acme_email,
    }
}

fn wire(status: &Status, traffic: &Traffic) -> RemoteStatus {
    let tunnel = match status.phase {
        Phase::Off(_) => TunnelState::Disabled,
        Phase::ClockUnset { since } | Phase::Connecting { since } => {
            TunnelState::Connecting { since }
        }
        Phase::Connected { since } => {
            let reading = traffic.read();
            TunnelState::Connected {
                since,
                round_trip_us: reading.round_trip_us,
                streams: reading.streams,
                bytes_in: reading.bytes_in,
                bytes_out: reading.bytes_out,
            }
        }
        Phase::Waiting {
            since,
            next_attempt,
        } => TunnelState::Error {
            since,
            next_attempt,
        },
    };
    let settings = status.settings.as_ref();
    RemoteStatus {
        tunnel,
        endpoint: settings.map(|settings| settings.relay.to_string()),
        portal_hostname: settings.map(|settings| settings.portal.clone()),
        tld: settings.map(|settings| settings.tld.clone()),
        hostnames: status.hostnames.clone(),
        last_error: status.explanation(),
    }
}

/// Tells bus and board of every change of the tunnel, until there are no more.
pub(crate) async fn announce(
    bus: Bus,
    board: Board,
    mut status: watch::Receiver<Status>,
    traffic: Arc<Traffic>,
) {
    loop {
        {
            let now = status.borrow_and_update();
            let level = if now.is_well() {
                Level::Ok
            } else {
                Level::Warn
            };
            board.set(ServiceName::NexusAgent.as_str(), level, now.sentence());
            bus.publish(&RemoteChanged {
                status: wire(&now, &traffic),
            });
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}
