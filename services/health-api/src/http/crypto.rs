//! `/api/v1/crypto/*`: setup, unlock, lock, recovery.

use super::{
    LONG_PATIENCE, PATIENCE,
    auth::{open_session, signed_in},
    body::{Json, SecretText},
};
use crate::{App, door::Door, problem::Problem};
use axum::{
    Extension, Json as Answer,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use piccolo_bus_schema::{
    Fault,
    lock::{
        GenerateRecoveryKey, Lock, LockState, RecoveryKey, ResetPassword, Setup, Status, Unlock,
    },
};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
pub(crate) struct CryptoStatus {
    initialized: bool,
    locked: bool,
}

/// GET `/api/v1/crypto/status`.
pub(crate) async fn status(State(app): State<App>) -> Result<Answer<CryptoStatus>, Problem> {
    let state = app.bus.call(Status {}, PATIENCE).await?;
    let status = match state {
        LockState::Setup => CryptoStatus {
            initialized: false,
            locked: true,
        },
        LockState::Locked | LockState::Preunlock => CryptoStatus {
            initialized: true,
            locked: true,
        },
        LockState::Unlocked => CryptoStatus {
            initialized: true,
            locked: false,
        },
        LockState::Fault(fault) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(
                Problem::new(status, "store_fault", fault.explanation).next_step(fault.next_step)
            );
        }
    };
    Ok(Answer(status))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    pub(super) password: SecretText,
}

#[derive(Serialize)]
struct RecoveryWords {
    recovery_key: Vec<String>,
}

/// POST `/api/v1/crypto/setup`: 201 with the 24 words, unlocked and signed in.
pub(crate) async fn setup(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    headers: HeaderMap,
    Json(body): Json<PasswordBody>,
) -> Result<Response, Problem> {
    if door.is_remote() {
        let detail = "The owner's password can't be set through the relay.";
        return Err(Problem::forbidden("local_only", detail)
            .next_step("Open the portal from the device's own network."));
    }
    let password = body.password.offer(&app.bus)?;
    let words = app.bus.call(Setup { password }, LONG_PATIENCE).await?;
    let words = claim_words(&app, &words).await?;
    refresh(&app).await;
    let secret = open_session(&app, door, &headers).await?;
    let answer = (StatusCode::CREATED, Answer(words)).into_response();
    Ok(signed_in(answer, &secret, door))
}

async fn claim_words(app: &App, key: &RecoveryKey) -> Result<RecoveryWords, Problem> {
    let bytes = app.bus.claim_secret(&key.words).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Fault::Internal {
        log_id: "recovery words".to_owned(),
    })?;
    Ok(RecoveryWords {
        recovery_key: text.split(' ').map(str::to_owned).collect(),
    })
}

/// What other requests see must be true before this one is answered.
pub(super) async fn refresh(app: &App) {
    if let Err(fault) = app.picture.refresh().await {
        tracing::debug!(%fault, "the picture stays as it was");
    }
}

/// A wrong password is 401, not a broken rule.
pub(super) fn wrong_password(fault: Fault, fields: &[&str]) -> Problem {
    match fault {
        Fault::Invalid { field, .. } if fields.contains(&field.as_str()) => {
            Problem::unauthorized("The password is wrong.")
                .field(field)
                .next_step("Try again, or use the recovery key.")
        }
        other => other.into(),
    }
}

#[derive(Serialize)]
struct Unlocked {
    locked: bool,
}

/// POST `/api/v1/crypto/unlock`.
pub(crate) async fn unlock(
    State(app): State<App>,
    Extension(door): Extension<Door>,
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
    Ok(Answer(Unlocked { locked: false }).into_response())
}

/// POST `/api/v1/crypto/lock`.
pub(crate) async fn lock(State(app): State<App>) -> Result<StatusCode, Problem> {
    let locked = app.bus.call(Lock {}, LONG_PATIENCE).await;
    refresh(&app).await;
    locked?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetBody {
    recovery_key: RecoveryInput,
    new_password: SecretText,
}

/// The words as one text or as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum RecoveryInput {
    Text(SecretText),
    Words(Vec<SecretText>),
}

/// POST `/api/v1/crypto/reset-password`.
pub(crate) async fn reset_password(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    Json(body): Json<ResetBody>,
) -> Result<StatusCode, Problem> {
    let recovery_key = match body.recovery_key {
        RecoveryInput::Text(text) => text.offer(&app.bus)?,
        RecoveryInput::Words(words) => SecretText::join(&words).offer(&app.bus)?,
    };
    let new_password = body.new_password.offer(&app.bus)?;
    let reset = ResetPassword {
        recovery_key,
        new_password,
        from: door.client(),
    };
    app.bus
        .call(reset, LONG_PATIENCE)
        .await
        .map_err(|fault| match fault {
            Fault::Invalid { field, .. } if field == "recovery_key" => {
                Problem::unauthorized("The recovery key is wrong.")
                    .field(field)
                    .next_step("Check the 24 words and their order.")
            }
            other => other.into(),
        })?;
    refresh(&app).await;
    Ok(StatusCode::NO_CONTENT)
}

/// POST `/api/v1/crypto/recovery-key/generate`.
pub(crate) async fn generate_recovery_key(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    Json(body): Json<PasswordBody>,
) -> Result<Response, Problem> {
    let password = body.password.offer(&app.bus)?;
    let generate = GenerateRecoveryKey {
        password,
        from: door.client(),
    };
    let words = app
        .bus
        .call(generate, LONG_PATIENCE)
        .await
        .map_err(|fault| wrong_password(fault, &["password"]))?;
    Ok(Answer(claim_words(&app, &words).await?).into_response())
}
