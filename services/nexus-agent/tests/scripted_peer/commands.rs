//! What the owner asks for, and what is answered.

use crate::{
    device::{Device, WITHIN, hostname, quick},
    relay::{Id, SECRET},
    soon,
};
use piccolo_bus_client::Signal;
use piccolo_bus_schema::{
    Fault,
    control::{Record, RemoteRecord},
    health::Level,
    ids::ServiceName,
    lock::LockState,
    remote::{Configure, Disable, RemoteChanged, TunnelState},
};
use zeroize::Zeroizing;

impl Device {
    fn wish(&self) -> Configure {
        let secret = Zeroizing::new(SECRET.to_vec());
        Configure {
            endpoint: self.relay.endpoint(),
            device_secret: self.health_api.offer_secret(secret).expect("a ticket"),
            tld: "Home.Example.".to_owned(),
            portal_hostname: " portal.home.example ".to_owned(),
            acme_email: Some("me@home.example".to_owned()),
        }
    }

    async fn configure(&self, wish: Configure) -> Result<(), Fault> {
        self.health_api.call(wish, WITHIN).await
    }

    /// Started, unlocked, not configured.
    async fn fresh() -> Self {
        let mut device = Self::blank(quick()).await;
        device.start();
        device
    }
}

#[tokio::test]
async fn configuring_is_recorded_and_takes_effect_at_once() {
    let mut device = Device::fresh().await;
    device
        .configure(device.wish())
        .await
        .expect("a good configuration");
    let recorded = device.world().record.clone().expect("a record").record;
    let expected = RemoteRecord {
        enabled: true,
        endpoint: device.relay.endpoint(),
        tld: hostname("home.example"),
        portal_hostname: hostname("portal.home.example"),
        acme_email: Some("me@home.example".to_owned()),
    };
    assert_eq!(recorded, Record::Remote(expected));
    assert_eq!(device.world().secret.as_deref(), Some(SECRET));
    let status = device.status().await;
    assert!(
        matches!(status.tunnel, TunnelState::Connecting { .. }),
        "{status:?}"
    );
    assert_eq!(status.endpoint, Some(device.relay.endpoint()));
    let mut peer = device.relay.accept().await;
    assert_eq!(
        peer.sign_in().await,
        ["portal.home.example", "web.home.example"]
    );
}

#[tokio::test]
async fn each_broken_field_is_named() {
    let device = Device::fresh().await;
    type Spoil = fn(&mut Configure);
    let broken: [(&str, Spoil); 4] = [
        ("endpoint", |wish| {
            wish.endpoint = "wss://relay.example/other".into()
        }),
        ("tld", |wish| wish.tld = "local host".into()),
        ("portal_hostname", |wish| {
            wish.portal_hostname = "*.home.example".into()
        }),
        ("acme_email", |wish| wish.acme_email = Some("me".into())),
    ];
    for (name, spoil) in broken {
        let mut wish = device.wish();
        spoil(&mut wish);
        match device.configure(wish).await {
            Err(Fault::Invalid { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let mut wish = device.wish();
    let empty = device.health_api.offer_secret(Zeroizing::new(Vec::new()));
    wish.device_secret = empty.expect("a ticket");
    let answer = device.configure(wish).await;
    assert!(
        matches!(&answer, Err(Fault::Invalid { field, .. }) if field == "device_secret"),
        "{answer:?}"
    );
    assert_eq!(device.world().record, None);
}

#[tokio::test]
async fn the_portal_can_t_take_a_listener_s_name() {
    let device = Device::fresh().await;
    let mut wish = device.wish();
    wish.portal_hostname = "WEB.home.example".into();
    let answer = device.configure(wish).await;
    assert!(
        matches!(&answer, Err(Fault::Conflict { why }) if why.contains("web")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_locked_device_is_not_configured() {
    let device = Device::fresh().await;
    device.set_lock(LockState::Locked);
    assert_eq!(device.configure(device.wish()).await, Err(Fault::Locked));
}

#[tokio::test]
async fn disabling_closes_the_session_at_once_and_keeps_the_configuration() {
    let (device, mut peer) = Device::connected(quick()).await;
    device.until_connected_while_reading(&mut peer).await;
    let disabled = device.health_api.call(Disable {}, WITHIN).await;
    assert_eq!(disabled, Ok(()));
    let status = device.status().await;
    assert_eq!(status.tunnel, TunnelState::Disabled);
    assert_eq!(
        status.portal_hostname,
        Some(hostname("portal.home.example"))
    );
    assert_eq!(status.hostnames, []);
    peer.expect_end().await;
    let kept = device.world().record.clone().expect("a record").record;
    assert!(matches!(
        kept,
        Record::Remote(RemoteRecord { enabled: false, .. })
    ));
    assert_eq!(device.component().level, Level::Ok);
    assert!(device.component().message.contains("off"));
}

#[tokio::test]
async fn disabling_what_was_never_configured_is_no_error() {
    let device = Device::fresh().await;
    assert_eq!(device.health_api.call(Disable {}, WITHIN).await, Ok(()));
    assert_eq!(device.status().await.tunnel, TunnelState::Disabled);
}

#[tokio::test]
async fn a_new_secret_makes_a_new_session() {
    let (mut device, mut peer) = Device::connected(quick()).await;
    device.until_connected_while_reading(&mut peer).await;
    device.world().secret = Some(b"an older secret".to_vec());
    device
        .configure(device.wish())
        .await
        .expect("a good configuration");
    // The same secret as before: nothing needs to be closed.
    assert!(matches!(
        device.status().await.tunnel,
        TunnelState::Connected { .. }
    ));
    let mut wish = device.wish();
    wish.portal_hostname = "me.home.example".into();
    device.configure(wish).await.expect("a good configuration");
    let mut next = device.relay.accept().await;
    assert_eq!(
        next.sign_in().await,
        ["me.home.example", "web.home.example"]
    );
}

#[tokio::test]
async fn the_status_counts_what_passes() {
    let (device, mut peer) = Device::connected(quick()).await;
    device.until_connected_while_reading(&mut peer).await;
    let id = Id::new(1);
    peer.connect(&id).await;
    peer.data(&id, b"question").await;
    let mut stream = device.edge.accept().await;
    stream.expect(b"question").await;
    stream.write(b"an answer").await;
    peer.expect_data(&id).await;
    device
        .until_status("the numbers", |status| {
            matches!(
                status.tunnel,
                TunnelState::Connected {
                    streams: 1,
                    bytes_in: 8,
                    bytes_out: 9,
                    round_trip_us: Some(1..),
                    ..
                }
            )
        })
        .await;
}

#[tokio::test]
async fn changes_are_announced_and_traffic_is_not() {
    let mut device = Device::blank(quick()).await;
    let mut changes = device
        .health_api
        .subscribe::<RemoteChanged>(ServiceName::NexusAgent);
    device.start();
    device
        .configure(device.wish())
        .await
        .expect("a good configuration");
    let mut peer = device.relay.accept_session().await;
    device.until_connected_while_reading(&mut peer).await;
    loop {
        let signal = soon("an announcement", changes.next()).await;
        if let Signal::Event(RemoteChanged { status }) = signal
            && matches!(status.tunnel, TunnelState::Connected { .. })
        {
            assert_eq!(status.hostnames.len(), 2);
            break;
        }
    }
    let id = Id::new(1);
    peer.connect(&id).await;
    peer.data(&id, b"traffic").await;
    device.edge.accept().await.expect(b"traffic").await;
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(50), changes.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}
