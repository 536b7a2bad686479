//! piccolod's control socket: units and their logs.

use crate::Failure;
use piccolo_bus_schema::{
    endpoint,
    supervisor::{LINE_LIMIT, Request, Response, Status},
};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

const PATIENCE: Duration = Duration::from_secs(15);
const SERVICE: &str = "piccolod";

/// A client of the socket; each question has a connection of its own.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
}

impl Control {
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        Self {
            path: endpoint::control(runtime_dir),
        }
    }

    /// The state of all units.
    pub(crate) async fn status(&self) -> Result<Status, Failure> {
        match self.ask(&Request::Status).await? {
            Response::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Start, stop or restart; returns when the order is taken.
    pub(crate) async fn order(&self, request: &Request) -> Result<(), Failure> {
        match self.ask(request).await? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Log lines as they come. With `follow` this ends only with piccolod.
    pub(crate) async fn logs(
        &self,
        unit: &str,
        tail: u32,
        follow: bool,
        mut show: impl FnMut(&str),
    ) -> Result<(), Failure> {
        let request = Request::Logs {
            unit: unit.to_owned(),
            tail,
            follow,
        };
        let mut answers = self.within(self.say(&request)).await?;
        loop {
            let next = next(&mut answers);
            // A followed unit may be silent for as long as it likes.
            let answer = if follow {
                next.await?
            } else {
                self.within(next).await?
            };
            match answer {
                Some(Response::Log { line, .. }) => show(&line),
                Some(Response::Done) | None => return Ok(()),
                Some(other) => return Err(unexpected(&other)),
            }
        }
    }

    async fn ask(&self, request: &Request) -> Result<Response, Failure> {
        self.within(async {
            let mut answers = self.say(request).await?;
            let answer = next(&mut answers).await?;
            answer.ok_or_else(|| garbled("it closed without an answer"))
        })
        .await
    }

    async fn say(&self, request: &Request) -> Result<BufReader<UnixStream>, Failure> {
        let unreachable = |source: io::Error| Failure::Unreachable {
            service: SERVICE,
            place: self.path.display().to_string(),
            source,
        };
        let mut line = serde_json::to_vec(request).map_err(|error| garbled(&error.to_string()))?;
        line.push(b'\n');
        let mut stream = UnixStream::connect(&self.path).await.map_err(unreachable)?;
        stream.write_all(&line).await.map_err(unreachable)?;
        Ok(BufReader::new(stream))
    }

    async fn within<T>(
        &self,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let outcome = tokio::time::timeout(PATIENCE, asking).await;
        outcome.unwrap_or(Err(Failure::TooLate {
            service: SERVICE,
            seconds: PATIENCE.as_secs(),
        }))
    }
}

async fn next(answers: &mut BufReader<UnixStream>) -> Result<Option<Response>, Failure> {
    let mut line = String::new();
    let limit = u64::try_from(LINE_LIMIT).unwrap_or(u64::MAX);
    answers
        .take(limit)
        .read_line(&mut line)
        .await
        .map_err(|error| garbled(&error.to_string()))?;
    if line.is_empty() {
        return Ok(None);
    }
    let answer = serde_json::from_str(&line).map_err(|error| garbled(&error.to_string()))?;
    Ok(Some(answer))
}

fn unexpected(response: &Response) -> Failure {
    match response {
        Response::Failed { why } => Failure::Supervisor(why.clone()),
        Response::Status(_) | Response::Log { .. } | Response::Done => {
            garbled("it answered another question")
        }
    }
}

fn garbled(why: &str) -> Failure {
    Failure::Garbled {
        service: SERVICE,
        why: why.to_owned(),
    }
}
