//! router-proxy's stream socket, with the test behind it.

use crate::soon;
use std::path::Path;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

pub(crate) struct Edge {
    listener: UnixListener,
}

/// One stream, its PROXY header read.
pub(crate) struct EdgeStream {
    pub(crate) header: Vec<u8>,
    pub(crate) stream: UnixStream,
}

impl Edge {
    pub(crate) fn bind(runtime_dir: &Path) -> Self {
        let listener = UnixListener::bind(runtime_dir.join("streams.sock"));
        Self {
            listener: listener.expect("a socket"),
        }
    }

    pub(crate) async fn accept(&self) -> EdgeStream {
        let accepted = soon("a stream arrives", self.listener.accept()).await;
        let (mut stream, _) = accepted.expect("a stream");
        let mut header = vec![0; 16];
        soon("a header", stream.read_exact(&mut header))
            .await
            .expect("a header");
        let length = u16::from_be_bytes([header[14], header[15]]);
        header.resize(16 + usize::from(length), 0);
        let rest = stream.read_exact(&mut header[16..]);
        soon("the rest of the header", rest)
            .await
            .expect("the rest of the header");
        EdgeStream { header, stream }
    }
}

impl EdgeStream {
    pub(crate) async fn expect(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        soon("bytes arrive", self.stream.read_exact(&mut read))
            .await
            .expect("bytes");
        assert!(read == bytes, "other bytes than expected");
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon("bytes are taken", self.stream.write_all(bytes))
            .await
            .expect("an open stream");
    }

    /// Reads to the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = soon("the stream is closed", self.stream.read_to_end(&mut rest)).await;
        rest
    }

    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.rest().await, b"");
    }
}
