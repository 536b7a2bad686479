//! One request and its answer.

use super::{
    Body, BoxError, Connection, Cut, Door, plain,
    progress::{Noted, Progress},
    upgrade,
    upstream::Upstream,
};
use crate::{
    client_hello::normal_name,
    cookie,
    edge::Edge,
    forwarded,
    gate::Openness,
    refusal::Refusal,
    table::{Listener, Site, Table},
};
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header, uri::Authority,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// An app that says nothing for so long has no answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Where a request may go.
enum Route {
    Portal,
    App(Arc<Listener>),
}

impl Route {
    fn upstream(&self) -> Upstream {
        match self {
            Self::Portal => Upstream::Portal,
            Self::App(listener) => Upstream::App(listener.host_port),
        }
    }

    fn unreachable(&self) -> Refusal {
        match self {
            Self::Portal => Refusal::NoPortal,
            Self::App(listener) => Refusal::Unreachable {
                app: listener.app.to_string(),
            },
        }
    }

    /// For the visitor.
    fn what(&self) -> String {
        match self {
            Self::Portal => "the portal".to_owned(),
            Self::App(listener) => format!("the app {}", listener.app),
        }
    }
}

/// The authority a visitor asked for (RFC 9110 section 7.2).
pub(super) struct Asked(Option<Authority>);

impl Asked {
    /// The target's own authority outweighs the Host field (RFC 9112 section 3.2.2).
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let bad = |why| Refusal::BadRequest { why };
        let authority = match request.uri().authority() {
            Some(authority) => Some(authority.clone()),
            None => {
                let mut hosts = request.headers().get_all(header::HOST).iter();
                match (hosts.next(), hosts.next()) {
                    (Some(host), None) => {
                        let host = Authority::try_from(host.as_bytes());
                        Some(host.map_err(|_| bad("the Host field is not a host"))?)
                    }
                    (None, _) if request.version() == Version::HTTP_10 => None,
                    (None, _) => return Err(bad("there is no Host field")),
                    (Some(_), Some(_)) => return Err(bad("there are several Host fields")),
                }
            }
        };
        if authority
            .as_ref()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(bad("the host has user information"));
        }
        Ok(Self(authority))
    }

    /// The host, without a port; empty when nothing was asked for.
    pub(super) fn host(&self) -> &str {
        self.0.as_ref().map_or("", |authority| authority.host())
    }

    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", Authority::as_str)
    }
}

/// Answers a request: from behind the edge, or with a refusal in words.
pub(super) async fn answer(
    edge: Arc<Edge>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    if matches!(connection.door, Door::Plain) {
        return plain::answer(&edge, &connection, &request);
    }
    let table = edge.table().clone();
    let refusal = match allowed(&table, &connection, &request) {
        Ok((route, asked)) => {
            let headers = request.headers().clone();
            match forward(&edge, &table, &connection, &route, &asked, request).await {
                Ok(response) => return Ok(response),
                Err(refusal) => (refusal, headers),
            }
        }
        Err(refusal) => (refusal, request.headers().clone()),
    };
    let (refusal, headers) = refusal;
    note(&refusal, &connection);
    let response = refusal.response(&headers);
    Ok(response.map(|body| Full::new(body).map_err(BoxError::from).boxed_unsync()))
}

fn note(refusal: &Refusal, connection: &Connection) {
    match refusal {
        Refusal::Tunnel { app, leader } => {
            tracing::info!(mode = "tunnel", app, ?leader, client = %connection.visitor.address, "another node leads this app");
        }
        other => {
            tracing::debug!(status = other.status().as_u16(), door = ?connection.door, "request refused");
        }
    }
}

/// Finds the route and applies the rules on it.
fn allowed(
    table: &Table,
    connection: &Connection,
    request: &Request<Incoming>,
) -> Result<(Route, Asked), Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::MethodNotAllowed);
    }
    if !is_plainly_framed(request.headers()) {
        return Err(Refusal::BadRequest {
            why: "only the chunked transfer coding is understood",
        });
    }
    let asked = Asked::of(request)?;
    let route = find(table, connection, &asked)?;
    if let Route::App(listener) = &route {
        listener
            .chain
            .admit(connection.visitor.address, Instant::now())?;
        listener.available()?;
    }
    Ok((route, asked))
}

/// A body in another transfer coding would lose the name of its coding at this hop
/// (RFC 9112 section 6.1).
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

