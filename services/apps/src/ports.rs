//! Which ports a listener gets. Pure.

use piccolo_bus_schema::{
    Fault,
    ids::{AppName, ListenerName},
    local::PortAllocation,
};
use std::{collections::BTreeSet, ops::RangeInclusive};

/// Allocations an app's listeners still lack: the lowest free ports of both ranges.
/// `Conflict` when a listener's name belongs to another app.
pub(crate) fn missing(
    app: &AppName,
    listeners: &[ListenerName],
    allocated: &[PortAllocation],
    host: &RangeInclusive<u16>,
    public: &RangeInclusive<u16>,
) -> Result<Vec<PortAllocation>, Fault> {
    let mut taken_host: BTreeSet<u16> = allocated.iter().map(|one| one.host_port).collect();
    let mut taken_public: BTreeSet<u16> = allocated.iter().map(|one| one.public_port).collect();
    let mut fresh = Vec::new();
    for listener in listeners {
        if let Some(owner) = allocated.iter().find(|one| one.listener == *listener) {
            if owner.app != *app {
                return Err(Fault::conflict(format!(
                    "the listener name {listener} belongs to app {}",
                    owner.app
                )));
            }
            continue;
        }
        let host_port = free(host, &taken_host)?;
        let public_port = free(public, &taken_public)?;
        taken_host.insert(host_port);
        taken_public.insert(public_port);
        fresh.push(PortAllocation {
            app: app.clone(),
            listener: listener.clone(),
            host_port,
            public_port,
        });
    }
    Ok(fresh)
}

fn free(range: &RangeInclusive<u16>, taken: &BTreeSet<u16>) -> Result<u16, Fault> {
    range
        .clone()
        .find(|port| !taken.contains(port))
        .ok_or_else(|| Fault::conflict(format!("no port of {range:?} is free")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_two_listeners_share_a_port_and_none_moves(
            apps in proptest::collection::vec(("[a-c]", proptest::collection::vec("[d-h]{1,2}", 1..4)), 1..12),
        ) {
            let mut allocated: Vec<PortAllocation> = Vec::new();
            for (app, listeners) in apps {
                let app: AppName = app.parse().expect("a name");
                let listeners: Vec<ListenerName> =
                    listeners.iter().map(|name| name.parse().expect("a name")).collect();
                let before = allocated.clone();
                if let Ok(fresh) = missing(&app, &listeners, &allocated, &(1..=500), &(600..=999)) {
                    for one in fresh {
                        if !allocated.iter().any(|other| other.listener == one.listener) {
                            allocated.push(one);
                        }
                    }
                }
                prop_assert_eq!(&allocated[..before.len()], &before[..]);
            }
            let hosts: BTreeSet<u16> = allocated.iter().map(|one| one.host_port).collect();
            let publics: BTreeSet<u16> = allocated.iter().map(|one| one.public_port).collect();
            prop_assert_eq!(hosts.len(), allocated.len());
            prop_assert_eq!(publics.len(), allocated.len());
        }
    }
}
