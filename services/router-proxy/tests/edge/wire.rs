//! Visitors and apps, byte by byte where it matters.

use crate::home::{Home, Issued, PATIENCE};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{convert::Infallible, future::Future, io, net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// An app's HTTP server; answers with `answer`. Returns its port.
pub(crate) async fn app<F, Fut>(answer: F) -> u16
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
    port
}

/// health-api's Unix socket.
pub(crate) fn portal<F, Fut>(path: &Path, answer: F)
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = UnixListener::bind(path).expect("a socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer.clone()));
        }
    });
}

async fn serve<S, F, Fut>(stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Fut,
    Fut: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Answers with the request line and the headers it saw, one a line.
pub(crate) async fn mirror(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!(
            "{name}: {}\n",
            String::from_utf8_lossy(value.as_bytes())
        ));
    }
    Response::new(Full::new(Bytes::from(text)))
}

/// An answer as a visitor sees it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

/// GET on a connection of its own.
pub(crate) async fn get<S>(
    stream: S,
    host: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = async {
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        let mut request = Request::get(path).header("host", host);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<Bytes>::default()).expect("a request");
        read(sender.send_request(request).await?).await
    };
    in_time(exchange).await
}

/// The same over HTTP/2.
pub(crate) async fn get_h2<S>(stream: S, host: &str, path: &str) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = async {
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        let request = Request::get(format!("https://{host}{path}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Full::<Bytes>::default())
            .expect("a request");
        read(sender.send_request(request).await?).await
    };
    Box::pin(in_time(exchange)).await
}

async fn read(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

async fn in_time(
    exchange: impl Future<Output = Result<Answer, hyper::Error>>,
) -> io::Result<Answer> {
    let exchange = tokio::time::timeout(PATIENCE, exchange).await;
    exchange
        .expect("an answer in time")
        .map_err(io::Error::other)
}

pub(crate) async fn get_lan(to: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Answer {
    let stream = TcpStream::connect(to).await.expect("a connection");
    let answer = get(stream, "device.local", path, fields).await;
    answer.expect("an answer")
}

/// PROXY protocol version 2, TCP over IPv4, from 192.0.2.7:33808, AUTHORITY `a.b`.
pub(crate) fn proxy_header(relay_port: u16, authority: &str) -> Vec<u8> {
    let mut header = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11".to_vec();
    let length = 12 + 3 + authority.len();
    header.extend_from_slice(&u16::try_from(length).expect("short").to_be_bytes());
    header.extend_from_slice(b"\xc0\x00\x02\x07\x00\x00\x00\x00\x84\x10");
    header.extend_from_slice(&relay_port.to_be_bytes());
    header.push(2);
    header.extend_from_slice(&u16::try_from(authority.len()).expect("short").to_be_bytes());
    header.extend_from_slice(authority.as_bytes());
    header
}

/// A stream as nexus-agent hands it over.
pub(crate) async fn remote(home: &Home, relay_port: u16, authority: &str) -> UnixStream {
    let mut stream = UnixStream::connect(home.streams()).await.expect("a stream");
    let header = proxy_header(relay_port, authority);
    stream.write_all(&header).await.expect("a header");
    stream
}

/// TLS from outside, trusting exactly one certificate.
pub(crate) async fn remote_tls(
    home: &Home,
    name: &str,
    trusted: &Issued,
    alpn: &[&str],
) -> io::Result<TlsStream<UnixStream>> {
    tls(remote(home, 443, name).await, name, &trusted.chain, alpn).await
}

pub(crate) async fn tls<S>(
    stream: S,
    name: &str,
    trusted: &str,
    alpn: &[&str],
) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(trusted.as_bytes()).expect("a certificate");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(PATIENCE, handshake)
        .await
        .expect("a handshake in time")
}

/// What a stream says until it is closed; a reset counts as closed.
pub(crate) async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("closed in time");
    bytes
}
