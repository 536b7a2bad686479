//! Carries bytes between a stranger and the library, checked one way and bounded the other.

use super::{
    inspector::{Inspector, Rule},
    zmtp::Violation,
};
use bytes::{Bytes, BytesMut};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

/// What may wait for a stranger that does not read. The library's own queue has no bound, so the
/// door reads on and cuts here. Twice what 64 calls in flight can leave unread.
const BACKLOG_LIMIT: usize = 8 << 20;
const CHUNK: usize = 64 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("connection lost")]
    Lost(#[from] io::Error),
    #[error("cut")]
    Cut(#[from] Violation),
}

/// Carries until either side ends or breaks a rule; both sides are closed then.
pub(crate) async fn carry(stranger: UnixStream, library: UnixStream, rule: Rule) -> Ending {
    let (from_stranger, to_stranger) = stranger.into_split();
    let (from_library, to_library) = library.into_split();
    let backlog = Arc::new(AtomicUsize::new(0));
    let (chunks, waiting) = mpsc::unbounded_channel();
    let ending = tokio::select! {
        ending = inward(from_stranger, to_library, rule) => ending,
        ending = outward(from_library, chunks, Arc::clone(&backlog)) => ending,
        ending = deliver(waiting, to_stranger, backlog) => ending,
    };
    match ending {
        Ok(()) => Ending::Lost(io::Error::from(io::ErrorKind::UnexpectedEof)),
        Err(ending) => ending,
    }
}

/// Stranger to library: nothing is passed on before it was checked.
async fn inward(
    mut stranger: OwnedReadHalf,
    mut library: OwnedWriteHalf,
    rule: Rule,
) -> Result<(), Ending> {
    let mut inspector = Inspector::new(rule);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = stranger.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        inspector.inspect(&chunk[..read])?;
        library.write_all(&chunk[..read]).await?;
    }
}

/// Library to backlog: always read, so that nothing piles up where there is no bound.
async fn outward(
    mut library: OwnedReadHalf,
    chunks: mpsc::UnboundedSender<Bytes>,
    backlog: Arc<AtomicUsize>,
) -> Result<(), Ending> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.reserve(4096);
        if library.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let chunk = buffer.split().freeze();
        let waiting = backlog.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
        if waiting > BACKLOG_LIMIT {
            return Err(Violation::Backlog.into());
        }
        if chunks.send(chunk).is_err() {
            return Ok(());
        }
    }
}

/// Backlog to stranger.
async fn deliver(
    mut chunks: mpsc::UnboundedReceiver<Bytes>,
    mut stranger: OwnedWriteHalf,
    backlog: Arc<AtomicUsize>,
) -> Result<(), Ending> {
    while let Some(chunk) = chunks.recv().await {
        stranger.write_all(&chunk).await?;
        backlog.fetch_sub(chunk.len(), Ordering::Relaxed);
    }
    Ok(())
}
