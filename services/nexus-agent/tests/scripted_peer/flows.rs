//! Visitors come, speak and go.

use crate::{
    device::{Device, quick},
    relay::Id,
};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

#[tokio::test]
async fn a_visitor_reaches_the_edge_with_address_port_and_name() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    peer.data(&id, b"GET / HTTP/1.1\r\n").await;
    let mut stream = device.edge.accept().await;
    assert_eq!(
        stream.header,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x19\
          \xc0\x00\x02\x07\x00\x00\x00\x00\x84\x10\x01\xbb\x02\x00\x0aprobe.test"
    );
    stream.expect(b"GET / HTTP/1.1\r\n").await;
    stream.write(b"HTTP/1.1 200 OK\r\n").await;
    assert_eq!(peer.expect_data(&id).await, b"HTTP/1.1 200 OK\r\n");
    peer.data(&id, b"last words").await;
    peer.disconnect(&id).await;
    stream.expect(b"last words").await;
    stream.expect_end().await;
    peer.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_long_head_and_a_long_name_cost_nobody_the_session() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let head = vec![b'h'; 40_041];
    peer.data(&id, &head).await;
    let mut stream = device.edge.accept().await;
    stream.expect(&head).await;
    let largest = vec![b'l'; 65_536];
    peer.data(&id, &largest).await;
    stream.expect(&largest).await;

    let name = "n".repeat(10_000);
    let other = Id::new(2);
    peer.control(&format!(
        r#"{{"event":"connect","client_id":"{}","conn_port":80,"client_ip":"[2001:db8::7]:1","transport":"tcp","hostname":"{name}","credits":64}}"#,
        other.text
    ))
    .await;
    let stream = device.edge.accept().await;
    assert_eq!(stream.header[13], 0x21);
    assert!(stream.header.ends_with(name.as_bytes()));
}

#[tokio::test]
async fn no_frame_is_larger_than_16_kib() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    let sent: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    stream.write(&sent).await;
    let mut received = Vec::new();
    while received.len() < sent.len() {
        let payload = peer.expect_data(&id).await;
        assert!(payload.len() <= 16_384);
        received.extend(payload);
    }
    assert!(received == sent);
}

#[tokio::test]
async fn empty_frames_fragments_and_pings_between_them_are_fine() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    peer.data(&id, b"").await;
    let whole = id.frame(b"in three pieces");
    let piece = |bytes: &[u8], opcode, last| {
        Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(opcode), last))
    };
    peer.send(piece(&whole[..5], Data::Binary, false)).await;
    peer.send(Message::Ping("between".into())).await;
    peer.send(piece(&whole[5..20], Data::Continue, false)).await;
    peer.send(piece(&whole[20..], Data::Continue, true)).await;
    peer.data(&id, b"").await;
    let mut stream = device.edge.accept().await;
    stream.expect(b"in three pieces").await;
}

#[tokio::test]
async fn an_edge_that_is_away_costs_only_the_visitor() {
    let (device, mut peer) = Device::connected(quick()).await;
    let socket = device.directory.path().join("streams.sock");
    let away = device.directory.path().join("away.sock");
    std::fs::rename(&socket, &away).expect("a socket to move");
    let id = Id::new(1);
    peer.connect(&id).await;
    peer.data(&id, b"too early").await;
    peer.expect_disconnect(&id, "dial_failed").await;
    peer.data(&id, b"too late").await;
    peer.disconnect(&id).await;
    peer.expect_silence(Duration::from_millis(50)).await;

    // One that is merely being restarted costs nothing.
    let other = Id::new(2);
    peer.connect(&other).await;
    peer.data(&other, b"patience").await;
    std::fs::rename(&away, &socket).expect("a socket to move");
    device.edge.accept().await.expect(b"patience").await;
}

#[tokio::test]
async fn a_visitor_who_goes_while_being_connected_leaves_nothing_behind() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    peer.data(&id, b"hello").await;
    peer.disconnect(&id).await;
    peer.disconnect(&id).await;
    let mut stream = device.edge.accept().await;
    assert_eq!(stream.rest().await, b"hello");
    peer.disconnect(&Id::new(2)).await;
    peer.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_broken_local_connection_ends_the_flow() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    stream.write(b"half an ans").await;
    assert_eq!(peer.expect_data(&id).await, b"half an ans");
    // Closing with unread bytes is a reset on a Unix socket.
    peer.data(&id, b"unread").await;
    stream.expect(b"un").await;
    drop(stream);
    for _ in 0..7 {
        assert_eq!(peer.expect_data(&id).await, b"");
    }
    peer.grant(&id, 8).await;
    peer.expect_disconnect(&id, "local_error").await;
}

#[tokio::test]
async fn data_of_a_stranger_is_answered_once() {
    let (_device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.data(&id, b"who am I").await;
    peer.data(&id, b"hello?").await;
    peer.expect_disconnect(&id, "unknown").await;
    peer.expect_silence(Duration::from_millis(50)).await;
    for number in 2..1000 {
        peer.data(&Id::new(number), b"flood").await;
    }
    let mut answers = 0;
    let answering = async {
        loop {
            peer.binary().await;
            answers += 1;
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(100), answering).await;
    assert!((20..60).contains(&answers), "{answers} answers to a flood");
}

#[tokio::test]
async fn a_second_connect_of_a_live_flow_changes_nothing() {
    let (device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    peer.control(&format!(
        r#"{{"event":"connect","client_id":"{}","conn_port":443,"credits":64}}"#,
        id.text
    ))
    .await;
    peer.data(&id, b"still here").await;
    stream.expect(b"still here").await;
    peer.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_datagram_flow_is_refused() {
    let (_device, mut peer) = Device::connected(quick()).await;
    let id = Id::new(1);
    peer.control(&format!(
        r#"{{"event":"connect","client_id":"{}","conn_port":28053,"client_ip":"127.0.0.1:42644","transport":"udp","hostname":"udp:28053","credits":64}}"#,
        id.text
    ))
    .await;
    peer.expect_disconnect(&id, "local_error").await;
    peer.data(&id, b"datagram").await;
    peer.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_flow_whose_end_was_lost_is_asked_after_and_ended() {
    let mut timing = quick();
    timing.idle = Duration::from_millis(200);
    timing.pong = Duration::from_millis(200);
    let (device, mut peer) = Device::connected(timing).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    let mut stream = device.edge.accept().await;
    let question = format!(r#"{{"event":"ping_client","client_id":"{}"}}"#, id.text);
    peer.expect_control(&question).await;
    peer.control(&format!(
        r#"{{"event":"pong_client","client_id":"{}"}}"#,
        id.text
    ))
    .await;
    peer.expect_control(&question).await;
    peer.expect_disconnect(&id, "timeout").await;
    stream.expect_end().await;
}
