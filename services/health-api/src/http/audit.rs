//! `/api/v1/audit`: who did what.

use super::{PATIENCE, timestamp::rfc3339};
use crate::{App, problem::Problem};
use axum::{
    Json as Answer,
    extract::{Query, State},
};
use piccolo_bus_schema::local::{AuditEntry, ReadAudit};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub(crate) struct AuditQuery {
    #[serde(default)]
    after: u64,
}

#[derive(Serialize)]
pub(crate) struct AuditView {
    sequence: u64,
    at: Option<String>,
    actor: String,
    action: String,
    subject: String,
    outcome: String,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            sequence: entry.sequence,
            at: rfc3339(entry.at),
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            outcome: entry.outcome,
        }
    }
}

/// GET `/api/v1/audit?after=`.
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<AuditQuery>,
) -> Result<Answer<Vec<AuditView>>, Problem> {
    let entries = app
        .bus
        .call(ReadAudit { after: query.after }, PATIENCE)
        .await?;
    Ok(Answer(entries.into_iter().map(AuditView::from).collect()))
}
