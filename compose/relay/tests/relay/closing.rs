//! Every way a flow can end.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::backend::{Backend, Heard};
use crate::world::World;

#[tokio::test]
async fn a_backends_disconnect_lets_the_user_read_what_was_sent() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    let payload = vec![9; 60_000];
    for chunk in payload.chunks(16_384) {
        backend.data(&client, chunk).await;
    }
    backend
        .event("disconnect", &client, json!({"reason": "normal"}))
        .await;
    backend.data(&client, b"too late").await;
    assert!(user.rest().await == payload);
    // Never acknowledged.
    backend.hears_nothing().await;
}

#[tokio::test]
async fn after_a_disconnect_the_socket_is_closed_two_seconds_later() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    backend.event("disconnect", &client, json!({})).await;
    user.is_closed().await;
    // The user keeps its side open; writing fails once the relay has closed for good.
    let start = Instant::now();
    while user.0.write_all(b"anyone?").await.is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the socket stays open"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() > Duration::from_millis(1500));
}

#[tokio::test]
async fn a_user_who_half_closes_is_gone() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    user.0.shutdown().await.unwrap();
    backend.hears_disconnect(&client).await;
    user.is_closed().await;
    backend.event("ping_client", &client, json!({})).await;
    backend.hears_nothing().await;
}

#[tokio::test]
async fn disconnect_follows_all_data_of_the_user() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    let upload = vec![3; 500_000];
    user.say(&upload).await;
    user.0.shutdown().await.unwrap();
    assert!(backend.payload(&client, upload.len()).await == upload);
    backend.hears_disconnect(&client).await;
}

#[tokio::test]
async fn a_reset_by_the_user_is_a_disconnect() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    user.0.set_zero_linger().unwrap();
    drop(user);
    backend.hears_disconnect(&client).await;
}

#[tokio::test]
async fn an_idle_flow_ends_and_a_written_one_does_not() {
    let world = World::with("idleTimeoutSeconds: 1").await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let start = Instant::now();
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        backend.data(&client, b"x").await;
        user.hears(b"x").await;
    }
    assert!(start.elapsed() > Duration::from_millis(1700));
    backend.hears_disconnect(&client).await;
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_users() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    backend.http_connected().await;
    drop(backend);
    user.is_closed().await;
    world.http_user("app.test").await.is_closed().await;
}

#[tokio::test]
async fn stopping_the_relay_ends_everything_at_once_without_a_close_frame() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    backend.http_connected().await;
    let start = Instant::now();
    world.stop().await;
    assert!(start.elapsed() < Duration::from_millis(900));
    assert_eq!(backend.hear().await, Heard::End);
    user.is_closed().await;
}
