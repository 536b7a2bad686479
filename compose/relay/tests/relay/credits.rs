//! Both windows of a flow.

use std::collections::HashMap;

use serde_json::json;

use crate::backend::{Backend, Heard};
use crate::world::World;

#[tokio::test]
async fn credits_come_back_for_every_eighth_message_written() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    for _ in 0..7 {
        backend.data(&client, b"x").await;
    }
    user.hears(b"xxxxxxx").await;
    backend.hears_nothing().await;
    // An empty message costs a credit like any other.
    backend.data(&client, b"").await;
    let expected = format!(r#"{{"event":"resume_stream","client_id":"{client}","credits":8}}"#);
    assert_eq!(backend.hear().await, Heard::Control(expected));
}

#[tokio::test]
async fn a_backend_that_overruns_a_user_who_does_not_read_loses_that_flow_only() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let slow = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    let mut other = world.http_user("app.test").await;
    let other_client = backend.http_connected().await;
    // Far more than the kernel's buffers and the relay's 128 messages hold.
    let payload = vec![1; 32_768];
    for _ in 0..700 {
        backend.data(&client, &payload).await;
    }
    let mut credits = 0;
    loop {
        let control = backend.hear().await.control();
        assert_eq!(control["client_id"], client.as_str());
        match control["event"].as_str() {
            Some("resume_stream") => credits += control["credits"].as_i64().unwrap(),
            Some("disconnect") => break,
            other => panic!("unexpected event {other:?}"),
        }
    }
    assert!(credits + 128 < 700, "{credits} credits were returned");
    backend.data(&other_client, b"fine").await;
    other.hears(b"fine").await;
    drop(slow);
}

#[tokio::test]
async fn a_compliant_backend_is_never_cut_however_slowly_the_user_reads() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    let total = 1000usize;
    let sending = async {
        let payload = vec![5; 16_384];
        let (mut window, mut sent) = (64, 0);
        while sent < total {
            while window > 0 && sent < total {
                backend.data(&client, &payload).await;
                window -= 1;
                sent += 1;
            }
            if sent < total {
                let control = backend.hear().await.control();
                assert_eq!(control["event"], "resume_stream");
                window += control["credits"].as_i64().unwrap();
                assert!(window <= 64);
            }
        }
    };
    let reading = async {
        let mut left = total * 16_384;
        while left > 0 {
            let piece = left.min(100_000);
            user.hears(&vec![5; piece]).await;
            left -= piece;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(sending, reading);
}

#[tokio::test]
async fn forwarding_is_unlimited_until_the_first_grant() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    for _ in 0..100 {
        user.say(b"x").await;
        assert_eq!(backend.payload(&client, 1).await, b"x");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn eighteen_megabytes_without_a_grant_reach_a_backend_that_reads() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    let upload = vec![1; 18_000_000];
    let sent = upload.clone();
    let sending = tokio::spawn(async move {
        user.say(&sent).await;
        user
    });
    assert!(backend.payload(&client, upload.len()).await == upload);
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn fifty_users_at_once_lose_no_byte() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let said = [crate::world::head("app.test"), vec![4; 300_000]].concat();
    let mut users = Vec::new();
    for _ in 0..50 {
        let mut user = world.user().await;
        let said = said.clone();
        users.push(tokio::spawn(async move {
            user.say(&said).await;
            user
        }));
    }
    let mut arrived: HashMap<String, Vec<u8>> = HashMap::new();
    while arrived.len() < 50 || arrived.values().any(|bytes| bytes.len() < said.len()) {
        match backend.hear().await {
            Heard::Data(client, payload) => arrived.get_mut(&client).unwrap().extend(payload),
            Heard::Control(json) if json.starts_with(r#"{"event":"connect""#) => {
                let client = Heard::Control(json).control()["client_id"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                assert!(arrived.insert(client, Vec::new()).is_none());
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert!(arrived.values().all(|bytes| *bytes == said));
}

#[tokio::test]
async fn after_the_first_grant_each_message_costs_a_credit() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    for ignored in [0, -5] {
        backend.grant(&client, ignored).await;
    }
    backend.grant(&client, 4).await;
    backend.barrier().await;
    for _ in 0..4 {
        user.say(b"x").await;
        assert_eq!(backend.payload(&client, 1).await, b"x");
    }
    user.say(b"y").await;
    backend.hears_nothing().await;
    backend.grant(&client, 1).await;
    assert_eq!(backend.payload(&client, 1).await, b"y");
}

#[tokio::test]
async fn a_grant_withheld_for_the_idle_time_out_ends_the_flow() {
    let world = World::with("idleTimeoutSeconds: 1").await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    backend.grant(&client, 1).await;
    backend.barrier().await;
    user.say(b"x").await;
    assert_eq!(backend.payload(&client, 1).await, b"x");
    user.say(b"y").await;
    backend.hears_disconnect(&client).await;
    user.is_closed().await;
}

#[tokio::test]
async fn a_pause_holds_the_next_read_and_any_resume_ends_it() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    user.say(b"a").await;
    assert_eq!(backend.payload(&client, 1).await, b"a");
    backend
        .event("pause_stream", &client, json!({"reason": "buffer_full"}))
        .await;
    backend.barrier().await;
    // One read may have been under way; the next is not begun.
    user.say(b"b").await;
    assert_eq!(backend.payload(&client, 1).await, b"b");
    user.say(b"c").await;
    backend.hears_nothing().await;
    backend.event("resume_stream", &client, json!({})).await;
    assert_eq!(backend.payload(&client, 1).await, b"c");
}

#[tokio::test]
async fn a_pause_longer_than_the_idle_time_out_ends_the_flow_when_it_is_lifted() {
    let world = World::with("idleTimeoutSeconds: 1").await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    backend.event("pause_stream", &client, json!({})).await;
    backend.barrier().await;
    user.say(b"b").await;
    assert_eq!(backend.payload(&client, 1).await, b"b");
    user.say(b"lost").await;
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    backend
        .event("resume_stream", &client, json!({"credits": 8}))
        .await;
    backend.hears_disconnect(&client).await;
    user.is_closed().await;
}
