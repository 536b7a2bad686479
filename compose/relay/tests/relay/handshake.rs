//! Who is let in, and what the others are told.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::backend::{Backend, Heard, tls};
use crate::world::{World, now, token};

/// What the relay says to the first token `claims`.
async fn first_token(world: &World, claims: &Value) -> Heard {
    let mut backend = Backend::connect(world).await;
    backend.text(&token(claims)).await;
    backend.hear().await
}

fn refused(text: &str) -> Heard {
    Heard::Close(1008, text.to_owned())
}

#[tokio::test]
async fn success_is_silent_and_the_session_works() {
    let world = World::new().await;
    let mut backend = Backend::named(&world, &["app.test"]).await;
    backend.hears_nothing().await;
    let mut user = world.http_user("app.test").await;
    let client = backend.http_connected().await;
    backend.data(&client, b"hello").await;
    user.hears(b"hello").await;
    world.stop().await;
}

#[tokio::test]
async fn each_refusal_of_the_first_token_is_explained_in_the_original_words() {
    let world = World::with("allowedTCPPortClaims: [22]\nallowOutbound: true").await;
    let prefix =
        "stage0 token validation failed: jwt validation failed: token has invalid claims: token";
    for (claims, text) in [
        (
            json!({"hostnames": ["a"], "exp": now() - 1}),
            format!("{prefix} is expired"),
        ),
        (
            json!({"hostnames": ["a"], "nbf": now() + 100}),
            format!("{prefix} is not valid yet"),
        ),
        (
            json!({"hostnames": ["a"], "aud": "x"}),
            format!("{prefix} has invalid audience"),
        ),
        (
            json!({"hostnames": ["a"], "iss": "x"}),
            format!("{prefix} has invalid issuer"),
        ),
        (
            json!({}),
            "stage0 token missing hostnames and port claims".to_owned(),
        ),
        (
            json!({"hostnames": [" . "]}),
            "no valid hostnames after normalization".to_owned(),
        ),
        (
            json!({"hostnames": ["tcp:53"]}),
            r#"reserved route key "tcp:53" cannot be used as a hostname claim"#.to_owned(),
        ),
        (
            json!({"tcp_ports": [25]}),
            "tcp port claim 25 is not allowed".to_owned(),
        ),
        (
            json!({"udp_routes": [{"port": 53}]}),
            "udp port claims are disabled (allowedUDPPortClaims is empty)".to_owned(),
        ),
        (
            json!({"hostnames": ["a"], "allowed_outbound_ports": [1]}),
            "allowed_outbound_ports set but outbound_allowed is false".to_owned(),
        ),
        (
            json!({"hostnames": ["a"], "handshake_max_age_seconds": 5}),
            "stage0 token missing iat for handshake_max_age_seconds".to_owned(),
        ),
        (
            json!({"hostnames": ["a"], "maintenance_grace_cap_seconds": -1}),
            "maintenance_grace_cap_seconds cannot be negative".to_owned(),
        ),
        (
            json!({"hostnames": ["a"], "authorizer_status_uri": "http://a"}),
            "authorizer_status_uri must use https scheme".to_owned(),
        ),
    ] {
        assert_eq!(first_token(&world, &claims).await, refused(&text));
    }
    let old = json!({"hostnames": ["a"], "handshake_max_age_seconds": 5, "iat": now() - 60});
    let Heard::Close(1008, text) = first_token(&world, &old).await else {
        panic!("an old token was let in");
    };
    assert!(text.starts_with("stage0 token exceeded handshake_max_age_seconds: age="));
}

#[tokio::test]
async fn a_reason_too_long_for_a_close_frame_is_no_frame_at_all() {
    let world = World::new().await;
    for claims in [
        json!({"hostnames": ["a"], "aud": null}),
        json!({"hostnames": ["a"], "iss": null}),
        json!({"hostnames": "a"}),
        json!({"hostnames": ["a"], "weight": 1.5}),
    ] {
        assert_eq!(first_token(&world, &claims).await, Heard::End, "{claims}");
    }
}

#[tokio::test]
async fn text_that_is_no_token_and_a_wrong_signature_are_told_apart() {
    let world = World::new().await;
    let prefix = "stage0 token validation failed: jwt validation failed: token";
    for text in ["", "hello"] {
        let mut backend = Backend::connect(&world).await;
        backend.text(text).await;
        let reason = format!("{prefix} is malformed: token contains an invalid number of segments");
        assert_eq!(backend.hear().await, refused(&reason));
    }
    let mut forged = token(&json!({"hostnames": ["a"]}));
    forged.replace_range(forged.len() - 8..forged.len() - 4, "AAAA");
    let mut backend = Backend::connect(&world).await;
    backend.text(&forged).await;
    let reason = format!("{prefix} signature is invalid: signature is invalid");
    assert_eq!(backend.hear().await, refused(&reason));
}