fn find(table: &Table, connection: &Connection, asked: &Asked) -> Result<Route, Refusal> {
    let nothing = || match table.openness {
        Openness::Starting => Refusal::Starting,
        Openness::Locked => Refusal::Locked,
        Openness::Open => Refusal::NoApp,
    };
    match &connection.door {
        Door::Portal => Ok(Route::Portal),
        Door::PublicPort(port) => table
            .by_port(*port)
            .map(|listener| Route::App(Arc::clone(listener)))
            .ok_or_else(nothing),
        Door::Name(name) => {
            if normal_name(asked.host()).as_ref() != Some(name) {
                return Err(Refusal::Misdirected);
            }
            match table.by_name(name, connection.visitor.port, true) {
                Some(Site::Portal) => Ok(Route::Portal),
                Some(Site::Listener(listener)) => Ok(Route::App(listener)),
                None => Err(nothing()),
            }
        }
        Door::Plain => Err(Refusal::NoApp),
    }
}

/// Passes a request on and its answer back.
async fn forward(
    edge: &Arc<Edge>,
    table: &Table,
    connection: &Connection,
    route: &Route,
    asked: &Asked,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let upgrades = matches!(route, Route::App(_)) && upgrade::is_asked(&request);
    let visitor_side = upgrades.then(|| hyper::upgrade::on(&mut request));
    let progress = Progress::new();
    let outbound = outbound(
        connection,
        route,
        asked,
        request,
        progress.clone(),
        upgrades,
    )?;
    let what = || route.what();
    let answer = progress
        .wait(edge.upstreams.send(outbound), ANSWER_WITHIN)
        .await;
    let mut response = match answer {
        None => return Err(Refusal::NoAnswer { what: what() }),
        Some(Ok(response)) => response,
        Some(Err(error)) if error.is_connect() => {
            tracing::info!(upstream = what(), cause = cause(&error), "not reachable");
            return Err(route.unreachable());
        }
        Some(Err(error)) => {
            tracing::info!(upstream = what(), cause = cause(&error), "no valid answer");
            return Err(Refusal::NoAnswer { what: what() });
        }
    };
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let app_side = hyper::upgrade::on(&mut response);
    let (mut parts, body) = response.into_parts();
    forwarded::remove_hop_by_hop(&mut parts.headers);
    if let Route::App(listener) = route
        && let crate::middleware::Chain::Open(rules) = &listener.chain
    {
        rules.finish(&mut parts.headers);
    }
    match (switched, visitor_side) {
        (true, Some(visitor_side)) => {
            upgrade::ask(&mut parts.headers);
            upgrade::carry(
                edge,
                table,
                Arc::clone(&connection.seat),
                visitor_side,
                app_side,
            );
        }
        (true, None) => return Err(Refusal::NoAnswer { what: what() }),
        (false, _) => {}
    }
    let mut response = Response::new(body.map_err(BoxError::from).boxed_unsync());
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    Ok(response)
}

/// What is at the bottom of an error of the HTTP library.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The request as the next hop sees it.
fn outbound(
    connection: &Connection,
    route: &Route,
    asked: &Asked,
    request: Request<Incoming>,
    progress: Progress,
    upgrades: bool,
) -> Result<Request<Noted<Incoming>>, Refusal> {
    let (mut parts, body) = request.into_parts();
    parts.uri = Uri::builder()
        .scheme("http")
        .authority(route.upstream().authority())
        .path_and_query(parts.uri.path_and_query().map_or("/", |rest| rest.as_str()))
        .build()
        .map_err(|_| Refusal::BadRequest {
            why: "the request target is not a path",
        })?;
    parts.version = Version::HTTP_11;
    // What the connection left behind (its own upgrade handle) is not the next hop's.
    parts.extensions = Extensions::new();
    let headers = &mut parts.headers;
    forwarded::remove_hop_by_hop(headers);
    forwarded::remove_claims(headers);
    // Answered here: the body is asked for when it is first read.
    headers.remove(header::EXPECT);
    headers.remove(header::HOST);
    if let Ok(host) = HeaderValue::from_str(asked.as_str())
        && !host.is_empty()
    {
        headers.insert(header::HOST, host);
    }
    forwarded::tell(headers, &connection.visitor, asked.as_str());
    match route {
        Route::Portal => forwarded::tell_portal(headers, &connection.visitor),
        Route::App(_) => cookie::hide_ours(headers),
    }
    if upgrades {
        upgrade::ask(headers);
    }
    Ok(Request::from_parts(parts, Noted::new(body, progress)))
}
