//! A relay as a script: it accepts, and the test does the talking.

use crate::soon;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::Value;
use sha2::Sha256;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::CloseFrame,
    },
};

pub(crate) const SECRET: &[u8] = b"a device secret";
/// 43 characters, like a real nonce.
pub(crate) const NONCE: &str = "bm9uY2Utbm9uY2Utbm9uY2Utbm9uY2Utbm9uY2UtMDE";

pub(crate) struct Relay {
    pub(crate) port: u16,
    pub(crate) ca_file: PathBuf,
    accepted: mpsc::Receiver<Peer>,
}

impl Relay {
    pub(crate) async fn start(directory: &Path) -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate");
        let ca_file = directory.join("relay-ca.pem");
        std::fs::write(&ca_file, cert.pem()).expect("a CA file");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a TLS configuration");
        // Like the real one, which prefers h2 when it is offered.
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (peers, accepted) = mpsc::channel(64);
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), peers));
        Self {
            port,
            ca_file,
            accepted,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("wss://localhost:{}/connect", self.port)
    }

    /// The next connection of the agent's.
    pub(crate) async fn accept(&mut self) -> Peer {
        soon("the agent connects", self.accepted.recv())
            .await
            .expect("the acceptor lives")
    }

    /// The next connection, signed in.
    pub(crate) async fn accept_session(&mut self) -> Peer {
        let mut peer = self.accept().await;
        peer.sign_in().await;
        peer
    }

    /// Does the agent stay away for this long?
    pub(crate) async fn is_left_alone(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.accepted.recv())
            .await
            .is_err()
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, peers: mpsc::Sender<Peer>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let Ok(secured) = tls.accept(tcp).await else {
            continue;
        };
        assert_ne!(secured.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let Ok(socket) = accept_hdr_async(secured, check_request).await else {
            continue;
        };
        if peers.send(Peer { socket }).await.is_err() {
            return;
        }
    }
}

// The signature is the library's.
#[allow(clippy::result_large_err, clippy::unnecessary_wraps)]
fn check_request(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    assert_eq!(request.uri().path(), "/connect");
    assert_eq!(request.uri().query(), None);
    for absent in [
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "cookie",
        "authorization",
    ] {
        assert!(!request.headers().contains_key(absent), "{absent}");
    }
    Ok(response)
}