#[tokio::test]
async fn a_binary_message_is_no_token() {
    let world = World::new().await;
    let mut backend = Backend::connect(&world).await;
    backend.binary(b"x".to_vec()).await;
    let reason = "expected text frame for stage0 token, got type 2";
    assert_eq!(backend.hear().await, refused(reason));
}

#[tokio::test]
async fn the_second_token_must_carry_the_nonce_and_the_same_claims() {
    let world = World::with("allowedTCPPortClaims: [22]").await;
    let first = json!({"hostnames": ["a.test"], "weight": 2});
    for (second, text) in [
        (
            json!({"hostnames": ["b.test"]}),
            "attested token hostnames differ from handshake token",
        ),
        (
            json!({"hostnames": ["a.test"], "tcp_ports": [22]}),
            "attested token tcp ports differ from handshake token",
        ),
        (
            json!({"hostnames": ["a.test"], "weight": 3}),
            "attested token weight differs from handshake token",
        ),
    ] {
        let mut backend = Backend::connect(&world).await;
        backend.text(&token(&first)).await;
        backend
            .answer_challenge("handshake_challenge", &second)
            .await;
        assert_eq!(backend.hear().await, refused(text));
    }
    let mut backend = Backend::connect(&world).await;
    backend.text(&token(&first)).await;
    let nonce = backend.challenge("handshake_challenge").await;
    backend.text(&token(&first)).await;
    let reason = format!("session nonce mismatch: expected {nonce} got ");
    assert_eq!(backend.hear().await, refused(&reason));

    let mut backend = Backend::connect(&world).await;
    backend.text(&token(&first)).await;
    backend.challenge("handshake_challenge").await;
    let mut wrong = first;
    wrong["session_nonce"] = nonce.into();
    backend.text(&token(&wrong)).await;
    assert_eq!(backend.hear().await, Heard::End);
}

#[tokio::test]
async fn order_case_and_repetition_of_claims_do_not_matter_and_a_token_may_be_large() {
    let world = World::new().await;
    let mut names: Vec<String> = (0..5000).map(|n| format!("n{n}.example.test")).collect();
    let first = token(&json!({ "hostnames": names }));
    assert!(first.len() > 70_000);
    let mut backend = Backend::connect(&world).await;
    backend.text(&first).await;
    names.reverse();
    names.push("N1.Example.TEST.".to_owned());
    backend
        .answer_challenge("handshake_challenge", &json!({ "hostnames": names }))
        .await;
    backend.barrier().await;
}

#[tokio::test]
async fn silence_is_explained_before_the_first_token_and_not_before_the_second() {
    let world = World::new().await;
    let first = async {
        let mut backend = Backend::connect(&world).await;
        tokio::time::timeout(Duration::from_secs(12), backend.hear_patiently())
            .await
            .unwrap()
    };
    let second = async {
        let mut backend = Backend::connect(&world).await;
        backend.text(&token(&json!({"hostnames": ["a"]}))).await;
        backend.challenge("handshake_challenge").await;
        tokio::time::timeout(Duration::from_secs(12), backend.hear_patiently())
            .await
            .unwrap()
    };
    let (first, second) = tokio::join!(first, second);
    let Heard::Close(1008, text) = first else {
        panic!("heard {first:?}");
    };
    assert!(text.starts_with(&format!(
        "read stage0 token: read tcp {}->127.0.0.1:",
        world.hub
    )));
    assert!(text.ends_with(": i/o timeout"));
    assert_eq!(second, Heard::End);
}

/// What the hub answers to a request written by hand.
async fn answer(world: &World, request: &str) -> String {
    let mut stream = tls(world).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn only_connect_is_served_and_only_as_a_websocket() {
    let world = World::new().await;
    let not_found = answer(&world, "GET /connect/ HTTP/1.1\r\nHost: r\r\n\r\n").await;
    assert!(not_found.starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(not_found.ends_with("\r\n\r\n404 page not found\n"));
    let bad = answer(&world, "GET /connect HTTP/1.1\r\nHost: r\r\n\r\n").await;
    assert!(bad.starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let posted = answer(&world, "POST /connect HTTP/1.1\r\nHost: r\r\n\r\n").await;
    assert!(posted.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
}

#[tokio::test]
async fn bytes_sent_before_the_101_end_the_connection() {
    let world = World::new().await;
    let request = "GET /connect HTTP/1.1\r\nHost: r\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{1}";
    assert_eq!(answer(&world, request).await, "");
}

#[tokio::test]
async fn http_2_is_never_agreed_upon() {
    let world = World::new().await;
    let mut config = (*world.trust).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = tokio::net::TcpStream::connect(world.hub).await.unwrap();
    let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
        .connect("relay.test".try_into().unwrap(), stream)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}
