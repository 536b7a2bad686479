//! What the owner sets: the relay, the secret shared with it, and the device's names.

use crate::{hostname, relay_address::RelayAddress};
use piccolo_bus_schema::ids::Hostname;
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// Remote access as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) relay: RelayAddress,
    /// Apps are `<listener>.<tld>`.
    pub(crate) tld: Hostname,
    pub(crate) portal: Hostname,
    pub(crate) acme_email: Option<String>,
}

/// A field that breaks its rule, and the rule as a sentence for the owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub(crate) struct InvalidField {
    pub(crate) field: &'static str,
    pub(crate) why: String,
}

impl Settings {
    /// Checks what was typed, field by field; the first broken rule is the answer.
    pub(crate) fn check(
        endpoint: &str,
        tld: &str,
        portal_hostname: &str,
        acme_email: Option<&str>,
    ) -> Result<Self, InvalidField> {
        let field = |field| move |why| InvalidField { field, why };
        Ok(Self {
            relay: endpoint.parse().map_err(field("endpoint"))?,
            tld: hostname::normalise(tld).map_err(field("tld"))?,
            portal: hostname::normalise(portal_hostname).map_err(field("portal_hostname"))?,
            acme_email: acme_email
                .map(str::trim)
                .filter(|address| !address.is_empty())
                .map(|address| check_email(address).map_err(field("acme_email")))
                .transpose()?,
        })
    }
}

/// Not RFC 5321's whole grammar: one `@`, something before it, a host name after it.
fn check_email(address: &str) -> Result<String, String> {
    let plausible = address.len() <= 254
        && address.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.chars().all(|c| !c.is_whitespace() && !c.is_control())
                && hostname::normalise(domain).is_ok()
        });
    plausible
        .then(|| address.to_owned())
        .ok_or_else(|| "must be an e-mail address, such as me@example.com".to_owned())
}

/// What the device signs its relay tokens with. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceSecret(Arc<Zeroizing<Vec<u8>>>);

impl DeviceSecret {
    /// More is a mistake: HMAC hashes any longer key down to 32 bytes.
    const LIMIT: usize = 4096;

    /// Checks the length: 1 to 4096 bytes.
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, InvalidField> {
        let why = match bytes.len() {
            0 => "must not be empty",
            1..=Self::LIMIT => return Ok(Self(Arc::new(bytes))),
            _ => "must be at most 4096 bytes long",
        };
        Err(InvalidField {
            field: "device_secret",
            why: why.to_owned(),
        })
    }

    /// The bytes, for signing and for sealing.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceSecret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: &str = "wss://relay.example.com:8443/connect";

    #[test]
    fn each_broken_rule_names_its_field() {
        for (endpoint, tld, portal, email, field) in [
            (
                "ws://relay/connect",
                "example.com",
                "me.example.com",
                None,
                "endpoint",
            ),
            (RELAY, "com", "me.example.com", None, "tld"),
            (
                RELAY,
                "example.com",
                "*.example.com",
                None,
                "portal_hostname",
            ),
            (
                RELAY,
                "example.com",
                "me.example.com",
                Some("nobody"),
                "acme_email",
            ),
            (
                RELAY,
                "example.com",
                "me.example.com",
                Some("a@b@c.example"),
                "acme_email",
            ),
            (
                RELAY,
                "example.com",
                "me.example.com",
                Some("a b@c.example"),
                "acme_email",
            ),
        ] {
            let error = Settings::check(endpoint, tld, portal, email).expect_err(field);
            assert_eq!(error.field, field);
        }
    }

    #[test]
    fn an_empty_email_counts_as_none() {
        let settings = Settings::check(RELAY, "Example.com.", "ME.example.com", Some("  "));
        let settings = settings.expect("valid settings");
        assert_eq!(settings.acme_email, None);
        assert_eq!(settings.portal.as_str(), "me.example.com");
    }

    #[test]
    fn a_secret_has_a_length_and_no_face() {
        for length in [0, 4097] {
            let error = DeviceSecret::new(Zeroizing::new(vec![b'x'; length]));
            assert_eq!(error.expect_err("a bad length").field, "device_secret");
        }
        let secret = DeviceSecret::new(Zeroizing::new(b"canary".to_vec())).expect("a secret");
        assert!(!format!("{secret:?}").contains("canary"));
        assert_eq!(secret.expose(), b"canary");
    }
}
