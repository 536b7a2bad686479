//! A scripted backend: it says what a test tells it to, byte for byte, and reports what it hears.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::world::{PATIENCE, QUIET, World, token};

pub(crate) struct Backend(pub(crate) WebSocketStream<TlsStream<TcpStream>>);

/// What a backend hears.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Data(String, Vec<u8>),
    /// The JSON text, byte for byte.
    Control(String),
    Text(String),
    Close(u16, String),
    /// TCP ended without a Close frame.
    End,
}

impl Heard {
    pub(crate) fn control(self) -> Value {
        match self {
            Self::Control(json) => serde_json::from_str(&json).unwrap(),
            other => panic!("expected a control message, heard {other:?}"),
        }
    }
}

pub(crate) async fn tls(world: &World) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(world.hub).await.unwrap();
    stream.set_nodelay(true).unwrap();
    TlsConnector::from(world.trust.clone())
        .connect("relay.test".try_into().unwrap(), stream)
        .await
        .unwrap()
}

impl Backend {
    /// An open WebSocket, nothing said yet.
    pub(crate) async fn connect(world: &World) -> Self {
        let config = WebSocketConfig::default().max_message_size(Some(1 << 20));
        let (socket, response) =
            client_async_with_config("wss://relay.test/connect", tls(world).await, Some(config))
                .await
                .unwrap();
        assert!(response.headers().get("sec-websocket-protocol").is_none());
        assert!(response.headers().get("sec-websocket-extensions").is_none());
        Self(socket)
    }

    /// An admitted backend: both tokens say `claims`.
    pub(crate) async fn admitted(world: &World, claims: Value) -> Self {
        let mut backend = Self::connect(world).await;
        backend.text(&token(&claims)).await;
        backend
            .answer_challenge("handshake_challenge", &claims)
            .await;
        backend.barrier().await;
        backend
    }

    pub(crate) async fn named(world: &World, hostnames: &[&str]) -> Self {
        Self::admitted(world, json!({ "hostnames": hostnames })).await
    }

    /// Expects a challenge and answers it with `claims`.
    pub(crate) async fn answer_challenge(&mut self, kind: &str, claims: &Value) {
        let nonce = self.challenge(kind).await;
        let mut claims = claims.clone();
        claims["session_nonce"] = nonce.into();
        self.text(&token(&claims)).await;
    }

    /// Expects a challenge, written exactly so, and returns its nonce.
    pub(crate) async fn challenge(&mut self, kind: &str) -> String {
        let Heard::Text(text) = self.hear().await else {
            panic!("expected a challenge");
        };
        let nonce = serde_json::from_str::<Value>(&text).unwrap()["nonce"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(text, format!(r#"{{"type":"{kind}","nonce":"{nonce}"}}"#));
        assert_eq!(nonce.len(), 43);
        nonce
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn binary(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.unwrap();
    }

    pub(crate) async fn control(&mut self, json: Value) {
        self.binary([&[2], json.to_string().as_bytes()].concat())
            .await;
    }

    /// An event about `client`, with further fields.
    pub(crate) async fn event(&mut self, event: &str, client: &str, more: Value) {
        let mut json = json!({"event": event, "client_id": client});
        json.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.control(json).await;
    }

    pub(crate) async fn grant(&mut self, client: &str, credits: i64) {
        self.event("resume_stream", client, json!({ "credits": credits }))
            .await;
    }

    pub(crate) async fn data(&mut self, client: &str, payload: &[u8]) {
        self.binary(data_message(client, payload)).await;
    }

    /// One message in fragments of `size` bytes, a Ping between any two.
    pub(crate) async fn fragmented(&mut self, message: &[u8], size: usize) {
        let chunks: Vec<&[u8]> = message.chunks(size).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let kind = if index == 0 {
                Data::Binary
            } else {
                Data::Continue
            };
            let last = index + 1 == chunks.len();
            let frame = Frame::message(chunk.to_vec(), OpCode::Data(kind), last);
            self.0.send(Message::Frame(frame)).await.unwrap();
            if !last {
                self.0.send(Message::Ping("between".into())).await.unwrap();
            }
        }
    }

    /// The next message. Pings and Pongs are not for the tests' ears.
    pub(crate) async fn hear(&mut self) -> Heard {
        timeout(PATIENCE, self.hear_some())
            .await
            .expect("nothing heard")
    }

    async fn hear_some(&mut self) -> Heard {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => return binary(&bytes),
                Some(Ok(Message::Text(text))) => return Heard::Text(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    return frame.map_or(Heard::Close(1005, String::new()), |frame| {
                        Heard::Close(frame.code.into(), frame.reason.to_string())
                    });
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Frame(_))) => unreachable!("only sent"),
                Some(Err(_)) | None => return Heard::End,
            }
        }
    }

