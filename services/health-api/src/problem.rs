//! What went wrong, as a problem document (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use piccolo_bus_schema::Fault;
use serde::Serialize;

/// `application/problem+json`. Boxed: it is the rare case of many results.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Problem(Box<Document>);

#[derive(Clone, Debug, Default, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(skip)]
    allow: Option<HeaderValue>,
    #[serde(skip)]
    location: Option<HeaderValue>,
}

impl Problem {
    /// A problem of a status; `code` is stable, `detail` is for the owner.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Document {
            kind: format!("urn:piccolo:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            ..Document::default()
        }))
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .next_step("Sign in at /api/v1/auth/login or in the portal.")
    }

    pub(crate) fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub(crate) fn locked() -> Self {
        Self::new(StatusCode::LOCKED, "locked", "The device is locked.")
            .next_step("Unlock it with the owner's password.")
    }

    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", why).field(field)
    }

    /// This node does not lead: 307 to the leader's same path when its address is known, else 409.
    pub(crate) fn not_leader(resource: &str, leader: Option<String>, path: Option<&str>) -> Self {
        let location = leader
            .as_deref()
            .zip(path)
            .and_then(|(leader, path)| HeaderValue::try_from(format!("{leader}{path}")).ok());
        let status = match location {
            Some(_) => StatusCode::TEMPORARY_REDIRECT,
            None => StatusCode::CONFLICT,
        };
        let detail =
            format!("This device is a follower of {resource}; only its leader can do this.");
        let mut problem = Self::new(status, "not_leader", detail);
        problem.0.leader = leader;
        problem.0.location = location;
        problem
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    pub(crate) fn next_step(mut self, step: impl Into<String>) -> Self {
        self.0.next_step = Some(step.into());
        self
    }

    pub(crate) fn job(mut self, job: impl Into<String>) -> Self {
        self.0.job = Some(job.into());
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    pub(crate) fn allow(mut self, methods: Option<HeaderValue>) -> Self {
        self.0.allow = methods;
        self
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> u16 {
        self.0.status
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let text = fault.to_string();
        match fault {
            Fault::Locked => Self::locked(),
            Fault::NotLeader { resource, leader } => Self::not_leader(&resource, leader, None),
            Fault::NotFound { .. } => Self::not_found(sentence(&text)),
            Fault::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", sentence(&text)),
            Fault::Invalid { field, why } => Self::invalid(field, sentence(&why)),
            Fault::Forbidden { .. } => Self::forbidden("forbidden", sentence(&text)),
            Fault::Busy { retry_after_ms } => {
                let seconds = retry_after_ms.div_ceil(1000).max(1);
                let detail = format!("Too many tries or too much at once. Wait {seconds} s.");
                Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(seconds)
            }
            Fault::Unavailable { next_step, .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut problem = Self::new(status, "unavailable", sentence(&text)).retry_after(2);
                problem.0.next_step = next_step;
                problem
            }
            Fault::DeadlineExceeded => {
                let detail = "A part of the device did not answer in time; nothing was done.";
                Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", detail).retry_after(2)
            }
            Fault::OutcomeUnknown => {
                let detail = "A part of the device was lost while it worked on this.";
                Self::new(StatusCode::BAD_GATEWAY, "outcome_unknown", detail)
                    .next_step("Look whether it happened before you try again.")
            }
            Fault::Internal { log_id } => {
                let detail = format!("Something failed that should not. Log id: {log_id}.");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
        }
    }
}

/// Faults are written without capital and full stop; problem details are sentences.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut sentence: String = characters
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + characters.as_str())
        .unwrap_or_default();
    if !sentence.ends_with(['.', '!', '?', ')']) {
        sentence.push('.');
    }
    sentence
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.0.allow {
            headers.insert(header::ALLOW, allow);
        }
        if let Some(location) = self.0.location {
            headers.insert(header::LOCATION, location);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_names_its_field() {
        let problem = Problem::from(Fault::invalid("endpoint", "must start with wss://"));
        assert_eq!(problem.0.status, 422);
        assert_eq!(problem.0.field.as_deref(), Some("endpoint"));
        assert_eq!(problem.0.detail, "Must start with wss://.");
    }

    #[test]
    fn a_known_leader_is_redirected_to_and_an_unknown_one_is_a_conflict() {
        let known = Problem::not_leader("kernel", Some("http://192.0.2.1".into()), Some("/x"));
        assert_eq!(known.0.status, 307);
        let unknown = Problem::not_leader("kernel", None, Some("/x"));
        assert_eq!(unknown.0.status, 409);
    }
}
