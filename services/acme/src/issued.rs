//! What an issued chain says of itself, and whether it fits its key. Pure.

use crate::error::OrderError;
use piccolo_bus_schema::ids::UnixSeconds;
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The facts of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) issuer: String,
    pub(crate) issued_at: UnixSeconds,
    pub(crate) expires_at: UnixSeconds,
}

/// Reads a chain (PEM, leaf first) and refuses one that its key does not fit.
pub(crate) fn check(chain_pem: &str, key_pem: &str) -> Result<Issued, OrderError> {
    let unusable = |error: &dyn std::fmt::Display| OrderError::Unusable(error.to_string());
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&error))?;
    let leaf = chain
        .first()
        .ok_or_else(|| unusable(&"the chain is empty"))?
        .clone();
    let key =
        PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| unusable(&error))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| unusable(&error))?;
    let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|error| unusable(&error))?;
    let seconds = |time: i64| UnixSeconds(u64::try_from(time).unwrap_or(0));
    let issuer = parsed
        .issuer()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok());
    Ok(Issued {
        issuer: issuer.map_or_else(|| parsed.issuer().to_string(), str::to_owned),
        issued_at: seconds(parsed.validity().not_before.timestamp()),
        expires_at: seconds(parsed.validity().not_after.timestamp()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_does_not_fit_its_key_is_refused() {
        let one =
            rcgen::generate_simple_self_signed(["demo.home.example".to_owned()]).expect("one");
        let other =
            rcgen::generate_simple_self_signed(["demo.home.example".to_owned()]).expect("two");
        let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        assert!(check(&chain, &key).expect("a fit").expires_at > UnixSeconds(0));
        assert!(check(&chain, &other.signing_key.serialize_pem()).is_err());
        assert!(check("", &key).is_err());
    }
}
