//! `/api/v1/remote/*`: what is true of remote access, and setting it up.

use super::{
    PATIENCE,
    body::{Json, SecretText},
    certificates::{self, CertificateView},
    timestamp::rfc3339,
};
use crate::{App, problem::Problem};
use axum::{Json as Answer, extract::State};
use http::StatusCode;
use piccolo_bus_schema::{
    app::ListEndpoints,
    certificate,
    ids::Hostname,
    remote::{Configure, Disable, RemoteStatus, Status, TunnelState},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize)]
pub(crate) struct RemoteView {
    state: &'static str,
    since: Option<String>,
    endpoint: Option<String>,
    portal_hostname: Option<Hostname>,
    tld: Option<Hostname>,
    relays: Vec<RelayView>,
    last_error: Option<String>,
    next_attempt: Option<String>,
    listeners: Vec<ListenerStatus>,
    certificates: Vec<CertificateView>,
}

#[derive(Serialize)]
struct RelayView {
    endpoint: String,
    state: &'static str,
    since: Option<String>,
    round_trip_ms: Option<f64>,
    streams: u32,
    bytes_in: u64,
    bytes_out: u64,
    hostnames: Vec<Hostname>,
}

#[derive(Serialize)]
struct ListenerStatus {
    app: String,
    name: String,
    remote_host: String,
    /// Whether the live session claims the name.
    claimed: bool,
}

/// GET `/api/v1/remote/status`.
pub(crate) async fn status(State(app): State<App>) -> Result<Answer<RemoteView>, Problem> {
    Ok(Answer(view(&app).await?))
}

async fn view(app: &App) -> Result<RemoteView, Problem> {
    let status = app.bus.call(Status {}, PATIENCE).await?;
    let brief = Duration::from_secs(2);
    // Other services may be down; what is known of the tunnel is shown all the same.
    let listed = app
        .bus
        .call(certificate::List {}, brief)
        .await
        .unwrap_or_default();
    let certificates = listed.into_iter().map(certificates::view).collect();
    let endpoints = app.bus.call(ListEndpoints {}, brief).await;
    let endpoints = endpoints.map(|list| list.endpoints).unwrap_or_default();
    let claimed = &status.hostnames;
    let listeners = status.tld.iter().flat_map(|tld| {
        endpoints.iter().map(move |endpoint| {
            let remote_host = format!("{}.{tld}", endpoint.listener);
            ListenerStatus {
                app: endpoint.app.to_string(),
                name: endpoint.listener.to_string(),
                claimed: claimed.iter().any(|host| host.as_str() == remote_host),
                remote_host,
            }
        })
    });
    let listeners = listeners.collect();
    Ok(RemoteView {
        listeners,
        certificates,
        ..tunnel(status)
    })
}

fn tunnel(status: RemoteStatus) -> RemoteView {
    let (state, since, next_attempt) = match &status.tunnel {
        TunnelState::Disabled => ("disabled", None, None),
        TunnelState::Connecting { since } => ("connecting", rfc3339(*since), None),
        TunnelState::Connected { since, .. } => ("connected", rfc3339(*since), None),
        TunnelState::Error {
            since,
            next_attempt,
        } => ("error", rfc3339(*since), rfc3339(*next_attempt)),
    };
    let relays = relay(&status, state, since.clone()).into_iter().collect();
    RemoteView {
        state,
        since,
        endpoint: status.endpoint,
        portal_hostname: status.portal_hostname,
        tld: status.tld,
        relays,
        last_error: status.last_error,
        next_attempt,
        listeners: Vec::new(),
        certificates: Vec::new(),
    }
}

fn relay(status: &RemoteStatus, state: &'static str, since: Option<String>) -> Option<RelayView> {
    let (round_trip_ms, streams, bytes_in, bytes_out) = match &status.tunnel {
        TunnelState::Connected {
            round_trip_us,
            streams,
            bytes_in,
            bytes_out,
            ..
        } => {
            let milliseconds =
                round_trip_us.map(|micros| Duration::from_micros(micros).as_secs_f64() * 1000.0);
            (milliseconds, *streams, *bytes_in, *bytes_out)
        }
        TunnelState::Disabled | TunnelState::Connecting { .. } | TunnelState::Error { .. } => {
            (None, 0, 0, 0)
        }
    };
    Some(RelayView {
        endpoint: status.endpoint.clone()?,
        state,
        since,
        round_trip_ms,
        streams,
        bytes_in,
        bytes_out,
        hostnames: status.hostnames.clone(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigureBody {
    endpoint: String,
    device_secret: SecretText,
    tld: String,
    portal_hostname: String,
    #[serde(default)]
    acme_email: Option<String>,
}

/// POST `/api/v1/remote/configure`.
pub(crate) async fn configure(
    State(app): State<App>,
    Json(body): Json<ConfigureBody>,
) -> Result<Answer<RemoteView>, Problem> {
    let configure = Configure {
        endpoint: body.endpoint,
        device_secret: body.device_secret.offer(&app.bus)?,
        tld: body.tld,
        portal_hostname: body.portal_hostname,
        acme_email: body.acme_email.filter(|email| !email.trim().is_empty()),
    };
    app.bus.call(configure, PATIENCE).await?;
    super::crypto::refresh(&app).await;
    Ok(Answer(view(&app).await?))
}

/// POST `/api/v1/remote/disable`.
pub(crate) async fn disable(State(app): State<App>) -> Result<StatusCode, Problem> {
    app.bus.call(Disable {}, PATIENCE).await?;
    super::crypto::refresh(&app).await;
    Ok(StatusCode::NO_CONTENT)
}
