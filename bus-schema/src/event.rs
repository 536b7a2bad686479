//! The shape of an event: a hint that something changed. Listing restores the truth.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;

/// Every topic of the bus. The wire name is the prefix a subscriber filters on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Topic {
    #[serde(rename = "lock.changed")]
    LockChanged,
    #[serde(rename = "leadership.changed")]
    LeadershipChanged,
    #[serde(rename = "control.announced")]
    ControlAnnounced,
    #[serde(rename = "control.committed")]
    ControlCommitted,
    #[serde(rename = "volume.changed")]
    VolumeChanged,
    #[serde(rename = "app.changed")]
    AppChanged,
    #[serde(rename = "endpoint.changed")]
    EndpointChanged,
    #[serde(rename = "route.changed")]
    RouteChanged,
    #[serde(rename = "remote.changed")]
    RemoteChanged,
    #[serde(rename = "certificate.changed")]
    CertificateChanged,
    #[serde(rename = "job.progressed")]
    JobProgressed,
    #[serde(rename = "update.changed")]
    UpdateChanged,
    #[serde(rename = "audit.recorded")]
    AuditRecorded,
    #[serde(rename = "health.changed")]
    HealthChanged,
    #[serde(rename = "device.changed")]
    DeviceChanged,
}

impl Topic {
    /// All topics, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::LockChanged,
        Self::LeadershipChanged,
        Self::ControlAnnounced,
        Self::ControlCommitted,
        Self::VolumeChanged,
        Self::AppChanged,
        Self::EndpointChanged,
        Self::RouteChanged,
        Self::RemoteChanged,
        Self::CertificateChanged,
        Self::JobProgressed,
        Self::UpdateChanged,
        Self::AuditRecorded,
        Self::HealthChanged,
        Self::DeviceChanged,
    ];

    /// The name on the wire, e.g. `lock.changed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LockChanged => "lock.changed",
            Self::LeadershipChanged => "leadership.changed",
            Self::ControlAnnounced => "control.announced",
            Self::ControlCommitted => "control.committed",
            Self::VolumeChanged => "volume.changed",
            Self::AppChanged => "app.changed",
            Self::EndpointChanged => "endpoint.changed",
            Self::RouteChanged => "route.changed",
            Self::RemoteChanged => "remote.changed",
            Self::CertificateChanged => "certificate.changed",
            Self::JobProgressed => "job.progressed",
            Self::UpdateChanged => "update.changed",
            Self::AuditRecorded => "audit.recorded",
            Self::HealthChanged => "health.changed",
            Self::DeviceChanged => "device.changed",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that happened. Late, repeated or lost events must be harmless to every reader.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Where it is published.
    const TOPIC: Topic;
}

/// Implements [`Event`]: `event!(LockChanged, LockChanged);`
macro_rules! event {
    ($name:ty, $topic:ident) => {
        impl $crate::event::Event for $name {
            const TOPIC: $crate::event::Topic = $crate::event::Topic::$topic;
        }
    };
}
pub(crate) use event;
