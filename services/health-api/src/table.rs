//! Every route of the API in one table: the router and the OpenAPI document are both made of it.

use crate::{
    App,
    gate::{self, Content, Gate, Visitor},
    http::{
        apps, audit, auth, certificates, crypto, docs, events, health, jobs, leadership, metrics,
        remote, storage, system, updates,
    },
    portal,
    problem::Problem,
};
use axum::{
    Router,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post},
};
use http::{Method, StatusCode, Uri};

/// What is promised about a route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    pub(crate) method: &'static str,
    /// In axum's form, which is OpenAPI's: `/api/v1/apps/{name}`.
    pub(crate) path: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) gate: Gate,
    pub(crate) content: Content,
    /// May the body be left out?
    pub(crate) body_optional: bool,
    /// Does a mutation go into the audit log?
    pub(crate) audited: bool,
    /// Status of success.
    pub(crate) success: u16,
}

impl Card {
    const fn new(
        method: &'static str,
        path: &'static str,
        tag: &'static str,
        gate: Gate,
        summary: &'static str,
    ) -> Self {
        let content = Content::None;
        Self {
            method,
            path,
            tag,
            summary,
            gate,
            content,
            body_optional: true,
            audited: true,
            success: 200,
        }
    }

    const fn json(mut self) -> Self {
        self.content = Content::Json;
        self.body_optional = false;
        self
    }

    const fn yaml(mut self) -> Self {
        self.content = Content::Yaml;
        self.body_optional = false;
        self
    }

    const fn optional_json(mut self) -> Self {
        self.content = Content::Json;
        self
    }

    /// A question in the form of a POST.
    const fn question(mut self) -> Self {
        self.audited = false;
        self
    }

    const fn answers(mut self, success: u16) -> Self {
        self.success = success;
        self
    }
}

const fn gate(visitor: Visitor, unlocked: bool, leader: bool) -> Gate {
    Gate {
        visitor,
        unlocked,
        leader,
    }
}

/// P: public.
const P: Gate = gate(Visitor::Anyone, false, false);
/// S: a session.
const S: Gate = gate(Visitor::Session, false, false);
/// S U: a session on an unlocked device.
const SU: Gate = gate(Visitor::Session, true, false);
/// S U L: and on the kernel's leader.
const SUL: Gate = gate(Visitor::Session, true, true);
/// `health.listen`, or a session elsewhere.
const H: Gate = gate(Visitor::LoopbackOrSession, false, false);

/// A route: its card and its handler.
pub(crate) struct Entry {
    pub(crate) card: Card,
    handler: fn() -> MethodRouter<App>,
}

macro_rules! routes {
    ($($card:expr => $handler:expr),* $(,)?) => {
        &[$(Entry { card: $card, handler: || $handler }),*]
    };
}

