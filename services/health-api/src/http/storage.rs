//! `/api/v1/storage/*`: encrypted volumes, and the proof of the control store.

use super::{LONG_PATIENCE, PATIENCE, timestamp::rfc3339};
use crate::{App, problem::Problem};
use axum::{Json as Answer, extract::State};
use piccolo_bus_schema::{
    control::Verify,
    ids::VolumeId,
    volume::{AttachMode, List, Volume, VolumeClass, VolumeState},
};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct VolumeView {
    id: VolumeId,
    class: VolumeClass,
    state: &'static str,
    mode: Option<AttachMode>,
    generation: Option<u64>,
    explanation: Option<String>,
    size: Option<u64>,
}

impl From<Volume> for VolumeView {
    fn from(volume: Volume) -> Self {
        let (state, mode, generation, explanation) = match volume.state {
            VolumeState::Detached => ("detached", None, None, None),
            VolumeState::Attached {
                mode, generation, ..
            } => ("attached", Some(mode), Some(generation.0), None),
            VolumeState::Broken { explanation } => ("broken", None, None, Some(explanation)),
        };
        Self {
            id: volume.id,
            class: volume.class,
            state,
            mode,
            generation,
            explanation,
            size: volume.size,
        }
    }
}

/// GET `/api/v1/storage/volumes`.
pub(crate) async fn volumes(State(app): State<App>) -> Result<Answer<Vec<VolumeView>>, Problem> {
    let volumes = app.bus.call(List {}, PATIENCE).await?;
    Ok(Answer(volumes.into_iter().map(VolumeView::from).collect()))
}

#[derive(Serialize)]
pub(crate) struct VerifiedView {
    revision: u64,
    checksum: String,
    epoch: u64,
    verified_at: Option<String>,
    records: u64,
    commits: u64,
}

/// POST `/api/v1/storage/verify`.
pub(crate) async fn verify(State(app): State<App>) -> Result<Answer<VerifiedView>, Problem> {
    let verified = app.bus.call(Verify {}, LONG_PATIENCE).await?;
    Ok(Answer(VerifiedView {
        revision: verified.revision.revision,
        checksum: verified.revision.checksum,
        epoch: verified.revision.epoch,
        verified_at: rfc3339(verified.revision.verified_at),
        records: verified.records,
        commits: verified.commits,
    }))
}
