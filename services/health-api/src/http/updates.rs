//! `/api/v1/updates/os`: what the update driver says.

use super::PATIENCE;
use crate::{App, problem::Problem};
use axum::{Json as Answer, extract::State};
use piccolo_bus_schema::host::ReadUpdates;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct UpdatesView {
    driver: String,
    current: Option<String>,
    staged: Option<String>,
    previous: Option<String>,
    last_result: Option<String>,
    /// No health gate watches updates in this version.
    gate: Option<String>,
}

/// GET `/api/v1/updates/os`.
pub(crate) async fn show(State(app): State<App>) -> Result<Answer<UpdatesView>, Problem> {
    let updates = app.bus.call(ReadUpdates {}, PATIENCE).await?;
    Ok(Answer(UpdatesView {
        driver: updates.driver,
        current: updates.current,
        staged: updates.staged,
        previous: updates.previous,
        last_result: updates.last_result,
        gate: None,
    }))
}
