//! Names as the relay compares them, and what a claimed name can match.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// What a normalized claim stands for in the route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// One name.
    Exact(String),
    /// `*.suffix`: every name with exactly one label in front of `suffix`.
    Wildcard { suffix: String },
    /// A name with a misplaced `*` (`*.com`, `a.*.b`). It is accepted as a claim, because the
    /// token stays comparable with its successors, but nothing ever matches it.
    Unmatchable,
}

/// Trims spaces, drops one trailing dot, maps to A-labels (UTS 46 lookup processing) and lowers
/// the case. A name that IDNA refuses (an underscore, say) is kept as it is. A leading `*.` is kept
/// and the rest normalized. The result may be empty.
pub fn normalize(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.strip_prefix("*.") {
        Some(rest) => format!("*.{}", to_ascii(rest)),
        None => to_ascii(name),
    }
}

/// Length is deliberately unchecked: clients register names longer than DNS allows in tests of
/// their own limits, and a name that DNS cannot carry harms nobody here.
fn to_ascii(name: &str) -> String {
    Uts46::new()
        .to_ascii(
            name.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::Check,
            DnsLength::Ignore,
        )
        .map_or_else(|_| name.to_lowercase(), |mapped| mapped.to_lowercase())
}

/// Route keys of port claims live in the same table, so a host name must not look like one.
pub fn is_reserved(normalized: &str) -> bool {
    normalized.starts_with("tcp:") || normalized.starts_with("udp:")
}

/// Sorts a normalized claim into what it can match.
pub fn pattern(normalized: &str) -> Pattern {
    match normalized.strip_prefix("*.") {
        Some(suffix) if is_wildcard_suffix(suffix) => Pattern::Wildcard {
            suffix: suffix.to_owned(),
        },
        _ if normalized.contains('*') => Pattern::Unmatchable,
        _ => Pattern::Exact(normalized.to_owned()),
    }
}

/// At least two labels (`*.com` would claim a whole registry), none empty, no further `*`.
fn is_wildcard_suffix(suffix: &str) -> bool {
    suffix.contains('.')
        && !suffix.contains('*')
        && suffix.split('.').all(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spaces_one_trailing_dot_and_case_do_not_matter() {
        assert_eq!(normalize("  APP.Test. "), "app.test");
        assert_eq!(normalize("app.test.."), "app.test.");
        assert_eq!(normalize("*.Example.COM."), "*.example.com");
        assert_eq!(normalize(" . "), "");
    }

    #[test]
    fn a_unicode_name_equals_its_a_label() {
        assert_eq!(normalize("Bücher.example"), "xn--bcher-kva.example");
        assert_eq!(normalize("*.bücher.example"), "*.xn--bcher-kva.example");
    }

    #[test]
    fn a_name_idna_refuses_is_kept_in_lower_case() {
        assert_eq!(normalize("My_Host.example"), "my_host.example");
        assert_eq!(normalize("TCP:53"), "tcp:53");
    }

    #[test]
    fn a_name_of_ten_thousand_bytes_is_kept() {
        let name = format!("{}.test", "a".repeat(10_000));
        assert_eq!(normalize(&name), name);
    }

    #[test]
    fn a_wildcard_needs_two_more_labels() {
        let wildcard = |suffix: &str| Pattern::Wildcard {
            suffix: suffix.to_owned(),
        };
        assert_eq!(pattern("*.example.com"), wildcard("example.com"));
        for dead in [
            "*.com", "*.*.com", "*", "a.*.com", "*.a..com", "*.", "*.com.",
        ] {
            assert_eq!(pattern(dead), Pattern::Unmatchable, "{dead}");
        }
        assert_eq!(pattern("a.b"), Pattern::Exact("a.b".to_owned()));
    }

    #[test]
    fn route_keys_are_reserved() {
        assert!(is_reserved("tcp:53") && is_reserved("udp:1"));
        assert!(!is_reserved("tcp.example"));
    }

    proptest! {
        #[test]
        fn any_text_normalizes_without_panic_to_lower_case(name in ".{0,80}") {
            let once = normalize(&name);
            let _ = pattern(&once);
            prop_assert_eq!(once.to_lowercase(), once);
        }
    }
}
