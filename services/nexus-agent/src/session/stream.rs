//! One visitor's bytes between the session and router-proxy's stream socket.

use super::shared::{Ends, Opening, Shared};
use crate::{flow::Chunk, frame::MAX_PAYLOAD, message::Reason, timing::Timing};
use bytes::{BufMut, Bytes, BytesMut};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
};
use uuid::Uuid;

/// Frames from the local side that wait for credit or their turn: enough to fill a turn twice while
/// the next is read.
const QUEUED_FRAMES: usize = 8;
/// Between two tries to reach a router-proxy that is being restarted.
const RETRY: Duration = Duration::from_millis(50);

/// Carries a flow until it ends either way.
pub(super) async fn carry(opening: Opening, shared: Arc<Shared>, streams: PathBuf, timing: Timing) {
    let Opening {
        id,
        header,
        from_relay,
        ends,
    } = opening;
    let abort = ends.abort.clone();
    let carrying = async {
        let stream = match open(&streams, &header, timing.dial_local).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%id, %error, "router-proxy's stream socket can't be reached");
                return shared.fail_dial(id);
            }
        };
        let (from_local, to_local) = stream.into_split();
        tokio::join!(
            read_local(id, from_local, &shared, &ends),
            write_local(
                id,
                to_local,
                from_relay,
                &shared,
                &ends,
                timing.finish_local
            ),
        );
    };
    tokio::select! {
        () = carrying => {}
        () = abort.cancelled() => {}
    }
}

async fn open(path: &Path, header: &[u8], patience: Duration) -> io::Result<UnixStream> {
    let connecting = async {
        loop {
            match UnixStream::connect(path).await {
                Ok(stream) => return stream,
                Err(error) => tracing::debug!(%error, "stream socket"),
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    let mut stream = tokio::time::timeout(patience, connecting).await?;
    // Far smaller than any socket buffer, but the other side owes us nothing.
    tokio::time::timeout(patience, stream.write_all(header)).await??;
    Ok(stream)
}

async fn read_local(id: Uuid, from_local: OwnedReadHalf, shared: &Shared, ends: &Ends) {
    let room = Arc::new(Semaphore::new(QUEUED_FRAMES));
    let reading = async {
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return Reason::LocalError;
            };
            match read_some(&from_local).await {
                Ok(bytes) if bytes.is_empty() => return Reason::Normal,
                Ok(bytes) => {
                    let chunk = Chunk {
                        bytes,
                        _room: Some(permit),
                    };
                    shared.send(id, chunk);
                }
                Err(_) => return Reason::LocalError,
            }
        }
    };
    tokio::select! {
        reason = reading => shared.end_local(id, reason),
        () = ends.finish.cancelled() => {}
    }
}

/// Empty at the end. No buffer is held while there is nothing to read: most streams idle.
async fn read_some(from_local: &OwnedReadHalf) -> io::Result<Bytes> {
    loop {
        from_local.readable().await?;
        let mut buffer = BytesMut::with_capacity(MAX_PAYLOAD);
        match from_local.try_read_buf(&mut (&mut buffer).limit(MAX_PAYLOAD)) {
            Ok(_) => {
                // A short read must not pin a whole buffer while it waits for credit.
                return Ok(if buffer.len() < MAX_PAYLOAD / 2 {
                    Bytes::copy_from_slice(&buffer)
                } else {
                    buffer.freeze()
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes until the relay's side is over. A local side that reads no more may still speak, so its
/// frames are taken and dropped rather than the flow ended.
async fn write_local(
    id: Uuid,
    mut to_local: OwnedWriteHalf,
    mut from_relay: mpsc::UnboundedReceiver<Bytes>,
    shared: &Shared,
    ends: &Ends,
    finish_within: Duration,
) {
    let writing = async {
        let mut open = true;
        while let Some(bytes) = from_relay.recv().await {
            open = open && to_local.write_all(&bytes).await.is_ok();
            shared.consume(id, bytes.len());
        }
    };
    // How long a slow local side is borne while the visitor is there is the relay's to say: it
    // closes a flow that waits for credit longer than its idle timeout.
    let overdue = async {
        ends.finish.cancelled().await;
        tokio::time::sleep(finish_within).await;
    };
    tokio::select! {
        () = writing => {}
        () = overdue => tracing::debug!(%id, "the local side did not take the rest in time"),
    }
}
