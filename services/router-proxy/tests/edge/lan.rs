use crate::{
    home::{Home, raw, until, web},
    wire::{app, get, get_lan, mirror, portal, rest, tls},
};
use piccolo_bus_schema::health::Level;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::test]
async fn an_app_is_reached_on_its_port_and_learns_who_asks() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    let to = home.lan("web");
    let seen = get_lan(to, "/path?query=1", &[]).await;
    assert_eq!(seen.status, 200);
    assert!(
        seen.body.starts_with("GET /path?query=1\n"),
        "{}",
        seen.body
    );
    for line in [
        "host: device.local",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: device.local",
        &format!("x-forwarded-port: {}", to.port()),
        "forwarded: for=127.0.0.1;host=device.local;proto=http",
    ] {
        assert!(seen.body.contains(line), "{line} in {}", seen.body);
    }
    assert!(!seen.body.contains("x-piccolo-"), "{}", seen.body);
}

#[tokio::test]
async fn the_portal_learns_the_door_whatever_a_visitor_claims() {
    let home = Home::with(vec![]).await;
    portal(&home.portal_socket(), mirror);
    let spoof = [
        ("x-piccolo-client", "remote 10.0.0.1"),
        ("connection", "close, x-piccolo-client"),
        ("cookie", "piccolo_session=s"),
    ];
    let seen = get_lan(home.http, "/api", &spoof).await;
    assert!(
        seen.body.contains("x-piccolo-client: lan 127.0.0.1\n"),
        "{}",
        seen.body
    );
    assert!(seen.body.contains("x-piccolo-tls: 0\n"), "{}", seen.body);
    assert!(
        seen.body.contains("cookie: piccolo_session=s\n"),
        "its own cookie"
    );
    assert!(!seen.body.contains("10.0.0.1"), "{}", seen.body);
}

#[tokio::test]
async fn https_on_the_lan_shows_the_certificate_whose_fingerprint_is_listed() {
    let home = Home::with(vec![]).await;
    portal(&home.portal_socket(), mirror);
    let path = home.directory.path().join("boot/lan.crt");
    let device_made = std::fs::read_to_string(path).expect("a certificate");
    let stream = TcpStream::connect(home.https).await.expect("a connection");
    let stream = tls(stream, "piccolo.local", &device_made, &[])
        .await
        .expect("TLS");
    let seen = get(stream, "piccolo.local", "/", &[])
        .await
        .expect("an answer");
    assert!(seen.body.contains("x-piccolo-tls: 1\n"), "{}", seen.body);
    assert_eq!(home.routes().await.lan_fingerprint.len(), 64);
}

#[tokio::test]
async fn https_on_the_lan_shows_the_real_certificate_for_the_portals_own_name() {
    let home = Home::with(vec![]).await;
    portal(&home.portal_socket(), mirror);
    let name = crate::home::PORTAL;
    let real = home.certificate(name);
    let stream = TcpStream::connect(home.https).await.expect("a connection");
    let stream = tls(stream, name, &real.chain, &["http/1.1"])
        .await
        .expect("TLS");
    let seen = get(stream, name, "/", &[]).await.expect("an answer");
    assert!(
        seen.body.contains("x-piccolo-client: lan 127.0.0.1\n"),
        "{}",
        seen.body
    );
}

#[tokio::test]
async fn raw_bytes_reach_a_raw_listener() {
    let echo = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = echo.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                // The server speaks first: nothing may wait for the visitor's bytes.
                stream.write_all(b"hello ").await.expect("greeted");
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let home = Home::with(vec![raw("db", port)]).await;
    let mut stream = TcpStream::connect(home.lan("db"))
        .await
        .expect("a connection");
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).await.expect("a greeting");
    stream.write_all(b"abc").await.expect("sent");
    stream.shutdown().await.expect("half closed");
    assert_eq!(rest(&mut stream).await, b"abc");
}

#[tokio::test]
async fn an_app_that_is_down_is_explained() {
    // Bound and not listening: refused, and nobody else can take the port meanwhile.
    let nobody = tokio::net::TcpSocket::new_v4().expect("a socket");
    nobody.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let port = nobody.local_addr().expect("an address").port();
    let home = Home::with(vec![web(port)]).await;
    let refused = get_lan(home.lan("web"), "/", &[]).await;
    assert_eq!(refused.status, 502);
    assert!(
        refused.body.contains("does not accept connections"),
        "{}",
        refused.body
    );
    let portal = get_lan(home.http, "/", &[]).await;
    assert_eq!((portal.status, portal.header("retry-after")), (503, "2"));
    home.change(|facts| facts.endpoints[0].up = false);
    home.announce_endpoints();
    until("the app is stopped", || async {
        let answer = get_lan(home.lan("web"), "/", &[("accept", "text/html")]).await;
        answer.status == 503 && answer.body.contains("the app is stopped")
    })
    .await;
}

/// A free port below the kernel's own range: no other test is handed it by chance.
fn quiet_port(turn: u16) -> u16 {
    let first = 10_000 + u16::try_from(std::process::id() % 18_000).expect("a small number");
    (first + 7 * turn..30_000)
        .find(|port| std::net::TcpListener::bind(("::", *port)).is_ok())
        .expect("a free port")
}

#[tokio::test]
async fn a_port_is_bound_for_a_new_listener_and_let_go_with_it() {
    let home = Home::with(vec![]).await;
    let public = quiet_port(0);
    let free = TcpListener::bind(("127.0.0.1", public))
        .await
        .expect("the port");
    let mut endpoint = web(app(mirror).await);
    endpoint.public_port = public;
    home.change(|facts| facts.endpoints = vec![endpoint]);
    home.announce_endpoints();
    until("a port in use is reported", || async {
        let report = home.board.report();
        report
            .iter()
            .any(|part| part.name == "public-ports" && part.level == Level::Warn)
    })
    .await;
    drop(free);
    home.announce_endpoints();
    let is_reached = || async { TcpStream::connect(("127.0.0.1", public)).await.is_ok() };
    until("the port is bound", is_reached).await;
    let over_ipv6 = TcpStream::connect(("::1", public)).await;
    assert!(over_ipv6.is_ok() || !std::path::Path::new("/proc/net/if_inet6").exists());
    let other = quiet_port(1);
    home.change(|facts| facts.endpoints[0].public_port = other);
    home.announce_endpoints();
    until("the old port is let go", || async { !is_reached().await }).await;
}

#[tokio::test]
async fn a_store_that_died_takes_no_route_along() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    home.change(|facts| facts.store_is_down = true);
    home.memory.stop(piccolo_bus_schema::ServiceName::Apps);
    home.until_asked().await;
    assert_eq!(get_lan(home.lan("web"), "/", &[]).await.status, 200);
    assert_eq!(home.routes().await.routes.len(), 2);
}
