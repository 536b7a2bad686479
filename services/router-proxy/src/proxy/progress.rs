//! Waiting for an app's answer: sixty seconds of nothing, where a body still being sent to it is
//! not nothing. A slow upload is not a silent app.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// When something last moved.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Waits for `answer` until nothing has moved for `patience`.
    pub(super) async fn wait<F: Future>(&self, answer: F, patience: Duration) -> Option<F::Output> {
        let mut answer = pin!(answer);
        loop {
            let end = self.last() + patience;
            match tokio::time::timeout_at(end, answer.as_mut()).await {
                Ok(output) => return Some(output),
                Err(_) if self.last() + patience > end => {}
                Err(_) => return None,
            }
        }
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A body whose frames are noted as they pass.
pub(super) struct Noted<B> {
    body: B,
    progress: Progress,
}

impl<B> Noted<B> {
    pub(super) const fn new(body: B, progress: Progress) -> Self {
        Self { body, progress }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Noted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(context);
        if poll.is_ready() {
            self.progress.note();
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
