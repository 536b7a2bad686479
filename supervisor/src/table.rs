//! The unit table: which services there are, and what each starts after.

use piccolo_bus_schema::ServiceName;

/// The services that run, in the order they are listed and started.
pub const UNITS: [UnitSpec; 7] = [
    // Explains everything else, so it must answer first and stay.
    UnitSpec::new(ServiceName::HealthApi, &[]),
    UnitSpec::new(ServiceName::Host, &[]),
    UnitSpec::new(ServiceName::Store, &[ServiceName::Host]),
    UnitSpec::new(ServiceName::RouterProxy, &[ServiceName::Store]).with_portal(),
    UnitSpec::new(ServiceName::Apps, &[ServiceName::Store]),
    UnitSpec::new(ServiceName::NexusAgent, &[ServiceName::Store]),
    UnitSpec::new(ServiceName::Acme, &[ServiceName::Store]),
];

/// One unit.
#[derive(Clone, Copy, Debug)]
pub struct UnitSpec {
    pub service: ServiceName,
    /// Started when these are ready; stopped before them.
    pub after: &'static [ServiceName],
    /// Gets the portal's sockets.
    pub portal: bool,
}

impl UnitSpec {
    /// A unit that starts after others.
    pub const fn new(service: ServiceName, after: &'static [ServiceName]) -> Self {
        Self {
            service,
            after,
            portal: false,
        }
    }

    /// The same, with the portal's sockets handed over.
    #[must_use]
    pub const fn with_portal(mut self) -> Self {
        self.portal = true;
        self
    }

    /// Its name: `router-proxy`.
    pub const fn name(&self) -> &'static str {
        self.service.as_str()
    }

    /// The name of its executable: `piccolo-router-proxy`.
    pub fn executable(&self) -> String {
        format!("piccolo-{}", self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_a_unit_and_starts_after_units_above_it() {
        assert_eq!(UNITS.len(), ServiceName::ALL.len());
        for (index, unit) in UNITS.iter().enumerate() {
            for before in unit.after {
                let position = UNITS.iter().position(|other| other.service == *before);
                assert!(position.is_some_and(|position| position < index));
            }
        }
    }
}
