//! Plain HTTP from the relay: ACME challenges (RFC 8555 section 8.3) and the way to HTTPS. An app
//! is never reached in plain text from outside.

use super::{Body, BoxError, Connection, Cut, exchange::Asked};
use crate::{challenge, client_hello::normal_name, edge::Edge};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::time::Instant;

/// Answers a challenge, redirects a known name, and closes on everyone else.
pub(super) fn answer(
    edge: &Edge,
    connection: &Connection,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let asked = Asked::of(request).map_err(|_| Cut)?;
    let name = normal_name(asked.host()).ok_or(Cut)?;
    let path = request.uri().path();
    let found = edge
        .challenges()
        .find(&name, path, Instant::now())
        .map(str::to_owned);
    if let Some(key_authorization) = found {
        tracing::info!(host = %name, "ACME challenge answered");
        return Ok(octets(StatusCode::OK, key_authorization));
    }
    if edge
        .table()
        .by_name(&name, connection.visitor.port, false)
        .is_none()
    {
        return Err(Cut);
    }
    if path.starts_with(challenge::PREFIX) {
        return Ok(octets(StatusCode::NOT_FOUND, String::new()));
    }
    let rest = request
        .uri()
        .path_and_query()
        .map_or("/", |rest| rest.as_str());
    let location = HeaderValue::from_str(&format!("https://{name}{rest}")).map_err(|_| Cut)?;
    let mut response = octets(StatusCode::PERMANENT_REDIRECT, String::new());
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn octets(status: StatusCode, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(BoxError::from);
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
