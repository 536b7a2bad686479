use crate::{
    home::{Home, Issued, PATIENCE, PORTAL, name, until, web},
    wire::{Answer, app, get, get_h2, mirror, portal, remote, remote_tls, rest, tls},
};
use piccolo_bus_schema::{ServiceName, health::Level, route};
use tokio::io::AsyncWriteExt;

const WEB: &str = "web.example.com";

async fn plain(home: &Home, host: &str, path: &str) -> std::io::Result<Answer> {
    get(remote(home, 80, host).await, host, path, &[]).await
}

#[tokio::test]
async fn an_app_is_reached_by_its_name_over_tls_that_ends_here() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    let trusted = home.certificate(WEB);
    let stream = remote_tls(&home, WEB, &trusted, &["http/1.1"])
        .await
        .expect("TLS");
    let seen = get(stream, WEB, "/x", &[]).await.expect("an answer");
    for line in [
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-proto: https",
        "x-forwarded-port: 443",
        "forwarded: for=192.0.2.7;host=web.example.com;proto=https",
    ] {
        assert!(seen.body.contains(line), "{line} in {}", seen.body);
    }
}

#[tokio::test]
async fn http_2_is_spoken_with_browsers_and_http_1_with_apps() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    let trusted = home.certificate(WEB);
    let stream = remote_tls(&home, WEB, &trusted, &["h2", "http/1.1"])
        .await
        .expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let seen = get_h2(stream, WEB, "/x?y").await.expect("an answer");
    assert!(seen.body.starts_with("GET /x?y\n"), "{}", seen.body);
    assert!(
        seen.body.contains("host: web.example.com\n"),
        "{}",
        seen.body
    );
    assert!(seen.body.contains("cookie: a=1; b=2\n"), "{}", seen.body);
}

#[tokio::test]
async fn the_portal_is_reached_by_its_name_as_a_remote_visitor() {
    let home = Home::with(vec![]).await;
    portal(&home.portal_socket(), mirror);
    let trusted = home.certificate(PORTAL);
    let stream = remote_tls(&home, PORTAL, &trusted, &[]).await.expect("TLS");
    let seen = get(stream, PORTAL, "/", &[]).await.expect("an answer");
    assert!(
        seen.body.contains("x-piccolo-client: remote 192.0.2.7\n"),
        "{}",
        seen.body
    );
    assert!(seen.body.contains("x-piccolo-tls: 1\n"), "{}", seen.body);
}

#[tokio::test]
async fn unknown_names_get_no_word() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    let any = home.certificate(WEB);
    for unknown in [
        "other.example.com",
        "example.com",
        "web.example.org",
        "piccolo.local",
    ] {
        assert!(
            remote_tls(&home, unknown, &any, &[]).await.is_err(),
            "{unknown}"
        );
        assert!(plain(&home, unknown, "/").await.is_err(), "{unknown}");
    }
    let mut mute = remote(&home, 443, WEB).await;
    mute.write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(rest(&mut mute).await, b"", "no TLS, no word");
}

#[tokio::test]
async fn a_name_without_a_certificate_is_never_shown_the_device_made_one() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    home.change(|facts| {
        facts.certificates.remove(WEB);
    });
    home.announce_commit();
    let path = home.directory.path().join("boot/lan.crt");
    let device_made = std::fs::read_to_string(path).expect("a certificate");
    until("the certificate is gone", || async {
        let routes = home.routes().await.routes;
        routes
            .iter()
            .all(|route| route.hostname != Some(name(WEB)) || route.certificate.is_none())
    })
    .await;
    let stream = remote(&home, 443, WEB).await;
    let error = tls(stream, WEB, &device_made, &[])
        .await
        .expect_err("closed");
    assert!(
        !error.to_string().contains("certificate"),
        "closed, not shown: {error}"
    );
}

#[tokio::test]
async fn a_request_for_another_host_is_misdirected() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    let trusted = home.certificate(WEB);
    let stream = remote_tls(&home, WEB, &trusted, &[]).await.expect("TLS");
    let seen = get(stream, PORTAL, "/", &[]).await.expect("an answer");
    assert_eq!(seen.status, 421);
}

#[tokio::test]
async fn plain_http_leads_to_https_and_challenges_are_answered() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    let moved = plain(&home, WEB, "/a?b=c").await.expect("an answer");
    assert_eq!(
        (moved.status, moved.header("location")),
        (308, "https://web.example.com/a?b=c")
    );
    let acme = home.memory.join(ServiceName::Acme);
    let published = route::PublishChallenge {
        host: name("new.example.com"),
        token: "tok-1".to_owned(),
        key_authorization: "tok-1.thumbprint".to_owned(),
    };
    acme.call(published, PATIENCE).await.expect("published");
    let path = "/.well-known/acme-challenge/tok-1";
    let answered = plain(&home, "new.example.com", path)
        .await
        .expect("an answer");
    assert_eq!(
        (answered.status, answered.body.as_str()),
        (200, "tok-1.thumbprint")
    );
    assert!(
        plain(&home, "new.example.com", "/").await.is_err(),
        "known for its challenge only"
    );
    assert_eq!(
        plain(&home, WEB, path).await.expect("an answer").status,
        404
    );
    let removed = route::RemoveChallenge {
        host: name("new.example.com"),
        token: "tok-1".to_owned(),
    };
    acme.call(removed, PATIENCE).await.expect("removed");
    assert!(plain(&home, "new.example.com", path).await.is_err());
}

#[tokio::test]
async fn a_bad_new_certificate_never_replaces_a_good_old_one() {
    let home = Home::with(vec![web(app(mirror).await)]).await;
    let good = home.certificate(WEB);
    let bad = Issued {
        chain: Issued::for_name(WEB).chain,
        key: good.key.clone(),
    };
    home.change(|facts| {
        facts.certificates.insert(WEB.to_owned(), bad);
    });
    home.announce_commit();
    until("the bad one is reported", || async {
        let report = home.board.report();
        report
            .iter()
            .any(|part| part.name == "certificates-in-use" && part.level == Level::Warn)
    })
    .await;
    let stream = remote_tls(&home, WEB, &good, &[])
        .await
        .expect("the old one serves");
    assert_eq!(
        get(stream, WEB, "/", &[]).await.expect("an answer").status,
        200
    );
    let better = Issued::for_name(WEB);
    home.change(|facts| {
        facts.certificates.insert(WEB.to_owned(), better.clone());
    });
    home.announce_commit();
    until("the good new one serves", || async {
        remote_tls(&home, WEB, &better, &[]).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_stream_without_a_proxy_header_is_closed() {
    let home = Home::with(vec![]).await;
    let mut stream = tokio::net::UnixStream::connect(home.streams())
        .await
        .expect("a stream");
    stream.write_all(&[b'x'; 64]).await.expect("sent");
    assert_eq!(rest(&mut stream).await, b"");
}
