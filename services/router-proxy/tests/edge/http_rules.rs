use crate::{
    home::{Home, until, web},
    wire::{app, get_lan, mirror, portal, rest},
};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use piccolo_bus_schema::app::Middleware;
use tokio::{io::AsyncWriteExt, net::TcpStream};

async fn home(middleware: Vec<Middleware>) -> Home {
    let mut endpoint = web(app(mirror).await);
    endpoint.middleware = middleware;
    Home::with(vec![endpoint]).await
}

#[tokio::test]
async fn what_strangers_claim_never_reaches_an_app() {
    let home = home(vec![]).await;
    let spoof = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x-forwarded-prefix", "/10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("x-piccolo-client", "lan 10.0.0.1"),
        ("cookie", "a=1; piccolo_session=secret; b=2"),
        ("te", "trailers"),
        ("x-hop", "1"),
        ("connection", "x-hop"),
    ];
    let seen = get_lan(home.lan("web"), "/", &spoof).await;
    for word in ["10.0.0.1", "secret", "x-piccolo", "x-hop", "\nte:"] {
        assert!(!seen.body.contains(word), "{word} in {}", seen.body);
    }
    assert!(seen.body.contains("cookie: a=1; b=2\n"), "{}", seen.body);
}

#[tokio::test]
async fn an_app_cannot_set_the_platforms_cookies() {
    let port = app(|_| async {
        Response::builder()
            .header("set-cookie", "piccolo_session=evil; Path=/")
            .header("set-cookie", "mine=1")
            .body(Full::new(Bytes::new()))
            .expect("a response")
    })
    .await;
    let home = Home::with(vec![web(port)]).await;
    let seen = get_lan(home.lan("web"), "/", &[]).await;
    let cookies: Vec<_> = seen.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["mine=1"]);
}

#[tokio::test]
async fn too_many_requests_wait_and_the_wait_is_said() {
    let home = home(vec![Middleware::RateLimit {
        requests_per_second: 1,
        burst: 2,
    }])
    .await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let seen = get_lan(home.lan("web"), "/", &[]).await;
        if seen.status == 429 {
            assert!(!seen.header("retry-after").is_empty());
        }
        statuses.push(seen.status);
    }
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn address_lists_and_headers_have_their_effect() {
    let allow = |cidr: &str| Middleware::Allow {
        cidrs: vec![cidr.to_owned()],
    };
    let closed = home(vec![allow("10.0.0.0/8")]).await;
    assert_eq!(get_lan(closed.lan("web"), "/", &[]).await.status, 403);
    let headers = Middleware::Headers {
        set: vec![("x-frame-options".to_owned(), "DENY".to_owned())],
        remove: vec!["date".to_owned()],
    };
    let open = home(vec![allow("127.0.0.0/8"), headers]).await;
    let seen = get_lan(open.lan("web"), "/", &[]).await;
    assert_eq!((seen.status, seen.header("x-frame-options")), (200, "DENY"));
}

#[tokio::test]
async fn a_login_that_cannot_be_required_yet_closes_the_route() {
    let home = home(vec![Middleware::RequireLogin]).await;
    let seen = get_lan(home.lan("web"), "/", &[]).await;
    assert_eq!(seen.status, 503);
    assert!(seen.body.contains("require_login"), "{}", seen.body);
}

async fn say(home: &Home, request: &str) -> String {
    let mut stream = TcpStream::connect(home.lan("web"))
        .await
        .expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    String::from_utf8_lossy(&rest(&mut stream).await).into_owned()
}

#[tokio::test]
async fn malformed_and_oversized_heads_are_refused() {
    let home = home(vec![]).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: user@a\r\nconnection: close\r\n\r\n",
            "400",
        ),
        (
            "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n",
            "405",
        ),
    ] {
        let answer = say(&home, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
    }
    let coded = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\
        connection: close\r\n\r\n0\r\n\r\n";
    assert!(say(&home, coded).await.starts_with("HTTP/1.1 400"));
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(70_000)
    );
    let answer = say(&home, &long).await;
    assert!(
        answer.starts_with("HTTP/1.1 431") || answer.is_empty(),
        "{answer}"
    );
}

#[tokio::test]
async fn a_request_with_two_lengths_reaches_an_app_with_one() {
    let home = home(vec![]).await;
    let smuggled = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60\r\n\
        transfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n";
    let answer = say(&home, smuggled).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("content-length: 60"), "{answer}");
}

#[tokio::test]
async fn beyond_a_thousand_connections_a_visitor_is_told_so() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).expect("room");
    let home = home(vec![]).await;
    let to = home.lan("web");
    let mut crowd = Vec::new();
    for _ in 0..1024 {
        crowd.push(TcpStream::connect(to).await.expect("a connection"));
    }
    until("the house is full", || async {
        let seen = get_lan(to, "/", &[]).await;
        seen.status == 503 && seen.body.contains("too many connections")
    })
    .await;
    portal(&home.portal_socket(), mirror);
    let elsewhere = get_lan(home.http, "/", &[]).await;
    assert_eq!(elsewhere.status, 200, "the portal has room");
    drop(crowd);
    until("there is room again", || async {
        get_lan(to, "/", &[]).await.status == 200
    })
    .await;
}
