//! `/api/v1/leadership`: who leads what.

use super::{PATIENCE, body::Json, crypto::refresh};
use crate::{App, problem::Problem};
use axum::{Json as Answer, extract::State};
use piccolo_bus_schema::leadership::{Leadership, Resource, Role, Show, Simulate};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
pub(crate) struct LeadershipView {
    resource: String,
    role: &'static str,
    leader: Option<String>,
    epoch: u64,
}

impl From<Leadership> for LeadershipView {
    fn from(leadership: Leadership) -> Self {
        let (role, leader) = match leadership.role {
            Role::Leader => ("leader", None),
            Role::Follower { leader } => ("follower", leader),
        };
        let resource = leadership.resource.to_string();
        Self {
            resource,
            role,
            leader,
            epoch: leadership.epoch,
        }
    }
}

/// GET `/api/v1/leadership`.
pub(crate) async fn show(State(app): State<App>) -> Result<Answer<Vec<LeadershipView>>, Problem> {
    let roles = app.bus.call(Show {}, PATIENCE).await?;
    Ok(Answer(
        roles.into_iter().map(LeadershipView::from).collect(),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulateBody {
    resource: String,
    role: String,
    #[serde(default)]
    leader: Option<String>,
}

/// POST `/api/v1/leadership/simulate`.
pub(crate) async fn simulate(
    State(app): State<App>,
    Json(body): Json<SimulateBody>,
) -> Result<Answer<LeadershipView>, Problem> {
    let resource: Resource = body
        .resource
        .parse()
        .map_err(|_| Problem::invalid("resource", "A resource is `kernel` or `app:<name>`."))?;
    let role = match body.role.as_str() {
        "leader" => Role::Leader,
        "follower" => Role::Follower {
            leader: body.leader,
        },
        _ => {
            return Err(Problem::invalid(
                "role",
                "A role is `leader` or `follower`.",
            ));
        }
    };
    let leadership = app.bus.call(Simulate { resource, role }, PATIENCE).await?;
    refresh(&app).await;
    Ok(Answer(leadership.into()))
}
