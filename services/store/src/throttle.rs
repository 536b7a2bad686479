//! Slows guessing: failures are counted per client, and refused before anything is hashed. Pure.

use piccolo_bus_schema::lock::Client;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// Failures without a wait: owners mistype.
const FREE: u32 = 4;
/// Longest wait (seconds).
const LONGEST: u64 = 15 * 60;
/// Clients remembered; the one longest quiet is forgotten first.
const REMEMBERED: usize = 4096;
/// Forgotten after this much quiet (seconds).
const FORGET: u64 = 24 * 3600;

/// Failures per client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Throttle {
    clients: BTreeMap<String, Failures>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Failures {
    count: u32,
    /// Unix seconds of the last one.
    last: u64,
}

impl Throttle {
    /// Seconds to wait before the next try; `None` when it may go ahead.
    pub(crate) fn wait(&self, client: Client, now: u64) -> Option<u64> {
        let failures = self.clients.get(&name(client))?;
        let pause = pause(failures.count)?;
        // A clock that was set back must not lock anyone out for longer than the pause.
        let end = failures.last.min(now).saturating_add(pause);
        end.checked_sub(now).filter(|wait| *wait > 0)
    }

    pub(crate) fn failed(&mut self, client: Client, now: u64) {
        self.clients
            .retain(|_, failures| now.saturating_sub(failures.last) < FORGET);
        if self.clients.len() >= REMEMBERED
            && let Some(quiet) = self
                .clients
                .iter()
                .min_by_key(|(_, f)| f.last)
                .map(|(name, _)| name.clone())
        {
            self.clients.remove(&quiet);
        }
        let failures = self.clients.entry(name(client)).or_insert(Failures {
            count: 0,
            last: now,
        });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    pub(crate) fn succeeded(&mut self, client: Client) {
        self.clients.remove(&name(client));
    }
}

/// From the fifth failure: 1 s, doubling to 15 minutes.
fn pause(failures: u32) -> Option<u64> {
    let beyond = failures.checked_sub(FREE + 1)?;
    Some(
        1_u64
            .checked_shl(beyond.min(20))
            .map_or(LONGEST, |pause| pause.min(LONGEST)),
    )
}

/// LAN and remote apart; an IPv6 client is its /64.
fn name(client: Client) -> String {
    match client {
        Client::Local => "local".to_owned(),
        Client::Lan(address) => format!("lan {}", network(address)),
        Client::Remote(address) => format!("remote {}", network(address)),
    }
}

fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lan(last: u8) -> Client {
        Client::Lan(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn the_fifth_failure_waits_a_second_and_each_further_one_twice_as_long() {
        let mut throttle = Throttle::default();
        for _ in 0..4 {
            throttle.failed(lan(1), 100);
            assert_eq!(throttle.wait(lan(1), 100), None);
        }
        for expected in [1, 2, 4, 8, 16] {
            throttle.failed(lan(1), 100);
            assert_eq!(throttle.wait(lan(1), 100), Some(expected));
        }
        assert_eq!(throttle.wait(lan(1), 116), None);
        assert_eq!(
            throttle.wait(lan(2), 100),
            None,
            "another client waits for nobody"
        );
        assert_eq!(throttle.wait(Client::Local, 100), None);
        throttle.succeeded(lan(1));
        assert_eq!(throttle.wait(lan(1), 100), None);
    }

    #[test]
    fn a_whole_ipv6_network_is_one_client() {
        let mut throttle = Throttle::default();
        for host in 0..6_u16 {
            let address = IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, host]);
            throttle.failed(Client::Remote(address), 100);
        }
        let another = IpAddr::from([0x2001, 0xdb8, 1, 2, 9, 9, 9, 9]);
        assert!(throttle.wait(Client::Remote(another), 100).is_some());
    }

    proptest! {
        #[test]
        fn waits_are_bounded_and_memory_too(
            tries in proptest::collection::vec((any::<u8>(), 0..1_000_000_u64), 1..300),
        ) {
            let mut throttle = Throttle::default();
            for (client, at) in tries {
                throttle.failed(lan(client), at);
                prop_assert!(throttle.wait(lan(client), 0).unwrap_or(0) <= LONGEST);
            }
            prop_assert!(throttle.clients.len() <= REMEMBERED);
        }
    }
}
