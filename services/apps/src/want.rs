//! What an app should do here. Pure.

use crate::spec::RolePolicy;
use piccolo_bus_schema::control::Desired;

/// The wish for one app on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Run,
    /// No container; its volumes detached.
    Rest(Why),
}

/// Why an app rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The owner stopped it.
    Stopped,
    /// Another node leads it.
    Standby,
}

/// Decides from the owner's wish, this node's part and the app's policy.
pub(crate) const fn want(desired: Desired, leads: bool, policy: RolePolicy) -> Want {
    match (desired, leads, policy) {
        (Desired::Stopped, _, _) => Want::Rest(Why::Stopped),
        (Desired::Running, true, _) | (Desired::Running, false, RolePolicy::AlwaysOn) => Want::Run,
        (Desired::Running, false, RolePolicy::LeaderOnly | RolePolicy::FollowerProxy) => {
            Want::Rest(Why::Standby)
        }
    }
}

/// Seconds before an app that failed is tried again: 2 doubling to 300.
pub(crate) const fn pause(failures: u32) -> u64 {
    let exponent = if failures > 8 { 8 } else { failures };
    let pause = 1_u64 << exponent;
    if pause > 300 { 300 } else { pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_rests_unless_its_policy_says_otherwise() {
        let running = |leads, policy| want(Desired::Running, leads, policy);
        assert_eq!(running(true, RolePolicy::LeaderOnly), Want::Run);
        assert_eq!(
            running(false, RolePolicy::LeaderOnly),
            Want::Rest(Why::Standby)
        );
        assert_eq!(
            running(false, RolePolicy::FollowerProxy),
            Want::Rest(Why::Standby)
        );
        assert_eq!(running(false, RolePolicy::AlwaysOn), Want::Run);
        let stopped = want(Desired::Stopped, true, RolePolicy::AlwaysOn);
        assert_eq!(stopped, Want::Rest(Why::Stopped));
    }

    #[test]
    fn pauses_grow_to_five_minutes() {
        assert_eq!(pause(1), 2);
        assert!(pause(100) <= 300);
    }
}
