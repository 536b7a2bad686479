//! What should be, as the store says: records, roles, ports, the portal's name.

use crate::spec::{self, Spec};
use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    Fault,
    app::Endpoint,
    control::{AppRecord, Read, Record, RemoteRecord, Repository},
    ids::AppName,
    leadership::{Leadership, Resource, Role, Show},
    local::{PortAllocation, ReadPorts},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(5);

/// One installed app.
#[derive(Clone)]
pub(crate) struct Installed {
    pub(crate) record: AppRecord,
    pub(crate) revision: u64,
    /// `None` when this version can't read a spec an earlier or later one wrote.
    pub(crate) spec: Option<Spec>,
    /// When the look at the store began that saw it.
    pub(crate) seen_at: Instant,
}

/// One look at the store.
#[derive(Clone, Default)]
pub(crate) struct Picture {
    pub(crate) apps: BTreeMap<AppName, Installed>,
    roles: Vec<Leadership>,
    pub(crate) ports: Vec<PortAllocation>,
}

impl Picture {
    /// Asks the store; `Locked` while nothing can be read.
    pub(crate) async fn take(bus: &Bus) -> Result<Self, Fault> {
        let seen_at = Instant::now();
        let records = bus
            .call(
                Read {
                    repository: Repository::Apps,
                },
                PATIENCE,
            )
            .await?;
        let apps = records
            .into_iter()
            .filter_map(|versioned| match versioned.record {
                Record::Apps(record) => {
                    let spec = spec::read(&record.spec).ok();
                    let installed = Installed {
                        revision: versioned.revision,
                        spec,
                        record,
                        seen_at,
                    };
                    Some((installed.record.name.clone(), installed))
                }
                Record::Remote(_) | Record::Certificates(_) | Record::Settings(_) => None,
            });
        Ok(Self {
            apps: apps.collect(),
            roles: bus.call(Show {}, PATIENCE).await?,
            ports: bus.call(ReadPorts {}, PATIENCE).await?,
        })
    }

    /// This node's part in a resource.
    pub(crate) fn role(&self, resource: &Resource) -> Role {
        let decided = self
            .roles
            .iter()
            .find(|leadership| leadership.resource == *resource);
        decided.map_or(Role::Leader, |leadership| leadership.role.clone())
    }

    pub(crate) fn leads(&self, app: &AppName) -> bool {
        self.role(&Resource::App(app.clone())).is_leader()
    }

    /// The endpoints of an app; `up` is the reconciler's word.
    pub(crate) fn endpoints(&self, app: &Installed, up: bool) -> Vec<Endpoint> {
        let listeners = app.spec.iter().flat_map(|spec| &spec.listeners);
        listeners
            .filter_map(|listener| {
                let ports = self
                    .ports
                    .iter()
                    .find(|one| one.listener == listener.name)?;
                Some(Endpoint {
                    app: app.record.name.clone(),
                    listener: listener.name.clone(),
                    guest_port: listener.guest_port,
                    host_port: ports.host_port,
                    public_port: ports.public_port,
                    flow: listener.flow,
                    protocol: listener.protocol,
                    remote_ports: listener.remote_ports.clone(),
                    middleware: listener.middleware.clone(),
                    up,
                })
            })
            .collect()
    }
}

/// Remote access, for the one rule about the portal's name.
pub(crate) async fn remote(bus: &Bus) -> Result<Option<RemoteRecord>, Fault> {
    let records = bus
        .call(
            Read {
                repository: Repository::Remote,
            },
            PATIENCE,
        )
        .await?;
    Ok(records
        .into_iter()
        .find_map(|versioned| match versioned.record {
            Record::Remote(remote) => Some(remote),
            Record::Apps(_) | Record::Certificates(_) | Record::Settings(_) => None,
        }))
}
