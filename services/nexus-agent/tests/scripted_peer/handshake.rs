//! Signing in, and being turned away.

use crate::{
    device::{Device, quick},
    relay::claims,
    until,
};
use piccolo_bus_schema::{health::Level, ids::UnixSeconds, remote::TunnelState};
use std::time::{Duration, Instant};

#[tokio::test]
async fn it_signs_in_with_two_tokens_for_the_portal_and_every_listener() {
    let mut device = Device::configured(quick()).await;
    let mut peer = device.relay.accept().await;
    let hello = claims(&peer.text().await);
    assert_eq!(
        hello.to_string(),
        r#"{"aud":["nexus"],"exp":1800000060,"handshake_max_age_seconds":30,"hostnames":["portal.home.example","web.home.example"],"iat":1800000000,"iss":"authorizer","maintenance_grace_cap_seconds":600,"reauth_grace_seconds":30,"reauth_interval_seconds":300,"sub":"piccolo","weight":1}"#
    );
    peer.say(r#"{"type":"handshake_challenge","nonce":"x","later":1}"#)
        .await;
    assert_eq!(claims(&peer.text().await)["session_nonce"], "x");
    peer.expect_silence(Duration::from_millis(100)).await;
    device.until_connected().await;
    let status = device.status().await;
    let names: Vec<_> = status.hostnames.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["portal.home.example", "web.home.example"]);
    assert_eq!(status.last_error, None);
    assert_eq!(device.component().level, Level::Ok);
}

#[tokio::test]
async fn silence_is_consent() {
    let mut timing = quick();
    timing.consent = Duration::from_millis(200);
    let (device, peer) = Device::connected(timing).await;
    // The peer reads nothing more, so not even a ping is answered.
    device.until_connected().await;
    drop(peer);
}

#[tokio::test]
async fn a_refusal_is_followed_by_a_pause_and_fresh_tokens() {
    let mut device = Device::configured(quick()).await;
    let begun = Instant::now();
    for attempt in 0..3 {
        let mut peer = device.relay.accept().await;
        claims(&peer.text().await);
        peer.refuse("stage0 token validation failed: jwt validation failed: token has invalid claims: token is expired")
            .await;
        assert!(begun.elapsed() >= device.timing.refusal_backoff * attempt);
        let is_down = |state: &TunnelState| matches!(state, TunnelState::Error { .. });
        device
            .until_status("the pause", |status| is_down(&status.tunnel))
            .await;
        let status = device.status().await;
        assert!(
            status
                .last_error
                .is_some_and(|error| error.contains("clock"))
        );
    }
    assert_eq!(device.component().level, Level::Warn);
    let mut peer = device.relay.accept_session().await;
    device.until_connected_while_reading(&mut peer).await;
    assert_eq!(device.status().await.last_error, None);
}

#[tokio::test]
async fn a_refused_second_token_does_not_make_it_spin() {
    let mut device = Device::configured(quick()).await;
    let begun = Instant::now();
    for attempt in 0..3 {
        let mut peer = device.relay.accept().await;
        peer.sign_in().await;
        peer.refuse("attested token hostnames differ from handshake token")
            .await;
        assert!(begun.elapsed() >= device.timing.refusal_backoff * attempt);
    }
    device
        .until_status("the reason", |status| {
            status
                .last_error
                .as_ref()
                .is_some_and(|error| error.contains("names"))
        })
        .await;
}

#[tokio::test]
async fn a_bare_end_in_the_handshake_counts_as_a_refusal() {
    let mut device = Device::configured(quick()).await;
    let mut peer = device.relay.accept().await;
    claims(&peer.text().await);
    drop(peer);
    let pause = device.timing.refusal_backoff;
    assert!(
        device
            .relay
            .is_left_alone(pause - Duration::from_millis(50))
            .await
    );
    let mut peer = device.relay.accept().await;
    peer.sign_in().await;
    drop(peer);
    assert!(
        device
            .relay
            .is_left_alone(pause - Duration::from_millis(50))
            .await
    );
    device.relay.accept_session().await;
}

#[tokio::test]
async fn a_challenge_without_a_nonce_ends_the_session() {
    let mut device = Device::configured(quick()).await;
    let mut peer = device.relay.accept().await;
    claims(&peer.text().await);
    peer.say(r#"{"type":"handshake_challenge","nonce":""}"#)
        .await;
    peer.expect_end().await;
    device.relay.accept_session().await;
}

#[tokio::test]
async fn without_a_clock_it_waits_and_says_so() {
    let mut device = Device::blank(quick()).await;
    {
        let record = crate::device::record(&device.relay.endpoint(), true);
        let mut world = device.world();
        world.record = Some(piccolo_bus_schema::control::Versioned {
            revision: 1,
            record,
        });
        world.secret = Some(crate::relay::SECRET.to_vec());
        world.clock = None;
    }
    device.start();
    device
        .until_status("it waits for the clock", |status| {
            status
                .last_error
                .as_ref()
                .is_some_and(|error| error.contains("clock"))
        })
        .await;
    assert!(device.relay.is_left_alone(Duration::from_millis(100)).await);
    until("the board says so", async || {
        device.component().level == Level::Warn
    })
    .await;
    device.world().clock = Some(UnixSeconds(1_800_000_000));
    let mut peer = device.relay.accept_session().await;
    device.until_connected_while_reading(&mut peer).await;
}

#[tokio::test]
async fn a_relay_that_comes_late_is_found() {
    let mut device = Device::configured(quick()).await;
    // The relay answers, but nobody signs the agent in: as good as absent.
    for _ in 0..2 {
        drop(device.relay.accept().await);
    }
    let mut peer = device.relay.accept_session().await;
    device.until_connected_while_reading(&mut peer).await;
}
