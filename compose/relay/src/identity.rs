//! The hub's certificate and key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// Why the hub has no TLS identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("cannot read certificates from {}", path.display())]
    Certificate { path: PathBuf, source: pem::Error },
    #[error("no certificate in {}", path.display())]
    NoCertificate { path: PathBuf },
    #[error("cannot read a private key from {}", path.display())]
    Key { path: PathBuf, source: pem::Error },
    #[error("certificate {} and key {} do not work together", certificate.display(), key.display())]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
}

/// TLS 1.2 and 1.3 without client certificates. Only HTTP/1.1 is offered: over HTTP/2 the upgrade
/// to a WebSocket cannot work.
pub fn load(certificate: &Path, key: &Path) -> Result<rustls::ServerConfig, IdentityError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| IdentityError::Certificate {
            path: certificate.to_owned(),
            source,
        })?;
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate {
            path: certificate.to_owned(),
        });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| IdentityError::Key {
        path: key.to_owned(),
        source,
    })?;
    let pair = |source| IdentityError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
