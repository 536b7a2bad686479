//! A small HTTP client that is told where to connect and whom to trust.

use crate::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(90);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    /// The certificate of the other side, DER, when the connection was encrypted.
    pub certificate: Option<Vec<u8>>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("{error} in {:?} ({})", self.text(), self.status).into())
    }

    /// The answer if its status is the expected one, otherwise its text as the error.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status.as_u16() == status {
            Ok(self)
        } else {
            Err(format!("expected {status}, got {}: {}", self.status, self.text()).into())
        }
    }
}

/// Where and how to connect.
#[derive(Clone)]
pub enum Target {
    Plain(SocketAddr),
    /// TLS with a server name, trusting a root certificate.
    Tls {
        address: SocketAddr,
        name: String,
        trust: Arc<ClientConfig>,
    },
}

/// A TLS configuration that trusts the PEM certificates of a text, and nothing else.
pub fn trusting(pem: &str) -> Result<Arc<ClientConfig>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Sends one request on a connection of its own.
pub async fn send(target: &Target, request: Request<Full<Bytes>>) -> Result<Answer> {
    tokio::time::timeout(PATIENCE, send_patiently(target, request))
        .await
        .map_err(|_| format!("no answer within {PATIENCE:?}"))?
}

async fn send_patiently(target: &Target, request: Request<Full<Bytes>>) -> Result<Answer> {
    match target {
        Target::Plain(address) => exchange(TcpStream::connect(address).await?, request, None).await,
        Target::Tls {
            address,
            name,
            trust,
        } => {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from(name.clone())?;
            let tls = TlsConnector::from(Arc::clone(trust))
                .connect(name, tcp)
                .await?;
            let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = shown.map(|certificate| certificate.as_ref().to_vec());
            exchange(tls, request, certificate).await
        }
    }
}

/// Sends one request over a Unix socket.
pub async fn send_unix(path: &Path, request: Request<Full<Bytes>>) -> Result<Answer> {
    exchange(UnixStream::connect(path).await?, request, None).await
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    certificate: Option<Vec<u8>>,
) -> Result<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let response: Response<Incoming> = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    driving.abort();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
        certificate,
    })
}

/// A request with a body.
pub fn request(
    method: &str,
    path: &str,
    host: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Request<Full<Bytes>>> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    Ok(builder.body(Full::new(body.into()))?)
}
