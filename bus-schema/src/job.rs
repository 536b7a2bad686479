//! Work that outlives its request. Any service may own jobs; their rows live in the store.

use crate::{
    event::event,
    fault::Fault,
    ids::{JobId, UnixSeconds},
};
use serde::{Deserialize, Serialize};

/// One piece of work and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    /// `app.install`, `app.update`, `certificate.renew`.
    pub kind: String,
    /// What it works on: `app demo`.
    pub subject: String,
    /// What it does right now, for the owner: `pulling the image`.
    pub stage: String,
    /// 0 to 100.
    pub progress: u8,
    pub started: UnixSeconds,
    pub state: JobState,
}

/// Whether a job goes on, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    Running,
    Done { finished: UnixSeconds },
    Failed { finished: UnixSeconds, error: Fault },
}

impl JobState {
    /// Has it ended?
    pub const fn is_finished(&self) -> bool {
        match self {
            Self::Running => false,
            Self::Done { .. } | Self::Failed { .. } => true,
        }
    }
}

/// A job moved on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobProgressed {
    pub job: Job,
}
event!(JobProgressed, JobProgressed);