/// The relay's end of one connection.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Peer {
    /// The next message that is not a ping or pong; pings are answered by the library.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        soon("the agent says something", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    Some(Err(_)) | None => return None,
                }
            }
        })
        .await
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("not a text: {other:?}"),
        }
    }

    pub(crate) async fn binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Some(Message::Binary(bytes)) => bytes.to_vec(),
            other => panic!("not a binary message: {other:?}"),
        }
    }

    /// The next message must be this control message.
    pub(crate) async fn expect_control(&mut self, json: &str) {
        let message = self.binary().await;
        assert_eq!(message[0], 0x02, "{message:?}");
        assert_eq!(String::from_utf8_lossy(&message[1..]), json);
    }

    /// The payload of the next message, which must be data of this flow.
    pub(crate) async fn expect_data(&mut self, id: &Id) -> Vec<u8> {
        let message = self.binary().await;
        assert_eq!(message[0], 0x01, "{}", String::from_utf8_lossy(&message));
        assert_eq!(message[1..17], id.bytes);
        message[17..].to_vec()
    }

    /// Nothing but pings for this long.
    pub(crate) async fn expect_silence(&mut self, wait: Duration) {
        let heard = tokio::time::timeout(wait, self.next()).await;
        assert!(heard.is_err(), "not silent: {heard:?}");
    }

    pub(crate) async fn send(&mut self, message: Message) {
        soon("the agent reads", self.socket.send(message))
            .await
            .expect("the agent is there");
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    pub(crate) async fn control(&mut self, json: &str) {
        let mut message = vec![0x02];
        message.extend_from_slice(json.as_bytes());
        self.send(Message::Binary(message.into())).await;
    }

    pub(crate) async fn data(&mut self, id: &Id, payload: &[u8]) {
        self.send(Message::Binary(id.frame(payload).into())).await;
    }

    /// A visitor to `probe.test` with 64 credits, and the grant that answers it.
    pub(crate) async fn connect(&mut self, id: &Id) {
        self.connect_with(id, r#","credits":64"#).await;
    }

    pub(crate) async fn connect_with(&mut self, id: &Id, tail: &str) {
        let json = format!(
            r#"{{"event":"connect","client_id":"{}","conn_port":443,"client_ip":"192.0.2.7:33808","transport":"tcp","hostname":"probe.test","is_tls":true{tail}}}"#,
            id.text
        );
        self.control(&json).await;
        let grant = format!(
            r#"{{"event":"resume_stream","client_id":"{}","credits":64}}"#,
            id.text
        );
        self.expect_control(&grant).await;
    }

    pub(crate) async fn disconnect(&mut self, id: &Id) {
        self.control(&format!(
            r#"{{"event":"disconnect","client_id":"{}"}}"#,
            id.text
        ))
        .await;
    }

    pub(crate) async fn grant(&mut self, id: &Id, credits: i64) {
        let id = &id.text;
        self.control(&format!(
            r#"{{"event":"resume_stream","client_id":"{id}","credits":{credits}}}"#
        ))
        .await;
    }

    pub(crate) async fn expect_disconnect(&mut self, id: &Id, reason: &str) {
        let id = &id.text;
        self.expect_control(&format!(
            r#"{{"event":"disconnect","client_id":"{id}","reason":"{reason}"}}"#
        ))
        .await;
    }

    /// Takes both tokens, checks them, and returns the names they claim.
    pub(crate) async fn sign_in(&mut self) -> Vec<String> {
        names(&self.sign_in_claims().await)
    }

    /// Takes both tokens, checks them, and returns the first one's claims.
    pub(crate) async fn sign_in_claims(&mut self) -> Value {
        let hello = claims(&self.text().await);
        self.say(&format!(
            r#"{{"type":"handshake_challenge","nonce":"{NONCE}"}}"#
        ))
        .await;
        let attested = claims(&self.text().await);
        assert_eq!(attested["session_nonce"], NONCE);
        assert_eq!(hello.get("session_nonce"), None);
        for claim in ["hostnames", "weight"] {
            assert_eq!(hello[claim], attested[claim]);
        }
        hello
    }

    pub(crate) async fn refuse(mut self, reason: &str) {
        let frame = CloseFrame {
            code: 1008.into(),
            reason: reason.into(),
        };
        self.send(Message::Close(Some(frame))).await;
        while self.next().await.is_some() {}
    }

    /// Reads until the agent has closed the connection.
    pub(crate) async fn expect_end(&mut self) {
        while let Some(message) = self.next().await {
            assert!(
                matches!(message, Message::Close(_) | Message::Binary(_)),
                "{message:?}"
            );
        }
    }
}

/// The names a token claims.
pub(crate) fn names(claims: &Value) -> Vec<String> {
    let names = claims["hostnames"].as_array().expect("an array of names");
    names
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// Checks a token's signature and reads its claims.
pub(crate) fn claims(token: &str) -> Value {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let (header, body) = signed.split_once('.').expect("three parts");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("any key");
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    mac.verify_slice(&signature)
        .expect("signed with the device secret");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    assert_eq!(header, br#"{"alg":"HS256","typ":"JWT"}"#);
    let body = URL_SAFE_NO_PAD.decode(body).expect("base64url");
    serde_json::from_slice(&body).expect("JSON claims")
}

/// A ClientID, as text and as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Id {
    pub(crate) text: String,
    pub(crate) bytes: [u8; 16],
}

impl Id {
    /// `950cb35c-00e9-4677-9bc2-f976af28` followed by four digits of the number.
    pub(crate) fn new(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self {
            text: format!("950cb35c-00e9-4677-9bc2-f976af28{number:04x}"),
            bytes: [
                0x95, 0x0c, 0xb3, 0x5c, 0x00, 0xe9, 0x46, 0x77, 0x9b, 0xc2, 0xf9, 0x76, 0xaf, 0x28,
                high, low,
            ],
        }
    }

    pub(crate) fn frame(&self, payload: &[u8]) -> Vec<u8> {
        [&[0x01], &self.bytes[..], payload].concat()
    }
}

impl Peer {
    /// Like `connect`, with other messages before the grant.
    pub(crate) async fn connect_eventually(&mut self, id: &Id) {
        let text = &id.text;
        self.control(&format!(
            r#"{{"event":"connect","client_id":"{text}","conn_port":443,"client_ip":"192.0.2.8:1","transport":"tcp","hostname":"probe.test","credits":64}}"#
        ))
        .await;
        let grant = format!(r#"{{"event":"resume_stream","client_id":"{text}","credits":64}}"#);
        while self.binary().await[1..] != *grant.as_bytes() {}
    }

    /// Waits for data of a flow, with other messages before it.
    pub(crate) async fn data_eventually(&mut self, id: &Id, payload: &[u8]) {
        while self.binary().await != id.frame(payload) {}
    }
}
