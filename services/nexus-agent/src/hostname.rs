//! Host names in their normal form, and which of them the device claims.

use piccolo_bus_schema::ids::{Hostname, ListenerName};
use std::collections::BTreeSet;

/// The normal form of what an owner typed: trimmed, one trailing dot dropped, A-labels, lower
/// case (protocol, 2.3; UTS 46). The error is a sentence for the owner.
pub(crate) fn normalise(text: &str) -> Result<Hostname, String> {
    let trimmed = text.trim();
    let bare = trimmed.strip_suffix('.').unwrap_or(trimmed);
    let ascii = idna::domain_to_ascii(bare).map_err(|_| "is not a host name".to_owned())?;
    Hostname::new(ascii).map_err(|_| {
        "must be a host name of two or more labels, such as home.example.com".to_owned()
    })
}

/// The remote host of a listener; `None` when the whole would be too long for DNS.
pub(crate) fn of_listener(listener: &ListenerName, tld: &Hostname) -> Option<Hostname> {
    Hostname::new(format!("{listener}.{tld}")).ok()
}

/// Every name of the device, sorted, none twice: the portal's own and one per listener. Never a
/// wildcard: a name that is not claimed can't be probed.
pub(crate) fn claimed<'a>(
    portal: &Hostname,
    tld: &Hostname,
    listeners: impl IntoIterator<Item = &'a ListenerName>,
) -> Vec<Hostname> {
    let names: BTreeSet<Hostname> = listeners
        .into_iter()
        .filter_map(|listener| of_listener(listener, tld))
        .chain([portal.clone()])
        .collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_typed_name_is_brought_to_its_normal_form() {
        for (typed, normal) in [
            (" App.Example.COM. ", "app.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example"),
        ] {
            assert_eq!(normalise(typed).expect(typed).as_str(), normal);
        }
    }

    #[test]
    fn what_is_not_a_host_name_is_refused() {
        for typed in [
            "",
            ".",
            "localhost",
            "*.example.com",
            "a..b",
            "a b.example",
            "tcp:80",
            "a.example..",
        ] {
            assert!(normalise(typed).is_err(), "{typed:?}");
        }
    }

    #[test]
    fn claims_are_sorted_and_single() {
        let portal = normalise("me.example.com").expect("a name");
        let tld = normalise("example.com").expect("a name");
        let listeners = ["web", "api", "me"].map(|name| ListenerName::new(name).expect("a name"));
        let claimed = claimed(&portal, &tld, &listeners);
        let claimed: Vec<_> = claimed.iter().map(Hostname::as_str).collect();
        assert_eq!(
            claimed,
            ["api.example.com", "me.example.com", "web.example.com"]
        );
    }

    proptest! {
        #[test]
        fn normal_form_is_a_fixed_point(typed in "\\PC{0,40}") {
            if let Ok(normal) = normalise(&typed) {
                prop_assert_eq!(normalise(normal.as_str()), Ok(normal));
            }
        }
    }
}
