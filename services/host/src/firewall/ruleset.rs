//! The text of the table: a pure function of the rules.

use std::{fmt, fmt::Write as _};

/// Not the internet (IANA's special-purpose registries, RFC 6890): private, shared (100.64/10),
/// link-local, test, multicast and reserved addresses.
const NOT_INTERNET_V4: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, \
     172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";
/// Global unicast (RFC 4291 section 2.4) and the translators' prefix (RFC 6052).
const INTERNET_V6: &str = "2000::/3, 64:ff9b::/96";
/// RFC 1918 and RFC 3927.
const LOCAL_V4: &str = "10.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16";
/// RFC 4193 and link-local.
const LOCAL_V6: &str = "fc00::/7, fe80::/10";

/// The name of an app's bridge: `pic` and one to twelve more of `[a-z0-9]`. The kernel allows 15
/// bytes; nothing in it means anything to `nft`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bridge(String);

/// Not the name of an app's bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `pic` followed by one to twelve of a-z and 0-9")]
pub(crate) struct InvalidBridge;

impl TryFrom<String> for Bridge {
    type Error = InvalidBridge;

    fn try_from(text: String) -> Result<Self, InvalidBridge> {
        let valid = text.strip_prefix("pic").is_some_and(|rest| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            (1..=12).contains(&rest.len()) && rest.bytes().all(plain)
        });
        if valid {
            Ok(Self(text))
        } else {
            Err(InvalidBridge)
        }
    }
}

impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may leave one bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) bridge: Bridge,
    pub(crate) internet: bool,
    pub(crate) local_network: bool,
}

/// The script that puts exactly this table in place, in one transaction.
pub(crate) fn table(rules: &[Rule]) -> String {
    let internet = set("internet", rules, |rule| rule.internet);
    let local_network = set("local_network", rules, |rule| rule.local_network);
    // Neighbour discovery is not tracked by the kernel, and without it an app has no IPv6 at all,
    // replies included; hop limit 255 means it comes from the bridge itself (RFC 4861 section 7.1).
    replace(&format!(
        "table inet piccolo {{\n\
         {internet}{local_network}\
         \tchain forward {{\n\
         \t\ttype filter hook forward priority -10; policy accept;\n\
         \t\tiifname \"pic*\" jump leaving\n\
         \t}}\n\
         \tchain input {{\n\
         \t\ttype filter hook input priority -10; policy accept;\n\
         \t\tiifname \"pic*\" jump entering\n\
         \t}}\n\
         \tchain leaving {{\n\
         \t\tct state established,related accept\n\
         \t\toifname \"pic*\" drop\n\
         \t\tiifname @internet ip daddr != {{ {NOT_INTERNET_V4} }} accept\n\
         \t\tiifname @internet ip6 daddr {{ {INTERNET_V6} }} accept\n\
         \t\tiifname @local_network ip daddr {{ {LOCAL_V4} }} accept\n\
         \t\tiifname @local_network ip6 daddr {{ {LOCAL_V6} }} accept\n\
         \t\tdrop\n\
         \t}}\n\
         \tchain entering {{\n\
         \t\tct state established,related accept\n\
         \t\tip6 hoplimit 255 icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept\n\
         \t\tdrop\n\
         \t}}\n\
         }}\n"
    ))
}

/// A script that replaces the table by the one written, be there one before or not: adding an
/// existing table is no error, deleting a missing one is.
pub(crate) fn replace(table: &str) -> String {
    format!("table inet piccolo\ndelete table inet piccolo\n{table}")
}

fn set(name: &str, rules: &[Rule], is_member: impl Fn(&Rule) -> bool) -> String {
    let mut members: Vec<_> = rules
        .iter()
        .filter(|rule| is_member(rule))
        .map(|rule| &rule.bridge)
        .collect();
    members.sort();
    members.dedup();
    let mut text = format!("\tset {name} {{\n\t\ttype ifname\n");
    if !members.is_empty() {
        let quoted: Vec<_> = members
            .iter()
            .map(|bridge| format!("\"{bridge}\""))
            .collect();
        let _ = writeln!(text, "\t\telements = {{ {} }}", quoted.join(", "));
    }
    text.push_str("\t}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(bridge: &str, internet: bool, local_network: bool) -> Rule {
        Rule {
            bridge: Bridge::try_from(bridge.to_owned()).expect("a valid name"),
            internet,
            local_network,
        }
    }

    #[test]
    fn a_name_that_could_mean_more_than_a_bridge_is_refused() {
        let long = "pic0123456789abc";
        for name in [
            "", "pic", "eth0", "picA", "pic*", "pic\"", "pic a", "pic-1", long,
        ] {
            assert_eq!(
                Bridge::try_from(name.to_owned()),
                Err(InvalidBridge),
                "{name}"
            );
        }
        assert!(Bridge::try_from("pic0123456789ab".to_owned()).is_ok());
    }

    #[test]
    fn without_rules_no_set_has_a_member() {
        assert!(!table(&[]).contains("elements"));
    }

    #[test]
    fn each_permission_has_its_own_set() {
        let text = table(&[rule("picb", true, false), rule("pica", true, true)]);
        assert!(
            text.contains("set internet {\n\t\ttype ifname\n\t\telements = { \"pica\", \"picb\" }")
        );
        assert!(text.contains("set local_network {\n\t\ttype ifname\n\t\telements = { \"pica\" }"));
    }

    proptest! {
        #[test]
        fn every_accepted_name_is_plain(text in ".{0,20}") {
            if let Ok(bridge) = Bridge::try_from(text) {
                let name = bridge.to_string();
                prop_assert!(name.len() <= 15 && name.bytes().all(|b| b.is_ascii_alphanumeric()));
            }
        }

        #[test]
        fn the_whole_table_is_dropped_and_made_in_one_script(names in prop::collection::vec("pic[a-z0-9]{1,12}", 0..8)) {
            let rules: Vec<_> = names.iter().map(|name| rule(name, true, false)).collect();
            let text = table(&rules);
            let replaced = text.starts_with("table inet piccolo\ndelete table inet piccolo\ntable inet piccolo {");
            prop_assert!(replaced);
            prop_assert_eq!(text.matches("\t\tdrop\n").count(), 2);
            prop_assert!(names.iter().all(|name| text.contains(name.as_str())));
        }
    }
}
