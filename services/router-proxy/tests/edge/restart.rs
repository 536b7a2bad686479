use crate::{
    home::{Home, PATIENCE, until, web},
    wire::{app, get, get_lan, mirror},
};
use piccolo_bus_schema::ServiceName;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::Notify,
};

#[tokio::test]
async fn visitors_who_come_during_a_restart_wait_and_are_served() {
    let mut home = Home::with(vec![web(app(mirror).await)]).await;
    let fingerprint = home.routes().await.lan_fingerprint;
    home.stop().await;
    let to = home.lan("web");
    let early = TcpStream::connect(to)
        .await
        .expect("the listener outlives the process");
    let waiting = tokio::spawn(get(early, "device.local", "/", &[]));
    home.start().await;
    let seen = waiting.await.expect("the visitor").expect("an answer");
    assert_eq!(seen.status, 200);
    assert_eq!(home.routes().await.lan_fingerprint, fingerprint);
}

#[tokio::test]
async fn a_restart_beside_dead_peers_refuses_no_connection() {
    let mut home = Home::with(vec![web(app(mirror).await)]).await;
    home.stop().await;
    home.memory.stop(ServiceName::Apps);
    home.start().await;
    home.until_asked().await;
    let seen = get_lan(home.lan("web"), "/", &[]).await;
    assert_eq!(seen.status, 503);
    assert!(seen.body.contains("starting"), "{}", seen.body);
    home.serve_peers();
    home.announce_endpoints();
    until("the app is reached", || async {
        get_lan(home.lan("web"), "/", &[]).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_edge_stops() {
    let arrived = Arc::new(Notify::new());
    let release = Arc::new(Notify::new());
    let (at, go) = (Arc::clone(&arrived), Arc::clone(&release));
    let port = app(move |request| {
        let (at, go) = (Arc::clone(&at), Arc::clone(&go));
        async move {
            at.notify_one();
            go.notified().await;
            mirror(request).await
        }
    })
    .await;
    let mut home = Home::with(vec![web(port)]).await;
    let to = home.lan("web");
    let visitor = tokio::spawn(async move { get_lan(to, "/", &[]).await });
    arrived.notified().await;
    let stopping = async { home.stop().await };
    let releasing = async {
        tokio::task::yield_now().await;
        release.notify_one();
    };
    let before = Instant::now();
    tokio::join!(stopping, releasing);
    assert!(
        before.elapsed() < Duration::from_secs(4),
        "it did not wait for more"
    );
    let seen = tokio::time::timeout(PATIENCE, visitor)
        .await
        .expect("in time");
    assert_eq!(seen.expect("the visitor").status, 200);
}

#[tokio::test]
async fn a_visitor_who_has_said_nothing_does_not_hold_up_the_end() {
    let mut home = Home::with(vec![]).await;
    let _mute = TcpStream::connect(home.https).await.expect("a connection");
    let _idle = TcpStream::connect(home.http).await.expect("a connection");
    let _header_due = UnixStream::connect(home.streams()).await.expect("a stream");
    until("they are in", || async {
        home.announce_commit();
        let report = home.board.report();
        let details = &report[0].details;
        details.contains(&("connections".to_owned(), "3".to_owned()))
    })
    .await;
    let before = Instant::now();
    home.stop().await;
    assert!(before.elapsed() < Duration::from_secs(4));
}
