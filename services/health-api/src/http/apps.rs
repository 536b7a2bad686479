//! `/api/v1/apps*` and `/api/v1/services`.

use super::{
    PATIENCE,
    body::{OptionalJson, Yaml},
    jobs,
    timestamp::rfc3339,
};
use crate::{App, door::Door, gate, problem::Problem};
use axum::{
    Extension, Json as Answer,
    extract::{Path, Query, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, header};
use piccolo_bus_schema::{
    app::{
        Accepted, Act, Action, App as BusApp, AppStatus, Endpoint, Flow, Install, List, Plan,
        Planned, Protocol, ReadLogs, Validate, Validation,
    },
    control::RemoteRecord,
    ids::{AppName, JobId, ListenerName},
    route::{self, Mode, Route, Target},
};
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, time::Duration};

/// How often a followed log is looked at.
const LOG_PERIOD: Duration = Duration::from_millis(500);

#[derive(Serialize)]
pub(crate) struct AppView {
    name: AppName,
    status: AppStatus,
    detail: Option<String>,
    image: String,
    spec: String,
    revision: u64,
    generation: u64,
    installed_at: Option<String>,
    can_revert: bool,
    job: Option<JobId>,
    listeners: Vec<ListenerView>,
}

#[derive(Clone, Serialize)]
pub(crate) struct ListenerView {
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<AppName>,
    name: ListenerName,
    guest_port: u16,
    host_port: u16,
    public_port: u16,
    flow: Flow,
    protocol: Protocol,
    remote_ports: Vec<u16>,
    remote_host: Option<String>,
    local_url: String,
    remote_url: Option<String>,
    mode: &'static str,
    leader: Option<String>,
    up: bool,
}

/// What listeners are seen against: how the visitor reached us, and the routes.
struct Surroundings {
    host: String,
    remote: Option<RemoteRecord>,
    routes: Vec<Route>,
}

