//! `/api/v1/remote/certificates*`.

use super::{PATIENCE, jobs, timestamp::rfc3339};
use crate::{App, problem::Problem};
use axum::{
    Json as Answer,
    extract::{Path, State},
    response::Response,
};
use http::HeaderMap;
use piccolo_bus_schema::{
    certificate::{Certificate, CertificateStatus, List, Renew},
    ids::Hostname,
};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct CertificateView {
    id: Hostname,
    domains: Vec<Hostname>,
    status: CertificateStatus,
    issuer: Option<String>,
    issued_at: Option<String>,
    expires_at: Option<String>,
    next_attempt: Option<String>,
    last_error: Option<String>,
}

/// A certificate as the API shows it.
pub(super) fn view(certificate: Certificate) -> CertificateView {
    CertificateView {
        id: certificate.id,
        domains: certificate.domains,
        status: certificate.status,
        issuer: certificate.issuer,
        issued_at: certificate.issued_at.and_then(rfc3339),
        expires_at: certificate.expires_at.and_then(rfc3339),
        next_attempt: certificate.next_attempt.and_then(rfc3339),
        last_error: certificate.last_error,
    }
}

#[derive(Serialize)]
pub(crate) struct CertificatesView {
    certificates: Vec<CertificateView>,
}

/// GET `/api/v1/remote/certificates`.
pub(crate) async fn list(State(app): State<App>) -> Result<Answer<CertificatesView>, Problem> {
    let certificates = app.bus.call(List {}, PATIENCE).await?;
    Ok(Answer(CertificatesView {
        certificates: certificates.into_iter().map(view).collect(),
    }))
}

/// POST `/api/v1/remote/certificates/{id}/renew`.
pub(crate) async fn renew(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = Hostname::new(id.to_ascii_lowercase())
        .map_err(|_| Problem::not_found(format!("There is no certificate {id:?}.")))?;
    let follower = app.hub.jobs();
    let job = app.bus.call(Renew { id }, PATIENCE).await?;
    let fields = serde_json::Map::new();
    let accepted = jobs::Accepted {
        job,
        fields,
        location: None,
        created: false,
    };
    jobs::respond(&app, follower, &headers, accepted).await
}
