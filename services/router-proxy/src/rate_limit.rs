//! A token bucket for each visitor of a listener.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Visitors remembered at once; at the bound the one not seen for longest is forgotten, which is
/// to its advantage.
const VISITORS: usize = 8192;

/// How often a visitor may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// Tokens left at a moment.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn refilled(self, rate: Rate, now: Instant) -> Self {
        let earned =
            now.saturating_duration_since(self.at).as_secs_f64() * f64::from(rate.per_second);
        Self {
            tokens: (self.tokens + earned).min(f64::from(rate.burst.max(1))),
            at: now,
        }
    }
}

/// The buckets of one listener.
#[derive(Debug)]
pub struct RateLimiter {
    rate: Rate,
    visitors: Mutex<HashMap<IpAddr, Bucket>>,
}

impl RateLimiter {
    /// All buckets full.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            visitors: Mutex::default(),
        }
    }

    /// What it was made with.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes a token, or says how long until there is one.
    pub fn admit(&self, visitor: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut visitors = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let visitor = subscriber(visitor);
        if !visitors.contains_key(&visitor) && visitors.len() >= VISITORS {
            make_room(&mut visitors);
        }
        let full = Bucket {
            tokens: f64::from(self.rate.burst.max(1)),
            at: now,
        };
        let bucket = visitors.entry(visitor).or_insert(full);
        *bucket = bucket.refilled(self.rate, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let missing = (1.0 - bucket.tokens) / f64::from(self.rate.per_second.max(1));
        Err(Duration::from_secs_f64(missing))
    }
}

fn make_room(visitors: &mut HashMap<IpAddr, Bucket>) {
    let oldest = visitors.iter().min_by_key(|(_, bucket)| bucket.at);
    if let Some(visitor) = oldest.map(|(visitor, _)| *visitor) {
        visitors.remove(&visitor);
    }
}

/// One subscriber holds a whole IPv6 /64, and counts once.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn after_the_burst_a_visitor_waits_for_its_rate() {
        let limiter = RateLimiter::new(Rate {
            per_second: 2,
            burst: 3,
        });
        let start = Instant::now();
        for _ in 0..3 {
            assert!(limiter.admit(ip("192.0.2.1"), start).is_ok());
        }
        let wait = limiter
            .admit(ip("192.0.2.1"), start)
            .expect_err("the burst is used up");
        assert_eq!(wait, Duration::from_millis(500));
        assert!(
            limiter.admit(ip("192.0.2.2"), start).is_ok(),
            "another visitor"
        );
        assert!(limiter.admit(ip("192.0.2.1"), start + wait).is_ok());
    }

    #[test]
    fn one_ipv6_subscriber_is_one_visitor() {
        let limiter = RateLimiter::new(Rate {
            per_second: 1,
            burst: 1,
        });
        let now = Instant::now();
        assert!(limiter.admit(ip("2001:db8::1"), now).is_ok());
        assert!(limiter.admit(ip("2001:db8::2"), now).is_err());
        assert!(limiter.admit(ip("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn the_number_of_visitors_remembered_is_bounded() {
        let limiter = RateLimiter::new(Rate {
            per_second: 1,
            burst: 1,
        });
        let start = Instant::now();
        for n in 0..VISITORS as u32 + 10 {
            let later = start + Duration::from_micros(u64::from(n));
            let _ = limiter.admit(IpAddr::V4(n.into()), later);
        }
        assert_eq!(limiter.visitors.lock().expect("a lock").len(), VISITORS);
    }

    proptest! {
        #[test]
        fn no_visitor_gets_more_than_burst_and_rate(
            per_second in 1_u32..50, burst in 1_u32..50,
            steps in proptest::collection::vec(0_u64..300, 1..200),
        ) {
            let limiter = RateLimiter::new(Rate { per_second, burst });
            let start = Instant::now();
            let mut elapsed = 0;
            let mut admitted = 0_u32;
            for step in steps {
                elapsed += step;
                let now = start + Duration::from_millis(elapsed);
                admitted += u32::from(limiter.admit(ip("192.0.2.1"), now).is_ok());
            }
            let most = f64::from(burst) + f64::from(per_second) * elapsed as f64 / 1000.0;
            prop_assert!(f64::from(admitted) <= most + 1e-6);
        }
    }
}
