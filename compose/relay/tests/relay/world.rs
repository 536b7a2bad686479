//! A relay on ports the kernel chose, and users that connect to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nexus_relay::token::{Secret, sign};
use nexus_relay::{Relay, config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const SECRET: &str = "the secret of this test";
/// Longer than anything here takes; shorter than a hung test is bearable.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long something must not happen to be believed not to happen.
pub(crate) const QUIET: Duration = Duration::from_millis(200);

pub(crate) struct World {
    pub(crate) hub: SocketAddr,
    pub(crate) ports: Vec<u16>,
    pub(crate) udp_ports: Vec<u16>,
    pub(crate) trust: Arc<rustls::ClientConfig>,
    stop: oneshot::Sender<()>,
    relay: JoinHandle<()>,
    _files: TempDir,
}

/// A certificate on disk and the lines of a configuration that name it.
pub(crate) fn identity() -> (TempDir, String, rcgen::Certificate) {
    let files = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["relay.test".to_owned()]).unwrap();
    let (certificate, key) = (files.path().join("hub.pem"), files.path().join("hub.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let lines = format!(
        "hubTlsCertFile: {}\nhubTlsKeyFile: {}\nbackendsJWTSecret: {SECRET}\n",
        certificate.display(),
        key.display()
    );
    (files, lines, made.cert)
}

impl World {
    /// A relay with one port; `extra` are further lines of its configuration.
    pub(crate) async fn with(extra: &str) -> Self {
        let (files, lines, certificate) = identity();
        let ports = if extra.contains("relayPorts") {
            ""
        } else {
            "relayPorts: [0]\n"
        };
        let text = format!("backendListenAddress: '127.0.0.1:0'\n{ports}{lines}{extra}\n");
        let config = config::parse(&text).unwrap().config;
        let relay = Relay::bind(config).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            hub: relay.hub_address().unwrap(),
            ports: relay.relay_ports(),
            udp_ports: relay.udp_ports(),
            trust: trust(&certificate),
            stop,
            relay: tokio::spawn(relay.serve(async {
                let _ = stopped.await;
            })),
            _files: files,
        }
    }

    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// A relay that knows its TCP port beforehand, so that the port can be claimed.
    pub(crate) async fn with_claimable_port(extra: &str) -> Self {
        let port = free_port();
        Self::with(&format!(
            "relayPorts: [{port}]\nallowedTCPPortClaims: [{port}]\n{extra}"
        ))
        .await
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    pub(crate) async fn user(&self) -> User {
        User(
            TcpStream::connect(("127.0.0.1", self.port()))
                .await
                .unwrap(),
        )
    }

    /// A user who has already asked for `host`.
    pub(crate) async fn http_user(&self, host: &str) -> User {
        let mut user = self.user().await;
        user.say(&head(host)).await;
        user
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.relay).await.unwrap().unwrap();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    // Below the kernel's own range: no other test is handed this port by chance.
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let turn = std::process::id() + 50 * ASKED.fetch_add(1, Ordering::Relaxed);
    let first = 10_000 + u16::try_from(turn % 18_000).unwrap();
    (first..30_000)
        .chain(10_000..first)
        .find(|port| {
            std::net::TcpListener::bind(("::", *port)).is_ok()
                && std::net::UdpSocket::bind(("::", *port)).is_ok()
        })
        .unwrap()
}

fn trust(certificate: &rcgen::Certificate) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub(crate) fn head(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// A token with the claims every token needs, and `claims`; null takes one away.
pub(crate) fn token(claims: &Value) -> String {
    let mut all = json!({"iss": "authorizer", "aud": ["nexus"], "sub": "device"});
    all.as_object_mut()
        .unwrap()
        .extend(claims.as_object().unwrap().clone());
    sign(&all, &Secret::new(SECRET))
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Somebody on the Internet.
pub(crate) struct User(pub(crate) TcpStream);

impl User {
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn hears(&mut self, expected: &[u8]) {
        let mut heard = vec![0; expected.len()];
        timeout(PATIENCE, self.0.read_exact(&mut heard))
            .await
            .unwrap()
            .unwrap();
        assert!(heard == expected, "the user heard other bytes");
    }

    /// Everything until the connection ends, however it ends.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut heard))
            .await
            .expect("the connection stays open");
        heard
    }

    /// The relay closes without a byte.
    pub(crate) async fn is_closed(&mut self) {
        assert!(self.rest().await.is_empty());
    }
}

impl World {
    /// A user whose request head is larger than `padding`.
    pub(crate) async fn http_user_with_padding(&self, padding: usize) -> User {
        let mut user = self.user().await;
        user.say(b"GET / HTTP/1.1\r\nHost: app.test\r\nX: ").await;
        // The relay may close while this is sent.
        let _ = user.0.write_all(&vec![b'x'; padding]).await;
        user
    }
}
