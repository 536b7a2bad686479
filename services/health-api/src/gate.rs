//! The order of checks before a handler runs.
//!
//! 404/405 (the router) → 413/415 → 421 → 423 → 401 → 403 → leader → then the handler's own 400, 422, 409.

use crate::{
    App,
    door::{Connection, Door},
    problem::Problem,
    session::{self, CSRF_HEADER, Presented, Principal},
    table::Card,
};
use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use piccolo_bus_schema::{
    Fault,
    leadership::{Resource, Role},
    local::RecordAudit,
    lock::LockState,
    session::{Check, Scope, SessionKind},
};
use std::{net::IpAddr, time::Duration};
use subtle::ConstantTimeEq;

const PATIENCE: Duration = Duration::from_secs(5);

/// What a route asks of its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) visitor: Visitor,
    /// Only while unlocked (423).
    pub(crate) unlocked: bool,
    /// Only on the kernel's leader (307 or 409).
    pub(crate) leader: bool,
}

/// Who may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visitor {
    Anyone,
    /// Anyone whose connection is loopback or the operator's; everybody else needs a session.
    LoopbackOrSession,
    Session,
}

/// What a request may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    None,
    Json,
    Yaml,
}

impl Content {
    /// Largest body in bytes.
    pub(crate) const fn limit(self) -> usize {
        match self {
            Self::None | Self::Json => 1 << 20,
            Self::Yaml => 256 << 10,
        }
    }
}

