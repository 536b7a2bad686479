//! `/api/v1/auth/*`: sign in, sessions, API tokens.

use super::{
    LONG_PATIENCE, PATIENCE,
    body::{Json, SecretText},
    crypto::{PasswordBody, refresh, wrong_password},
    timestamp::rfc3339,
};
use crate::{
    App,
    door::Door,
    problem::Problem,
    session::{Principal, Secret, expired_cookie},
};
use axum::{
    Extension, Json as Answer,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use piccolo_bus_schema::{
    ids::UnixSeconds,
    lock::{ChangePassword, Client, LockState, Unlock},
    session::{self, Close, List, Open, Scope, Session, SessionKind},
};
use serde::{Deserialize, Serialize};

/// Longest user agent that is kept, in characters.
const USER_AGENT: usize = 200;

/// Opens a browser session.
pub(super) async fn open_session(
    app: &App,
    door: Door,
    headers: &HeaderMap,
) -> Result<Secret, Problem> {
    let secret = Secret::generate();
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    let user_agent = agent
        .unwrap_or("unknown")
        .chars()
        .take(USER_AGENT)
        .collect();
    let kind = SessionKind::Browser { user_agent };
    let open = Open {
        secret_hash: secret.hash(),
        kind,
        from: door.client(),
    };
    app.bus.call(open, PATIENCE).await?;
    Ok(secret)
}

/// Adds the session's cookie to an answer.
pub(super) fn signed_in(mut response: Response, secret: &Secret, door: Door) -> Response {
    response
        .headers_mut()
        .insert(header::SET_COOKIE, secret.cookie(door.is_tls()));
    response
}

#[derive(Serialize)]
struct SignedIn {
    authenticated: bool,
    csrf_token: String,
}

/// POST `/api/v1/auth/login`.
pub(crate) async fn login(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    headers: HeaderMap,
    Json(body): Json<PasswordBody>,
) -> Result<Response, Problem> {
    let password = body.password.offer(&app.bus)?;
    app.bus
        .call(
            Unlock {
                password,
                from: door.client(),
            },
            LONG_PATIENCE,
        )
        .await
        .map_err(|fault| wrong_password(fault, &["password"]))?;
    refresh(&app).await;
    let secret = open_session(&app, door, &headers).await?;
    let answer = SignedIn {
        authenticated: true,
        csrf_token: secret.csrf_token(),
    };
    Ok(signed_in(Answer(answer).into_response(), &secret, door))
}

#[derive(Serialize)]
pub(crate) struct SessionStatus {
    authenticated: bool,
    expires_at: Option<String>,
    locked: bool,
}

/// GET `/api/v1/auth/session`.
pub(crate) async fn session(
    State(app): State<App>,
    principal: Option<Extension<Principal>>,
) -> Answer<SessionStatus> {
    let locked = app.picture.lock() != Some(LockState::Unlocked);
    let expires_at = principal
        .as_ref()
        .and_then(|Extension(principal)| match principal {
            Principal::Operator => None,
            Principal::Browser { session, .. } | Principal::Token { session } => {
                rfc3339(session.expires_at)
            }
        });
    Answer(SessionStatus {
        authenticated: principal.is_some(),
        expires_at,
        locked,
    })
}

#[derive(Serialize)]
pub(crate) struct CsrfToken {
    token: String,
}

/// GET `/api/v1/auth/csrf`. Only a cookie needs one.
pub(crate) async fn csrf(Extension(principal): Extension<Principal>) -> Answer<CsrfToken> {
    let token = match principal {
        Principal::Browser { secret, .. } => secret.csrf_token(),
        Principal::Operator | Principal::Token { .. } => String::new(),
    };
    Answer(CsrfToken { token })
}

/// POST `/api/v1/auth/logout`.
pub(crate) async fn logout(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    Extension(principal): Extension<Principal>,
) -> Result<Response, Problem> {
    if let Principal::Browser { session, .. } | Principal::Token { session } = principal {
        app.bus.call(Close { id: session.id }, PATIENCE).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response
        .headers_mut()
        .insert(header::SET_COOKIE, expired_cookie(door.is_tls()));
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    old_password: SecretText,
    new_password: SecretText,
}

/// POST `/api/v1/auth/password`: ends every session; who changed it in a browser is signed in anew.
pub(crate) async fn change_password(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    Json(body): Json<ChangeBody>,
) -> Result<Response, Problem> {
    let change = ChangePassword {
        old_password: body.old_password.offer(&app.bus)?,
        new_password: body.new_password.offer(&app.bus)?,
        from: door.client(),
    };
    app.bus
        .call(change, LONG_PATIENCE)
        .await
        .map_err(|fault| wrong_password(fault, &["old_password"]))?;
    let answer = StatusCode::NO_CONTENT.into_response();
    match principal {
        Principal::Browser { .. } => {
            let secret = open_session(&app, door, &headers).await?;
            Ok(signed_in(answer, &secret, door))
        }
        Principal::Operator | Principal::Token { .. } => Ok(answer),
    }
}

#[derive(Serialize)]
pub(crate) struct SessionView {
    id: String,
    from: String,
    user_agent: Option<String>,
    name: Option<String>,
    scope: Option<Scope>,
    created_at: Option<String>,
    last_used_at: Option<String>,
    expires_at: Option<String>,
    current: bool,
}

impl SessionView {
    fn new(session: Session, current: Option<&str>) -> Self {
        let from = match session.from {
            Client::Local => "this device".to_owned(),
            Client::Lan(address) => address.to_string(),
            Client::Remote(address) => format!("{address} (remote)"),
        };
        let (user_agent, name, scope) = match session.kind {
            SessionKind::Browser { user_agent } => (Some(user_agent), None, None),
            SessionKind::Token { name, scope, .. } => (None, Some(name), Some(scope)),
        };
        Self {
            current: current == Some(session.id.as_str()),
            id: session.id,
            from,
            user_agent,
            name,
            scope,
            created_at: rfc3339(session.created_at),
            last_used_at: rfc3339(session.last_used_at),
            expires_at: rfc3339(session.expires_at),
        }
    }
}

async fn listed(
    app: &App,
    principal: &Principal,
    wanted: fn(&SessionKind) -> bool,
) -> Result<Vec<SessionView>, Problem> {
    let current = match principal {
        Principal::Operator => None,
        Principal::Browser { session, .. } | Principal::Token { session } => {
            Some(session.id.as_str())
        }
    };
    let sessions = app.bus.call(List {}, PATIENCE).await?;
    let wanted = sessions.into_iter().filter(|session| wanted(&session.kind));
    Ok(wanted
        .map(|session| SessionView::new(session, current))
        .collect())
}

/// GET `/api/v1/auth/sessions`.
pub(crate) async fn sessions(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Answer<Vec<SessionView>>, Problem> {
    let browser = |kind: &SessionKind| matches!(kind, SessionKind::Browser { .. });
    Ok(Answer(listed(&app, &principal, browser).await?))
}

/// GET `/api/v1/auth/tokens`.
pub(crate) async fn tokens(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
) -> Result<Answer<Vec<SessionView>>, Problem> {
    let token = |kind: &SessionKind| matches!(kind, SessionKind::Token { .. });
    Ok(Answer(listed(&app, &principal, token).await?))
}

/// DELETE `/api/v1/auth/sessions/{id}` and `/api/v1/auth/tokens/{id}`.
pub(crate) async fn end_session(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    app.bus.call(Close { id }, PATIENCE).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBody {
    name: String,
    scope: Scope,
    /// Days from now; never when it is left out.
    #[serde(default)]
    expires_in_days: Option<u32>,
}

#[derive(Serialize)]
pub(crate) struct MadeToken {
    id: String,
    /// Shown once.
    token: String,
    expires_at: Option<String>,
}

/// POST `/api/v1/auth/tokens`.
pub(crate) async fn make_token(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    Json(body): Json<TokenBody>,
) -> Result<(StatusCode, Answer<MadeToken>), Problem> {
    let name = body.name.trim();
    if name.is_empty() || name.chars().count() > 100 {
        return Err(Problem::invalid(
            "name",
            "A token needs a name of 1 to 100 characters.",
        ));
    }
    if body
        .expires_in_days
        .is_some_and(|days| days == 0 || days > 3650)
    {
        return Err(Problem::invalid(
            "expires_in_days",
            "Must be 1 to 3650 days.",
        ));
    }
    let expires_at = body
        .expires_in_days
        .map(|days| UnixSeconds(piccolo_runtime::clock::now().0 + u64::from(days) * 86_400));
    let secret = Secret::generate();
    let kind = SessionKind::Token {
        name: name.to_owned(),
        scope: body.scope,
        expires_at,
    };
    let open = Open {
        secret_hash: secret.hash(),
        kind,
        from: door.client(),
    };
    let opened: session::Session = app.bus.call(open, PATIENCE).await?;
    let made = MadeToken {
        id: opened.id,
        token: secret.expose().to_owned(),
        expires_at: expires_at.and_then(rfc3339),
    };
    Ok((StatusCode::CREATED, Answer(made)))
}
