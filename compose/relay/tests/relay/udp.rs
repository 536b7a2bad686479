//! Datagrams.

use serde_json::json;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::backend::{Backend, Heard};
use crate::world::{PATIENCE, World};

/// A relay with a UDP port that may be claimed, and a backend that claims it.
async fn world() -> (World, Backend, u16) {
    let port = {
        let socket = std::net::UdpSocket::bind("[::]:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let world = World::with(&format!(
        "udpRelayPorts: [{port}]\nallowedUDPPortClaims: [{port}]"
    ))
    .await;
    assert_eq!(world.udp_ports, [port]);
    let claims = json!({"udp_routes": [{"port": port, "flow_idle_timeout_seconds": 5}]});
    let backend = Backend::admitted(&world, claims).await;
    (world, backend, port)
}

#[tokio::test]
async fn datagrams_keep_their_boundaries_both_ways() {
    let (_world, mut backend, port) = world().await;
    let user = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    user.connect(("127.0.0.1", port)).await.unwrap();
    user.send(b"one").await.unwrap();
    let (client, json) = backend.connected().await;
    let expected = format!(
        r#"{{"event":"connect","client_id":"{client}","conn_port":{port},"client_ip":"{}","transport":"udp","hostname":"udp:{port}","credits":64}}"#,
        user.local_addr().unwrap()
    );
    assert_eq!(json, expected);
    assert_eq!(
        backend.hear().await,
        Heard::Data(client.clone(), b"one".to_vec())
    );
    user.send(&[7; 2049]).await.unwrap();
    user.send(&[7; 2048]).await.unwrap();
    assert_eq!(
        backend.hear().await,
        Heard::Data(client.clone(), vec![7; 2048])
    );
    backend.data(&client, b"first").await;
    backend.data(&client, b"second").await;
    for expected in [&b"first"[..], b"second"] {
        let mut buffer = [0; 64];
        let length = timeout(PATIENCE, user.recv(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&buffer[..length], expected);
    }
}

#[tokio::test]
async fn after_a_disconnect_the_next_datagram_opens_a_new_flow() {
    let (_world, mut backend, port) = world().await;
    let user = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    user.connect(("127.0.0.1", port)).await.unwrap();
    user.send(b"one").await.unwrap();
    let (first, _) = backend.connected().await;
    backend.hear().await;
    backend.event("disconnect", &first, json!({})).await;
    backend.barrier().await;
    let second = loop {
        // A datagram may meet the old flow on its way out, and is lost then.
        user.send(b"two").await.unwrap();
        if let Ok((second, _)) =
            timeout(std::time::Duration::from_millis(100), backend.connected()).await
        {
            break second;
        }
    };
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_silent_flow_expires() {
    let (_world, mut backend, port) = world().await;
    let user = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    user.connect(("127.0.0.1", port)).await.unwrap();
    user.send(b"one").await.unwrap();
    let (client, _) = backend.connected().await;
    backend.hear().await;
    let heard = timeout(std::time::Duration::from_secs(12), backend.hear_patiently())
        .await
        .unwrap();
    assert_eq!(
        heard,
        Heard::Control(format!(
            r#"{{"event":"disconnect","client_id":"{client}"}}"#
        ))
    );
}
