use crate::{
    home::{Home, raw, web},
    wire::{remote, rest, tls},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{convert::Infallible, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 1024;

#[tokio::test]
async fn a_listener_with_its_own_tls_keeps_it() {
    let own = crate::home::Issued::for_name("vault.example.com");
    let chain = CertificateDer::from_pem_slice(own.chain.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.write_all(b"the app's own").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let home = Home::with(vec![raw("vault", port)]).await;
    let stream = remote(&home, 443, "vault.example.com").await;
    let mut stream = tls(stream, "vault.example.com", &own.chain, &[])
        .await
        .expect("TLS");
    assert_eq!(rest(&mut stream).await, b"the app's own");
}

#[tokio::test]
async fn a_claimed_port_reaches_its_raw_listener_and_ends_one_way_at_a_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Answers only after the visitor has said everything.
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said).await;
            said.reverse();
            let _ = stream.write_all(&said).await;
        }
    });
    let home = Home::with(vec![raw("db", port)]).await;
    let mut stream = remote(&home, 5432, "tcp:5432").await;
    stream.write_all(b"abc").await.expect("sent");
    stream.shutdown().await.expect("half closed");
    assert_eq!(rest(&mut stream).await, b"cba");
    let mut unclaimed = remote(&home, 2222, "tcp:2222").await;
    unclaimed.write_all(b"abc\r\n\r\n").await.expect("sent");
    assert!(!rest(&mut unclaimed).await.starts_with(b"cba"));
}

/// Echoes a body as it comes.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                let body: BoxBody<Bytes, hyper::Error> = request.into_body().boxed();
                Ok::<_, Infallible>(Response::new(body))
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    port
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("readable");
    let pages = status.split(' ').nth(1).expect("a field");
    pages.parse::<usize>().expect("a number") * 4096
}

#[tokio::test]
async fn sixty_four_mebibytes_stream_both_ways_in_little_memory() {
    let home = Home::with(vec![web(echo().await)]).await;
    let stream = TcpStream::connect(home.lan("web"))
        .await
        .expect("a connection");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let chunk = Bytes::from(vec![7; CHUNK]);
    let frames = (0..CHUNKS).map(move |_| Ok::<_, Infallible>(Frame::data(chunk.clone())));
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::post("/").header("host", "device.local").body(body);
    let before = resident_bytes();
    let response = sender
        .send_request(request.expect("a request"))
        .await
        .expect("an answer");
    let mut body = response.into_body();
    let (mut received, mut most) = (0, before);
    while let Some(frame) = body.frame().await {
        received += frame
            .expect("a frame")
            .into_data()
            .map_or(0, |data| data.len());
        most = most.max(resident_bytes());
    }
    assert_eq!(received, CHUNK * CHUNKS);
    let grown = most.saturating_sub(before);
    assert!(grown < 24 * 1024 * 1024, "grew by {grown} bytes");
}

#[tokio::test]
async fn a_websocket_is_carried_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a visitor");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        assert!(head.contains("sec-websocket-key: dghl\r\n"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nfirst";
        stream.write_all(answer).await.expect("answered");
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let home = Home::with(vec![web(port)]).await;
    let mut stream = TcpStream::connect(home.lan("web"))
        .await
        .expect("a connection");
    let ask = b"GET /socket HTTP/1.1\r\nhost: device.local\r\nconnection: keep-alive, Upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-key: dGhl\r\n\r\n";
    stream.write_all(ask).await.expect("asked");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("sec-websocket-accept: x"));
    stream.write_all(b" second").await.expect("sent");
    let mut said = [0; 12];
    stream.read_exact(&mut said).await.expect("both");
    assert_eq!(&said, b"first second");
    home.withdraw().await;
    assert_eq!(rest(&mut stream).await, b"", "a lock ends it");
}

#[tokio::test]
async fn no_other_upgrade_is_passed_on() {
    let home = Home::with(vec![web(crate::wire::app(crate::wire::mirror).await)]).await;
    let fields = [
        ("connection", "upgrade, http2-settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
    ];
    let seen = crate::wire::get_lan(home.lan("web"), "/", &fields).await;
    assert_eq!(seen.status, 200);
    assert!(
        !seen.body.contains("upgrade") && !seen.body.contains("http2-settings"),
        "{}",
        seen.body
    );
}
