use crate::{
    home::{Home, PATIENCE, PORTAL, raw, until, web},
    wire::{app, get, get_lan, mirror, portal, remote_tls, rest},
};
use piccolo_bus_client::Signal;
use piccolo_bus_schema::{
    ids::AppName,
    leadership::{Leadership, Resource, Role},
    lock::LockState,
    route::{Mode, RouteChanged},
};
use tokio::net::{TcpListener, TcpStream};

const WEB: &str = "web.example.com";

#[tokio::test]
async fn a_lock_stops_apps_at_once_and_keeps_the_portal() {
    let db = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let db_port = db.local_addr().expect("an address").port();
    let home = Home::with(vec![web(app(mirror).await), raw("db", db_port)]).await;
    portal(&home.portal_socket(), mirror);
    let app_key = home.certificate(WEB);
    let portal_key = home.certificate(PORTAL);
    let mut open = TcpStream::connect(home.lan("db"))
        .await
        .expect("a connection");
    let (_held, _) = db.accept().await.expect("carried");

    home.withdraw().await;
    let locked = get_lan(home.lan("web"), "/", &[]).await;
    assert_eq!(locked.status, 503);
    assert_eq!(locked.header("content-type"), "application/problem+json");
    assert!(
        locked.body.contains("the device is locked"),
        "{}",
        locked.body
    );
    let page = get_lan(home.lan("web"), "/", &[("accept", "text/html")]).await;
    assert!(page.body.contains("<h1>Locked</h1>"), "{}", page.body);
    assert_eq!(rest(&mut open).await, b"", "open raw connections end");
    let mut raw = TcpStream::connect(home.lan("db"))
        .await
        .expect("still bound");
    assert_eq!(rest(&mut raw).await, b"", "and new ones are closed");
    assert!(
        remote_tls(&home, WEB, &app_key, &[]).await.is_err(),
        "its key is gone"
    );
    assert_eq!(
        get_lan(home.http, "/", &[]).await.status,
        200,
        "the portal serves"
    );
    let stream = remote_tls(&home, PORTAL, &portal_key, &[])
        .await
        .expect("TLS");
    assert_eq!(
        get(stream, PORTAL, "/", &[])
            .await
            .expect("an answer")
            .status,
        200
    );

    home.set_lock(LockState::Locked);
    home.announce_endpoints();
    assert_eq!(get_lan(home.lan("web"), "/", &[]).await.status, 503);
    home.set_lock(LockState::Unlocked);
    until("apps serve again", || async {
        get_lan(home.lan("web"), "/", &[]).await.status == 200
            && remote_tls(&home, WEB, &app_key, &[]).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_device_that_waits_for_its_owner_serves_the_portal_and_says_locked() {
    let home = Home::starting(LockState::Locked, vec![web(app(mirror).await)]).await;
    portal(&home.portal_socket(), mirror);
    assert_eq!(get_lan(home.http, "/", &[]).await.status, 200);
    let seen = get_lan(home.lan("web"), "/", &[]).await;
    assert_eq!(seen.status, 503);
    assert!(seen.body.contains("the device is locked"), "{}", seen.body);
}

#[tokio::test]
async fn a_followers_app_is_answered_with_the_leaders_address() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    let mut changed = home
        .apps
        .subscribe::<RouteChanged>(piccolo_bus_schema::ServiceName::RouterProxy);
    let leadership = Leadership {
        resource: Resource::App(AppName::new("demo").expect("a name")),
        role: Role::Follower {
            leader: Some("https://other.local".to_owned()),
        },
        epoch: 2,
    };
    home.change(|facts| facts.roles = vec![leadership.clone()]);
    home.announce_leadership(leadership);
    let announced = async {
        while !matches!(
            changed.next().await,
            Signal::Event(RouteChanged { routes: 2 })
        ) {}
    };
    tokio::time::timeout(PATIENCE, announced)
        .await
        .expect("route.changed");
    let lan = get_lan(home.lan("web"), "/", &[]).await;
    assert_eq!(lan.status, 503);
    assert!(
        lan.body.contains("\"leader\":\"https://other.local\""),
        "{}",
        lan.body
    );
    let trusted = home.certificate(WEB);
    let stream = remote_tls(&home, WEB, &trusted, &[]).await.expect("TLS");
    let remote = get(stream, WEB, "/", &[("accept", "text/html")])
        .await
        .expect("an answer");
    assert_eq!(remote.status, 503);
    assert!(
        remote.body.contains("https://other.local"),
        "{}",
        remote.body
    );
    let routes = home.routes().await.routes;
    let leader = Some("https://other.local".to_owned());
    assert_eq!(routes[1].mode, Mode::Tunnel { leader });
}

#[tokio::test]
async fn a_boot_set_shows_the_portal_at_its_own_name_before_the_unlock() {
    let home = Home::starting(LockState::Locked, vec![web(app(mirror).await)]).await;
    portal(&home.portal_socket(), mirror);
    let portal_key = home.certificate(PORTAL);
    let app_key = home.certificate(WEB);
    assert!(
        remote_tls(&home, PORTAL, &portal_key, &[]).await.is_err(),
        "nothing is known yet"
    );
    home.change(|facts| facts.boot_set = true);
    home.until_asked().await;
    let stream = remote_tls(&home, PORTAL, &portal_key, &[])
        .await
        .expect("TLS");
    assert_eq!(
        get(stream, PORTAL, "/", &[])
            .await
            .expect("an answer")
            .status,
        200
    );
    assert!(remote_tls(&home, WEB, &app_key, &[]).await.is_err());
}
