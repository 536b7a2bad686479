//! `piccolo.local` on the home network (RFC 6762, RFC 6763): nobody has to know an address.
//!
//! Nothing is sent where only the device itself would hear it: not on loopback, not on the bridges
//! of containers, and not at all while there is no other interface.

use crate::lan_certificate::NAME;
use mdns_sd::{DaemonEvent, IfKind, IfPredicate, ServiceDaemon, ServiceInfo};
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use piccolo_bus_schema::health::Level;
use piccolo_runtime::{Board, Shutdown};
use std::time::Duration;

const COMPONENT: &str = "mdns";
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Interfaces that lead to containers.
const INNER: [&str; 7] = ["pic", "docker", "br-", "veth", "podman", "virbr", "cni"];

/// What is announced; a port that is not bound is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    pub(crate) http: Option<u16>,
    pub(crate) https: Option<u16>,
}

/// Waits for a network, announces, and follows renames, until shutdown.
pub(crate) async fn run(announced: Announced, board: Board, shutdown: Shutdown) {
    while !has_home_network() {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    let daemon = match announce(announced) {
        Ok(daemon) => daemon,
        Err(error) => {
            let message = format!(
                "{NAME} is not announced on the home network ({error}); use the device's address"
            );
            return board.set(COMPONENT, Level::Warn, message);
        }
    };
    report(&board, NAME);
    follow(&daemon, &board, &shutdown).await;
    // Says goodbye to caches; its answer is not waited for, the process is leaving.
    if let Err(error) = daemon.shutdown() {
        tracing::debug!(%error, "mDNS did not say goodbye");
    }
}

fn announce(announced: Announced) -> Result<ServiceDaemon, mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    let inner = IfPredicate::new(|interface| {
        interface.is_loopback() || leads_to_containers(&interface.name)
    });
    daemon.disable_interface(IfKind::Predicate(inner))?;
    for (kind, port) in [("_http", announced.http), ("_https", announced.https)] {
        let Some(port) = port else { continue };
        let service = ServiceInfo::new(
            &format!("{kind}._tcp.local."),
            "Piccolo",
            &format!("{NAME}."),
            "",
            port,
            None,
        )?;
        daemon.register(service.enable_addr_auto())?;
    }
    Ok(daemon)
}

async fn follow(daemon: &ServiceDaemon, board: &Board, shutdown: &Shutdown) {
    let Ok(events) = daemon.monitor() else { return };
    loop {
        let event = tokio::select! {
            () = shutdown.requested() => return,
            event = events.recv_async() => event,
        };
        match event {
            Ok(DaemonEvent::NameChange(change)) if change.original.starts_with(NAME) => {
                tracing::info!(name = change.new_name, "another device has our name");
                report(board, change.new_name.trim_end_matches('.'));
            }
            Ok(DaemonEvent::Error(error)) => tracing::warn!(%error, "mDNS"),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn report(board: &Board, name: &str) {
    board.ok(
        COMPONENT,
        format!("the device answers to {name} on the home network"),
    );
    board.set_detail(crate::COMPONENT, "mdns_name", name);
}

/// Is there an interface that leads to other devices?
fn has_home_network() -> bool {
    getifaddrs().is_ok_and(|mut addresses| {
        addresses.any(|interface| {
            interface.flags.contains(InterfaceFlags::IFF_UP)
                && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
                && !leads_to_containers(&interface.interface_name)
                && interface.address.is_some_and(|address| {
                    address.as_sockaddr_in().is_some() || address.as_sockaddr_in6().is_some()
                })
        })
    })
}

fn leads_to_containers(interface: &str) -> bool {
    INNER.iter().any(|prefix| interface.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_containers_are_not_the_home_network() {
        assert!(leads_to_containers("picdemo0") && leads_to_containers("docker0"));
        assert!(!leads_to_containers("eth0") && !leads_to_containers("wlan0"));
    }
}
