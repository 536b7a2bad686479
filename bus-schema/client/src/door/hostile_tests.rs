//! Hostile bytes against real services and real clients: the inputs that abort the bare library.

use crate::{Bus, Handlers};
use piccolo_bus_schema::{ServiceName, endpoint, lock};
use std::{path::Path, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::zmtp::{SocketKind, greeting, ready};

const PATIENCE: Duration = Duration::from_secs(10);

fn runtime_dir() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(directory.path().join("bus")).expect("the bus directory");
    directory
}

/// What a stranger may say, with the socket type it pretends to be.
fn hostile(kind: SocketKind) -> Vec<Vec<u8>> {
    let handshake = [greeting().to_vec(), ready(kind, Some("apps.17"))].concat();
    let after = |bytes: &[u8]| [handshake.as_slice(), bytes].concat();
    let before = |bytes: &[u8]| [greeting().as_slice(), bytes].concat();
    let mut endless = Vec::new();
    for _ in 0..100_000 {
        endless.extend_from_slice(&[0x01, 0x01, b'x']);
    }
    vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        (0..4096_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect(),
        // 64 TiB after the handshake, 128 TiB before READY, 300 MiB, and the largest of all.
        after(&[0x02, 0, 0, 0x40, 0, 0, 0, 0, 0]),
        before(&[0x02, 0, 0, 0x80, 0, 0, 0, 0, 0]),
        after(&[0x02, 0, 0, 0, 0, 0x12, 0xc0, 0, 0]),
        after(&[0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        before(&[0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        after(&[0x04, 0x05, b'R', b'E', b'A', b'D', b'Y']),
        after(&[0x80, 0x01, 0x00]),
        after(&endless),
        // Whoever plays this kind must not be taken for its counterpart.
        before(&ready(kind.peer(), None)),
    ]
}

async fn serve(directory: &Path) -> Bus {
    let bus = Bus::open(directory, ServiceName::Store);
    let server = bus.bind().await.expect("the endpoints");
    let handlers =
        Handlers::new().on::<lock::Status, _, _>(|_, _| async { Ok(lock::LockState::Locked) });
    tokio::spawn(server.run(handlers, || {}));
    bus
}

/// Speaks and waits until the door closes. The stranger's own errors do not matter.
async fn speak(path: &Path, bytes: &[u8]) {
    let Ok(mut stream) = UnixStream::connect(path).await else {
        return;
    };
    let _ = stream.write_all(bytes).await;
    let mut sink = Vec::new();
    let reading = stream.read_to_end(&mut sink);
    let closed = tokio::time::timeout(PATIENCE, reading).await;
    assert!(
        closed.is_ok(),
        "the door stayed open for {:?}",
        &bytes[..bytes.len().min(80)]
    );
}

#[tokio::test]
async fn a_service_survives_every_hostile_stranger() {
    let directory = runtime_dir();
    let _store = serve(directory.path()).await;
    let api = Bus::open(directory.path(), ServiceName::HealthApi);
    let doors = [
        (
            endpoint::commands(directory.path(), ServiceName::Store),
            SocketKind::Dealer,
        ),
        (
            endpoint::events(directory.path(), ServiceName::Store),
            SocketKind::Sub,
        ),
    ];
    for (door, kind) in doors {
        for bytes in hostile(kind) {
            speak(&door, &bytes).await;
            let state = api.call(lock::Status {}, PATIENCE).await;
            assert_eq!(state, Ok(lock::LockState::Locked));
        }
    }
}

#[tokio::test]
async fn a_client_survives_every_hostile_service_and_meets_the_real_one() {
    let directory = runtime_dir();
    let commands = endpoint::commands(directory.path(), ServiceName::Store);
    let events = endpoint::events(directory.path(), ServiceName::Store);
    let api = Bus::open(directory.path(), ServiceName::HealthApi);
    let mut signals = api.subscribe::<lock::LockChanged>(ServiceName::Store);
    let asking =
        tokio::spawn(async move { api.call(lock::Status {}, Duration::from_secs(60)).await });
    for (path, kind) in [(&commands, SocketKind::Router), (&events, SocketKind::Pub)] {
        for bytes in hostile(kind) {
            let listener = UnixListener::bind(path).expect("a false door");
            let (mut client, _) = listener.accept().await.expect("a client");
            let _ = client.write_all(&bytes).await;
            let mut sink = Vec::new();
            let reading = client.read_to_end(&mut sink);
            let closed = tokio::time::timeout(PATIENCE, reading).await;
            assert!(
                closed.is_ok(),
                "the client stayed for {:?}",
                &bytes[..bytes.len().min(80)]
            );
            drop(listener);
            std::fs::remove_file(path).expect("the false door");
        }
    }
    let _store = serve(directory.path()).await;
    assert_eq!(asking.await.expect("no panic"), Ok(lock::LockState::Locked));
    tokio::time::timeout(PATIENCE, signals.next())
        .await
        .expect("a connection");
}

#[tokio::test]
async fn a_mute_stranger_loses_its_place() {
    let directory = runtime_dir();
    let _store = serve(directory.path()).await;
    let path = endpoint::commands(directory.path(), ServiceName::Store);
    let mut mute = UnixStream::connect(&path).await.expect("a connection");
    let mut sink = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, mute.read_to_end(&mut sink)).await;
    assert!(closed.is_ok());
}
