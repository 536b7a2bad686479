//! What stands between a visitor and an app. A rule that can't be enforced closes the route.

use crate::{
    allow::Cidr,
    cookie,
    rate_limit::{Rate, RateLimiter},
    refusal::Refusal,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use piccolo_bus_schema::app::Middleware;
use std::{net::IpAddr, sync::Arc, time::Instant};

/// The rules of one listener, ready to be applied.
#[derive(Clone, Debug)]
pub enum Chain {
    Open(Rules),
    /// Nothing passes.
    Closed {
        why: String,
    },
}

/// Rules that can be enforced.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// A visitor must be in each list.
    allow: Vec<Vec<Cidr>>,
    limiter: Option<Arc<RateLimiter>>,
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

/// Response fields that belong to the connection, not to the app's owner.
const FRAMING: [&str; 6] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "trailer",
];

impl Chain {
    /// Makes the rules of a listener. Buckets of `previous` live on while the rate is the same.
    pub fn compile(middleware: &[Middleware], previous: Option<&Self>) -> Self {
        let mut rules = Rules::default();
        for step in middleware {
            if let Err(why) = rules.add(step, previous) {
                return Self::Closed { why };
            }
        }
        Self::Open(rules)
    }

    /// Lets a visitor in, or says why not.
    pub fn admit(&self, visitor: IpAddr, now: Instant) -> Result<&Rules, Refusal> {
        match self {
            Self::Open(rules) => rules.admit(visitor, now).map(|()| rules),
            Self::Closed { why } => Err(Refusal::NotEnforceable { why: why.clone() }),
        }
    }

    fn limiter(&self) -> Option<&Arc<RateLimiter>> {
        match self {
            Self::Open(rules) => rules.limiter.as_ref(),
            Self::Closed { .. } => None,
        }
    }
}

impl Rules {
    fn add(&mut self, step: &Middleware, previous: Option<&Chain>) -> Result<(), String> {
        match step {
            Middleware::RequireLogin => {
                return Err("require_login is not supported yet".to_owned());
            }
            Middleware::RateLimit {
                requests_per_second,
                burst,
            } => {
                let rate = Rate {
                    per_second: *requests_per_second,
                    burst: *burst,
                };
                if rate.per_second == 0 {
                    return Err("requests_per_second is 0".to_owned());
                }
                let kept = previous
                    .and_then(Chain::limiter)
                    .filter(|limiter| limiter.rate() == rate);
                let limiter = kept.cloned();
                self.limiter = Some(limiter.unwrap_or_else(|| Arc::new(RateLimiter::new(rate))));
            }
            Middleware::Headers { set, remove } => {
                for (name, value) in set {
                    let name = field_name(name)?;
                    let bad = || format!("the value of {name} is not a header value");
                    let value = HeaderValue::from_str(value).map_err(|_| bad())?;
                    self.set.push((name, value));
                }
                for name in remove {
                    self.remove.push(field_name(name)?);
                }
            }
            Middleware::Allow { cidrs } => {
                let bad = |text: &str| format!("{text:?} is not an address range");
                let ranges = cidrs
                    .iter()
                    .map(|text| Cidr::parse(text).ok_or_else(|| bad(text)));
                self.allow.push(ranges.collect::<Result<_, _>>()?);
            }
        }
        Ok(())
    }

    fn admit(&self, visitor: IpAddr, now: Instant) -> Result<(), Refusal> {
        let is_in = |ranges: &Vec<Cidr>| ranges.iter().any(|range| range.contains(visitor));
        if !self.allow.iter().all(is_in) {
            return Err(Refusal::NotAllowed);
        }
        match &self.limiter {
            Some(limiter) => limiter
                .admit(visitor, now)
                .map_err(|wait| Refusal::TooManyRequests { wait }),
            None => Ok(()),
        }
    }

    /// Changes an app's answer: fields removed, fields set, and never a cookie of the platform.
    pub fn finish(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        cookie::refuse_ours(headers);
    }
}

fn field_name(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text
        .parse()
        .map_err(|_| format!("{text:?} is not a header name"))?;
    if FRAMING.contains(&name.as_str()) {
        return Err(format!("{name} belongs to the connection"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor() -> IpAddr {
        "192.0.2.7".parse().expect("an address")
    }

    fn limit(burst: u32) -> Middleware {
        Middleware::RateLimit {
            requests_per_second: 1,
            burst,
        }
    }

    fn allow(cidr: &str) -> Middleware {
        Middleware::Allow {
            cidrs: vec![cidr.to_owned()],
        }
    }

    fn headers(set: (&str, &str)) -> Middleware {
        Middleware::Headers {
            set: vec![(set.0.to_owned(), set.1.to_owned())],
            remove: vec!["server".to_owned()],
        }
    }

    #[test]
    fn what_cannot_be_enforced_closes_the_route() {
        let broken = [
            Middleware::RequireLogin,
            allow("everyone"),
            headers(("content-length", "0")),
            headers(("a b", "0")),
            Middleware::RateLimit {
                requests_per_second: 0,
                burst: 1,
            },
        ];
        for step in broken {
            let chain = Chain::compile(std::slice::from_ref(&step), None);
            let refusal = chain.admit(visitor(), Instant::now()).expect_err("closed");
            assert!(
                matches!(refusal, Refusal::NotEnforceable { .. }),
                "{step:?}"
            );
        }
    }

    #[test]
    fn a_visitor_must_be_in_every_list() {
        let now = Instant::now();
        let one = Chain::compile(&[allow("192.0.2.0/24")], None);
        assert!(one.admit(visitor(), now).is_ok());
        let both = Chain::compile(&[allow("192.0.2.0/24"), allow("10.0.0.0/8")], None);
        assert_eq!(both.admit(visitor(), now).err(), Some(Refusal::NotAllowed));
    }

    #[test]
    fn a_rebuilt_table_does_not_refill_the_buckets() {
        let now = Instant::now();
        let chain = Chain::compile(&[limit(1)], None);
        assert!(chain.admit(visitor(), now).is_ok());
        let same = Chain::compile(&[limit(1)], Some(&chain));
        assert!(same.admit(visitor(), now).is_err());
        let other = Chain::compile(&[limit(2)], Some(&chain));
        assert!(other.admit(visitor(), now).is_ok());
    }

    #[test]
    fn fields_are_set_and_removed_but_our_cookies_are_never_set() {
        let steps = [
            headers(("x-frame-options", "DENY")),
            headers(("set-cookie", "piccolo_session=x")),
        ];
        let chain = Chain::compile(&steps, None);
        let rules = chain.admit(visitor(), Instant::now()).expect("open");
        let mut fields = HeaderMap::new();
        fields.insert("server", HeaderValue::from_static("nginx"));
        rules.finish(&mut fields);
        assert_eq!(fields.len(), 1);
        assert_eq!(fields["x-frame-options"], "DENY");
    }
}
