//! Waiting for a job, with a line for each stage.

use crate::{
    Failure, Screen,
    http::{Api, Call},
    view::Job,
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(400);
/// Pulling a large image over a slow line.
const LONGEST: Duration = Duration::from_secs(3600);
/// health-api may be restarted meanwhile.
const OUTAGE: Duration = Duration::from_secs(20);

/// Waits until a job has ended. Its failure is this command's. Returns the job's document.
pub(crate) async fn wait(api: &Api, screen: &Screen, id: &str) -> Result<Value, Failure> {
    let path = format!("/api/v1/jobs/{id}");
    let began = Instant::now();
    let mut answered = began;
    let mut stage = String::new();
    while began.elapsed() < LONGEST {
        match api.call(Call::get(&path)).await {
            Ok(answer) => {
                answered = Instant::now();
                let job: Job = answer.parse()?;
                if job.stage != stage {
                    screen.progress(&format!("{:>3} %  {}", job.progress, job.stage));
                    stage.clone_from(&job.stage);
                }
                if let Some(error) = failure(&job) {
                    return Err(error);
                }
                if job.finished.is_some() || job.state == "done" {
                    return answer.value();
                }
            }
            Err(Failure::Unreachable { .. }) if answered.elapsed() < OUTAGE => {}
            Err(other) => return Err(other),
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure::JobTooLong {
        id: id.to_owned(),
        minutes: LONGEST.as_secs() / 60,
    })
}

/// A failed job as this command's failure: its error is a problem document.
fn failure(job: &Job) -> Option<Failure> {
    let error = job.error.as_ref().filter(|error| !error.is_null());
    match error {
        Some(error) => {
            let status = error["status"].as_u64().unwrap_or(500);
            let status = u16::try_from(status).unwrap_or(500);
            let json = error.to_string();
            Some(Failure::refused(status, "Failed", json.as_bytes()))
        }
        None if job.state == "failed" => Some(Failure::refused(500, "Failed", b"")),
        None => None,
    }
}
