//! One connection per request, by whichever way the device is reached.

use super::{SERVICE, garbled};
use crate::Failure;
use ::http::{Request, Response, Uri, uri::Authority};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use piccolo_bus_schema::endpoint;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// The name the device calls itself on its own network; its addresses are shown with it.
const LOCAL_NAME: &str = "piccolo.local";

/// The way to the device.
pub(super) enum Route {
    Unix(PathBuf),
    /// Plain HTTP, to this machine only: a token must not cross a network in the clear.
    Loopback(Authority),
    Tls {
        authority: Authority,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    },
}

impl Route {
    pub(super) fn unix(runtime_dir: &Path) -> Self {
        Self::Unix(endpoint::portal(runtime_dir))
    }

    /// From `--url`.
    pub(super) fn url(url: &str, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("--url {url}: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("is not an address"))?;
        let authority = uri.authority().cloned();
        let authority = authority.ok_or_else(|| wrong("names no host"))?;
        if !matches!(uri.path(), "" | "/") {
            return Err(wrong("must end after the host"));
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self::Tls {
                name: ServerName::try_from(bare(authority.host()).to_owned())
                    .map_err(|_| wrong("names no valid host"))?,
                config: Arc::new(tls(ca_file)?),
                authority,
            }),
            Some("http") if is_loopback(bare(authority.host())) => Ok(Self::Loopback(authority)),
            _ => Err(wrong("must be https (http only to this machine)")),
        }
    }

    pub(super) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => LOCAL_NAME,
            Self::Loopback(authority) | Self::Tls { authority, .. } => authority.as_str(),
        }
    }

    /// Connects and sends.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        let unreachable = |source| Failure::Unreachable {
            service: SERVICE,
            place: self.place(),
            source,
        };
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                exchange(TokioIo::new(stream), request).await
            }
            Self::Loopback(authority) => {
                let stream = dial(authority, 80).await.map_err(unreachable)?;
                exchange(TokioIo::new(stream), request).await
            }
            Self::Tls {
                authority,
                name,
                config,
            } => {
                let stream = dial(authority, 443).await.map_err(unreachable)?;
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await;
                exchange(TokioIo::new(stream.map_err(unreachable)?), request).await
            }
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Loopback(authority) | Self::Tls { authority, .. } => authority.to_string(),
        }
    }
}

async fn dial(authority: &Authority, default_port: u16) -> io::Result<TcpStream> {
    let port = authority.port_u16().unwrap_or(default_port);
    TcpStream::connect((bare(authority.host()), port)).await
}

async fn exchange(
    io: impl Read + Write + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Failure> {
    let failed = |error: hyper::Error| garbled(&error.to_string());
    let (mut sender, connection) = http1::handshake(io).await.map_err(failed)?;
    // Ends with the answer; its errors are the answer's.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(failed)
}

/// The system's roots, and one more if given. HTTP/1.1 is all that is spoken.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let unusable = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| unusable(error.to_string()))?;
        }
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| garbled(&error.to_string()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_crosses_a_network_in_the_clear() {
        for url in [
            "http://box.example.com",
            "http://192.0.2.1:80",
            "ftp://localhost",
        ] {
            let refused = Route::url(url, None).map(|_| ()).expect_err(url);
            assert_eq!(refused.exit_code(), 2);
        }
        for url in [
            "http://127.0.0.1:8600",
            "http://[::1]:1/",
            "https://box.example.com",
        ] {
            assert!(Route::url(url, None).is_ok(), "{url}");
        }
        assert!(Route::url("https://box.example.com/api", None).is_err());
    }
}
