//! `/api/v1/system*`: the device itself, and its units.

use super::timestamp::rfc3339;
use crate::{App, problem::Problem, supervisor};
use axum::{
    Json as Answer,
    extract::{Path, Query, State},
};
use http::StatusCode;
use piccolo_bus_schema::{
    Fault, ServiceName,
    control::ReadRevision,
    host::ReadDevice,
    route,
    supervisor::{Unit, UnitState},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Parts that may be down: the page shows the others.
const BRIEF: Duration = Duration::from_secs(2);

#[derive(Serialize)]
pub(crate) struct SystemView {
    version: &'static str,
    /// Seconds since the supervisor started.
    uptime: u64,
    identity: Option<IdentityView>,
    control: Option<ControlView>,
    portal: Option<PortalView>,
}

#[derive(Serialize)]
struct IdentityView {
    id: String,
    hostname: String,
    os: String,
    kernel: String,
    architecture: String,
    memory: u64,
    booted_at: Option<String>,
    clock_synchronised: bool,
}

#[derive(Serialize)]
struct ControlView {
    rev: u64,
    checksum: String,
    verified_at: Option<String>,
}

#[derive(Serialize)]
struct PortalView {
    http: String,
    https: String,
    /// SHA-256 of the device-made certificate shown on the LAN.
    lan_fingerprint: String,
}

/// GET `/api/v1/system`.
pub(crate) async fn show(State(app): State<App>) -> Answer<SystemView> {
    let device = app.bus.call(ReadDevice {}, BRIEF).await.ok();
    let revision = app.bus.call(ReadRevision {}, BRIEF).await.ok();
    let routes = app.bus.call(route::List {}, BRIEF).await.ok();
    let uptime = app.watch.units().map(|status| status.uptime);
    Answer(SystemView {
        version: env!("CARGO_PKG_VERSION"),
        uptime: uptime.unwrap_or_else(|| app.started.elapsed().as_secs()),
        identity: device.map(|device| IdentityView {
            id: device.id,
            hostname: device.hostname,
            os: device.os,
            kernel: device.kernel,
            architecture: device.architecture,
            memory: device.memory,
            booted_at: rfc3339(device.booted_at),
            clock_synchronised: device.clock_synchronised,
        }),
        control: revision.map(|revision| ControlView {
            rev: revision.revision,
            checksum: revision.checksum,
            verified_at: rfc3339(revision.verified_at),
        }),
        portal: routes.map(|routes| PortalView {
            http: routes.portal_http,
            https: routes.portal_https,
            lan_fingerprint: routes.lan_fingerprint,
        }),
    })
}

#[derive(Serialize)]
pub(crate) struct UnitView {
    name: String,
    state: UnitState,
    for_seconds: u64,
    pid: Option<u32>,
    restarts: u32,
    memory: Option<u64>,
    last_exit: Option<String>,
    status: Option<String>,
    last_lines: Vec<String>,
}

impl From<Unit> for UnitView {
    fn from(unit: Unit) -> Self {
        Self {
            name: unit.name,
            state: unit.state,
            for_seconds: unit.for_seconds,
            pid: unit.pid,
            restarts: unit.restarts,
            memory: unit.memory,
            last_exit: unit.last_exit,
            status: unit.status_text,
            last_lines: unit.last_lines,
        }
    }
}

fn refused(error: &supervisor::AskError) -> Problem {
    Fault::unavailable("the supervisor", error.to_string()).into()
}

/// GET `/api/v1/system/services`.
pub(crate) async fn services(State(app): State<App>) -> Result<Answer<Vec<UnitView>>, Problem> {
    let status = supervisor::status(&app.config.runtime_dir)
        .await
        .map_err(|e| refused(&e))?;
    Ok(Answer(
        status.units.into_iter().map(UnitView::from).collect(),
    ))
}

fn service(name: &str) -> Result<ServiceName, Problem> {
    name.parse()
        .map_err(|_| Problem::not_found(format!("There is no service {name:?}.")))
}

/// POST `/api/v1/system/services/{name}/restart`.
pub(crate) async fn restart(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let service = service(&name)?;
    supervisor::restart(&app.config.runtime_dir, service.as_str())
        .await
        .map_err(|error| refused(&error))?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
pub(crate) struct LogQuery {
    #[serde(default = "default_tail")]
    tail: u32,
}

const fn default_tail() -> u32 {
    200
}

/// GET `/api/v1/system/services/{name}/logs`.
pub(crate) async fn logs(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<String, Problem> {
    let service = service(&name)?;
    let lines = supervisor::logs(
        &app.config.runtime_dir,
        service.as_str(),
        query.tail.min(500),
    )
    .await
    .map_err(|error| refused(&error))?;
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}
