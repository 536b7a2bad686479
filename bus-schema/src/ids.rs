//! Names and numbers that cross process borders. One registry, append-only.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One of the seven services. Names are doors (socket paths) and audit entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceName {
    Store,
    Apps,
    RouterProxy,
    NexusAgent,
    Acme,
    HealthApi,
    Host,
}

impl ServiceName {
    /// All services, in start order.
    pub const ALL: [Self; 7] = [
        Self::Host,
        Self::Store,
        Self::RouterProxy,
        Self::Apps,
        Self::NexusAgent,
        Self::Acme,
        Self::HealthApi,
    ];

    /// `router-proxy` and so on: the unit's name and the end of its binary's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Apps => "apps",
            Self::RouterProxy => "router-proxy",
            Self::NexusAgent => "nexus-agent",
            Self::Acme => "acme",
            Self::HealthApi => "health-api",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ServiceName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL
            .into_iter()
            .find(|service| service.as_str() == text)
            .ok_or_else(|| InvalidId::new("service", text, "is not one of the seven services"))
    }
}

/// A text that is not a valid name of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} {rule}")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

impl InvalidId {
    fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        Self {
            kind,
            text: text.chars().take(80).collect(),
            rule,
        }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("Checks the rule: it ", $rule, ".")]
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidId::new($kind, &text, $rule)) }
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A DNS label that starts with a letter: `[a-z]([a-z0-9-]*[a-z0-9])?`, at most `limit` bytes
/// (RFC 1035 section 2.3.1).
fn is_label(text: &str, limit: usize) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= limit
        && bytes[0].is_ascii_lowercase()
        && !text.ends_with('-')
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Names that would collide with the platform's own host names.
const RESERVED_APP_NAMES: [&str; 7] =
    ["api", "www", "admin", "root", "system", "piccolo", "portal"];

text_id!(
    /// An app's name, unique on the device.
    AppName,
    "app name",
    "must be a DNS label of at most 50 characters: lower-case letters, digits and '-', starting with a letter; api, www, admin, root, system, piccolo and portal are reserved",
    |text| is_label(text, 50) && !RESERVED_APP_NAMES.contains(&text)
);

text_id!(
    /// A listener's name, unique on the device; its remote host is `<name>.<tld>`.
    ListenerName,
    "listener name",
    "must be a DNS label: lower-case letters, digits and '-', starting with a letter, at most 63 characters",
    |text| is_label(text, 63)
);

text_id!(
    /// A volume's id, e.g. `app-demo-data`; also its directory name.
    VolumeId,
    "volume id",
    "must be lower-case letters, digits and '-', starting with a letter, at most 120 characters",
    |text| is_label(text, 120)
);

text_id!(
    /// A host name in its normal form: lower case, no trailing dot, at least two labels
    /// (RFC 1035 section 2.3.4: labels of 1 to 63 bytes, 253 in all).
    Hostname,
    "host name",
    "must be a lower-case DNS name of two or more labels, without a trailing dot",
    |text| {
        text.len() <= 253
            && text.contains('.')
            && text.split('.').all(|label| {
                let bytes = label.as_bytes();
                !bytes.is_empty()
                    && bytes.len() <= 63
                    && bytes[0] != b'-'
                    && bytes[bytes.len() - 1] != b'-'
                    && bytes.iter().all(|b| {
                        b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-'
                    })
            })
    }
);

text_id!(
    /// A job's id: 32 lower-case hexadecimal digits.
    JobId,
    "job id",
    "must be 32 lower-case hexadecimal digits",
    |text| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

/// Counts how often a thing was (re)made; a late message of an older generation is ignored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// Seconds since 1970-01-01T00:00:00Z. Zero means the clock was not set.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);
