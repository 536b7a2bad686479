//! The control socket: one JSON object per line (`piccolo_bus_schema::supervisor`). Every
//! connection is a task of its own, so a slow client holds up nobody but itself.

use crate::logs::Logs;
use piccolo_bus_schema::supervisor::{LINE_LIMIT, Request, Response};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, broadcast::error::RecvError, mpsc, oneshot, watch},
};

/// Open connections: an operator, health-api and some watchers.
const CONNECTIONS: usize = 32;
/// For a client to say what it wants.
const IDLE: Duration = Duration::from_secs(60);
/// For a client to take an answer.
const WRITE: Duration = Duration::from_secs(10);
/// Status is not pushed more often than this.
const WATCH_PAUSE: Duration = Duration::from_millis(100);

/// What only the supervisor's loop can answer.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) ask: Ask,
    /// Who asks, for the log.
    pub(crate) peer: Peer,
    pub(crate) answer: oneshot::Sender<Response>,
}

/// A question without its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Status,
    Start(String),
    Stop(String),
    Restart(String),
}

/// The kernel's word for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    pub(crate) pid: Option<i32>,
}

/// Serves the socket.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) questions: mpsc::Sender<Question>,
    /// Changes whenever the status does.
    pub(crate) changes: watch::Receiver<u64>,
    pub(crate) logs: Logs,
}

/// The connection is of no use any more.
#[derive(Debug, thiserror::Error)]
enum Gone {
    #[error("the client closed or was too slow")]
    Client(#[from] io::Error),
    #[error("the supervisor is stopping")]
    Supervisor,
}

impl Control {
    /// Binds the socket and serves it in the background.
    pub(crate) fn listen(self, path: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(path)?;
        tokio::spawn(self.accept(listener));
        Ok(())
    }

    async fn accept(self, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: it passes.
                    tracing::warn!(%error, "control connection not accepted");
                    tokio::time::sleep(WATCH_PAUSE).await;
                    continue;
                }
            };
            let control = self.clone();
            let place = Arc::clone(&places).try_acquire_owned();
            tokio::spawn(async move {
                let served = match place {
                    Ok(_place) => control.serve(stream).await,
                    Err(_) => refuse(stream, "too many connections; try again later").await,
                };
                if let Err(error) = served {
                    tracing::debug!(%error, "control connection ended");
                }
            });
        }
    }

    async fn serve(mut self, stream: UnixStream) -> Result<(), Gone> {
        let credentials = stream.peer_cred()?;
        let peer = Peer {
            uid: credentials.uid(),
            pid: credentials.pid(),
        };
        if peer.uid != 0 && peer.uid != rustix::process::getuid().as_raw() {
            return refuse(stream, "only root and the supervisor's own user may ask").await;
        }
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        while let Some(line) = next_line(&mut read).await? {
            match serde_json::from_str(&line) {
                Ok(request) => self.answer(request, peer, &mut read, &mut write).await?,
                Err(error) => {
                    let why = format!("not a request: {error}");
                    return send(&mut write, &Response::Failed { why }).await;
                }
            }
        }
        Ok(())
    }

    async fn answer(
        &mut self,
        request: Request,
        peer: Peer,
        read: &mut BufReader<OwnedReadHalf>,
        write: &mut OwnedWriteHalf,
    ) -> Result<(), Gone> {
        let ask = match request {
            Request::Status => Ask::Status,
            Request::Start { unit } => Ask::Start(unit),
            Request::Stop { unit } => Ask::Stop(unit),
            Request::Restart { unit } => Ask::Restart(unit),
            Request::Watch => return self.watch(peer, read, write).await,
            Request::Logs { unit, tail, follow } => {
                let tail = usize::try_from(tail).unwrap_or(usize::MAX);
                return self.show_logs(&unit, tail, follow, read, write).await;
            }
        };
        let answer = self.ask(ask, peer).await?;
        send(write, &answer).await
    }

    async fn ask(&self, ask: Ask, peer: Peer) -> Result<Response, Gone> {
        let (answer, answered) = oneshot::channel();
        let question = Question { ask, peer, answer };
        self.questions
            .send(question)
            .await
            .map_err(|_| Gone::Supervisor)?;
        answered.await.map_err(|_| Gone::Supervisor)
    }

    async fn watch(
        &mut self,
        peer: Peer,
        read: &mut BufReader<OwnedReadHalf>,
        write: &mut OwnedWriteHalf,
    ) -> Result<(), Gone> {
        loop {
            self.changes.borrow_and_update();
            let status = self.ask(Ask::Status, peer).await?;
            send(write, &status).await?;
            tokio::time::sleep(WATCH_PAUSE).await;
            tokio::select! {
                changed = self.changes.changed() => changed.map_err(|_| Gone::Supervisor)?,
                () = closed(read) => return Ok(()),
            }
        }
    }

    async fn show_logs(
        &self,
        unit: &str,
        tail: usize,
        follow: bool,
        read: &mut BufReader<OwnedReadHalf>,
        write: &mut OwnedWriteHalf,
    ) -> Result<(), Gone> {
        let Some((lines, mut news)) = self.logs.follow(unit, tail) else {
            let why = format!("there is no unit {unit:?}");
            return send(write, &Response::Failed { why }).await;
        };
        let log = |line: &str| Response::Log {
            unit: unit.to_owned(),
            line: line.to_owned(),
        };
        for line in lines {
            send(write, &log(&line)).await?;
        }
        if !follow {
            return send(write, &Response::Done).await;
        }
        loop {
            let line = tokio::select! {
                line = news.recv() => line,
                () = closed(read) => return Ok(()),
            };
            match line {
                Ok(line) => send(write, &log(&line)).await?,
                Err(RecvError::Lagged(lost)) => {
                    send(
                        write,
                        &log(&format!("... {lost} lines were too fast to follow")),
                    )
                    .await?;
                }
                Err(RecvError::Closed) => return Err(Gone::Supervisor),
            }
        }
    }
}

/// `None` at the end of the connection.
async fn next_line(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<String>> {
    let limit = u64::try_from(LINE_LIMIT).unwrap_or(u64::MAX);
    let mut line = String::new();
    let mut limited = read.take(limit);
    let reading = limited.read_line(&mut line);
    let length = tokio::time::timeout(IDLE, reading).await??;
    if length == LINE_LIMIT && !line.ends_with('\n') {
        return Err(io::Error::other("the line is too long"));
    }
    Ok((length > 0).then_some(line))
}

/// Waits for the client to close. What it says meanwhile is nothing that was asked for.
async fn closed(read: &mut BufReader<OwnedReadHalf>) {
    let mut byte = [0; 64];
    while read.read(&mut byte).await.is_ok_and(|length| length > 0) {}
}

async fn send(write: &mut OwnedWriteHalf, response: &Response) -> Result<(), Gone> {
    let mut line = serde_json::to_vec(response).map_err(io::Error::from)?;
    line.push(b'\n');
    let writing = write.write_all(&line);
    tokio::time::timeout(WRITE, writing)
        .await
        .map_err(io::Error::from)??;
    Ok(())
}

async fn refuse(stream: UnixStream, why: &str) -> Result<(), Gone> {
    let (_read, mut write) = stream.into_split();
    let why = why.to_owned();
    send(&mut write, &Response::Failed { why }).await
}
