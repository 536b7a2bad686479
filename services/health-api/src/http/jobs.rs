//! `/api/v1/jobs*`: work that outlives its request, and waiting for it.

use super::{PATIENCE, timestamp::rfc3339};
use crate::{App, events::JobFollower, problem::Problem};
use axum::{
    Json as Answer,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use piccolo_bus_schema::{
    ids::JobId,
    job::{Job, JobState},
    local::ReadJobs,
};
use serde::Serialize;
use std::time::Duration;

/// Longest wait of `Prefer: wait=`.
const LONGEST_WAIT: u64 = 60;
/// Events are hints: while waiting, the job is also looked at this often.
const LOOK: Duration = Duration::from_secs(2);

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

#[derive(Serialize)]
pub(crate) struct JobView {
    id: JobId,
    kind: String,
    subject: String,
    state: &'static str,
    stage: String,
    progress: u8,
    started: Option<String>,
    finished: Option<String>,
    error: Option<Problem>,
    children: Vec<JobId>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        let (state, finished, error) = match job.state {
            JobState::Running => ("running", None, None),
            JobState::Done { finished } => ("done", rfc3339(finished), None),
            JobState::Failed { finished, error } => {
                ("failed", rfc3339(finished), Some(Problem::from(error)))
            }
        };
        Self {
            id: job.id,
            kind: job.kind,
            subject: job.subject,
            state,
            stage: job.stage,
            progress: job.progress,
            started: rfc3339(job.started),
            finished,
            error,
            children: Vec::new(),
        }
    }
}

/// GET `/api/v1/jobs`.
pub(crate) async fn list(State(app): State<App>) -> Result<Answer<Vec<JobView>>, Problem> {
    let jobs = app.bus.call(ReadJobs {}, PATIENCE).await?;
    Ok(Answer(jobs.into_iter().map(JobView::from).collect()))
}

/// GET `/api/v1/jobs/{id}`.
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Answer<JobView>, Problem> {
    let missing = || Problem::not_found(format!("There is no job {id:?}."));
    let id = JobId::new(id.clone()).map_err(|_| missing())?;
    find(&app, &id)
        .await?
        .map(|job| Answer(job.into()))
        .ok_or_else(missing)
}

async fn find(app: &App, id: &JobId) -> Result<Option<Job>, Problem> {
    let jobs = app.bus.call(ReadJobs {}, PATIENCE).await?;
    Ok(jobs.into_iter().find(|job| job.id == *id))
}

/// What a mutation that started a job answers.
pub(super) struct Accepted {
    pub(super) job: JobId,
    /// Fields beside `job`, e.g. the app's name.
    pub(super) fields: serde_json::Map<String, serde_json::Value>,
    /// Where the thing is.
    pub(super) location: Option<String>,
    pub(super) created: bool,
}

/// `Prefer: wait=SECONDS` (RFC 7240 section 4.3), capped.
pub(super) fn wait_preference(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .find_map(|preference| preference.trim().strip_prefix("wait="))
        .and_then(|seconds| seconds.trim().parse::<u64>().ok())
        .map(|seconds| Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

/// 202, or after a wished wait 201, 200 or the job's failure.
pub(super) async fn respond(
    app: &App,
    mut follower: JobFollower,
    headers: &HeaderMap,
    accepted: Accepted,
) -> Result<Response, Problem> {
    let wait = wait_preference(headers);
    let finished = match wait {
        Some(wait) => wait_for(app, &mut follower, &accepted.job, wait).await,
        None => None,
    };
    let status = match finished.map(|job| job.state) {
        Some(JobState::Failed { error, .. }) => {
            return Err(Problem::from(error).job(accepted.job.to_string()));
        }
        Some(JobState::Done { .. }) if accepted.created => StatusCode::CREATED,
        Some(JobState::Done { .. }) => StatusCode::OK,
        Some(JobState::Running) | None => StatusCode::ACCEPTED,
    };
    let mut fields = accepted.fields;
    fields.insert("job".to_owned(), accepted.job.to_string().into());
    let mut response = (status, Answer(fields)).into_response();
    let location = accepted
        .location
        .unwrap_or_else(|| format!("/api/v1/jobs/{}", accepted.job));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if let Some(Ok(applied)) =
        wait.map(|wait| HeaderValue::try_from(format!("wait={}", wait.as_secs())))
    {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

async fn wait_for(
    app: &App,
    follower: &mut JobFollower,
    id: &JobId,
    wait: Duration,
) -> Option<Job> {
    let looking = async {
        let mut timer = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                job = follower.finished(id) => return job,
                _ = timer.tick() => {
                    if let Ok(Some(job)) = find(app, id).await && job.state.is_finished() {
                        return job;
                    }
                }
            }
        }
    };
    tokio::time::timeout(wait, looking).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wished_wait_is_read_and_capped() {
        let wait = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, HeaderValue::from_static(value));
            wait_preference(&headers)
        };
        assert_eq!(wait("wait=10"), Some(Duration::from_secs(10)));
        assert_eq!(
            wait("respond-async, wait=600"),
            Some(Duration::from_secs(60))
        );
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("return=minimal"), None);
    }
}
