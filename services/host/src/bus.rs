//! The only file that touches wire messages.

use crate::{
    audit::Audit,
    device::{self, KernelClock},
    firewall::{Bridge, Firewall, Rule},
    updates::Driver,
    volume::{MasterKey, Mode, Volumes},
};
use piccolo_bus_client::{Bus, Handlers};
use piccolo_bus_schema::{
    Fault, ServiceName,
    host::{
        EgressRule, ListMounts, Mount, MountView, Mounted, ReadDevice, ReadUpdates, SetEgress,
        Unmount, Updates,
    },
};
use std::{collections::HashSet, path::Path, sync::Arc};

/// A device runs tens of apps; a list beyond this is a defect of the caller.
const MAX_RULES: usize = 512;

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) bus: Bus,
    pub(crate) audit: Audit,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) firewall: Arc<Firewall>,
    pub(crate) clock: Arc<KernelClock>,
    pub(crate) driver: Driver,
}

pub(crate) fn handlers(desk: Desk) -> Handlers {
    let desk = Arc::new(desk);
    let [mounts, unmounts, lists, egress, updates, devices] =
        std::array::from_fn(|_| Arc::clone(&desk));
    Handlers::new()
        .on(move |command: Mount, context| {
            let desk = Arc::clone(&mounts);
            async move { desk.mount(command, context.sender).await }
        })
        .on(move |command: Unmount, context| {
            let desk = Arc::clone(&unmounts);
            async move { desk.unmount(command, context.sender).await }
        })
        .on(move |_: ListMounts, _| {
            let desk = Arc::clone(&lists);
            async move { desk.list_mounts().await }
        })
        .on(move |command: SetEgress, context| {
            let desk = Arc::clone(&egress);
            async move { desk.set_egress(command, context.sender).await }
        })
        .on(move |_: ReadUpdates, _| {
            let driver = updates.driver;
            async move { Ok(read_updates(driver)) }
        })
        .on(move |_: ReadDevice, _| {
            let desk = Arc::clone(&devices);
            async move { device::read(&desk.clock).await }
        })
}

impl Desk {
    async fn mount(&self, command: Mount, sender: ServiceName) -> Result<Mounted, Fault> {
        let Mount {
            volume,
            key,
            read_only,
        } = command;
        let mode = if read_only {
            Mode::ReadOnly
        } else {
            Mode::ReadWrite
        };
        let key = async {
            let bytes = self.bus.claim_secret(&key).await?;
            MasterKey::new(&bytes)
        };
        let mounted = self.volumes.mount(&volume, mode, key).await;
        let result = mounted.map_err(Fault::from);
        let subject = format!("volume {volume}");
        self.audit.record(sender, "volume.mount", &subject, &result);
        result
    }

    async fn unmount(&self, command: Unmount, sender: ServiceName) -> Result<(), Fault> {
        let volume = command.volume;
        let unmounted = self.volumes.unmount(&volume).await;
        let result = unmounted.map_err(Fault::from);
        let subject = format!("volume {volume}");
        self.audit
            .record(sender, "volume.unmount", &subject, &result);
        result
    }

    async fn list_mounts(&self) -> Result<Vec<MountView>, Fault> {
        self.volumes.list().await.map_err(Fault::from)
    }

    async fn set_egress(&self, command: SetEgress, sender: ServiceName) -> Result<(), Fault> {
        let result = self.load_egress(command.rules).await;
        self.audit
            .record(sender, "egress.set", "apps' firewall table", &result);
        result
    }

    async fn load_egress(&self, rules: Vec<EgressRule>) -> Result<(), Fault> {
        let rules = checked(rules)?;
        self.firewall.set(&rules).await?;
        Ok(())
    }
}

/// `Invalid{rules[i].bridge}` for a name that is not an app's bridge or comes twice.
fn checked(rules: Vec<EgressRule>) -> Result<Vec<Rule>, Fault> {
    if rules.len() > MAX_RULES {
        return Err(Fault::invalid("rules", format!("at most {MAX_RULES}")));
    }
    let mut seen = HashSet::new();
    let mut checked = Vec::with_capacity(rules.len());
    for (index, rule) in rules.into_iter().enumerate() {
        let field = || format!("rules[{index}].bridge");
        if !seen.insert(rule.bridge.clone()) {
            return Err(Fault::invalid(field(), "is listed twice"));
        }
        let bridge = Bridge::try_from(rule.bridge)
            .map_err(|invalid| Fault::invalid(field(), invalid.to_string()))?;
        checked.push(Rule {
            bridge,
            internet: rule.internet,
            local_network: rule.local_network,
        });
    }
    Ok(checked)
}

fn read_updates(driver: Driver) -> Updates {
    let driver = driver.resolve(Path::new("/"));
    Updates {
        driver: driver.to_string(),
        current: None,
        staged: None,
        previous: None,
        last_result: Some(driver.last_result().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(bridge: &str) -> EgressRule {
        EgressRule {
            bridge: bridge.to_owned(),
            internet: true,
            local_network: false,
        }
    }

    #[test]
    fn a_bad_bridge_is_named_by_its_place_and_a_repeated_one_refused() {
        let bad = checked(vec![rule("picok"), rule("eth0")]).expect_err("not an app's");
        assert!(matches!(bad, Fault::Invalid { field, .. } if field == "rules[1].bridge"));
        assert!(checked(vec![rule("pica"), rule("pica")]).is_err());
        assert_eq!(
            checked(vec![rule("pica"), rule("picb")])
                .expect("fine")
                .len(),
            2
        );
    }

    #[test]
    fn without_a_driver_the_answer_says_so() {
        let updates = read_updates(Driver::None);
        assert_eq!(updates.driver, "none");
        assert_eq!(
            updates.last_result.as_deref(),
            Some("no update driver on this system")
        );
    }
}
