//! Which connection reaches which backend, and what arrives with it.

use serde_json::{Value, json};

use crate::backend::{Backend, Heard};
use crate::world::{World, head};

#[tokio::test]
async fn an_http_request_reaches_the_owner_of_its_host() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["App.Test."]).await;
    let mut user = world.user().await;
    let said = head("APP.test.:8080");
    user.say(&said).await;
    let (client, json) = backend.connected().await;
    let expected = format!(
        r#"{{"event":"connect","client_id":"{client}","conn_port":{},"client_ip":"{}","transport":"tcp","hostname":"app.test","credits":64}}"#,
        world.port(),
        user.0.local_addr().unwrap()
    );
    assert_eq!(json, expected);
    assert_eq!(backend.payload(&client, said.len()).await, said);
}

#[tokio::test]
async fn a_tls_connection_is_passed_through_untouched() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["relay.test"]).await;
    let mut session =
        rustls::ClientConnection::new(world.trust.clone(), "relay.test".try_into().unwrap())
            .unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut user = world.user().await;
    let (start, rest) = hello.split_at(30);
    user.say(start).await;
    user.say(rest).await;
    let (client, json) = backend.connected().await;
    assert!(
        json.ends_with(r#""transport":"tcp","hostname":"relay.test","is_tls":true,"credits":64}"#)
    );
    assert_eq!(backend.payload(&client, hello.len()).await, hello);
}

#[tokio::test]
async fn ipv6_users_are_served_and_shown_in_brackets() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let Ok(stream) = tokio::net::TcpStream::connect(("::1", world.port())).await else {
        eprintln!("no IPv6 on this machine");
        return;
    };
    let mut user = crate::world::User(stream);
    user.say(&head("app.test")).await;
    let (_, json) = backend.connected().await;
    assert!(json.contains(r#""client_ip":"[::1]:"#));
}

#[tokio::test]
async fn exact_beats_wildcard_and_a_wildcard_covers_one_label() {
    let world = World::new().await;
    let mut wild = Backend::named(&world, &["*.example.test", "*.test"]).await;
    let mut exact = Backend::named(&world, &["app.example.test"]).await;
    let _first = world.http_user("app.example.test").await;
    exact.http_connected().await;
    let _second = world.http_user("other.example.test").await;
    let (_, json) = wild.connected().await;
    assert!(json.contains(r#""hostname":"other.example.test""#));
    for unowned in ["a.b.example.test", "example.test", "nobody.invalid"] {
        world.http_user(unowned).await.is_closed().await;
    }
}

#[tokio::test]
async fn a_name_of_ten_thousand_bytes_is_routed() {
    let world = World::new().await;
    let name = format!("{}.test", "a".repeat(10_000));
    let mut backend = Backend::named(&world, &[&name]).await;
    let _user = world.http_user(&name).await;
    let (_, json) = backend.connected().await;
    assert!(json.contains(&name));
}

#[tokio::test]
async fn weights_of_one_and_three_are_served_b_b_a_b() {
    let world = World::new().await;
    let mut a = Backend::admitted(&world, json!({"hostnames": ["app.test"], "weight": 1})).await;
    let mut b = Backend::admitted(&world, json!({"hostnames": ["app.test"], "weight": 3})).await;
    let mut order = String::new();
    for _ in 0..8 {
        let user = world.http_user("app.test").await;
        order.push(tokio::select! {
            _ = a.http_connected() => 'a',
            _ = b.http_connected() => 'b',
        });
        // The user leaves, and its backend must have heard of it before the next arrives.
        let served = if order.ends_with('a') { &mut a } else { &mut b };
        drop(user);
        assert_eq!(served.hear().await.control()["event"], "disconnect");
    }
    assert_eq!(order, "bbabbbab");
}

#[tokio::test]
async fn a_closed_session_leaves_the_pool_to_the_others() {
    let world = World::new().await;
    let mut old = Backend::named(&world, &["app.test"]).await;
    let mut new = Backend::named(&world, &["app.test"]).await;
    old.0.close(None).await.unwrap();
    assert!(matches!(old.hear().await, Heard::Close(..) | Heard::End));
    for _ in 0..4 {
        let user = world.http_user("app.test").await;
        let client = new.http_connected().await;
        drop(user);
        new.hears_disconnect(&client).await;
    }
}

#[tokio::test]
async fn a_head_of_40_kb_arrives_in_messages_of_ordinary_size() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let said = [
        b"GET / HTTP/1.1\r\nHost: app.test\r\nX: ".to_vec(),
        vec![b'x'; 40_000],
        b"\r\n\r\n".to_vec(),
    ]
    .concat();
    let mut user = world.user().await;
    user.say(&said).await;
    let (client, _) = backend.connected().await;
    let mut arrived = Vec::new();
    while arrived.len() < said.len() {
        let Heard::Data(of, payload) = backend.hear().await else {
            panic!("expected data");
        };
        assert!(of == client && payload.len() <= 32_768);
        arrived.extend(payload);
    }
    assert!(arrived == said);
}

#[tokio::test]
async fn a_head_of_70_kb_is_closed() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    let mut user = world.http_user_with_padding(70_000).await;
    user.is_closed().await;
    backend.hears_nothing().await;
}

#[tokio::test]
async fn what_names_no_host_reaches_the_owner_of_the_port_with_every_byte() {
    let world = World::with_claimable_port("").await;
    let mut backend = Backend::admitted(&world, json!({"tcp_ports": [world.port()]})).await;
    for said in [&b"SSH-2.0-client\r\n"[..], b"GET / HTTP/1.0\r\n\r\n"] {
        let mut user = world.user().await;
        user.say(said).await;
        let (client, json) = backend.connected().await;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["hostname"], format!("tcp:{}", world.port()));
        assert!(json.get("is_tls").is_none());
        assert_eq!(backend.payload(&client, said.len()).await, said);
        backend.event("disconnect", &client, json!({})).await;
        user.is_closed().await;
    }
    world.http_user("unowned.test").await.is_closed().await;
}

#[tokio::test]
async fn a_user_who_waits_for_the_server_to_speak_is_connected_after_two_time_outs() {
    let world = World::with_claimable_port("peekTimeouts: {firstByteSeconds: 1}").await;
    let mut backend = Backend::admitted(&world, json!({"tcp_ports": [world.port()]})).await;
    let start = std::time::Instant::now();
    let mut user = world.user().await;
    let (client, _) = backend.connected().await;
    let waited = start.elapsed().as_millis();
    assert!((1950..4000).contains(&waited), "{waited} ms");
    backend.data(&client, b"220 ready\r\n").await;
    user.hears(b"220 ready\r\n").await;
}

#[tokio::test]
async fn more_strangers_than_may_be_sniffed_are_closed_at_once() {
    let world = World::with("maxConcurrentPeeks: 1").await;
    let mut silent = world.user().await;
    silent.say(b"GET ").await;
    // The first may not have been accepted yet, but of two one is refused.
    let mut second = world.user().await;
    tokio::select! {
        () = second.is_closed() => {}
        () = silent.is_closed() => {}
    }
}
