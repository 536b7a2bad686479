//! Sessions that must prove themselves again.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::backend::Backend;
use crate::world::{World, token};

const SOON: Duration = Duration::from_millis(700);

#[tokio::test]
async fn a_backend_that_answers_stays_and_is_asked_again() {
    let world = World::new().await;
    let claims = json!({"hostnames": ["app.test"], "reauth_interval_seconds": 1});
    let start = Instant::now();
    let mut backend = Backend::admitted(&world, claims.clone()).await;
    backend.answer_challenge("reauth_challenge", &claims).await;
    let first = start.elapsed();
    assert!((950..1800).contains(&first.as_millis()), "{first:?}");
    // The last token asks for no further challenge.
    backend
        .answer_challenge("reauth_challenge", &json!({"hostnames": ["app.test"]}))
        .await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    backend.hears_nothing().await;
    let _user = world.http_user("app.test").await;
    backend.http_connected().await;
}

#[tokio::test]
async fn a_wrong_answer_ends_session_and_flows_at_once_without_a_close_frame() {
    let world = World::new().await;
    let claims = json!({"hostnames": ["app.test"], "reauth_interval_seconds": 1});
    for wrong in [
        json!({"hostnames": ["app.test"]}),
        json!({"hostnames": ["other.test"]}),
    ] {
        let mut backend = Backend::admitted(&world, claims.clone()).await;
        let mut user = world.http_user("app.test").await;
        backend.http_connected().await;
        let nonce = backend.challenge("reauth_challenge").await;
        let mut wrong = wrong;
        if wrong["hostnames"][0] == "other.test" {
            wrong["session_nonce"] = nonce.into();
        }
        backend.text(&token(&wrong)).await;
        backend.ends_silently(SOON).await;
        user.is_closed().await;
    }
}

#[tokio::test]
async fn silence_and_binary_answers_end_the_session_after_the_grace() {
    let world = World::new().await;
    let claims =
        json!({"hostnames": ["app.test"], "reauth_interval_seconds": 1, "reauth_grace_seconds": 1});
    let mut backend = Backend::admitted(&world, claims).await;
    backend.challenge("reauth_challenge").await;
    let start = Instant::now();
    backend.binary(b"\x02{}".to_vec()).await;
    backend.ends_silently(Duration::from_secs(3)).await;
    let waited = start.elapsed().as_millis();
    assert!((900..1900).contains(&waited), "{waited} ms");
}
