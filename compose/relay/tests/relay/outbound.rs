//! Connections the relay makes for a backend.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::backend::{Backend, Heard};
use crate::world::World;

const CLIENT: &str = "0b0cb35c-00e9-4677-9bc2-f976af2814cd";

fn claims() -> Value {
    json!({"hostnames": ["app.test"], "outbound_allowed": true})
}

/// Asks for `target` and returns the reason it is not given.
async fn reason(backend: &mut Backend, client: &str, target: &str) -> String {
    backend
        .event("outbound_connect", client, json!({ "target_addr": target }))
        .await;
    let result = backend.hear().await.control();
    assert_eq!(result["event"], "outbound_result");
    assert!(result.get("success").is_none());
    result["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_is_made_and_carries_bytes_both_ways() {
    let world = World::with("allowOutbound: true").await;
    let mut backend = Backend::admitted(&world, claims()).await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = server.local_addr().unwrap().to_string();
    backend
        .event("outbound_connect", CLIENT, json!({ "target_addr": target }))
        .await;
    let (mut accepted, _) = server.accept().await.unwrap();
    let expected = format!(
        r#"{{"event":"outbound_result","client_id":"{CLIENT}","success":true,"credits":64}}"#
    );
    assert_eq!(backend.hear().await, Heard::Control(expected));
    backend.data(CLIENT, b"ping").await;
    let mut heard = [0; 4];
    accepted.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ping");
    accepted.write_all(b"pong").await.unwrap();
    assert_eq!(backend.payload(CLIENT, 4).await, b"pong");
    let again = reason(&mut backend, CLIENT, &target).await;
    assert_eq!(
        again,
        format!("registration failed: client ID {CLIENT} already exists")
    );
    drop(accepted);
    backend.hears_disconnect(CLIENT).await;
}

#[tokio::test]
async fn each_failure_has_its_reason() {
    let world = World::with(
        "allowOutbound: true\nallowedOutboundPorts: [1, 2]\nmaxOutboundConnsPerBackend: -1",
    )
    .await;
    let mut unclaimed = Backend::named(&world, &["b.test"]).await;
    assert_eq!(
        reason(&mut unclaimed, CLIENT, "127.0.0.1:1").await,
        "outbound connections not allowed for this backend"
    );
    let mut claims = claims();
    claims["allowed_outbound_ports"] = json!([1]);
    let mut backend = Backend::admitted(&world, claims).await;
    let long = format!("{}:1", "a".repeat(260));
    for (target, expected) in [
        (long.as_str(), "target address too long"),
        ("a\u{7}:1", "target address contains control characters"),
        ("nothing", "invalid target address"),
        ("a.test:99999", "invalid target port"),
        ("127.0.0.1:3", "outbound port 3 not allowed by server"),
        (
            "127.0.0.1:2",
            "outbound port 2 not allowed for this backend",
        ),
        ("127.0.0.1:1", "dial failed"),
    ] {
        assert_eq!(reason(&mut backend, CLIENT, target).await, expected);
    }
    let nil = "00000000-0000-0000-0000-000000000000";
    assert_eq!(
        reason(&mut backend, nil, "127.0.0.1:1").await,
        "missing client ID"
    );
}

#[tokio::test]
async fn a_relay_without_outbound_says_so() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    assert_eq!(
        reason(&mut backend, CLIENT, "127.0.0.1:1").await,
        "outbound connections disabled on this proxy"
    );
}
