//! A certificate and its key, checked before it may be shown.

use piccolo_bus_schema::ids::Hostname;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::ParsedCertificate,
    sign::{CertifiedKey, SingleCertAndKey},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Offered in this order; a browser takes HTTP/2.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate may not replace the one that serves.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("the chain is not PEM")]
    Chain(#[source] rustls::pki_types::pem::Error),
    #[error("the chain is empty")]
    Empty,
    #[error("the key is not PEM")]
    Key(#[source] rustls::pki_types::pem::Error),
    #[error("the key is not the certificate's")]
    Pair(#[source] rustls::Error),
    #[error("the certificate is not for {host}")]
    Name {
        host: Hostname,
        #[source]
        source: rustls::Error,
    },
    #[error("no TLS version is left")]
    Versions(#[source] rustls::Error),
}

/// A certificate ready to be shown. Debug shows no key.
pub struct Shown {
    /// What it was made from, to see whether a record changed.
    chain_pem: String,
    /// Terminates TLS with it.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the leaf, hexadecimal.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_after: i64,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Shown {
    /// Was it made from this chain?
    pub fn is_of(&self, chain_pem: &str) -> bool {
        self.chain_pem == chain_pem
    }
}

/// Checks a chain (PEM, leaf first) and its PKCS#8 key: they match, and the leaf is for `host`.
pub fn check(host: &Hostname, chain_pem: &str, key_pem: &[u8]) -> Result<Shown, Unusable> {
    let shown = pair(chain_pem, key_pem)?;
    let leaf = leaf(chain_pem)?;
    let name = |source| Unusable::Name {
        host: host.clone(),
        source,
    };
    let parsed = ParsedCertificate::try_from(&leaf).map_err(name)?;
    let server_name = ServerName::try_from(host.as_str())
        .map_err(|error| name(rustls::Error::General(error.to_string())))?;
    rustls::client::verify_server_name(&parsed, &server_name).map_err(name)?;
    Ok(shown)
}

/// A chain and its key that need not be for any name.
pub(crate) fn pair(chain_pem: &str, key_pem: &[u8]) -> Result<Shown, Unusable> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(Unusable::Chain)?;
    let fingerprint = hex(&Sha256::digest(chain.first().ok_or(Unusable::Empty)?));
    let not_after = chain.first().and_then(|leaf| {
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
        Some(leaf.validity().not_after.timestamp())
    });
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(Unusable::Key)?;
    let provider = Arc::new(ring::default_provider());
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(Unusable::Pair)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Unusable::Versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Shown {
        chain_pem: chain_pem.to_owned(),
        config: Arc::new(config),
        fingerprint,
        not_after: not_after.unwrap_or(i64::MAX),
    })
}

fn leaf(chain_pem: &str) -> Result<CertificateDer<'static>, Unusable> {
    CertificateDer::from_pem_slice(chain_pem.as_bytes()).map_err(Unusable::Chain)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(name: &str) -> Hostname {
        Hostname::new(name).expect("a name")
    }

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a pair");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_with_its_key_and_name_is_good() {
        let (chain, key) = made("app.example.com");
        let shown = check(&host("app.example.com"), &chain, key.as_bytes()).expect("good");
        assert!(shown.is_of(&chain));
        assert_eq!(shown.fingerprint.len(), 64);
    }

    #[test]
    fn another_key_another_name_or_nothing_is_refused() {
        let (chain, key) = made("app.example.com");
        let (_, other_key) = made("app.example.com");
        let name = host("app.example.com");
        let wrong = check(&name, &chain, other_key.as_bytes());
        assert!(matches!(wrong, Err(Unusable::Pair(_))));
        let wrong = check(&host("b.example.com"), &chain, key.as_bytes());
        assert!(matches!(wrong, Err(Unusable::Name { .. })));
        assert!(matches!(
            check(&name, "", key.as_bytes()),
            Err(Unusable::Empty)
        ));
        assert!(matches!(check(&name, &chain, b""), Err(Unusable::Key(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(chain in "\\PC{0,100}", key in "\\PC{0,100}") {
            let _ = check(&host("a.example"), &chain, key.as_bytes());
        }
    }
}