impl Surroundings {
    async fn look(app: &App, door: Door, headers: &HeaderMap) -> Self {
        let routes = match app.bus.call(route::List {}, Duration::from_secs(2)).await {
            Ok(routes) => routes.routes,
            // The edge is down: its modes are unknown, the apps are not.
            Err(_) => Vec::new(),
        };
        let shown = headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok());
        let host = match (door.is_remote(), shown) {
            (false, Some(host)) => bracketed(&gate::host_name(host)),
            _ => "piccolo.local".to_owned(),
        };
        let remote = app.picture.remote().filter(|remote| remote.enabled);
        Self {
            host,
            remote,
            routes,
        }
    }

    fn mode(&self, endpoint: &Endpoint) -> (&'static str, Option<String>) {
        let target = Target::Listener {
            app: endpoint.app.clone(),
            listener: endpoint.listener.clone(),
        };
        match self
            .routes
            .iter()
            .find(|route| route.target == target)
            .map(|route| &route.mode)
        {
            Some(Mode::Local) => ("local", None),
            Some(Mode::Tunnel { leader }) => ("tunnel", leader.clone()),
            None => ("none", None),
        }
    }

    fn view(&self, endpoint: Endpoint) -> ListenerView {
        let (mode, leader) = self.mode(&endpoint);
        let remote_host = self
            .remote
            .as_ref()
            .map(|remote| format!("{}.{}", endpoint.listener, remote.tld));
        let scheme = match endpoint.protocol {
            Protocol::Http | Protocol::Websocket => "http",
            Protocol::Raw => "tcp",
        };
        let remote_url = remote_host.as_ref().map(|host| match endpoint.protocol {
            Protocol::Http | Protocol::Websocket => format!("https://{host}/"),
            Protocol::Raw => format!("tls://{host}"),
        });
        ListenerView {
            app: None,
            local_url: format!("{scheme}://{}:{}/", self.host, endpoint.public_port),
            name: endpoint.listener,
            guest_port: endpoint.guest_port,
            host_port: endpoint.host_port,
            public_port: endpoint.public_port,
            flow: endpoint.flow,
            protocol: endpoint.protocol,
            remote_ports: endpoint.remote_ports,
            remote_host,
            remote_url,
            mode,
            leader,
            up: endpoint.up,
        }
    }

    fn app(&self, app: BusApp) -> AppView {
        AppView {
            name: app.name,
            status: app.status,
            detail: app.detail,
            image: app.image,
            spec: app.spec,
            revision: app.revision,
            generation: app.generation.0,
            installed_at: rfc3339(app.installed_at),
            can_revert: app.can_revert,
            job: app.job,
            listeners: app
                .endpoints
                .into_iter()
                .map(|endpoint| self.view(endpoint))
                .collect(),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// GET `/api/v1/apps`.
pub(crate) async fn list(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    headers: HeaderMap,
) -> Result<Answer<Vec<AppView>>, Problem> {
    let apps = app.bus.call(List {}, PATIENCE).await?;
    let surroundings = Surroundings::look(&app, door, &headers).await;
    Ok(Answer(
        apps.into_iter().map(|one| surroundings.app(one)).collect(),
    ))
}

/// GET `/api/v1/services`.
pub(crate) async fn services(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    headers: HeaderMap,
) -> Result<Answer<Vec<ListenerView>>, Problem> {
    let apps = app.bus.call(List {}, PATIENCE).await?;
    let surroundings = Surroundings::look(&app, door, &headers).await;
    let endpoints = apps.into_iter().flat_map(|app| app.endpoints);
    let views = endpoints.map(|endpoint| {
        let owner = endpoint.app.clone();
        ListenerView {
            app: Some(owner),
            ..surroundings.view(endpoint)
        }
    });
    Ok(Answer(views.collect()))
}

fn name(text: &str) -> Result<AppName, Problem> {
    // A name that breaks the rule can't be installed, so it does not exist.
    AppName::new(text).map_err(|_| Problem::not_found(format!("App {text} does not exist.")))
}

async fn find(app: &App, name: &AppName) -> Result<BusApp, Problem> {
    let apps = app.bus.call(List {}, PATIENCE).await?;
    apps.into_iter()
        .find(|candidate| candidate.name == *name)
        .ok_or_else(|| Problem::not_found(format!("App {name} does not exist.")))
}

/// GET `/api/v1/apps/{name}`, with the spec's revision as `ETag`.
pub(crate) async fn show(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = find(&app, &name(&text)?).await?;
    let tag = HeaderValue::try_from(format!("\"{}\"", found.revision)).ok();
    let view = Surroundings::look(&app, door, &headers).await.app(found);
    let mut response = Answer(view).into_response();
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

#[derive(Deserialize)]
pub(crate) struct InstallQuery {
    #[serde(default)]
    allow_privileged: bool,
}

/// POST `/api/v1/apps`.
pub(crate) async fn install(
    State(app): State<App>,
    Query(query): Query<InstallQuery>,
    headers: HeaderMap,
    Yaml(spec): Yaml,
) -> Result<Response, Problem> {
    let follower = app.hub.jobs();
    let install = Install {
        spec,
        allow_privileged: query.allow_privileged,
        expect_revision: if_match(&headers)?,
    };
    let accepted = app.bus.call(install, PATIENCE).await?;
    respond(&app, follower, &headers, accepted).await
}

fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let revision = value
        .to_str()
        .ok()
        .and_then(|tag| tag.trim_matches('"').parse().ok());
    match revision {
        Some(revision) => Ok(Some(revision)),
        None => Err(Problem::invalid(
            "If-Match",
            "Must be the ETag of the app, e.g. \"7\".",
        )),
    }
}

async fn respond(
    app: &App,
    follower: crate::events::JobFollower,
    headers: &HeaderMap,
    accepted: Accepted,
) -> Result<Response, Problem> {
    let mut fields = serde_json::Map::new();
    fields.insert("app".to_owned(), accepted.app.to_string().into());
    let accepted = jobs::Accepted {
        location: Some(format!("/api/v1/apps/{}", accepted.app)),
        job: accepted.job,
        fields,
        created: accepted.created,
    };
    jobs::respond(app, follower, headers, accepted).await
}

/// POST `/api/v1/apps/validate`.
pub(crate) async fn validate(
    State(app): State<App>,
    Yaml(spec): Yaml,
) -> Result<Answer<ValidationView>, Problem> {
    let Validation { problems } = app.bus.call(Validate { spec }, PATIENCE).await?;
    let problems: Vec<ProblemView> = problems
        .into_iter()
        .map(|problem| ProblemView {
            path: problem.path,
            message: problem.message,
        })
        .collect();
    Ok(Answer(ValidationView {
        valid: problems.is_empty(),
        problems,
    }))
}

#[derive(Serialize)]
pub(crate) struct ValidationView {
    valid: bool,
    problems: Vec<ProblemView>,
}

#[derive(Serialize)]
struct ProblemView {
    path: String,
    message: String,
}

#[derive(Serialize)]
pub(crate) struct PlanView {
    changes: Vec<String>,
    risks: Vec<String>,
    leaks: Vec<String>,
}

/// POST `/api/v1/apps/plan`.
pub(crate) async fn plan(
    State(app): State<App>,
    Yaml(spec): Yaml,
) -> Result<Answer<PlanView>, Problem> {
    let Planned {
        changes,
        risks,
        leaks,
    } = app.bus.call(Plan { spec }, PATIENCE).await?;
    Ok(Answer(PlanView {
        changes,
        risks,
        leaks,
    }))
}

async fn act(
    app: App,
    text: String,
    headers: HeaderMap,
    action: Action,
) -> Result<Response, Problem> {
    let follower = app.hub.jobs();
    let accepted = app
        .bus
        .call(
            Act {
                app: name(&text)?,
                action,
            },
            PATIENCE,
        )
        .await?;
    respond(&app, follower, &headers, accepted).await
}

/// POST `/api/v1/apps/{name}/start`.
pub(crate) async fn start(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    act(app, name, headers, Action::Start).await
}

/// POST `/api/v1/apps/{name}/stop`.
pub(crate) async fn stop(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    act(app, name, headers, Action::Stop).await
}

/// POST `/api/v1/apps/{name}/restart`.
pub(crate) async fn restart(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    act(app, name, headers, Action::Restart).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateBody {
    #[serde(default)]
    image: Option<String>,
}

/// POST `/api/v1/apps/{name}/update`.
pub(crate) async fn update(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    OptionalJson(body): OptionalJson<UpdateBody>,
) -> Result<Response, Problem> {
    let image = body.and_then(|body| body.image);
    act(app, name, headers, Action::Update { image }).await
}

/// POST `/api/v1/apps/{name}/revert`.
pub(crate) async fn revert(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    act(app, name, headers, Action::Revert).await
}

#[derive(Deserialize)]
pub(crate) struct RemoveQuery {
    #[serde(default)]
    purge: bool,
}

/// DELETE `/api/v1/apps/{name}`.
pub(crate) async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<RemoveQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    act(app, name, headers, Action::Remove { purge: query.purge }).await
}

#[derive(Deserialize)]
pub(crate) struct LogQuery {
    #[serde(default = "default_tail")]
    tail: u32,
    #[serde(default)]
    follow: bool,
    /// Only lines after this sequence number.
    #[serde(default)]
    since: u64,
}

const fn default_tail() -> u32 {
    200
}

/// GET `/api/v1/apps/{name}/logs`: text, or server-sent events.
pub(crate) async fn logs(
    State(app): State<App>,
    Path(text): Path<String>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let read = ReadLogs {
        app: name(&text)?,
        tail: query.tail,
        after: query.since,
    };
    let wants_stream = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    let lines = app.bus.call(read.clone(), PATIENCE).await?;
    if wants_stream || query.follow {
        let keep = KeepAlive::new().interval(Duration::from_secs(15));
        return Ok(Sse::new(follow(app, read)).keep_alive(keep).into_response());
    }
    let mut body = String::new();
    for line in lines {
        body.push_str(&line.text);
        body.push('\n');
    }
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, plain)], body).into_response())
}

/// One event per line, its sequence number as id; ends when the app or the lock ends it.
fn follow(app: App, read: ReadLogs) -> impl Stream<Item = Result<Event, Infallible>> {
    let start = (app, read, Vec::new().into_iter());
    stream::unfold(start, |(app, mut read, mut lines)| async move {
        loop {
            if let Some(line) = lines.next() {
                let line: piccolo_bus_schema::app::LogLine = line;
                read.after = line.sequence;
                read.tail = 1000;
                let event = Event::default()
                    .id(line.sequence.to_string())
                    .data(line.text);
                return Some((Ok(event), (app, read, lines)));
            }
            match app.bus.call(read.clone(), PATIENCE).await {
                Ok(more) if more.is_empty() => tokio::time::sleep(LOG_PERIOD).await,
                Ok(more) => lines = more.into_iter(),
                Err(fault) if fault.is_transient() => tokio::time::sleep(LOG_PERIOD).await,
                Err(_) => return None,
            }
        }
    })
}
