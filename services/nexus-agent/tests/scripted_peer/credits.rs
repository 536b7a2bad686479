//! Flow control: neither side is ever overrun.

use crate::{
    device::{Device, quick},
    relay::Id,
};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn frames(count: usize, size: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| vec![number as u8; size]).collect()
}

#[tokio::test]
async fn what_comes_before_the_first_grant_is_kept_and_the_visitor_paused() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    let sent = frames(300, 32_768);
    for frame in &sent {
        peer.data(&id, frame).await;
    }
    let pause = format!(
        r#"{{"event":"pause_stream","client_id":"{}","reason":"buffer_full"}}"#,
        id.text
    );
    // What fits into the socket's buffer is given back before the pause.
    loop {
        let message = String::from_utf8_lossy(&peer.binary().await[1..]).into_owned();
        if message == pause {
            break;
        }
        assert!(message.contains("resume_stream"), "{message}");
    }
    peer.expect_silence(Duration::from_millis(50)).await;
    for frame in &sent {
        stream.expect(frame).await;
    }
    let resumed = peer.binary().await;
    let resumed = String::from_utf8_lossy(&resumed[1..]).into_owned();
    assert!(
        resumed.starts_with(r#"{"event":"resume_stream""#),
        "{resumed}"
    );
}

#[tokio::test]
async fn credits_are_given_back_in_eights() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    for number in 0..15_u8 {
        peer.data(&id, &[number]).await;
    }
    stream.expect(&(0..15).collect::<Vec<u8>>()).await;
    let grant = format!(
        r#"{{"event":"resume_stream","client_id":"{}","credits":8}}"#,
        id.text
    );
    peer.expect_control(&grant).await;
    peer.expect_silence(Duration::from_millis(50)).await;
    peer.data(&id, b"").await;
    peer.expect_control(&grant).await;
}

#[tokio::test]
async fn it_stops_at_zero_and_goes_on_with_a_grant_of_any_size() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect_with(&id, r#","credits":3"#).await;
    let mut stream = device.edge.accept().await;
    let (_reading, mut writing) = stream.stream.split();
    let writer = async {
        // More than the window lets through: the local side is held up, not dropped.
        while writing.write_all(&[7; 16_384]).await.is_ok() {}
    };
    let reader = async {
        let mut received = 0;
        let mut granted = 3;
        for credits in [0, 8, -1, 9, 1, i64::MIN] {
            while received < granted {
                assert!(!peer.expect_data(&id).await.is_empty());
                received += 1;
            }
            peer.expect_silence(Duration::from_millis(30)).await;
            peer.grant(&id, credits).await;
            granted += credits.max(0);
        }
        peer.control(&format!(
            r#"{{"event":"resume_stream","client_id":"{}"}}"#,
            id.text
        ))
        .await;
        peer.expect_silence(Duration::from_millis(30)).await;
        peer.grant(&id, i64::MAX).await;
        for _ in 0..200 {
            peer.expect_data(&id).await;
        }
    };
    tokio::select! {
        () = writer => panic!("the stream was closed"),
        () = reader => {}
    }
}

#[tokio::test]
async fn a_lost_grant_does_not_hang_a_download_for_ever() {
    let mut timing = quick();
    timing.probe = Duration::from_millis(200);
    let (device, mut peer) = Device::connected(timing).await;
    let id = Id::new(1);
    peer.connect_with(&id, r#","credits":1"#).await;
    let mut stream = device.edge.accept().await;
    stream.write(&[1; 65_536]).await;
    peer.expect_data(&id).await;
    peer.expect_silence(Duration::from_millis(50)).await;
    peer.expect_data(&id).await;
    // Once a stall.
    peer.expect_silence(Duration::from_millis(500)).await;
    peer.grant(&id, 2).await;
    peer.expect_data(&id).await;
}

#[tokio::test]
async fn a_relay_that_does_not_count_is_not_waited_for() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect_with(&id, "").await;
    let mut stream = device.edge.accept().await;
    let sender = tokio::spawn(async move {
        stream.write(&vec![9; 3_000_000]).await;
    });
    let mut received = 0;
    while received < 3_000_000 {
        received += peer.expect_data(&id).await.len();
    }
    sender.await.expect("all was taken");
    // The stream is dropped with its task: nothing to drain, so the end follows the data.
    peer.expect_disconnect(&id, "normal").await;
}

#[tokio::test]
async fn a_flow_that_is_stuck_does_not_delay_the_others() {
    let (device, mut peer) = Device::connected(quick()).await;
    let (stuck, lively) = (Id::new(1), Id::new(2));
    peer.connect(&stuck).await;
    let held = device.edge.accept().await;
    for frame in frames(64, 32_768) {
        peer.data(&stuck, &frame).await;
    }
    peer.connect_eventually(&lively).await;
    let mut stream = device.edge.accept().await;
    for round in 0..50_u8 {
        peer.data(&lively, &[round]).await;
        stream.expect(&[round]).await;
        stream.write(&[round]).await;
        peer.data_eventually(&lively, &[round]).await;
    }
    drop(held);
}

#[tokio::test]
async fn flows_share_the_way_out_fairly() {
    let (device, mut peer) = Device::connected(quick()).await;
    let (bulk, small) = (Id::new(1), Id::new(2));
    peer.connect_with(&bulk, "").await;
    let mut downloading = device.edge.accept().await;
    let sender = tokio::spawn(async move {
        let _ = downloading.stream.write_all(&vec![1; 40_000_000]).await;
    });
    peer.expect_data(&bulk).await;
    peer.connect_eventually(&small).await;
    let mut stream = device.edge.accept().await;
    stream.write(b"a word in between").await;
    // Long before the download of 40 MB is over.
    let mut before = 0;
    loop {
        let message = peer.binary().await;
        if message[0] == 0x01 && message[1..17] == small.bytes {
            break;
        }
        before += message.len();
    }
    assert!(before < 20_000_000, "{before} bytes before it");
    sender.abort();
}
