//! piccolod's control socket, as its client.

use piccolo_bus_schema::{
    endpoint,
    supervisor::{LINE_LIMIT, Request, Response, Status},
};
use std::{io, path::Path, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

const PATIENCE: Duration = Duration::from_secs(15);
/// Most answers one request can have: a log ring.
const ANSWERS: usize = 4096;

/// The supervisor could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the supervisor's control socket can't be used")]
    Socket(#[from] io::Error),
    #[error("the supervisor's answer can't be read")]
    Answer(#[from] serde_json::Error),
    #[error("the supervisor did not answer in time")]
    TooLate,
    #[error("{0}")]
    Refused(String),
}

/// The state of all units.
pub(crate) async fn status(runtime_dir: &Path) -> Result<Status, AskError> {
    match ask(runtime_dir, &Request::Status).await?.into_iter().next() {
        Some(Response::Status(status)) => Ok(status),
        _ => Err(AskError::Refused(
            "the supervisor gave no status".to_owned(),
        )),
    }
}

/// Restarts a unit; answers when the supervisor has taken the order.
pub(crate) async fn restart(runtime_dir: &Path, unit: &str) -> Result<(), AskError> {
    ask(
        runtime_dir,
        &Request::Restart {
            unit: unit.to_owned(),
        },
    )
    .await
    .map(|_| ())
}

/// The last log lines of a unit, oldest first.
pub(crate) async fn logs(
    runtime_dir: &Path,
    unit: &str,
    tail: u32,
) -> Result<Vec<String>, AskError> {
    let request = Request::Logs {
        unit: unit.to_owned(),
        tail,
        follow: false,
    };
    let answers = ask(runtime_dir, &request).await?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            Response::Log { line, .. } => Some(line),
            Response::Status(_) | Response::Done | Response::Failed { .. } => None,
        })
        .collect())
}

async fn ask(runtime_dir: &Path, request: &Request) -> Result<Vec<Response>, AskError> {
    tokio::time::timeout(PATIENCE, exchange(runtime_dir, request))
        .await
        .map_err(|_| AskError::TooLate)?
}

async fn exchange(runtime_dir: &Path, request: &Request) -> Result<Vec<Response>, AskError> {
    let stream = UnixStream::connect(endpoint::control(runtime_dir)).await?;
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    let mut lines = BufReader::new(read);
    let mut answers = Vec::new();
    while answers.len() < ANSWERS {
        let mut line = String::new();
        let limit = u64::try_from(LINE_LIMIT).unwrap_or(u64::MAX);
        if (&mut lines).take(limit).read_line(&mut line).await? == 0 {
            break;
        }
        match serde_json::from_str(&line)? {
            Response::Done => break,
            Response::Failed { why } => return Err(AskError::Refused(why)),
            status @ Response::Status(_) => {
                answers.push(status);
                break;
            }
            log @ Response::Log { .. } => answers.push(log),
        }
    }
    Ok(answers)
}
