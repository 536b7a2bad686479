//! Why a command did not do what it should, in words and as an exit code.

use serde::Deserialize;
use std::{io, path::PathBuf};

/// A problem document (RFC 9457) with the members of our API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub code: Option<String>,
    pub field: Option<String>,
    pub leader: Option<String>,
    /// Seconds.
    pub retry_after: Option<u64>,
    pub next_step: Option<String>,
    pub job: Option<String>,
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The device says no. `json` is the document as it came.
    #[error("{}", problem.describe())]
    Refused { problem: Box<Problem>, json: String },
    #[error(
        "{service} does not answer at {place} ({source})\n\
         Next step: see `piccoloctl service list`, and whether piccolod runs"
    )]
    Unreachable {
        service: &'static str,
        place: String,
        source: io::Error,
    },
    #[error("{service} did not answer within {seconds} s")]
    TooLate { service: &'static str, seconds: u64 },
    #[error("the answer of {service} can't be understood: {why}")]
    Garbled { service: &'static str, why: String },
    /// piccolod's own words.
    #[error("{0}")]
    Supervisor(String),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Usage(String),
    #[error("job {id} did not end within {minutes} min; look at it later: /api/v1/jobs/{id}")]
    JobTooLong { id: String, minutes: u64 },
}

impl Failure {
    /// 1 failed, 2 usage, 3 locked, 4 not leader.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { problem, .. } => problem.exit_code(),
            Self::Usage(_) => 2,
            Self::Unreachable { .. }
            | Self::TooLate { .. }
            | Self::Garbled { .. }
            | Self::Supervisor(_)
            | Self::File { .. }
            | Self::JobTooLong { .. } => 1,
        }
    }

    /// A refusal from the body of an answer; a body that is no problem document is shown as it is.
    pub(crate) fn refused(status: u16, title: &str, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let mut problem: Problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            detail: text.trim().chars().take(500).collect(),
            ..Problem::default()
        });
        problem.status = status;
        if problem.title.is_empty() {
            title.clone_into(&mut problem.title);
        }
        Self::Refused {
            problem: Box::new(problem),
            json: text.into_owned(),
        }
    }
}

impl Problem {
    fn exit_code(&self) -> u8 {
        match (self.code.as_deref(), self.status) {
            (Some("not_leader"), _) | (_, 307) => 4,
            (Some("locked"), _) | (_, 423) => 3,
            _ => 1,
        }
    }

    /// For people: title and detail, then one line for each thing that helps.
    fn describe(&self) -> String {
        let mut text = format!("{}: {}", self.title, self.detail);
        let mut add = |label: &str, value: Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!("\n{label}: {value}"));
            }
        };
        add("Field", self.field.clone());
        add("Leader", self.leader.clone());
        let seconds = self.retry_after.map(|seconds| format!("in {seconds} s"));
        add("Try again", seconds);
        add("Next step", self.next_step.clone());
        add("Job", self.job.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_everything_that_helps() {
        let body = br#"{"title":"Unprocessable Content","status":422,"detail":"Too short.",
            "code":"invalid","field":"password","next_step":"Use twelve characters."}"#;
        let failure = Failure::refused(422, "", body);
        assert_eq!(
            failure.to_string(),
            "Unprocessable Content: Too short.\nField: password\nNext step: Use twelve characters."
        );
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn locked_is_3_and_not_leader_is_4_as_redirect_and_as_conflict() {
        let code = |status, body: &[u8]| Failure::refused(status, "", body).exit_code();
        assert_eq!(code(423, b"{}"), 3);
        assert_eq!(code(409, br#"{"code":"not_leader"}"#), 4);
        assert_eq!(code(307, b""), 4);
        assert_eq!(code(409, br#"{"code":"conflict"}"#), 1);
        assert_eq!(code(502, b"<html>"), 1);
    }
}
