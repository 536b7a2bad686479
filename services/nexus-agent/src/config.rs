//! Where the edge listens, and which authorities vouch for a relay.

use piccolo_bus_schema::endpoint;
use piccolo_runtime::{Environment, InvalidSetting};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Checked settings.
#[derive(Clone)]
pub struct Config {
    /// router-proxy's stream socket.
    pub streams: PathBuf,
    /// How a relay proves who it is.
    pub tls: Arc<ClientConfig>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads `PICCOLO_RUNTIME_DIR` and `PICCOLO_REMOTE_CA_FILE`, and loads the system's roots now:
    /// later the process may not be allowed to.
    pub fn from_environment(environment: &Environment) -> Result<Self, InvalidSetting> {
        let runtime_dir = environment.runtime_dir()?;
        let extra = environment.text("REMOTE_CA_FILE").map(Path::new);
        Self::new(&runtime_dir, extra)
    }

    /// The configuration of a runtime directory, trusting the system's roots and the authorities
    /// of one more PEM file.
    pub fn new(runtime_dir: &Path, ca_file: Option<&Path>) -> Result<Self, InvalidSetting> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "a system root can't be read");
        }
        roots.add_parsable_certificates(system.certs);
        if let Some(path) = ca_file {
            add_authorities(&mut roots, path)?;
        }
        if roots.is_empty() {
            tracing::warn!("no certificate authority is known, no relay can be trusted");
        }
        Ok(Self {
            streams: endpoint::streams(runtime_dir),
            tls: Arc::new(client_tls(roots)),
        })
    }
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), InvalidSetting> {
    let broken = |rule: String| InvalidSetting::Rule {
        key: "PICCOLO_REMOTE_CA_FILE".to_owned(),
        value: path.display().to_string(),
        rule,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| broken(format!("must be a readable PEM file: {error}")))?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(broken("must hold at least one certificate".to_owned()));
    }
    Ok(())
}

fn client_tls(roots: RootCertStore) -> ClientConfig {
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring offers TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Never h2: the relay would choose it, and a WebSocket upgrade is HTTP/1.1 (protocol, 1).
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_file_that_holds_no_certificate_is_refused_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, "nothing of use").expect("a file");
        let error = Config::new(directory.path(), Some(&file)).expect_err("no certificate");
        assert!(error.to_string().contains("PICCOLO_REMOTE_CA_FILE"));
    }
}
