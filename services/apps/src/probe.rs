//! Does an app answer? HTTP listeners must answer a request; for bytes, running is all one can know:
//! the engine's own proxy accepts connections whatever the app does.

use crate::{
    engine::{Engine, PROBE_PERIOD},
    error::EngineError,
};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use piccolo_bus_schema::app::Protocol;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long an app may take to its first answer.
const LIMIT: Duration = Duration::from_secs(60);
/// An app that ends within this time never started.
const STEADY: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);

/// Waits until a container runs steadily and its HTTP listeners answer.
pub(crate) async fn wait(
    engine: &Engine,
    id: &str,
    ports: &[(u16, Protocol)],
) -> Result<(), EngineError> {
    let start = Instant::now();
    let mut silent: Vec<u16> = ports
        .iter()
        .filter(|(_, protocol)| *protocol != Protocol::Raw)
        .map(|(port, _)| *port)
        .collect();
    loop {
        if let Err(how) = engine.is_running(id).await? {
            return Err(EngineError::Ended(how));
        }
        if let Some(port) = silent.last().copied() {
            if answers(port).await {
                silent.pop();
                continue;
            }
        } else if start.elapsed() >= STEADY {
            return Ok(());
        }
        if start.elapsed() > LIMIT {
            let port = silent.last().copied().unwrap_or_default();
            return Err(EngineError::Silent {
                port,
                seconds: LIMIT.as_secs(),
            });
        }
        tokio::time::sleep(PROBE_PERIOD).await;
    }
}

/// Any answer counts: 404 and 500 are answers.
async fn answers(port: u16) -> bool {
    let asking = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let driving = tokio::spawn(connection);
        let request = Request::get("/")
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .ok()?;
        let answered = sender.send_request(request).await.is_ok();
        driving.abort();
        Some(answered)
    };
    tokio::time::timeout(ANSWER, asking)
        .await
        .ok()
        .flatten()
        .unwrap_or(false)
}