    /// The next message, however long it takes; the caller sets the limit.
    pub(crate) async fn hear_patiently(&mut self) -> Heard {
        self.hear_some().await
    }

    /// Nothing is heard for a while.
    pub(crate) async fn hears_nothing(&mut self) {
        if let Ok(heard) = timeout(QUIET, self.hear_some()).await {
            panic!("unexpected: {heard:?}");
        }
    }

    /// Expects a `connect` and returns its client id and its JSON text.
    pub(crate) async fn connected(&mut self) -> (String, String) {
        let Heard::Control(json) = self.hear().await else {
            panic!("expected connect");
        };
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["event"], "connect");
        (value["client_id"].as_str().unwrap().to_owned(), json)
    }

    /// Expects a `connect` and the captured head of [`crate::world::head`].
    pub(crate) async fn http_connected(&mut self) -> String {
        let (client, _) = self.connected().await;
        let Heard::Data(of, _) = self.hear().await else {
            panic!("expected the head");
        };
        assert_eq!(of, client);
        client
    }

    /// Collects the payload of `client` until `length` bytes are there.
    pub(crate) async fn payload(&mut self, client: &str, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < length {
            match self.hear().await {
                Heard::Data(of, payload) if of == client => all.extend(payload),
                other => panic!("expected data, heard {other:?}"),
            }
        }
        all
    }

    pub(crate) async fn hears_disconnect(&mut self, client: &str) {
        let expected = format!(r#"{{"event":"disconnect","client_id":"{client}"}}"#);
        assert_eq!(self.hear().await, Heard::Control(expected));
    }

    /// Everything said before has been acted upon once this returns: messages are read in order,
    /// and a Ping behind them is answered after them.
    pub(crate) async fn barrier(&mut self) {
        self.0.send(Message::Ping("barrier".into())).await.unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.0.next()).await.expect("no Pong") {
                Some(Ok(Message::Pong(payload))) if payload == "barrier" => return,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a Pong, heard {other:?}"),
            }
        }
    }

    /// The session ends without a Close frame, within `limit`.
    pub(crate) async fn ends_silently(&mut self, limit: Duration) {
        let heard = timeout(limit, async {
            loop {
                match self.hear_some().await {
                    Heard::Data(..) | Heard::Control(_) | Heard::Text(_) => {}
                    end @ (Heard::Close(..) | Heard::End) => return end,
                }
            }
        });
        assert_eq!(heard.await.expect("the session goes on"), Heard::End);
    }
}

pub(crate) fn data_message(client: &str, payload: &[u8]) -> Vec<u8> {
    let id = uuid::Uuid::parse_str(client).unwrap();
    [&[1], &id.as_bytes()[..], payload].concat()
}

fn binary(bytes: &[u8]) -> Heard {
    match bytes.split_first() {
        Some((1, rest)) => {
            let (id, payload) = rest.split_at(16);
            Heard::Data(
                uuid::Uuid::from_slice(id).unwrap().to_string(),
                payload.to_vec(),
            )
        }
        Some((2, json)) => Heard::Control(String::from_utf8(json.to_vec()).unwrap()),
        other => panic!("the relay sent {other:?}"),
    }
}
