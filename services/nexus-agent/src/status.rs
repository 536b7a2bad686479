//! What is true of the tunnel now: not the configuration, the connection.

use crate::{
    intent::{Intent, Off, Wanted},
    settings::Settings,
};
use piccolo_bus_schema::ids::{Hostname, UnixSeconds};

/// The tunnel as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    pub(crate) settings: Option<Settings>,
    /// What the live session claims; empty without one.
    pub(crate) hostnames: Vec<Hostname>,
    /// In the owner's words.
    pub(crate) last_error: Option<String>,
}

/// The tunnel's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Off(Off),
    ClockUnset {
        since: UnixSeconds,
    },
    Connecting {
        since: UnixSeconds,
    },
    Connected {
        since: UnixSeconds,
    },
    Waiting {
        since: UnixSeconds,
        next_attempt: UnixSeconds,
    },
}

impl Status {
    /// Before anything happened.
    pub(crate) const UNKNOWN: Self = Self {
        phase: Phase::Off(match Intent::UNKNOWN.wanted {
            Wanted::Off(why) => why,
            Wanted::On(_) => Off::Unknown,
        }),
        settings: None,
        hostnames: Vec::new(),
        last_error: None,
    };

    /// Nothing to worry about?
    pub(crate) const fn is_well(&self) -> bool {
        match self.phase {
            Phase::Off(Off::NoSecret) => false,
            Phase::Off(_) | Phase::Connected { .. } => true,
            Phase::ClockUnset { .. } | Phase::Connecting { .. } | Phase::Waiting { .. } => false,
        }
    }

    /// Why it is as it is, where there is something to say beyond the phase.
    pub(crate) fn explanation(&self) -> Option<String> {
        match self.phase {
            Phase::ClockUnset { .. } => {
                Some("waiting until this device's clock is set by the network".to_owned())
            }
            Phase::Off(Off::NoSecret) => {
                Some("the device secret is missing; configure remote access again".to_owned())
            }
            Phase::Off(_)
            | Phase::Connecting { .. }
            | Phase::Connected { .. }
            | Phase::Waiting { .. } => self.last_error.clone(),
        }
    }

    /// One sentence for the health page, with the next step where the owner has one.
    pub(crate) fn sentence(&self) -> String {
        let relay = || {
            let settings = self.settings.as_ref();
            settings.map_or_else(|| "the relay".to_owned(), |s| s.relay.host())
        };
        let because = || {
            let why = self.explanation();
            why.map_or_else(String::new, |why| format!(": {why}"))
        };
        match self.phase {
            Phase::Off(Off::Unknown) => "remote access: waiting for the store".to_owned(),
            Phase::Off(Off::Locked) => {
                "remote access starts when the device is unlocked".to_owned()
            }
            Phase::Off(Off::NotConfigured | Off::Disabled) => "remote access is off".to_owned(),
            Phase::Off(Off::NoSecret) => format!("remote access is off{}", because()),
            Phase::ClockUnset { .. } => format!("remote access is{}", because().replace(':', "")),
            Phase::Connecting { .. } => format!("connecting to {}{}", relay(), because()),
            Phase::Connected { .. } => format!("connected to {}{}", relay(), because()),
            Phase::Waiting { .. } => format!(
                "no connection to {}{}; it is tried again by itself",
                relay(),
                because()
            ),
        }
    }
}
