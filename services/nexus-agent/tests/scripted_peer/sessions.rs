//! Sessions are renewed, lost, replaced.

use crate::{
    device::{Device, quick},
    relay::{Id, claims, names},
    soon, until,
};
use piccolo_bus_schema::{lock::LockState, remote::TunnelState};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn it_answers_for_itself_again_while_data_flows() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect_with(&id, "").await;
    let mut stream = device.edge.accept().await;
    let total = 20_000_000;
    let sender = tokio::spawn(async move {
        stream.write(&vec![5; total]).await;
        stream
    });
    let (mut received, mut answers) = (0, 0);
    let mut asked = None;
    while received < total || answers < 5 {
        if asked.is_none() && answers < 5 {
            peer.say(&format!(
                r#"{{"type":"reauth_challenge","nonce":"again-{answers}"}}"#
            ))
            .await;
            asked = Some(Instant::now());
        }
        match peer.next().await {
            Some(Message::Text(token)) => {
                let claims = claims(&token);
                assert_eq!(claims["session_nonce"], format!("again-{answers}"));
                assert_eq!(names(&claims), ["portal.home.example", "web.home.example"]);
                let waited = asked.take().expect("a question").elapsed();
                assert!(waited >= Duration::from_millis(20), "{waited:?}");
                answers += 1;
            }
            Some(Message::Binary(data)) => received += data.len() - 17,
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(received, total);
    drop(sender.await.expect("all was taken"));
}

#[tokio::test]
async fn a_lost_session_closes_every_stream_and_leaves_no_trace_in_the_next() {
    let (mut device, mut peer) = Device::connected(quick()).await;
    let mut streams = Vec::new();
    for number in 0..100 {
        let id = Id::new(number);
        peer.connect_with(&id, r#","credits":1"#).await;
        let mut stream = device.edge.accept().await;
        stream.write(&[0; 60_000]).await;
        peer.expect_data(&id).await;
        streams.push(stream);
    }
    let lost = Instant::now();
    drop(peer);
    for stream in &mut streams {
        stream.expect_end().await;
    }
    assert!(
        lost.elapsed() < Duration::from_secs(1),
        "{:?}",
        lost.elapsed()
    );
    let mut peer = device.relay.accept_session().await;
    peer.expect_silence(Duration::from_millis(100)).await;
    device
        .until_status("no streams", |status| {
            matches!(status.tunnel, TunnelState::Connected { streams: 0, .. })
        })
        .await;
}

#[tokio::test]
async fn a_silent_relay_is_left_and_its_connection_closed() {
    let mut timing = quick();
    timing.ping = Duration::from_millis(50);
    timing.dead = Duration::from_millis(300);
    let (mut device, peer) = Device::connected(timing).await;
    // Nothing is read, so no ping is answered: a network that swallows packets.
    let silent = Instant::now();
    let mut next = device.relay.accept().await;
    assert!(
        silent.elapsed() < Duration::from_secs(3),
        "{:?}",
        silent.elapsed()
    );
    let mut peer = peer;
    peer.expect_end().await;
    next.sign_in().await;
    device.until_connected_while_reading(&mut next).await;
}

#[tokio::test]
async fn a_relay_that_stops_reading_is_left() {
    let mut timing = quick();
    timing.write = Duration::from_millis(400);
    let (mut device, mut peer) = Device::connected(timing).await;
    let id = Id::new(1);
    peer.connect_with(&id, "").await;
    let mut stream = device.edge.accept().await;
    let sender =
        tokio::spawn(async move { while stream.stream.write_all(&[3; 65_536]).await.is_ok() {} });
    // It still speaks, so it is not dead; but it takes nothing.
    let speaking = async {
        loop {
            let _ = futures_util::SinkExt::send(&mut peer.socket, Message::Ping("x".into())).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut next = tokio::select! {
        () = speaking => unreachable!("it speaks for ever"),
        next = device.relay.accept() => next,
    };
    next.sign_in().await;
    soon("the local stream is closed", sender)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn a_new_app_is_claimed_before_the_old_session_goes() {
    let (mut device, mut old) = Device::connected(quick()).await;
    device.until_connected_while_reading(&mut old).await;
    let id = Id::new(1);
    old.connect(&id).await;
    let mut stream = device.edge.accept().await;
    device.install("blog");
    let mut new = device.relay.accept().await;
    // Until the new one is accepted, the old one is what counts.
    assert_eq!(device.status().await.hostnames.len(), 2);
    let claimed = new.sign_in_claims().await;
    assert_eq!(claimed["weight"], 64, "new visitors go to the new session");
    assert_eq!(
        names(&claimed),
        [
            "blog.home.example",
            "portal.home.example",
            "web.home.example"
        ]
    );
    let reading = async { new.next().await };
    let swapped = device.until_status("the new names", |status| status.hostnames.len() == 3);
    tokio::select! {
        () = swapped => {}
        message = reading => panic!("unexpected {message:?}"),
    }
    // The old session carries on with what it has, and with visitors sent to it meanwhile.
    old.data(&id, b"still").await;
    stream.expect(b"still").await;
    let late = Id::new(2);
    old.connect(&late).await;
    let mut second = device.edge.accept().await;
    for (id, stream) in [(&id, &mut stream), (&late, &mut second)] {
        old.disconnect(id).await;
        stream.expect_end().await;
    }
    old.expect_end().await;
    let other = Id::new(3);
    new.connect(&other).await;
    device.edge.accept().await;
    device
        .until_status("one stream on the one session left", |status| {
            matches!(status.tunnel, TunnelState::Connected { streams: 1, .. })
        })
        .await;
}

#[tokio::test]
async fn names_that_are_refused_do_not_cost_the_session_that_stands() {
    let (mut device, mut old) = Device::connected(quick()).await;
    device.until_connected_while_reading(&mut old).await;
    device.install("blog");
    let mut new = device.relay.accept().await;
    claims(&new.text().await);
    new.refuse("stage0: hostname not allowed").await;
    device
        .until_status("the error beside the connection", |status| {
            matches!(status.tunnel, TunnelState::Connected { .. }) && status.last_error.is_some()
        })
        .await;
    old.connect(&Id::new(1)).await;
    device.edge.accept().await;
    let mut again = device.relay.accept().await;
    assert_eq!(again.sign_in().await.len(), 3);
}

#[tokio::test]
async fn a_lock_leaves_the_portal_reachable_and_an_unlock_brings_the_apps_back() {
    let (mut device, mut peer) = Device::connected(quick()).await;
    device.until_connected_while_reading(&mut peer).await;
    device.set_lock(LockState::Locked);
    let mut locked = device.relay.accept().await;
    assert_eq!(locked.sign_in().await, ["portal.home.example"]);
    device.until_connected_while_reading(&mut locked).await;
    peer.expect_end().await;
    device.set_lock(LockState::Unlocked);
    let mut unlocked = device.relay.accept().await;
    assert_eq!(unlocked.sign_in().await.len(), 2);
}

#[tokio::test]
async fn a_device_that_was_never_unlocked_has_no_tunnel_until_it_is() {
    let mut device = Device::blank(quick()).await;
    {
        let record = crate::device::record(&device.relay.endpoint(), true);
        let mut world = device.world();
        world.lock = LockState::Locked;
        world.record = Some(piccolo_bus_schema::control::Versioned {
            revision: 1,
            record,
        });
        world.secret = Some(crate::relay::SECRET.to_vec());
    }
    device.start();
    until("the board says what it waits for", async || {
        device
            .board
            .report()
            .first()
            .is_some_and(|part| part.message.contains("unlocked"))
    })
    .await;
    assert!(device.relay.is_left_alone(Duration::from_millis(50)).await);
    device.set_lock(LockState::Unlocked);
    device.relay.accept_session().await;
}

#[tokio::test]
async fn a_stable_session_that_is_lost_is_replaced_at_once_but_only_once() {
    let mut timing = quick();
    timing.stable = Duration::from_millis(100);
    timing.first_backoff = Duration::from_secs(5);
    timing.backoff = Duration::from_millis(400);
    let (mut device, mut peer) = Device::connected(timing).await;
    device.until_connected_while_reading(&mut peer).await;
    peer.expect_silence(timing.stable * 2).await;
    drop(peer);
    let next = soon("an immediate try", device.relay.accept()).await;
    drop(next);
    assert!(device.relay.is_left_alone(Duration::from_millis(250)).await);
    device.relay.accept_session().await;
}

#[tokio::test]
async fn shutdown_closes_the_session() {
    let (mut device, mut peer) = Device::connected(quick()).await;
    device.until_connected_while_reading(&mut peer).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    let ((), ()) = tokio::join!(device.stop(), peer.expect_end());
    stream.expect_end().await;
}
