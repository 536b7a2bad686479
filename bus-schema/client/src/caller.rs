//! One destination: a task that owns the DEALER, pairs replies with requests and reconnects.
//!
//! ```text
//!   connecting ──connected──► serving ──lost──► (sent `Never` calls: OutcomeUnknown,
//!        ▲                                       sent `Safe` calls: sent again) ──back-off──┐
//!        └──────────────────────────────────────────────────────────────────────────────────┘
//! ```

use crate::{
    backoff::Backoff,
    clock,
    door::{self, SocketKind},
};
use bytes::Bytes;
use futures_util::StreamExt;
use piccolo_bus_schema::{
    Fault, Retry, ServiceName, codec, endpoint,
    envelope::{Outcome, Reply, Request},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketEvent, SocketOptions, SocketRecv,
    SocketSend, ZmqMessage,
};

/// Commands in flight per destination; at the bound the answer is `Busy` at once.
const IN_FLIGHT: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const SEND_PATIENCE: Duration = Duration::from_secs(1);

/// A call as the task sees it.
struct Call {
    request: Request,
    retry: Retry,
    answer: oneshot::Sender<Answer>,
    sent: bool,
}

enum Answer {
    Outcome(Outcome),
    /// The link broke after the request was sent.
    Lost,
}

/// The handle to a destination's task.
#[derive(Clone)]
pub(crate) struct Caller {
    destination: ServiceName,
    queue: mpsc::Sender<Call>,
    permits: Arc<Semaphore>,
}

impl Caller {
    /// Starts the task; it ends when the last handle is dropped.
    pub(crate) fn start(runtime_dir: &Path, destination: ServiceName) -> Self {
        let (queue, calls) = mpsc::channel(IN_FLIGHT);
        let link = Link {
            destination,
            runtime_dir: runtime_dir.to_owned(),
            path: endpoint::commands(runtime_dir, destination),
            calls,
            pending: HashMap::new(),
        };
        tokio::spawn(link.run());
        Self {
            destination,
            queue,
            permits: Arc::new(Semaphore::new(IN_FLIGHT)),
        }
    }

    /// Sends a request and waits for its outcome until its deadline.
    pub(crate) async fn call(&self, request: Request, retry: Retry) -> Result<Vec<u8>, Fault> {
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(Fault::busy(Duration::from_millis(50)));
        };
        let Some(patience) = clock::remaining(request.deadline) else {
            return Err(Fault::DeadlineExceeded);
        };
        let (answer, outcome) = oneshot::channel();
        let call = Call {
            request,
            retry,
            answer,
            sent: false,
        };
        if self.queue.try_send(call).is_err() {
            return Err(Fault::busy(Duration::from_millis(50)));
        }
        match tokio::time::timeout(patience, outcome).await {
            Ok(Ok(Answer::Outcome(Outcome::Done(body)))) => Ok(body),
            Ok(Ok(Answer::Outcome(Outcome::Failed(fault)))) => Err(fault),
            Ok(Ok(Answer::Lost) | Err(_)) => Err(Fault::OutcomeUnknown),
            Err(_) => Err(self.too_late(retry)),
        }
    }

    fn too_late(&self, retry: Retry) -> Fault {
        match retry {
            Retry::Safe => Fault::unavailable(
                format!("service {}", self.destination),
                "it did not answer in time; it may be restarting",
            ),
            Retry::Never => Fault::OutcomeUnknown,
        }
    }
}

struct Link {
    destination: ServiceName,
    runtime_dir: PathBuf,
    path: PathBuf,
    calls: mpsc::Receiver<Call>,
    pending: HashMap<u64, Call>,
}

/// Why a connection ended.
enum Ending {
    LinkLost,
    /// Every handle is gone.
    NobodyCalls,
}

