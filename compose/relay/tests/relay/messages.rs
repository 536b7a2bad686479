//! Sizes, fragments, junk and Close.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use crate::backend::{Backend, Heard, data_message};
use crate::world::World;

#[tokio::test]
async fn a_fragmented_message_with_pings_between_is_one_message() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    let payload: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
    backend
        .fragmented(&data_message(&client, &payload), 4096)
        .await;
    user.hears(&payload).await;
}

#[tokio::test]
async fn the_largest_message_passes_and_one_byte_more_ends_the_session() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    let payload = vec![7; 32_768];
    backend.data(&client, &payload).await;
    user.hears(&payload).await;
    backend.data(&client, &[7; 32_769]).await;
    assert_eq!(backend.hear().await, Heard::Close(1009, String::new()));
    user.is_closed().await;
}

#[tokio::test]
async fn a_message_of_two_megabytes_ends_the_session_all_the_same() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let _ = backend.0.send(Message::binary(vec![1; 2 << 20])).await;
    assert_eq!(backend.hear().await, Heard::Close(1009, String::new()));
}

#[tokio::test]
async fn junk_is_ignored_and_the_session_stays() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let stranger = "950cb35c-00e9-4677-9bc2-f976af2814cd";
    for junk in [
        &b""[..],
        b"\x00",
        b"\x01abc",
        b"\x02{",
        b"\x02[]",
        b"\x7f{}",
    ] {
        backend.binary(junk.to_vec()).await;
    }
    for event in [
        "connect",
        "outbound_result",
        "pong_client",
        "nonsense",
        "disconnect",
        "ping_client",
    ] {
        backend.event(event, stranger, json!({})).await;
    }
    backend
        .event("resume_stream", stranger, json!({"credits": 1.5}))
        .await;
    backend
        .control(json!({"event": "disconnect", "client_id": "no uuid"}))
        .await;
    backend.data(stranger, b"for nobody").await;
    backend.text("not asked for").await;
    backend.barrier().await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    backend.data(&client, b"still here").await;
    user.hears(b"still here").await;
}

#[tokio::test]
async fn a_close_is_echoed_with_its_code() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    backend.http_connected().await;
    let close = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    backend.0.send(Message::Close(Some(close))).await.unwrap();
    assert_eq!(backend.hear().await, Heard::Close(1000, String::new()));
    user.is_closed().await;
}

#[tokio::test]
async fn a_ping_for_a_flow_that_is_gone_is_not_answered() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let _user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    backend
        .event(
            "ping_client",
            "950cb35c-00e9-4677-9bc2-f976af2814cd",
            json!({}),
        )
        .await;
    backend.event("ping_client", &client, json!({})).await;
    let pong = format!(r#"{{"event":"pong_client","client_id":"{client}"}}"#);
    assert_eq!(backend.hear().await, Heard::Control(pong));
    backend.hears_nothing().await;
}

#[tokio::test]
#[ignore = "waits for the relay's Ping at 54 s and its deadline at 60 s"]
async fn a_session_that_answers_pings_outlives_one_that_only_sends_them() {
    let world = World::new().await;
    let mut deaf = Backend::named(&world, &["deaf.test"]).await;
    let mut polite = Backend::named(&world, &["polite.test"]).await;
    let sending = async {
        for _ in 0..12 {
            deaf.0.send(Message::Ping("alive".into())).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Only now does it read, and finds the session over.
        deaf.ends_silently(Duration::from_secs(1)).await;
    };
    let answering = async {
        let limit = tokio::time::timeout(Duration::from_secs(70), polite.hear_patiently()).await;
        assert!(limit.is_err(), "the session ended: {limit:?}");
    };
    tokio::join!(sending, answering);
    let _user = world.http_user("polite.test").await;
    polite.http_connected().await;
}
