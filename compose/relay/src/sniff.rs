//! Listens to a stranger just long enough to know where the connection belongs.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::client_hello;
use crate::config::PeekLimits;
use crate::hostname;
use crate::http_head;

/// The largest ClientHello that is looked at, bytes behind it included.
const MAX_HELLO: usize = 32 * 1024;
/// The largest HTTP request head.
const MAX_HEAD: usize = 64 * 1024;

/// What the first bytes said. They are the backend's: nothing is taken away from them.
#[derive(Debug, PartialEq, Eq)]
pub struct Sniffed {
    /// The name asked for, normalized; `None` when only the port can decide.
    pub name: Option<String>,
    pub is_tls: bool,
    pub captured: Bytes,
}

/// Why the connection is closed without a route.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unroutable {
    #[error("ClientHello larger than {MAX_HELLO} bytes")]
    HelloTooLarge,
    #[error("HTTP request head larger than {MAX_HEAD} bytes")]
    HeadTooLarge,
    #[error("closed without a word")]
    NothingSaid,
}

/// A TLS ClientHello names the host, else an HTTP/1.x head does, else the port must.
///
/// A protocol in which the server speaks first waits for the first byte twice, once as TLS and
/// once as HTTP; the total time is shared.
pub async fn sniff<S>(stream: &mut S, limits: PeekLimits) -> Result<Sniffed, Unroutable>
where
    S: AsyncRead + Unpin,
{
    let mut capture = Capture {
        stream,
        bytes: BytesMut::new(),
        limits,
        end: Instant::now() + limits.total,
    };
    if let Some(sniffed) = capture.as_tls().await? {
        return Ok(sniffed);
    }
    capture.as_http().await
}

struct Capture<'a, S> {
    stream: &'a mut S,
    bytes: BytesMut,
    limits: PeekLimits,
    /// No byte is waited for beyond this.
    end: Instant,
}

/// What came of waiting for more bytes.
#[derive(PartialEq, Eq)]
enum More {
    Bytes,
    /// Time is up.
    Late,
    /// The user has closed, half-closed or reset.
    End,
}

impl<S: AsyncRead + Unpin> Capture<'_, S> {
    /// `None` when this is not TLS, or not in time.
    async fn as_tls(&mut self) -> Result<Option<Sniffed>, Unroutable> {
        let mut wait = self.limits.first_byte;
        loop {
            match client_hello::examine(&self.bytes) {
                client_hello::Sighting::NotTls => return Ok(None),
                client_hello::Sighting::Hello { server_name } => {
                    return Ok(Some(self.sniffed(server_name, true)));
                }
                client_hello::Sighting::Incomplete if self.bytes.len() >= MAX_HELLO => {
                    return Err(Unroutable::HelloTooLarge);
                }
                client_hello::Sighting::Incomplete => {}
            }
            if self.more(wait, MAX_HELLO).await != More::Bytes {
                return Ok(None);
            }
            wait = self.limits.extension;
        }
    }

    async fn as_http(&mut self) -> Result<Sniffed, Unroutable> {
        let mut examiner = http_head::Examiner::default();
        let mut wait = self.limits.first_byte;
        loop {
            match examiner.examine(&self.bytes) {
                http_head::Sighting::NotHttp => return Ok(self.sniffed(None, false)),
                http_head::Sighting::Head { host } => return Ok(self.sniffed(host, false)),
                http_head::Sighting::Incomplete if self.bytes.len() >= MAX_HEAD => {
                    return Err(Unroutable::HeadTooLarge);
                }
                http_head::Sighting::Incomplete => {}
            }
            match self.more(wait, MAX_HEAD).await {
                More::Bytes => wait = self.limits.extension,
                More::End if self.bytes.is_empty() => return Err(Unroutable::NothingSaid),
                More::Late | More::End => return Ok(self.sniffed(None, false)),
            }
        }
    }

    /// Reads once, up to a capture of `max` bytes. Cancel-safe.
    async fn more(&mut self, wait: Duration, max: usize) -> More {
        let deadline = self.end.min(Instant::now() + wait);
        self.bytes.reserve(2048);
        let room = max.saturating_sub(self.bytes.len());
        let mut limited = (&mut self.bytes).limit(room);
        match timeout_at(deadline, self.stream.read_buf(&mut limited)).await {
            Err(_) => More::Late,
            Ok(Ok(0) | Err(_)) => More::End,
            Ok(Ok(_)) => More::Bytes,
        }
    }

    fn sniffed(&mut self, name: Option<String>, is_tls: bool) -> Sniffed {
        Sniffed {
            name: name
                .map(|name| hostname::normalize(&name))
                .filter(|name| !name.is_empty()),
            is_tls,
            captured: self.bytes.split().freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn limits() -> PeekLimits {
        PeekLimits {
            first_byte: Duration::from_millis(40),
            extension: Duration::from_millis(40),
            total: Duration::from_millis(200),
            concurrent: None,
        }
    }

    /// What is made of `said`, after which the user stays silent or, with `end`, leaves.
    async fn outcome(said: &[u8], end: bool) -> Result<Sniffed, Unroutable> {
        let (mut user, mut relay) = tokio::io::duplex(128 * 1024);
        user.write_all(said).await.unwrap();
        if end {
            user.shutdown().await.unwrap();
        }
        sniff(&mut relay, limits()).await
    }

    #[tokio::test]
    async fn an_http_head_is_captured_unchanged_and_its_host_normalized() {
        let said = b"GET / HTTP/1.1\r\nHost: APP.Test.:80\r\n\r\nbody";
        let sniffed = outcome(said, false).await.unwrap();
        assert_eq!(sniffed.name.as_deref(), Some("app.test"));
        assert_eq!(&sniffed.captured[..], said);
    }

    #[tokio::test]
    async fn silence_other_protocols_and_half_a_hello_are_the_ports_business() {
        for said in [
            &b""[..],
            b"SSH-2.0-x\r\n",
            b"\x16\x03\x01",
            b"GET / HTTP/1.0\r\n\r\n",
        ] {
            let sniffed = outcome(said, false).await.unwrap();
            assert_eq!(
                (sniffed.name, sniffed.is_tls, &sniffed.captured[..]),
                (None, false, said)
            );
        }
    }

    #[tokio::test]
    async fn whoever_leaves_in_silence_is_not_connected() {
        assert_eq!(outcome(b"", true).await, Err(Unroutable::NothingSaid));
        assert!(outcome(b"hello", true).await.is_ok());
    }

    #[tokio::test]
    async fn what_exceeds_the_capture_is_refused() {
        let head = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 70_000]].concat();
        assert_eq!(outcome(&head, false).await, Err(Unroutable::HeadTooLarge));
        let record = [&[22, 3, 1, 0x40, 0][..], &[1, 0, 0xff, 0xff], &[0; 16_380]].concat();
        assert_eq!(
            outcome(&record.repeat(3), false).await,
            Err(Unroutable::HelloTooLarge)
        );
    }
}