impl Link {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            match connect(&self.runtime_dir, &self.path).await {
                Ok(connection) => match self.serve(connection, &mut backoff).await {
                    Ending::LinkLost => {
                        tracing::debug!(destination = %self.destination, "link lost");
                        self.settle_after_loss();
                    }
                    Ending::NobodyCalls => return,
                },
                Err(error) => {
                    tracing::trace!(destination = %self.destination, %error, "not reachable");
                }
            }
            if self.wait(backoff.wait()).await.is_none() {
                return;
            }
        }
    }

    /// Waits while collecting calls, so that the queue's bound is the only bound.
    /// `None` when nobody calls any more.
    async fn wait(&mut self, pause: Duration) -> Option<()> {
        let pause = tokio::time::sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                call = self.calls.recv() => self.keep(call?),
            }
        }
        self.forget_expired();
        Some(())
    }

    fn keep(&mut self, call: Call) {
        self.pending.insert(call.request.correlation, call);
    }

    fn forget_expired(&mut self) {
        self.pending.retain(|_, call| !call.answer.is_closed());
    }

    /// What was sent and may not be repeated has an unknown outcome; the rest is sent again.
    fn settle_after_loss(&mut self) {
        let lost: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, call)| call.sent && call.retry == Retry::Never)
            .map(|(correlation, _)| *correlation)
            .collect();
        for correlation in lost {
            if let Some(call) = self.pending.remove(&correlation) {
                let _ = call.answer.send(Answer::Lost);
            }
        }
        for call in self.pending.values_mut() {
            call.sent = false;
        }
    }

    async fn serve(&mut self, mut connection: Connection, backoff: &mut Backoff) -> Ending {
        let waiting: Vec<u64> = self.pending.keys().copied().collect();
        for correlation in waiting {
            if !self.send(&mut connection.sender, correlation).await {
                return Ending::LinkLost;
            }
        }
        loop {
            tokio::select! {
                call = self.calls.recv() => {
                    let Some(call) = call else { return Ending::NobodyCalls };
                    let correlation = call.request.correlation;
                    self.keep(call);
                    if !self.send(&mut connection.sender, correlation).await {
                        return Ending::LinkLost;
                    }
                }
                message = connection.receiver.recv() => match message {
                    Ok(message) => {
                        backoff.reset();
                        self.settle(message);
                    }
                    Err(_) => return Ending::LinkLost,
                },
                event = connection.monitor.next() => match event {
                    Some(SocketEvent::Disconnected(_) | SocketEvent::Closed) | None => {
                        return Ending::LinkLost;
                    }
                    Some(_) => {}
                },
            }
        }
    }

    /// False when the link is lost.
    async fn send(&mut self, sender: &mut DealerSendHalf, correlation: u64) -> bool {
        let Some(call) = self.pending.get_mut(&correlation) else {
            return true;
        };
        if call.answer.is_closed() {
            self.pending.remove(&correlation);
            return true;
        }
        let body = match codec::encode(&call.request) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(command = call.request.command, %error, "command can't be sent");
                let fault = Fault::Internal {
                    log_id: call.request.command.clone(),
                };
                if let Some(call) = self.pending.remove(&correlation) {
                    let _ = call.answer.send(Answer::Outcome(Outcome::Failed(fault)));
                }
                return true;
            }
        };
        call.sent = true;
        let sending = sender.send(ZmqMessage::from(Bytes::from(body)));
        matches!(
            tokio::time::timeout(SEND_PATIENCE, sending).await,
            Ok(Ok(()))
        )
    }

    fn settle(&mut self, message: ZmqMessage) {
        let Some(body) = message.get(0) else { return };
        let reply: Reply = match codec::decode(body) {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(destination = %self.destination, %error, "message is not a reply");
                return;
            }
        };
        if let Some(call) = self.pending.remove(&reply.correlation) {
            // The caller may have given up; late replies are harmless.
            let _ = call.answer.send(Answer::Outcome(reply.outcome));
        }
        self.forget_expired();
    }
}

struct Connection {
    sender: DealerSendHalf,
    receiver: DealerRecvHalf,
    monitor: futures_util::stream::BoxStream<'static, SocketEvent>,
}

async fn connect(runtime_dir: &Path, path: &Path) -> Result<Connection, String> {
    let private = door::enter(runtime_dir, path, SocketKind::Dealer)
        .await
        .map_err(|error| error.to_string())?;
    let mut options = SocketOptions::default();
    options.connect_timeout(CONNECT_TIMEOUT);
    let mut socket = DealerSocket::with_options(options);
    let monitor = socket.monitor().boxed();
    socket
        .connect(&format!("ipc://{}", private.display()))
        .await
        .map_err(|error| error.to_string())?;
    let (sender, receiver) = socket.split();
    Ok(Connection {
        sender,
        receiver,
        monitor,
    })
}