/// All routes, in the order of the documentation.
pub(crate) static ROUTES: &[Entry] = routes![
    Card::new("GET", "/health/live", "health", P, "Is the process alive?") => get(health::live),
    Card::new("GET", "/health/ready", "health", P, "Is the device ready? 200 or 503") => get(health::ready),
    Card::new("GET", "/health/detail", "health", H, "Every component with its facts") => get(health::detail),
    Card::new("GET", "/livez", "health", P, "As /health/live") => get(health::live),
    Card::new("GET", "/readyz", "health", P, "As /health/ready") => get(health::ready),
    Card::new("GET", "/healthz", "health", P, "As /health/ready") => get(health::ready),
    Card::new("GET", "/api/v1/health/live", "health", P, "As /health/live") => get(health::live),
    Card::new("GET", "/api/v1/health/ready", "health", P, "As /health/ready") => get(health::ready),
    Card::new("GET", "/api/v1/health/detail", "health", H, "As /health/detail") => get(health::detail),
    Card::new("GET", "/metrics", "health", H, "Prometheus text") => get(metrics::show),

    Card::new("GET", "/api/v1/crypto/status", "crypto", P, "Is there an owner, is it locked?") => get(crypto::status),
    Card::new("POST", "/api/v1/crypto/setup", "crypto", P, "Set the owner's password, once").json().answers(201) => post(crypto::setup),
    Card::new("POST", "/api/v1/crypto/unlock", "crypto", P, "Unlock with the password").json() => post(crypto::unlock),
    Card::new("POST", "/api/v1/crypto/lock", "crypto", S, "Lock the device").answers(204) => post(crypto::lock),
    Card::new("POST", "/api/v1/crypto/reset-password", "crypto", P, "Set a new password with the recovery key").json().answers(204) => post(crypto::reset_password),
    Card::new("POST", "/api/v1/crypto/recovery-key/generate", "crypto", SU, "Make new recovery words").json() => post(crypto::generate_recovery_key),

    Card::new("POST", "/api/v1/auth/login", "auth", P, "Sign in; also unlocks").json() => post(auth::login),
    Card::new("GET", "/api/v1/auth/session", "auth", P, "Am I signed in?") => get(auth::session),
    Card::new("GET", "/api/v1/auth/csrf", "auth", S, "The token to repeat in X-CSRF-Token") => get(auth::csrf),
    Card::new("POST", "/api/v1/auth/logout", "auth", S, "End this session").answers(204) => post(auth::logout),
    Card::new("POST", "/api/v1/auth/password", "auth", SU, "Change the password").json().answers(204) => post(auth::change_password),
    Card::new("GET", "/api/v1/auth/sessions", "auth", SU, "All sessions") => get(auth::sessions),
    Card::new("DELETE", "/api/v1/auth/sessions/{id}", "auth", SU, "End a session").answers(204) => delete(auth::end_session),
    Card::new("GET", "/api/v1/auth/tokens", "auth", SU, "All API tokens") => get(auth::tokens),
    Card::new("POST", "/api/v1/auth/tokens", "auth", SU, "Make an API token; shown once").json().answers(201) => post(auth::make_token),
    Card::new("DELETE", "/api/v1/auth/tokens/{id}", "auth", SU, "Revoke an API token").answers(204) => delete(auth::end_session),

    Card::new("GET", "/api/v1/apps", "apps", SU, "All apps") => get(apps::list),
    Card::new("POST", "/api/v1/apps", "apps", SUL, "Install an app, or update its spec").yaml().answers(202) => post(apps::install),
    Card::new("POST", "/api/v1/apps/validate", "apps", S, "What is wrong with a spec?").yaml().question() => post(apps::validate),
    Card::new("POST", "/api/v1/apps/plan", "apps", S, "What would an install do?").yaml().question() => post(apps::plan),
    Card::new("GET", "/api/v1/apps/{name}", "apps", SU, "One app") => get(apps::show),
    Card::new("DELETE", "/api/v1/apps/{name}", "apps", SUL, "Remove an app; data is kept unless purge=true").answers(202) => delete(apps::remove),
    Card::new("POST", "/api/v1/apps/{name}/start", "apps", SUL, "Start").answers(202) => post(apps::start),
    Card::new("POST", "/api/v1/apps/{name}/stop", "apps", SUL, "Stop").answers(202) => post(apps::stop),
    Card::new("POST", "/api/v1/apps/{name}/restart", "apps", SUL, "Restart").answers(202) => post(apps::restart),
    Card::new("POST", "/api/v1/apps/{name}/update", "apps", SUL, "Update the image").optional_json().answers(202) => post(apps::update),
    Card::new("POST", "/api/v1/apps/{name}/revert", "apps", SUL, "Go back to the version before").answers(202) => post(apps::revert),
    Card::new("GET", "/api/v1/apps/{name}/logs", "apps", SU, "Its last lines, or a stream of them") => get(apps::logs),
    Card::new("GET", "/api/v1/services", "apps", SU, "All listeners of all apps") => get(apps::services),

    Card::new("GET", "/api/v1/remote/status", "remote", S, "What is true of remote access now") => get(remote::status),
    Card::new("POST", "/api/v1/remote/configure", "remote", SUL, "Set up remote access").json() => post(remote::configure),
    Card::new("POST", "/api/v1/remote/disable", "remote", SUL, "Switch remote access off").answers(204) => post(remote::disable),
    Card::new("GET", "/api/v1/remote/certificates", "remote", SU, "All certificates") => get(certificates::list),
    Card::new("POST", "/api/v1/remote/certificates/{id}/renew", "remote", SUL, "Order a certificate anew").answers(202) => post(certificates::renew),

    Card::new("GET", "/api/v1/updates/os", "updates", S, "Operating system updates") => get(updates::show),
    Card::new("GET", "/api/v1/storage/volumes", "storage", SU, "Encrypted volumes") => get(storage::volumes),
    Card::new("POST", "/api/v1/storage/verify", "storage", SU, "Verify every record of the control store now") => post(storage::verify),
    Card::new("GET", "/api/v1/leadership", "leadership", S, "Roles and epochs") => get(leadership::show),
    Card::new("POST", "/api/v1/leadership/simulate", "leadership", S, "Set a role by hand, with the simulated provider").json() => post(leadership::simulate),

    Card::new("GET", "/api/v1/jobs", "jobs", S, "The newest jobs") => get(jobs::list),
    Card::new("GET", "/api/v1/jobs/{id}", "jobs", S, "One job") => get(jobs::show),
    Card::new("GET", "/api/v1/events", "events", S, "Server-sent events with resume") => get(events::stream),
    Card::new("GET", "/api/v1/audit", "audit", SU, "Who did what") => get(audit::list),
    Card::new("GET", "/api/v1/system", "system", S, "Version, identity, addresses, revision") => get(system::show),
    Card::new("GET", "/api/v1/system/services", "system", S, "Units and their state") => get(system::services),
    Card::new("POST", "/api/v1/system/services/{name}/restart", "system", SU, "Restart a service").answers(202) => post(system::restart),
    Card::new("GET", "/api/v1/system/services/{name}/logs", "system", SU, "The last log lines of a service") => get(system::logs),

    Card::new("GET", "/api/v1/openapi.json", "docs", P, "This document") => get(docs::openapi),
    Card::new("GET", "/api/docs", "docs", P, "The API for humans") => get(docs::page),
];

