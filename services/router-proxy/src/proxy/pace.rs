//! How fast a visitor must be: a request's head within ten seconds of its first byte, and no more
//! than 75 seconds of silence between requests.
//!
//! The HTTP library's own head timer runs between requests too, so it can't tell the two apart.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Longer than the minute after which common clients let go of a connection themselves.
const IDLE_WITHIN: Duration = Duration::from_secs(75);

/// What a connection waits for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Head,
    Idle,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The first bytes of a head are due, or have come.
    Head {
        since: Instant,
    },
    Idle {
        since: Instant,
    },
    Busy {
        requests: u32,
    },
}

/// The pace of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Its frames between requests (pings, window updates) begin no head.
    http2: bool,
}

impl Pace {
    /// A connection just made: its first head is due.
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                phase: Phase::Head { since: now },
                http2: false,
            }),
        })
    }

    /// A request begins; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, http2: bool) -> InFlight {
        let mut state = self.state();
        state.http2 = http2;
        state.phase = match state.phase {
            Phase::Head { .. } | Phase::Idle { .. } => Phase::Busy { requests: 1 },
            Phase::Busy { requests } => Phase::Busy {
                requests: requests + 1,
            },
        };
        InFlight(Arc::clone(self))
    }

    /// What has taken too long, if anything.
    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        match self.state().phase {
            Phase::Head { since } => (now >= since + HEAD_WITHIN).then_some(Overdue::Head),
            Phase::Idle { since } => (now >= since + IDLE_WITHIN).then_some(Overdue::Idle),
            Phase::Busy { .. } => None,
        }
    }

    fn bytes_came(&self, now: Instant) {
        let mut state = self.state();
        if let (Phase::Idle { .. }, false) = (state.phase, state.http2) {
            state.phase = Phase::Head { since: now };
        }
    }

    fn end(&self, now: Instant) {
        let mut state = self.state();
        state.phase = match state.phase {
            Phase::Busy { requests } if requests > 1 => Phase::Busy {
                requests: requests - 1,
            },
            Phase::Busy { .. } | Phase::Head { .. } | Phase::Idle { .. } => {
                Phase::Idle { since: now }
            }
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Pace>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end(Instant::now());
    }
}

/// A response body that keeps its request under way until it has been sent.
pub(super) struct Guarded<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B> Guarded<B> {
    pub(super) const fn new(body: B, in_flight: InFlight) -> Self {
        Self {
            body,
            _in_flight: in_flight,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Guarded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose arriving bytes are noticed.
pub(super) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    pub(super) const fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.bytes_came(Instant::now());
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_due_soon_and_silence_is_borne_longer() {
        let start = Instant::now();
        let pace = Pace::new(start);
        assert_eq!(pace.overdue(start + HEAD_WITHIN), Some(Overdue::Head));
        let first = pace.begin(false);
        assert_eq!(
            pace.overdue(start + IDLE_WITHIN * 2),
            None,
            "a request takes its time"
        );
        drop(first);
        let ended = Instant::now();
        assert_eq!(pace.overdue(ended + HEAD_WITHIN), None);
        assert_eq!(pace.overdue(ended + IDLE_WITHIN), Some(Overdue::Idle));
        pace.bytes_came(ended);
        assert_eq!(pace.overdue(ended + HEAD_WITHIN), Some(Overdue::Head));
    }

    #[test]
    fn http2_frames_between_requests_begin_no_head() {
        let pace = Pace::new(Instant::now());
        drop((pace.begin(true), pace.begin(true)));
        let ended = Instant::now();
        pace.bytes_came(ended);
        assert_eq!(pace.overdue(ended + HEAD_WITHIN), None);
    }
}
