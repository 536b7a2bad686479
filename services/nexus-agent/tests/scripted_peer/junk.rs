//! A relay that talks nonsense.

use crate::{
    device::{Device, quick},
    relay::Id,
};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn nonsense_is_ignored_and_the_session_stays() {
    let (device, mut peer) = Device::connected(quick()).await;
    let junk: [&[u8]; 8] = [
        b"",
        b"\x01abc",
        b"\x02",
        b"\x02{not json",
        b"\x02{\"event\":\"dance\",\"client_id\":\"950cb35c-00e9-4677-9bc2-f976af280001\"}",
        b"\x02{\"event\":\"connect\",\"client_id\":\"nobody\"}",
        b"\x02{\"event\":\"resume_stream\",\"client_id\":\"950cb35c-00e9-4677-9bc2-f976af280001\",\"credits\":1.5}",
        b"\x77unknown kind",
    ];
    for bytes in junk {
        peer.send(Message::Binary(bytes.to_vec().into())).await;
    }
    for text in [
        "",
        "hello",
        r#"{"type":"handshake_challenge","nonce":"late"}"#,
        r#"{"type":"something_else"}"#,
    ] {
        peer.say(text).await;
    }
    peer.expect_silence(Duration::from_millis(50)).await;
    let id = Id::new(1);
    peer.connect_with(&id, r#","credits":64,"future_field":{"a":[1]}"#)
        .await;
    peer.data(&id, b"still working").await;
    device.edge.accept().await.expect(b"still working").await;
}

#[tokio::test]
async fn a_reauthentication_without_a_nonce_ends_the_session() {
    let (mut device, mut peer) = Device::connected(quick()).await;
    device.until_connected_while_reading(&mut peer).await;
    peer.say(r#"{"type":"reauth_challenge","nonce":""}"#).await;
    peer.expect_end().await;
    device.relay.accept_session().await;
}
