//! When a name is due. Pure.

use piccolo_bus_schema::{
    control::{CertificateRecord, OrderState},
    ids::UnixSeconds,
};

/// The first tries come quickly: a name that was just set up often fails only because the tunnel is
/// not yet there.
const QUICK_TRIES: u32 = 5;
const QUICK: u64 = 10;
/// Longest pause; a certificate authority counts failures per hour.
const LONGEST: u64 = 6 * 3600;

/// What to do about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    At(UnixSeconds),
}

/// Decides for a record, or for a name that has none yet.
pub(crate) fn due(record: Option<&CertificateRecord>, now: UnixSeconds) -> Due {
    let Some(record) = record else {
        return Due::Now;
    };
    if let Some(next) = record.next_attempt.filter(|next| *next > now) {
        return Due::At(next);
    }
    if record.order != OrderState::Idle || record.chain_pem.is_none() || record.attempts > 0 {
        return Due::Now;
    }
    match renewal(record) {
        Some(at) if at > now => Due::At(at),
        Some(_) | None => Due::Now,
    }
}

/// Two thirds of the lifetime after the issue, as Let's Encrypt recommends.
fn renewal(record: &CertificateRecord) -> Option<UnixSeconds> {
    let (issued, expires) = (record.issued_at?.0, record.expires_at?.0);
    Some(UnixSeconds(issued + expires.saturating_sub(issued) * 2 / 3))
}

/// The pause after the n-th failure in a row (from 1), before jitter. Seconds.
pub(crate) fn pause(failures: u32) -> u64 {
    if failures <= QUICK_TRIES {
        return QUICK;
    }
    let doublings = (failures - QUICK_TRIES).min(20);
    (QUICK << doublings).min(LONGEST)
}

/// The next attempt: the pause and up to a quarter more, so that a village of devices does not
/// come back in step. `spread` is a random number of 0 to 99.
pub(crate) fn next_attempt(failures: u32, spread: u64, now: UnixSeconds) -> UnixSeconds {
    let pause = pause(failures);
    UnixSeconds(now.0 + pause + pause * spread.min(99) / 400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn issued(at: u64, expires: u64) -> CertificateRecord {
        CertificateRecord {
            host: "demo.home.example".parse().expect("a name"),
            chain_pem: Some("chain".to_owned()),
            issuer: None,
            issued_at: Some(UnixSeconds(at)),
            expires_at: Some(UnixSeconds(expires)),
            generation: 1,
            order: OrderState::Idle,
            attempts: 0,
            next_attempt: None,
            last_error: None,
        }
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let record = issued(1000, 1900);
        assert_eq!(
            due(Some(&record), UnixSeconds(1599)),
            Due::At(UnixSeconds(1600))
        );
        assert_eq!(due(Some(&record), UnixSeconds(1600)), Due::Now);
    }

    #[test]
    fn an_interrupted_order_is_due_at_once() {
        let mut record = issued(1000, 1900);
        record.order = OrderState::New;
        assert_eq!(due(Some(&record), UnixSeconds(1001)), Due::Now);
    }

    #[test]
    fn a_failed_order_waits_for_its_pause_and_is_never_given_up() {
        let mut record = issued(1000, 1900);
        record.attempts = 40;
        record.next_attempt = Some(UnixSeconds(5000));
        assert_eq!(
            due(Some(&record), UnixSeconds(4999)),
            Due::At(UnixSeconds(5000))
        );
        assert_eq!(due(Some(&record), UnixSeconds(5000)), Due::Now);
    }

    proptest! {
        #[test]
        fn pauses_grow_to_a_bound(failures in 1..10_000_u32, spread in 0..1000_u64) {
            prop_assert!(pause(failures) <= pause(failures + 1));
            prop_assert!(pause(failures) <= LONGEST);
            let next = next_attempt(failures, spread, UnixSeconds(0)).0;
            prop_assert!(next >= pause(failures) && next <= pause(failures) * 5 / 4);
        }
    }
}
