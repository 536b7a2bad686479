//! What the owner sees of a certificate. Pure.

use piccolo_bus_schema::{
    certificate::{Certificate, CertificateStatus},
    control::{CertificateRecord, OrderState},
    ids::{Hostname, UnixSeconds},
};

/// The line of a name that may have no record yet.
pub(crate) fn line(
    host: &Hostname,
    record: Option<&CertificateRecord>,
    now: UnixSeconds,
) -> Certificate {
    Certificate {
        id: host.clone(),
        domains: vec![host.clone()],
        status: record.map_or(CertificateStatus::Pending, |record| status(record, now)),
        issuer: record.and_then(|record| record.issuer.clone()),
        issued_at: record.and_then(|record| record.issued_at),
        expires_at: record.and_then(|record| record.expires_at),
        next_attempt: record.and_then(|record| record.next_attempt),
        last_error: record.and_then(|record| record.last_error.clone()),
    }
}

/// Where a record stands.
pub(crate) fn status(record: &CertificateRecord, now: UnixSeconds) -> CertificateStatus {
    let alive = record.expires_at.is_some_and(|expires| expires > now);
    match (&record.chain_pem, alive) {
        (Some(_), true) if record.order == OrderState::Idle => CertificateStatus::Valid,
        (Some(_), true) => CertificateStatus::Renewing,
        (Some(_), false) => CertificateStatus::Expired,
        (None, _) if record.attempts > 0 => CertificateStatus::Failed,
        (None, _) => CertificateStatus::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_renewal_leaves_a_valid_certificate_valid() {
        let record = CertificateRecord {
            host: "demo.home.example".parse().expect("a name"),
            chain_pem: Some("chain".to_owned()),
            issuer: None,
            issued_at: Some(UnixSeconds(1)),
            expires_at: Some(UnixSeconds(100)),
            generation: 1,
            order: OrderState::Idle,
            attempts: 3,
            next_attempt: Some(UnixSeconds(60)),
            last_error: Some("refused".to_owned()),
        };
        assert_eq!(status(&record, UnixSeconds(50)), CertificateStatus::Valid);
        assert_eq!(
            status(&record, UnixSeconds(100)),
            CertificateStatus::Expired
        );
    }
}
