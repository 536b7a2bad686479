//! Address ranges a listener is open to.

use std::net::IpAddr;

/// `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads a range; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let widest = width(network);
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= widest)?,
            None => widest,
        };
        Some(Self { network, prefix })
    }

    /// Is the address in the range? An IPv4-mapped address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if width(address) != width(self.network) {
            return false;
        }
        let shift = 128 - u32::from(self.prefix);
        let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
        (bits(address) ^ bits(self.network)) & mask == 0
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address in the highest bits.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_in(range: &str, address: &str) -> bool {
        let range = Cidr::parse(range).expect("a range");
        range.contains(address.parse().expect("an address"))
    }

    #[test]
    fn ranges_end_where_they_end() {
        assert!(is_in("192.0.2.0/24", "192.0.2.255"));
        assert!(!is_in("192.0.2.0/24", "192.0.3.0"));
        assert!(is_in("192.0.2.7", "192.0.2.7"));
        assert!(!is_in("192.0.2.7", "192.0.2.8"));
        assert!(is_in("0.0.0.0/0", "203.0.113.9"));
        assert!(!is_in("0.0.0.0/0", "2001:db8::1"));
        assert!(is_in("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(is_in("192.0.2.0/24", "::ffff:192.0.2.1"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "192.0.2.0/33",
            "192.0.2/24",
            "::/129",
            "a/8",
            "192.0.2.0/-1",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_in_every_range_around_it(ip: IpAddr, prefix in 0_u8..=128) {
            let ip = ip.to_canonical();
            let prefix = prefix.min(width(ip));
            let range = Cidr::parse(&format!("{ip}/{prefix}")).expect("a range");
            prop_assert!(range.contains(ip));
        }
    }
}
