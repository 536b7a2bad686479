//! Roles and epochs per resource. Pure but for its mutex, which each commit holds.

use crate::config::Provider;
use piccolo_bus_schema::{
    Fault,
    ids::VolumeId,
    leadership::{Leadership, Resource, Role},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The registry; clones share it.
#[derive(Clone)]
pub(crate) struct Registry {
    provider: Provider,
    roles: Arc<Mutex<Roles>>,
}

/// Decisions so far. A resource not listed is led here, at epoch 1.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    decided: BTreeMap<Resource, Leadership>,
}

impl Roles {
    pub(crate) fn of(&self, resource: &Resource) -> Leadership {
        self.decided
            .get(resource)
            .cloned()
            .unwrap_or_else(|| Leadership {
                resource: resource.clone(),
                role: Role::Leader,
                epoch: 1,
            })
    }

    /// The epoch to commit under, if this node leads the resource.
    pub(crate) fn lead(&self, resource: &Resource) -> Result<u64, Fault> {
        let leadership = self.of(resource);
        match leadership.role {
            Role::Leader => Ok(leadership.epoch),
            Role::Follower { leader } => Err(Fault::NotLeader {
                resource: resource.to_string(),
                leader,
            }),
        }
    }
}

impl Registry {
    pub(crate) fn new(provider: Provider) -> Self {
        Self {
            provider,
            roles: Arc::default(),
        }
    }

    /// Held by a commit from the check to its end: a role can't change in between.
    pub(crate) fn hold(&self) -> MutexGuard<'_, Roles> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kernel and every resource that was decided.
    pub(crate) fn list(&self) -> Vec<Leadership> {
        let roles = self.hold();
        let kernel = roles.of(&Resource::Kernel);
        let others = roles
            .decided
            .values()
            .filter(|one| one.resource != Resource::Kernel)
            .cloned();
        std::iter::once(kernel).chain(others).collect()
    }

    /// Sets a role by hand: a new epoch.
    pub(crate) fn simulate(&self, resource: Resource, role: Role) -> Result<Leadership, Fault> {
        if self.provider != Provider::Simulated {
            return Err(Fault::conflict(
                "roles can be set by hand only with cluster.provider = \"simulated\"",
            ));
        }
        let mut roles = self.hold();
        let epoch = roles.of(&resource).epoch + 1;
        let leadership = Leadership {
            resource: resource.clone(),
            role,
            epoch,
        };
        roles.decided.insert(resource, leadership.clone());
        Ok(leadership)
    }

    /// Takes up decisions of an earlier life. Epochs never go back; a single node leads everything.
    pub(crate) fn restore(&self, earlier: Vec<Leadership>) {
        let mut roles = self.hold();
        for mut leadership in earlier {
            if self.provider == Provider::Single && !leadership.role.is_leader() {
                leadership.role = Role::Leader;
                leadership.epoch += 1;
            }
            if leadership.epoch > roles.of(&leadership.resource).epoch {
                roles
                    .decided
                    .insert(leadership.resource.clone(), leadership);
            }
        }
    }

    /// Refuses to write a volume of an app this node follows.
    pub(crate) fn may_write(&self, volume: &VolumeId) -> Result<(), Fault> {
        let roles = self.hold();
        for leadership in roles.decided.values() {
            if let Resource::App(name) = &leadership.resource
                && volume.as_str().starts_with(&format!("app-{name}-"))
            {
                roles.lead(&leadership.resource)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> Resource {
        format!("app:{name}").parse().expect("a resource")
    }

    #[test]
    fn a_follower_may_not_write_its_apps_volumes() {
        let registry = Registry::new(Provider::Simulated);
        let volume: VolumeId = "app-demo-data".parse().expect("an id");
        assert!(registry.may_write(&volume).is_ok());
        registry
            .simulate(app("demo"), Role::Follower { leader: None })
            .expect("a role");
        assert!(matches!(
            registry.may_write(&volume),
            Err(Fault::NotLeader { .. })
        ));
        let back = registry
            .simulate(app("demo"), Role::Leader)
            .expect("a role");
        assert_eq!(back.epoch, 3);
        assert!(registry.may_write(&volume).is_ok());
    }

    #[test]
    fn a_single_node_takes_the_lead_back_at_a_newer_epoch() {
        let registry = Registry::new(Provider::Single);
        let follower = Role::Follower { leader: None };
        assert!(
            registry
                .simulate(Resource::Kernel, follower.clone())
                .is_err()
        );
        registry.restore(vec![Leadership {
            resource: Resource::Kernel,
            role: follower,
            epoch: 5,
        }]);
        assert_eq!(registry.hold().lead(&Resource::Kernel), Ok(6));
    }
}
