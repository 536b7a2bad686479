//! Key authorizations the ACME server asks for on port 80 (RFC 8555 section 8.3).

use piccolo_bus_schema::ids::Hostname;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Where the ACME server looks.
pub const PREFIX: &str = "/.well-known/acme-challenge/";

/// No order takes longer; what is forgotten here is published again.
const LIFETIME: Duration = Duration::from_secs(3600);
/// One per name under way; more names than this can't be ordered at once.
const CAPACITY: usize = 256;
const TOKEN_LIMIT: usize = 256;
const AUTHORIZATION_LIMIT: usize = 1024;

/// Why a challenge is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    #[error("must be 1 to {TOKEN_LIMIT} characters of base64url")]
    Token,
    #[error("must be 1 to {AUTHORIZATION_LIMIT} visible characters")]
    KeyAuthorization,
    #[error("{CAPACITY} challenges are published already")]
    Full,
}

/// The challenges published now.
#[derive(Debug, Default)]
pub struct Challenges {
    published: HashMap<(Hostname, String), Published>,
}

#[derive(Debug)]
struct Published {
    key_authorization: String,
    until: Instant,
}

impl Challenges {
    /// Serves a key authorization from now on; the same token again replaces it.
    pub fn publish(
        &mut self,
        host: Hostname,
        token: String,
        key_authorization: String,
        now: Instant,
    ) -> Result<(), NotPublished> {
        if !is_token(&token) {
            return Err(NotPublished::Token);
        }
        let length = 1..=AUTHORIZATION_LIMIT;
        let visible = key_authorization
            .bytes()
            .all(|byte| byte.is_ascii_graphic());
        if !visible || !length.contains(&key_authorization.len()) {
            return Err(NotPublished::KeyAuthorization);
        }
        self.published.retain(|_, published| published.until > now);
        let key = (host, token);
        if self.published.len() >= CAPACITY && !self.published.contains_key(&key) {
            return Err(NotPublished::Full);
        }
        let until = now + LIFETIME;
        let published = Published {
            key_authorization,
            until,
        };
        self.published.insert(key, published);
        Ok(())
    }

    /// Stops serving it.
    pub fn remove(&mut self, host: Hostname, token: String) {
        self.published.remove(&(host, token));
    }

    /// The key authorization of a path such as `/.well-known/acme-challenge/token`.
    pub fn find(&self, host: &Hostname, path: &str, now: Instant) -> Option<&str> {
        let token = path.strip_prefix(PREFIX).filter(|token| is_token(token))?;
        self.published
            .get(&(host.clone(), token.to_owned()))
            .filter(|published| published.until > now)
            .map(|published| published.key_authorization.as_str())
    }
}

fn is_token(text: &str) -> bool {
    (1..=TOKEN_LIMIT).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(name: &str) -> Hostname {
        Hostname::new(name).expect("a name")
    }

    #[test]
    fn a_challenge_belongs_to_its_host_and_ends_after_an_hour() {
        let mut challenges = Challenges::default();
        let now = Instant::now();
        let published = challenges.publish(host("a.example"), "tok".into(), "tok.key".into(), now);
        assert_eq!(published, Ok(()));
        let path = "/.well-known/acme-challenge/tok";
        assert_eq!(
            challenges.find(&host("a.example"), path, now),
            Some("tok.key")
        );
        assert_eq!(challenges.find(&host("b.example"), path, now), None);
        assert_eq!(challenges.find(&host("a.example"), "/tok", now), None);
        assert_eq!(
            challenges.find(&host("a.example"), path, now + LIFETIME),
            None
        );
        challenges.remove(host("a.example"), "tok".into());
        assert_eq!(challenges.find(&host("a.example"), path, now), None);
    }

    #[test]
    fn the_number_of_challenges_is_bounded() {
        let mut challenges = Challenges::default();
        let now = Instant::now();
        for n in 0..CAPACITY {
            let token = format!("t{n}");
            assert!(
                challenges
                    .publish(host("a.example"), token, "k".into(), now)
                    .is_ok()
            );
        }
        let more = challenges.publish(host("a.example"), "more".into(), "k".into(), now);
        assert_eq!(more, Err(NotPublished::Full));
        let again = challenges.publish(host("a.example"), "t0".into(), "k".into(), now);
        assert_eq!(again, Ok(()));
    }

    proptest! {
        #[test]
        fn nothing_but_base64url_is_a_token(token in "\\PC{0,20}", key in "\\PC{0,20}") {
            let mut challenges = Challenges::default();
            let published = challenges.publish(host("a.example"), token.clone(), key, Instant::now());
            if published.is_ok() {
                prop_assert!(is_token(&token));
                prop_assert!(!token.contains('/') && !token.contains('.'));
            }
        }
    }
}
