//! The HTTP request that turns a backend's TLS connection into a WebSocket (RFC 6455 section 4.2).

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const PATH: &str = "/connect";
const DEADLINE: Duration = Duration::from_secs(10);
/// No sensible upgrade request is larger.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Why there is no WebSocket.
#[derive(Debug, Error)]
pub enum UpgradeError {
    #[error("upgrade request not received")]
    Read(#[source] io::Error),
    #[error("no complete upgrade request within {} s", DEADLINE.as_secs())]
    Slow,
    #[error("upgrade request is larger than {MAX_HEAD} bytes")]
    TooLarge,
    #[error("client sent bytes before the answer to its upgrade request")]
    Pipelined,
    #[error("answered {}", .0.line)]
    Refused(Answer),
}

/// A plain answer to a request that is no upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    line: &'static str,
    body: &'static str,
}

const NOT_FOUND: Answer = Answer {
    line: "404 Not Found",
    body: "404 page not found\n",
};
const BAD_REQUEST: Answer = Answer {
    line: "400 Bad Request",
    body: "Bad Request\n",
};
const METHOD_NOT_ALLOWED: Answer = Answer {
    line: "405 Method Not Allowed",
    body: "Method Not Allowed\n",
};

/// Reads one request from `stream` and answers it. On success the stream carries WebSocket frames.
pub async fn accept<S>(stream: &mut S) -> Result<(), UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let judged = timeout(DEADLINE, read_request(stream))
        .await
        .map_err(|_| UpgradeError::Slow)??;
    let text = match &judged {
        Ok(accept) => format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        ),
        Err(Answer { line, body }) => format!(
            "HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
    };
    let answer = async {
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await
    };
    timeout(DEADLINE, answer)
        .await
        .map_err(|_| UpgradeError::Slow)?
        .map_err(UpgradeError::Read)?;
    judged.map(|_| ()).map_err(UpgradeError::Refused)
}

async fn read_request<S>(stream: &mut S) -> Result<Result<String, Answer>, UpgradeError>
where
    S: AsyncRead + Unpin,
{
    let mut head = BytesMut::with_capacity(1024);
    loop {
        if stream
            .read_buf(&mut head)
            .await
            .map_err(UpgradeError::Read)?
            == 0
        {
            return Err(UpgradeError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        match judge(&head) {
            Judgement::Incomplete if head.len() >= MAX_HEAD => return Err(UpgradeError::TooLarge),
            Judgement::Incomplete => {}
            Judgement::Answer(answer) => return Ok(Err(answer)),
            Judgement::Upgrade { length, .. } if length < head.len() => {
                return Err(UpgradeError::Pipelined);
            }
            Judgement::Upgrade { accept, .. } => return Ok(Ok(accept)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Incomplete,
    Answer(Answer),
    Upgrade {
        /// The value of Sec-WebSocket-Accept.
        accept: String,
        /// Of the request, in bytes.
        length: usize,
    },
}

fn judge(head: &[u8]) -> Judgement {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(head) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Judgement::Incomplete,
        Err(_) => return Judgement::Answer(BAD_REQUEST),
    };
    let path = request.path.and_then(|target| target.split('?').next());
    if path != Some(PATH) {
        return Judgement::Answer(NOT_FOUND);
    }
    if request.method != Some("GET") {
        return Judgement::Answer(METHOD_NOT_ALLOWED);
    }
    let key = header(&request, "sec-websocket-key")
        .next()
        .unwrap_or_default()
        .trim();
    let is_upgrade = request.version == Some(1)
        && has_token(&request, "connection", "upgrade")
        && has_token(&request, "upgrade", "websocket")
        && has_token(&request, "sec-websocket-version", "13")
        && STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16);
    if is_upgrade {
        Judgement::Upgrade {
            accept: derive_accept_key(key.as_bytes()),
            length,
        }
    } else {
        Judgement::Answer(BAD_REQUEST)
    }
}

fn header<'a>(
    request: &'a httparse::Request<'_, '_>,
    name: &'a str,
) -> impl Iterator<Item = &'a str> {
    request
        .headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .filter_map(|header| std::str::from_utf8(header.value).ok())
}

fn has_token(request: &httparse::Request<'_, '_>, name: &str, token: &str) -> bool {
    header(request, name)
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &str = "Host: r\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn request(line: &str, headers: &str) -> Judgement {
        judge(format!("{line}\r\n{headers}\r\n").as_bytes())
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        for line in ["GET /connect HTTP/1.1", "GET /connect?x=/y HTTP/1.1"] {
            assert!(matches!(
                request(line, HEADERS),
                Judgement::Upgrade { accept, .. } if accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            ));
        }
    }

    #[test]
    fn every_other_path_is_not_found() {
        for path in ["/", "/connect/", "/Connect", "/connects"] {
            let judged = request(&format!("GET {path} HTTP/1.1"), HEADERS);
            assert_eq!(judged, Judgement::Answer(NOT_FOUND), "{path}");
        }
    }

    #[test]
    fn a_bad_upgrade_is_a_bad_request_and_another_method_not_allowed() {
        assert_eq!(
            request("GET /connect HTTP/1.1", "Host: r\r\n"),
            Judgement::Answer(BAD_REQUEST)
        );
        for (good, bad) in [("13", "12"), ("WebSocket", "h2c"), ("dGhl", "dGh")] {
            let judged = request("GET /connect HTTP/1.1", &HEADERS.replace(good, bad));
            assert_eq!(judged, Judgement::Answer(BAD_REQUEST), "{bad}");
        }
        assert_eq!(
            request("POST /connect HTTP/1.1", HEADERS),
            Judgement::Answer(METHOD_NOT_ALLOWED)
        );
    }
}
