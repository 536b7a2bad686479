//! What is wanted of the tunnel, from what the store and the apps say.

use crate::{
    hostname,
    session::Target,
    settings::{DeviceSecret, Settings},
};
use piccolo_bus_schema::ids::ListenerName;

/// What is wanted, and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    /// As configured, switched on or not; `None` when unknown or never set.
    pub(crate) settings: Option<Settings>,
    pub(crate) wanted: Wanted,
}

/// A tunnel or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Off(Off),
    On(Target),
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    /// The store has not been asked, or has not answered.
    Unknown,
    /// Since the process started the device was not unlocked.
    Locked,
    NotConfigured,
    Disabled,
    /// There are settings, but no secret.
    NoSecret,
}

/// The configuration as last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing(Off),
    Disabled(Settings),
    NoSecret(Settings),
    Enabled(Settings, DeviceSecret),
}

impl Intent {
    /// Nothing is known yet.
    pub(crate) const UNKNOWN: Self = Self {
        settings: None,
        wanted: Wanted::Off(Off::Unknown),
    };

    /// While the device is locked there are no listeners: the portal's name stays, so that its
    /// unlock page can be reached.
    pub(crate) fn of(known: &Known, listeners: &[ListenerName]) -> Self {
        let (settings, wanted) = match known {
            Known::Nothing(why) => (None, Wanted::Off(*why)),
            Known::Disabled(settings) => (Some(settings), Wanted::Off(Off::Disabled)),
            Known::NoSecret(settings) => (Some(settings), Wanted::Off(Off::NoSecret)),
            Known::Enabled(settings, secret) => {
                let target = Target {
                    relay: settings.relay.clone(),
                    secret: secret.clone(),
                    hostnames: hostname::claimed(&settings.portal, &settings.tld, listeners),
                };
                (Some(settings), Wanted::On(target))
            }
        };
        Self {
            settings: settings.cloned(),
            wanted,
        }
    }
}
