//! The end of a response: everything arrives before the flow is ended.

use crate::{
    device::{Device, quick},
    relay::{Id, Peer},
};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// What a visitor got, from a relay that reports eight frames at a time and only when it has
/// nothing else to do.
async fn download(peer: &mut Peer, id: &Id) -> Vec<u8> {
    let (mut body, mut frames, mut reported) = (Vec::new(), 0, 0);
    loop {
        let Ok(message) = tokio::time::timeout(Duration::from_millis(5), peer.next()).await else {
            if frames - reported >= 8 {
                reported += 8;
                peer.grant(id, 8).await;
            }
            continue;
        };
        let Some(Message::Binary(message)) = message else {
            panic!("unexpected {message:?}");
        };
        if message[0] == 0x02 {
            let id = &id.text;
            let end = format!(r#"{{"event":"disconnect","client_id":"{id}","reason":"normal"}}"#);
            assert_eq!(String::from_utf8_lossy(&message[1..]), end);
            assert_eq!(frames, reported, "ended before everything was reported");
            return body;
        }
        body.extend_from_slice(&message[17..]);
        frames += 1;
        assert!(frames - reported <= 64, "more than was granted");
    }
}

#[tokio::test]
async fn a_slow_visitor_gets_the_whole_body() {
    let (device, mut peer) = Device::connected(quick()).await;
    for (number, size) in [0, 1, 16_384, 16_385, 131_072, 1_000_003, 3_000_000]
        .into_iter()
        .enumerate()
    {
        let id = Id::new(number as u16);
        peer.connect(&id).await;
        let mut stream = device.edge.accept().await;
        let body: Vec<u8> = (0..size).map(|n: u32| (n / 7) as u8).collect();
        let sent = body.clone();
        let sender = tokio::spawn(async move {
            stream.write(&sent).await;
        });
        assert!(download(&mut peer, &id).await == body, "{size} bytes");
        sender.await.expect("all was taken");
    }
}

#[tokio::test]
async fn an_odd_report_is_answered_with_a_second_padding() {
    let mut timing = quick();
    timing.drain_stall = Duration::from_millis(100);
    let (device, mut peer) = Device::connected(timing).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    stream.write(b"one frame").await;
    assert_eq!(peer.expect_data(&id).await, b"one frame");
    drop(stream);
    for _ in 0..7 {
        assert_eq!(peer.expect_data(&id).await, b"");
    }
    peer.grant(&id, 5).await;
    for _ in 0..5 {
        assert_eq!(peer.expect_data(&id).await, b"");
    }
    peer.grant(&id, 8).await;
    peer.expect_disconnect(&id, "normal").await;
}

#[tokio::test]
async fn a_report_that_never_comes_is_not_awaited_for_ever() {
    let mut timing = quick();
    timing.drain = Duration::from_millis(300);
    let (device, mut peer) = Device::connected(timing).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    stream.write(b"one frame").await;
    drop(stream);
    for _ in 0..8 {
        peer.expect_data(&id).await;
    }
    peer.expect_disconnect(&id, "normal").await;
}

#[tokio::test]
async fn a_visitor_who_has_gone_is_not_drained() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    stream.write(b"one frame").await;
    assert_eq!(peer.expect_data(&id).await, b"one frame");
    peer.disconnect(&id).await;
    stream.expect_end().await;
    drop(stream);
    peer.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_local_half_close_still_lets_the_visitor_s_words_in() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    stream.write(b"goodbye").await;
    tokio::io::AsyncWriteExt::shutdown(&mut stream.stream)
        .await
        .expect("half a close");
    assert_eq!(peer.expect_data(&id).await, b"goodbye");
    peer.data(&id, b"wait").await;
    stream.expect(b"wait").await;
    for _ in 0..7 {
        assert_eq!(peer.expect_data(&id).await, b"");
    }
    peer.grant(&id, 8).await;
    peer.expect_disconnect(&id, "normal").await;
    stream.expect_end().await;
}
