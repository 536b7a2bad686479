//! Carries one TCP connection between its socket and its session.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::control::{Notice, Origin};
use crate::flow::{End, Flow};
use crate::frame::{self, MAX_PAYLOAD};
use crate::session::Session;

/// What is still queued for a user when the flow ends has this long to leave.
const FLUSH: Duration = Duration::from_millis(50);
/// After the backend's `disconnect` the user may read for this long before the socket is closed.
const LINGER: Duration = Duration::from_secs(2);
/// Without an idle time-out, a backend may withhold credits for this long.
const CREDIT_WAIT: Duration = Duration::from_secs(30);
/// A credit report that found no room is tried again at this pace.
const REPORT_RETRY: Duration = Duration::from_millis(50);

/// Opens a flow for a user: `connect`, then the captured bytes, then whatever follows.
pub async fn serve(
    session: &Arc<Session>,
    stream: TcpStream,
    origin: &Origin,
    captured: &[u8],
    idle: Option<Duration>,
) {
    let (flow, queue) = Flow::new(uuid::Uuid::new_v4());
    if session.register(&flow).is_err() {
        return;
    }
    if announce(session, &flow, origin, captured).await.is_err() {
        session.release(&flow);
        session.report_end(&flow, End::LaneFull).await;
        return;
    }
    carry(session, &flow, queue, stream, idle).await;
}

/// The captured bytes go out in frames of ordinary size: a head of 64 KiB in one frame would break
/// the session of any backend that keeps to the message limit.
async fn announce(
    session: &Session,
    flow: &Flow,
    origin: &Origin,
    captured: &[u8],
) -> Result<(), crate::lanes::LaneFull> {
    session
        .lanes
        .notify_soon(flow.id, &Notice::Connect(origin))
        .await?;
    for chunk in captured.chunks(MAX_PAYLOAD) {
        // Sent in any case, but counted if a grant is already there.
        flow.try_credit();
        session.lanes.data_soon(frame::data(flow.id, chunk)).await?;
    }
    Ok(())
}

/// Moves bytes both ways until somebody ends the flow, then ends it for the others.
pub async fn carry(
    session: &Arc<Session>,
    flow: &Arc<Flow>,
    queue: mpsc::Receiver<Bytes>,
    mut stream: TcpStream,
    idle: Option<Duration>,
) {
    let _ = stream.set_nodelay(true);
    let (from_user, mut to_user) = stream.split();
    let carrier = Carrier {
        session,
        flow,
        idle,
        last_write: Mutex::new(None),
    };
    let mut pending = Pending {
        queue,
        current: None,
    };
    let end = tokio::select! {
        end = carrier.forward(&from_user) => end,
        end = carrier.reverse(&mut to_user, &mut pending) => end,
        end = flow.finished() => end,
    };
    session.release(flow);
    tokio::join!(
        session.report_end(flow, end),
        part_with_user(end, pending, &from_user, &mut to_user),
    );
}

/// What the user still gets to see depends on who ended the flow.
async fn part_with_user(
    end: End,
    mut pending: Pending,
    from_user: &ReadHalf<'_>,
    to_user: &mut WriteHalf<'_>,
) {
    match end {
        End::ByBackend => {
            pending.flush(to_user).await;
            let _ = to_user.shutdown().await;
            let _ = timeout(LINGER, discard(from_user)).await;
        }
        End::UserClosed => pending.flush(to_user).await,
        End::Idle
        | End::Starved
        | End::LaneFull
        | End::Overrun
        | End::WriteFailed
        | End::Evicted
        | End::SessionEnded => {}
    }
}