/// The middleware of one route.
pub(crate) async fn check(
    State((app, card)): State<(App, &'static Card)>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let door = Door::of(connection, request.headers());
    let (parts, body) = request.into_parts();
    match pass(&app, card, door, &parts).await {
        Ok(principal) => {
            let mut request = Request::from_parts(parts, body);
            request.extensions_mut().insert(door);
            if let Some(principal) = principal {
                request.extensions_mut().insert(principal);
            }
            let entry = audit_entry(card, door, &request);
            let response = next.run(request).await;
            if let Some(entry) = entry {
                record(app.bus, entry, response.status());
            }
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// What the audit log says of a mutation. Lock and sign-in are recorded by the store itself.
fn audit_entry(card: &Card, door: Door, request: &Request) -> Option<RecordAudit> {
    let recorded = matches!(
        card.tag,
        "apps" | "remote" | "leadership" | "system" | "storage"
    );
    (recorded && card.audited && is_mutation(request.method())).then(|| RecordAudit {
        actor: door.describe(),
        action: format!("{} {}", card.method, card.path),
        subject: request.uri().path().to_owned(),
        outcome: String::new(),
    })
}

/// Best effort, beside the answer: the change itself is recorded where it was made.
fn record(bus: piccolo_bus_client::Bus, entry: RecordAudit, status: StatusCode) {
    let outcome = if status.is_success() {
        "done"
    } else {
        "refused"
    };
    let entry = RecordAudit {
        outcome: format!("{outcome} ({})", status.as_u16()),
        ..entry
    };
    tokio::spawn(async move {
        if let Err(fault) = bus.call(entry, PATIENCE).await {
            tracing::warn!(%fault, "audit entry lost");
        }
    });
}

async fn pass(
    app: &App,
    card: &Card,
    door: Door,
    request: &Parts,
) -> Result<Option<Principal>, Problem> {
    let headers = &request.headers;
    check_body(card, headers)?;
    check_host(app, door, headers)?;
    if card.gate.unlocked {
        check_unlocked(app)?;
    }
    let principal = check_visitor(app, card, door, request).await?;
    if card.gate.leader {
        check_leader(app, request)?;
    }
    Ok(principal)
}

/// 413 and 415.
fn check_body(card: &Card, headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    let limit = card.content.limit();
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let has_body =
        length.is_some_and(|length| length > 0) || headers.contains_key(header::TRANSFER_ENCODING);
    let essence = essence(headers);
    let acceptable = match card.content {
        Content::None => true,
        // A P mutation without a JSON type could be a form of another site.
        Content::Json => essence == "application/json",
        Content::Yaml => matches!(
            essence.as_str(),
            "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml"
        ),
    };
    let optional = card.body_optional && !has_body;
    if acceptable || optional {
        return Ok(());
    }
    let wanted = match card.content {
        Content::Yaml => "application/yaml",
        Content::Json | Content::None => "application/json",
    };
    let detail = format!("This needs Content-Type: {wanted}.");
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        detail,
    ))
}

/// 413 with the limit in words.
pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!("The body is over {} KiB.", limit >> 10);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

fn essence(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// 421: a name that is not ours is a page of somebody else that was pointed at us (DNS rebinding).
fn check_host(app: &App, door: Door, headers: &HeaderMap) -> Result<(), Problem> {
    if door == Door::Operator {
        return Ok(());
    }
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let name = host_name(host);
    let ours = name == "localhost"
        || name.ends_with(".local")
        || name.parse::<IpAddr>().is_ok()
        || app.config.hosts.contains(&name)
        || app.picture.is_portal_host(&name);
    if ours && door != Door::Stranger {
        return Ok(());
    }
    let detail = format!("This device does not answer to the name {name:?}.");
    Err(
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail).next_step(
            "Use the device's address or its own name, or add the name to portal.hosts.",
        ),
    )
}

/// The name in a Host header, without port and brackets, lower case.
pub(crate) fn host_name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// 423, or 503 when the store was not heard of yet.
fn check_unlocked(app: &App) -> Result<(), Problem> {
    match app.picture.lock() {
        Some(LockState::Unlocked) => Ok(()),
        Some(LockState::Setup) => {
            Err(Problem::locked().next_step("Set the owner's password first: crypto/setup."))
        }
        Some(LockState::Locked | LockState::Preunlock) => Err(Problem::locked()),
        Some(LockState::Fault(fault)) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(Problem::new(status, "store_fault", fault.explanation).next_step(fault.next_step))
        }
        None => Err(Fault::unavailable("the store", "it is starting").into()),
    }
}

/// 401 and 403.
async fn check_visitor(
    app: &App,
    card: &Card,
    door: Door,
    request: &Parts,
) -> Result<Option<Principal>, Problem> {
    let mutation = is_mutation(&request.method);
    if door == Door::Operator {
        return Ok(Some(Principal::Operator));
    }
    match card.gate.visitor {
        Visitor::Anyone => {
            if mutation {
                check_origin(&request.headers)?;
            }
            Ok(principal(app, &request.headers).await.ok())
        }
        Visitor::LoopbackOrSession => match door {
            Door::Loopback(_) => Ok(None),
            Door::Operator | Door::Edge { .. } | Door::Stranger => {
                principal(app, &request.headers).await.map(Some)
            }
        },
        Visitor::Session => {
            let principal = principal(app, &request.headers).await?;
            check_rights(&principal, mutation, &request.headers)?;
            Ok(Some(principal))
        }
    }
}

fn is_mutation(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

async fn principal(app: &App, headers: &HeaderMap) -> Result<Principal, Problem> {
    let Some(presented) = session::presented(headers) else {
        return Err(Problem::unauthorized("You are not signed in."));
    };
    let (secret, by_cookie) = match presented {
        Presented::Cookie(secret) => (secret, true),
        Presented::Bearer(secret) => (secret, false),
    };
    let check = Check {
        secret_hash: secret.hash(),
    };
    let session = match app.bus.call(check, PATIENCE).await {
        Ok(session) => session,
        // Lock ends all sessions.
        Err(Fault::NotFound { .. } | Fault::Locked) => {
            return Err(Problem::unauthorized("Your session has ended."));
        }
        Err(fault) => return Err(fault.into()),
    };
    match (&session.kind, by_cookie) {
        (SessionKind::Browser { .. }, true) => Ok(Principal::Browser { session, secret }),
        (SessionKind::Token { .. }, false) => Ok(Principal::Token { session }),
        // A cookie's secret in a header would go around CSRF; a token is no cookie.
        (SessionKind::Browser { .. }, false) | (SessionKind::Token { .. }, true) => Err(
            Problem::unauthorized("This is not the way to show this secret."),
        ),
    }
}

fn check_rights(principal: &Principal, mutation: bool, headers: &HeaderMap) -> Result<(), Problem> {
    if !mutation {
        return Ok(());
    }
    match principal {
        Principal::Operator => Ok(()),
        Principal::Token { session } => match session.kind {
            SessionKind::Token {
                scope: Scope::Write,
                ..
            } => Ok(()),
            SessionKind::Token {
                scope: Scope::Read, ..
            }
            | SessionKind::Browser { .. } => {
                Err(Problem::forbidden("scope", "This token may only read."))
            }
        },
        Principal::Browser { secret, .. } => {
            let shown = headers
                .get(CSRF_HEADER)
                .map(|value| value.as_bytes())
                .unwrap_or_default();
            if bool::from(secret.csrf_token().as_bytes().ct_eq(shown)) {
                Ok(())
            } else {
                let detail = "The X-CSRF-Token header is missing or wrong.";
                Err(Problem::forbidden("csrf", detail)
                    .next_step("Get the token from /api/v1/auth/csrf."))
            }
        }
    }
}

/// A public mutation may only come from a page of the same host.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let origin = origin.to_str().unwrap_or_default();
    let same = origin.split_once("://").is_some_and(|(scheme, authority)| {
        authority == host
            || strip_default_port(authority, scheme) == strip_default_port(host, scheme)
    });
    if same {
        return Ok(());
    }
    Err(Problem::forbidden(
        "origin",
        "This request comes from a page of another site.",
    ))
}

fn strip_default_port<'a>(authority: &'a str, scheme: &str) -> &'a str {
    let port = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority)
}

fn check_leader(app: &App, request: &Parts) -> Result<(), Problem> {
    match app.picture.role(&Resource::Kernel) {
        Role::Leader => Ok(()),
        Role::Follower { leader } => {
            let path = request
                .uri
                .path_and_query()
                .map(http::uri::PathAndQuery::as_str);
            Err(Problem::not_leader("kernel", leader, path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_header_yields_its_name() {
        for (host, name) in [
            ("piccolo.local", "piccolo.local"),
            ("Piccolo.Local.:80", "piccolo.local"),
            ("192.0.2.7:8600", "192.0.2.7"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(host_name(host), name, "{host}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let headers = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "piccolo.local".parse().expect("a host"));
            headers.insert(header::ORIGIN, origin.parse().expect("an origin"));
            headers
        };
        assert!(check_origin(&headers("http://piccolo.local")).is_ok());
        assert!(check_origin(&headers("https://piccolo.local:443")).is_ok());
        for origin in [
            "https://evil.example",
            "null",
            "http://piccolo.local.evil.example",
        ] {
            assert!(check_origin(&headers(origin)).is_err(), "{origin}");
        }
    }
}
