//! `/health/*`: alive, ready, and every component.

use super::timestamp::rfc3339;
use crate::{App, door::Door, watch::Look};
use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use piccolo_bus_schema::health::{Component, Level, Readiness};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(crate) struct Live {
    status: &'static str,
}

/// GET `/health/live`.
pub(crate) async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

#[derive(Serialize)]
struct Health {
    status: Readiness,
    ready: bool,
    components: Vec<ComponentView>,
}

#[derive(Serialize)]
struct ComponentView {
    name: String,
    level: Level,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    since: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<String, String>,
}

impl ComponentView {
    fn new(component: Component, with_details: bool) -> Self {
        let details = if with_details {
            component.details
        } else {
            Vec::new()
        };
        Self {
            name: component.name,
            level: component.level,
            message: component.message,
            role: component.role,
            since: rfc3339(component.since),
            details: details.into_iter().collect(),
        }
    }
}

fn respond(look: Look, with_details: bool) -> Response {
    let status = match look.readiness {
        Readiness::Ready | Readiness::Locked | Readiness::Setup => StatusCode::OK,
        Readiness::Starting | Readiness::Fault => StatusCode::SERVICE_UNAVAILABLE,
    };
    let health = Health {
        status: look.readiness,
        ready: look.readiness == Readiness::Ready,
        components: look
            .components
            .into_iter()
            .map(|component| ComponentView::new(component, with_details))
            .collect(),
    };
    let mut response = (status, Json(health)).into_response();
    let no_store = http::HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(http::header::CACHE_CONTROL, no_store);
    response
}

/// GET `/health/ready`: 200 while healthy, 503 while starting or at fault. Strangers from the relay
/// see no component's facts.
pub(crate) async fn ready(State(app): State<App>, Extension(door): Extension<Door>) -> Response {
    let mut look = app.watch.look();
    if door.is_remote() {
        look.components
            .retain(|component| component.level == Level::Error);
    }
    respond(look, false)
}

/// GET `/health/detail`.
pub(crate) async fn detail(State(app): State<App>) -> Response {
    let mut look = app.watch.look();
    look.components.push(privileges(&app));
    respond(look, true)
}

/// The privilege mode is chosen, and shown; never fallen into.
fn privileges(app: &App) -> Component {
    let mode = app.watch.units().map(|status| status.privileges);
    let (level, message) = match mode.as_deref() {
        Some("separate") => (Level::Ok, "Each service runs as a user of its own."),
        Some(_) => (
            Level::Warn,
            "All services run as one user: the developer's mode.",
        ),
        None => (
            Level::Warn,
            "The supervisor can't be asked for the privilege mode.",
        ),
    };
    Component {
        name: "privileges".to_owned(),
        level,
        message: message.to_owned(),
        role: None,
        since: piccolo_runtime::clock::now(),
        details: mode
            .map(|mode| ("mode".to_owned(), mode))
            .into_iter()
            .collect(),
    }
}