/// Reads what the user still sends, so that closing the socket does not reset what it still reads.
async fn discard(from_user: &ReadHalf<'_>) {
    let mut scrap = [0; 1024];
    while from_user.readable().await.is_ok() {
        match from_user.try_read(&mut scrap) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

struct Carrier<'a> {
    session: &'a Session,
    flow: &'a Flow,
    idle: Option<Duration>,
    last_write: Mutex<Option<Instant>>,
}

impl Carrier<'_> {
    /// User to backend. Each message waits for the end of a pause, for bytes, and for a credit.
    async fn forward(&self, from_user: &ReadHalf<'_>) -> End {
        let credit_wait = self.idle.unwrap_or(CREDIT_WAIT);
        loop {
            let frame = match self.read_frame(from_user).await {
                Ok(frame) => frame,
                Err(end) => return end,
            };
            if timeout(credit_wait, self.flow.credit()).await.is_err() {
                return End::Starved;
            }
            if self.session.lanes.data_soon(frame).await.is_err() {
                return End::LaneFull;
            }
        }
    }

    /// One data message. The idle clock starts before a pause, so a pause longer than the
    /// time-out ends the flow when it is lifted.
    async fn read_frame(&self, from_user: &ReadHalf<'_>) -> Result<Bytes, End> {
        let mut since = Instant::now();
        self.flow.unpaused().await;
        loop {
            self.readable(from_user, &mut since).await?;
            // The buffer is made only now: thousands of idle users cost no buffers.
            let mut frame = frame::begin_data(self.flow.id, MAX_PAYLOAD);
            match from_user.try_read_buf(&mut (&mut frame).limit(MAX_PAYLOAD)) {
                Ok(0) => return Err(End::UserClosed),
                Ok(_) => return Ok(frame.freeze()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(End::UserClosed),
            }
        }
    }

    /// Waits for bytes from the user. The clock starts again when something was written meanwhile.
    async fn readable(&self, from_user: &ReadHalf<'_>, since: &mut Instant) -> Result<(), End> {
        let Some(idle) = self.idle else {
            return from_user.readable().await.map_err(|_| End::UserClosed);
        };
        loop {
            let deadline = *since + idle;
            // Checked first: bytes that arrived during too long a pause are not read any more.
            if Instant::now() < deadline
                && let Ok(ready) = timeout_at(deadline, from_user.readable()).await
            {
                return ready.map_err(|_| End::UserClosed);
            }
            if !self.wrote_since(*since) {
                return Err(End::Idle);
            }
            *since = Instant::now();
        }
    }

    fn wrote_since(&self, since: Instant) -> bool {
        self.last_write
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|at| at > since)
    }

    /// Backend to user, message by message.
    async fn reverse(&self, to_user: &mut WriteHalf<'_>, pending: &mut Pending) -> End {
        loop {
            if pending.current.is_none() {
                pending.current = self.next_message(&mut pending.queue).await;
            }
            let written = match self.idle {
                Some(idle) => timeout(idle, pending.write_current(to_user))
                    .await
                    .unwrap_or(Err(io::ErrorKind::TimedOut.into())),
                None => pending.write_current(to_user).await,
            };
            if written.is_err() {
                return End::WriteFailed;
            }
            let now = Instant::now();
            *self
                .last_write
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(now);
            self.flow.written(&self.session.lanes, now.into_std());
        }
    }

    /// The next message for the user; meanwhile, credits still owed are offered again.
    async fn next_message(&self, queue: &mut mpsc::Receiver<Bytes>) -> Option<Bytes> {
        loop {
            tokio::select! {
                message = queue.recv() => return message,
                () = sleep(REPORT_RETRY), if self.flow.owes_credits() => {
                    self.flow.report(&self.session.lanes, std::time::Instant::now());
                }
            }
        }
    }
}

/// Messages for the user, the first perhaps half written.
struct Pending {
    queue: mpsc::Receiver<Bytes>,
    current: Option<Bytes>,
}

impl Pending {
    /// Writes the rest of the current message. Cancel-safe: what is written is taken off.
    async fn write_current(&mut self, to_user: &mut WriteHalf<'_>) -> io::Result<()> {
        while let Some(message) = self
            .current
            .as_mut()
            .filter(|message| message.has_remaining())
        {
            if to_user.write_buf(message).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.current = None;
        Ok(())
    }

    /// Writes what is queued for as long as [`FLUSH`] allows; the rest is lost.
    async fn flush(&mut self, to_user: &mut WriteHalf<'_>) {
        let all = async {
            while self.write_current(to_user).await.is_ok() {
                match self.queue.try_recv() {
                    Ok(message) => self.current = Some(message),
                    Err(_) => return,
                }
            }
        };
        let _ = timeout(FLUSH, all).await;
    }
}