/// The router of the whole device.
pub(crate) fn router(app: &App) -> Router {
    let mut router = Router::new();
    for entry in ROUTES {
        let checked = (entry.handler)()
            .route_layer(from_fn_with_state((app.clone(), &entry.card), gate::check));
        router = router.route(entry.card.path, checked);
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(fallback)
        .layer(axum::extract::DefaultBodyLimit::max(Content::Json.limit()))
        .with_state(app.clone())
}

/// 405 with `Allow`, taken from the table.
async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let allowed = allowed(uri.path());
    let detail = format!("{method} is not possible here.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        .allow(allowed.join(", ").try_into().ok())
}

/// Methods of all routes that match a path.
fn allowed(path: &str) -> Vec<&'static str> {
    let mut methods = Vec::new();
    for card in ROUTES
        .iter()
        .map(|entry| &entry.card)
        .filter(|card| matches(card.path, path))
    {
        methods.push(card.method);
        if card.method == "GET" {
            methods.push("HEAD");
        }
    }
    methods
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(expected), Some(found)) if expected.starts_with('{') && !found.is_empty() => {}
            (Some(expected), Some(found)) if expected == found => {}
            _ => return false,
        }
    }
}

/// Unknown API paths are 404 in words; everything else is the portal.
async fn fallback(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    if path.starts_with("/api/") || path.starts_with("/health/") || path == "/api" {
        return Problem::not_found(format!("There is nothing at {path}.")).into_response();
    }
    portal::serve(&method, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_methods_come_from_the_table() {
        assert_eq!(allowed("/api/v1/apps"), ["GET", "HEAD", "POST"]);
        assert_eq!(allowed("/api/v1/apps/demo"), ["GET", "HEAD", "DELETE"]);
        assert!(allowed("/api/v1/nothing").is_empty());
    }
}
