//! Lets a backend prove itself again and again, as its own tokens ask for.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use crate::claims::{ReauthTerms, Stage};
use crate::connection::SessionEnd;
use crate::handshake::challenge;
use crate::session::Session;
use crate::verifier::{Verifier, fresh_nonce, unix_now};

/// Challenges the backend at its intervals. Returns when an answer is missing or wrong; waits for
/// ever once a token asks for no further challenge.
pub async fn keep_proving(session: &Session, verifier: &Verifier) -> SessionEnd {
    let mut terms = session.claims.reauth.clone();
    while let Some(current) = terms {
        sleep(with_jitter(current.interval)).await;
        terms = match prove(session, verifier, &current).await {
            Ok(next) => next,
            Err(why) => return SessionEnd::Reauth(why),
        };
        debug!(session = session.id, "backend proved itself again");
    }
    info!(session = session.id, "no re-authentication is asked for");
    std::future::pending().await
}

/// The interval and up to a fifth more, so that backends that connected together drift apart.
fn with_jitter(interval: Duration) -> Duration {
    interval + interval.mul_f64(rand::random::<f64>() / 5.0)
}

/// One challenge and its answer. The status address of the terms is not asked here, so a challenge
/// is never postponed.
async fn prove(
    session: &Session,
    verifier: &Verifier,
    terms: &ReauthTerms,
) -> Result<Option<ReauthTerms>, String> {
    let nonce = fresh_nonce().map_err(|error| error.to_string())?;
    let answer = session.expect_answer();
    let exchange = async {
        session
            .lanes
            .text(challenge("reauth_challenge", &nonce))
            .await
            .map_err(|_| "the session is over".to_owned())?;
        answer.await.map_err(|_| "the session is over".to_owned())
    };
    let token = timeout(terms.grace, exchange)
        .await
        .map_err(|_| format!("no token within {} s", terms.grace.as_secs()))??;
    let claims = verifier
        .later(&token, Stage::Reauth, &nonce, &session.claims, unix_now())
        .map_err(|refusal| refusal.to_string())?;
    Ok(claims.reauth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_adds_less_than_a_fifth() {
        let interval = Duration::from_secs(10);
        for _ in 0..1000 {
            let waited = with_jitter(interval);
            assert!((interval..interval + Duration::from_secs(2)).contains(&waited));
        }
    }
}
