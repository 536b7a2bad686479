//! The API against fake peers on the in-memory bus: gates, shapes, sign-in.

use crate::{
    App, Config,
    door::{CLIENT_HEADER, Connection},
    events::Hub,
    picture::Picture,
    table,
    watch::Watch,
};
use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use piccolo_bus_client::{Bus, Handlers, memory::MemoryBus};
use piccolo_bus_schema::{
    Fault, ServiceName,
    control::{Read, Versioned},
    ids::UnixSeconds,
    leadership::{Leadership, Resource, Role, Show},
    local::{ReadJobs, RecordAudit},
    lock::{Lock, LockChanged, LockState, RecoveryKey, Setup, Status, Unlock},
    session::{Check, Open, Session, SessionKind},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tower::ServiceExt;
use zeroize::Zeroizing;

const PASSWORD: &str = "correct horse battery";

/// A store that is nothing but its answers.
struct FakeStore {
    bus: Bus,
    state: Mutex<LockState>,
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    kernel: Mutex<Role>,
}

impl FakeStore {
    fn handlers(self: &Arc<Self>) -> Handlers {
        let store = |this: &Arc<Self>| Arc::clone(this);
        let (a, b, c, d, e) = (
            store(self),
            store(self),
            store(self),
            store(self),
            store(self),
        );
        let (f, g) = (store(self), store(self));
        Handlers::new()
            .on::<Status, _, _>(move |_, _| {
                let state = a.state.lock().expect("the state").clone();
                async move { Ok(state) }
            })
            .on::<Setup, _, _>(move |setup, _| {
                let store = Arc::clone(&b);
                async move {
                    store.bus.claim_secret(&setup.password).await?;
                    *store.state.lock().expect("the state") = LockState::Unlocked;
                    let words = vec!["word"; 24].join(" ").into_bytes();
                    Ok(RecoveryKey {
                        words: store.bus.offer_secret(Zeroizing::new(words))?,
                    })
                }
            })
            .on::<Unlock, _, _>(move |unlock, _| {
                let store = Arc::clone(&c);
                async move {
                    let password = store.bus.claim_secret(&unlock.password).await?;
                    if password.as_slice() != PASSWORD.as_bytes() {
                        return Err(Fault::invalid("password", "is wrong"));
                    }
                    *store.state.lock().expect("the state") = LockState::Unlocked;
                    Ok(())
                }
            })
            .on::<Lock, _, _>(move |_, _| {
                *d.state.lock().expect("the state") = LockState::Locked;
                d.sessions.lock().expect("the sessions").clear();
                d.bus.publish(&LockChanged {
                    state: LockState::Locked,
                });
                async { Ok(()) }
            })
            .on::<Open, _, _>(move |open, _| {
                let session = session(open.kind);
                e.sessions
                    .lock()
                    .expect("the sessions")
                    .insert(open.secret_hash.0, session.clone());
                async move { Ok(session) }
            })
            .on::<Check, _, _>(move |check, _| {
                let found = f
                    .sessions
                    .lock()
                    .expect("the sessions")
                    .get(&check.secret_hash.0)
                    .cloned();
                async move { found.ok_or_else(|| Fault::not_found("session")) }
            })
            .on::<Show, _, _>(move |_, _| {
                let role = g.kernel.lock().expect("the role").clone();
                async move {
                    Ok(vec![Leadership {
                        resource: Resource::Kernel,
                        role,
                        epoch: 1,
                    }])
                }
            })
            .on::<Read, _, _>(|_, _| async { Ok(Vec::<Versioned>::new()) })
            .on::<ReadJobs, _, _>(|_, _| async { Ok(Vec::new()) })
            .on::<RecordAudit, _, _>(|_, _| async { Ok(()) })
    }
}

fn session(kind: SessionKind) -> Session {
    Session {
        id: "0123".to_owned(),
        kind,
        from: piccolo_bus_schema::lock::Client::Local,
        created_at: UnixSeconds(1),
        last_used_at: UnixSeconds(1),
        expires_at: UnixSeconds(2_000_000_000),
    }
}

struct Device {
    router: Router,
    store: Arc<FakeStore>,
    app: App,
}

impl Device {
    async fn start(state: LockState) -> Self {
        let memory = MemoryBus::new();
        let store = Arc::new(FakeStore {
            bus: memory.join(ServiceName::Store),
            state: Mutex::new(state),
            sessions: Mutex::default(),
            kernel: Mutex::new(Role::Leader),
        });
        memory.serve(ServiceName::Store, store.handlers());
        let bus = memory.join(ServiceName::HealthApi);
        let config = Config {
            runtime_dir: "/nonexistent".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            hosts: vec!["home.example".to_owned()],
        };
        let picture = Picture::follow(&bus);
        picture.refresh().await.expect("an answering store");
        let hub = Hub::follow(&bus, picture.clone());
        let watch = Watch::start(&bus, &config, picture.clone());
        let config = Arc::new(config);
        let app = App {
            bus,
            config,
            picture,
            watch,
            hub,
            started: Instant::now(),
        };
        Self {
            router: table::router(&app),
            store,
            app,
        }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        let loopback = Connection::Loopback(([127, 0, 0, 1], 50_000).into());
        self.send_from(loopback, request).await
    }

    async fn send_from(&self, from: Connection, mut request: Request<Body>) -> Response<Body> {
        request.extensions_mut().insert(ConnectInfo(from));
        self.router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer")
    }

    /// Signs in; the cookie and its CSRF token.
    async fn sign_in(&self) -> (String, String) {
        let body = format!(r#"{{"password":"{PASSWORD}"}}"#);
        let response = self.send(post("/api/v1/auth/login", &body)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let cookie = response.headers()[header::SET_COOKIE]
            .to_str()
            .expect("a cookie");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let token = json(response).await["csrf_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        (cookie, token)
    }
}

fn get(path: &str) -> Request<Body> {
    let builder = Request::get(path).header(header::HOST, "127.0.0.1:8600");
    builder.body(Body::empty()).expect("a request")
}

fn post(path: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header(header::HOST, "127.0.0.1:8600")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request
        .headers_mut()
        .insert(name, value.parse().expect("a header value"));
    request
}

async fn json(response: Response<Body>) -> Value {
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn setup_answers_24_words_once_and_signs_in() {
    let device = Device::start(LockState::Setup).await;
    let body = format!(r#"{{"password":"{PASSWORD}"}}"#);
    let response = device.send(post("/api/v1/crypto/setup", &body)).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let cookie = response.headers()[header::SET_COOKIE]
        .to_str()
        .expect("a cookie")
        .to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    assert!(
        !cookie.contains("Secure"),
        "plain HTTP on loopback: {cookie}"
    );
    assert_eq!(
        json(response).await["recovery_key"]
            .as_array()
            .map(Vec::len),
        Some(24)
    );
}

#[tokio::test]
async fn setup_through_the_relay_is_refused() {
    let device = Device::start(LockState::Setup).await;
    let request = post("/api/v1/crypto/setup", r#"{"password":"x"}"#);
    let request = with(request, CLIENT_HEADER, "remote 203.0.113.9");
    let response = device
        .send_from(Connection::Unix { uid: Some(0) }, request)
        .await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_wrong_password_is_401_and_names_the_next_step() {
    let device = Device::start(LockState::Locked).await;
    let response = device
        .send(post("/api/v1/crypto/unlock", r#"{"password":"wrong"}"#))
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    assert!(json(response).await["next_step"].is_string());
}

#[tokio::test]
async fn checks_come_in_their_fixed_order() {
    let device = Device::start(LockState::Locked).await;
    let status = |response: Response<Body>| response.status().as_u16();
    assert_eq!(status(device.send(get("/api/v1/nothing")).await), 404);
    let wrong_method = device.send(get("/api/v1/crypto/unlock")).await;
    assert_eq!(wrong_method.headers()[header::ALLOW], "POST");
    assert_eq!(status(wrong_method), 405);
    let no_type = Request::post("/api/v1/apps").header(header::HOST, "evil.example");
    assert_eq!(
        status(
            device
                .send(no_type.body(Body::from("x")).expect("a request"))
                .await
        ),
        415
    );
    let stranger = with(get("/api/v1/apps"), "host", "evil.example");
    assert_eq!(status(device.send(stranger).await), 421);
    assert_eq!(status(device.send(get("/api/v1/apps")).await), 423);
    assert_eq!(status(device.send(get("/api/v1/jobs")).await), 401);
}

#[tokio::test]
async fn a_mutation_needs_the_csrf_token_of_its_own_session() {
    let device = Device::start(LockState::Locked).await;
    let (cookie, token) = device.sign_in().await;
    let lock = || with(post("/api/v1/crypto/lock", ""), "cookie", &cookie);
    assert_eq!(device.send(lock()).await.status(), StatusCode::FORBIDDEN);
    let wrong = with(lock(), "x-csrf-token", "AAAA");
    assert_eq!(device.send(wrong).await.status(), StatusCode::FORBIDDEN);
    let right = with(lock(), "x-csrf-token", &token);
    assert_eq!(device.send(right).await.status(), StatusCode::NO_CONTENT);
    let after = with(get("/api/v1/jobs"), "cookie", &cookie);
    assert_eq!(device.send(after).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn root_on_the_device_is_signed_in_by_being_there() {
    let device = Device::start(LockState::Unlocked).await;
    let root = Connection::Unix { uid: Some(0) };
    assert_eq!(
        device.send_from(root, get("/api/v1/jobs")).await.status(),
        StatusCode::OK
    );
    let other = Connection::Unix { uid: Some(1000) };
    let refused = device.send_from(other, get("/api/v1/jobs")).await.status();
    assert_eq!(refused, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_follower_names_its_leader_before_it_reads_the_body() {
    let device = Device::start(LockState::Unlocked).await;
    let (cookie, token) = device.sign_in().await;
    *device.store.kernel.lock().expect("the role") = Role::Follower {
        leader: Some("https://192.0.2.9".to_owned()),
    };
    device
        .app
        .picture
        .refresh()
        .await
        .expect("an answering store");
    let request = with(
        post("/api/v1/remote/configure", "this is not JSON"),
        "cookie",
        &cookie,
    );
    let response = device.send(with(request, "x-csrf-token", &token)).await;
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    let location = response.headers()[header::LOCATION]
        .to_str()
        .expect("a location")
        .to_owned();
    assert_eq!(location, "https://192.0.2.9/api/v1/remote/configure");
    assert_eq!(json(response).await["leader"], "https://192.0.2.9");
}

#[tokio::test]
async fn pages_are_the_portal_and_unknown_api_paths_are_not() {
    let device = Device::start(LockState::Locked).await;
    let page = device.send(get("/apps/demo")).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers().contains_key(header::CONTENT_SECURITY_POLICY));
    let api = device.send(get("/api/v1/apps/demo/nothing")).await;
    assert_eq!(api.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        api.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
}

#[tokio::test]
async fn silent_services_are_starting_and_never_ready() {
    let device = Device::start(LockState::Unlocked).await;
    let response = device.send(get("/health/ready")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = json(response).await;
    assert_eq!(body["ready"], false);
    assert_eq!(body["status"], "starting");
}

#[tokio::test]
async fn the_event_stream_resumes_and_ends_with_the_lock() {
    let device = Device::start(LockState::Unlocked).await;
    let (cookie, token) = device.sign_in().await;
    let request = with(get("/api/v1/events"), "cookie", &cookie);
    let unknown = with(request, "last-event-id", "1-1");
    let mut stream = device.send(unknown).await.into_body();
    let first = stream
        .frame()
        .await
        .expect("a frame")
        .expect("bytes")
        .into_data()
        .expect("data");
    assert!(
        String::from_utf8_lossy(&first).contains("event: reset"),
        "{first:?}"
    );
    let lock = with(post("/api/v1/crypto/lock", ""), "cookie", &cookie);
    device.send(with(lock, "x-csrf-token", &token)).await;
    let rest = tokio::time::timeout(Duration::from_secs(10), stream.collect()).await;
    let rest = rest
        .expect("the end of the stream")
        .expect("a body")
        .to_bytes();
    assert!(
        String::from_utf8_lossy(&rest).contains("event: lock.changed"),
        "{rest:?}"
    );
}
