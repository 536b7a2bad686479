//! Links between real sockets: answers, deaths and returns, secrets.

use piccolo_bus_client::{Bus, Handlers, Signal};
use piccolo_bus_schema::{
    Fault, ServiceName, health, host,
    ids::{UnixSeconds, VolumeId},
    lock,
};
use std::{path::Path, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(10);

fn runtime_dir() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(directory.path().join("bus")).expect("the bus directory");
    directory
}

fn component(name: &str) -> health::Component {
    health::Component {
        name: name.to_owned(),
        level: health::Level::Ok,
        message: "serving".to_owned(),
        role: None,
        since: UnixSeconds(1),
        details: Vec::new(),
    }
}

/// A store in a runtime of its own, so that dropping it is as sudden as a kill.
struct Store {
    runtime: Option<tokio::runtime::Runtime>,
    bus: Bus,
}

impl Store {
    async fn start(directory: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let bus = Bus::open(directory, ServiceName::Store);
        let serving = bus.clone();
        let bound: JoinHandle<()> = runtime.spawn(async move {
            let server = serving.bind().await.expect("the endpoints");
            tokio::spawn(server.run(handlers(), || {}));
        });
        bound.await.expect("a bound store");
        Self {
            runtime: Some(runtime),
            bus,
        }
    }

    fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn handlers() -> Handlers {
    Handlers::new()
        .on::<lock::Status, _, _>(|_, _| async { Ok(lock::LockState::Locked) })
        .on::<lock::Lock, _, _>(|_, _| std::future::pending())
        .on::<lock::Unlock, _, _>(|_, _| std::future::pending())
        .on::<health::Report, _, _>(|_, _| async { Ok(vec![component("store")]) })
}

#[tokio::test]
async fn a_question_is_answered() {
    let directory = runtime_dir();
    let _store = Store::start(directory.path()).await;
    let api = Bus::open(directory.path(), ServiceName::HealthApi);
    let state = api.call(lock::Status {}, PATIENCE).await;
    assert_eq!(state, Ok(lock::LockState::Locked));
}

#[tokio::test]
async fn a_question_asked_before_the_service_lives_is_answered_once_it_does() {
    let directory = runtime_dir();
    let api = Bus::open(directory.path(), ServiceName::HealthApi);
    let asking = tokio::spawn(async move { api.call(lock::Status {}, PATIENCE).await });
    tokio::task::yield_now().await;
    let _store = Store::start(directory.path()).await;
    assert_eq!(asking.await.expect("no panic"), Ok(lock::LockState::Locked));
}

#[tokio::test]
async fn every_death_of_the_peer_is_survived() {
    let directory = runtime_dir();
    let api = Bus::open(directory.path(), ServiceName::HealthApi);
    for _ in 0..5 {
        let store = Store::start(directory.path()).await;
        let state = api.call(lock::Status {}, PATIENCE).await;
        assert_eq!(state, Ok(lock::LockState::Locked));
        store.kill();
    }
}

#[tokio::test]
async fn a_change_cut_off_in_the_middle_has_an_unknown_outcome() {
    let directory = runtime_dir();
    let store = Store::start(directory.path()).await;
    let api = Bus::open(directory.path(), ServiceName::HealthApi);
    assert!(api.call(lock::Status {}, PATIENCE).await.is_ok());
    let password = api
        .offer_secret(Zeroizing::new(b"x".to_vec()))
        .expect("a ticket");
    let unlock = lock::Unlock {
        password,
        from: lock::Client::Local,
    };
    let calling = api.clone();
    let call = tokio::spawn(async move { calling.call(unlock, PATIENCE).await });
    // The status question queues behind the change on the same link, so its answer proves arrival.
    assert!(api.call(lock::Status {}, PATIENCE).await.is_ok());
    store.kill();
    assert_eq!(call.await.expect("no panic"), Err(Fault::OutcomeUnknown));
}

#[tokio::test]
async fn a_caller_outside_the_table_is_refused() {
    let directory = runtime_dir();
    let _store = Store::start(directory.path()).await;
    let apps = Bus::open(directory.path(), ServiceName::Apps);
    let refusal = apps.call(lock::Lock {}, PATIENCE).await;
    assert!(
        matches!(refusal, Err(Fault::Forbidden { .. })),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn the_sixty_fifth_call_in_flight_is_busy_at_once() {
    let directory = runtime_dir();
    let _store = Store::start(directory.path()).await;
    let api = Bus::open(directory.path(), ServiceName::HealthApi);
    assert!(api.call(lock::Status {}, PATIENCE).await.is_ok());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..80 {
        let api = api.clone();
        calls.spawn(async move { api.call(lock::Lock {}, Duration::from_secs(2)).await });
    }
    let outcomes = calls.join_all().await;
    let busy = outcomes
        .iter()
        .filter(|o| matches!(o, Err(Fault::Busy { .. })))
        .count();
    assert_eq!(busy, 16);
}

#[tokio::test]
async fn events_arrive_in_order_and_a_return_asks_for_a_snapshot() {
    let directory = runtime_dir();
    let api = Bus::open(directory.path(), ServiceName::HealthApi);
    let mut events = api.subscribe::<lock::LockChanged>(ServiceName::Store);
    for _ in 0..2 {
        let store = Store::start(directory.path()).await;
        assert!(matches!(events.next().await, Signal::Resync));
        let heard = async {
            loop {
                // The subscription reaches the publisher a moment after the connection does.
                store.bus.publish(&lock::LockChanged {
                    state: lock::LockState::Locked,
                });
                let next = tokio::time::timeout(Duration::from_millis(50), events.next());
                if let Ok(Signal::Event(event)) = next.await {
                    break event;
                }
            }
        };
        let event = tokio::time::timeout(PATIENCE, heard)
            .await
            .expect("an event");
        assert_eq!(event.state, lock::LockState::Locked);
        store.kill();
    }
}

#[tokio::test]
async fn a_ticket_is_good_for_one_claim() {
    let directory = runtime_dir();
    let store = Store::start(directory.path()).await;
    let host = Bus::open(directory.path(), ServiceName::Host);
    let secret = Zeroizing::new((0..=255).collect::<Vec<u8>>());
    let ticket = store.bus.offer_secret(secret.clone()).expect("a ticket");
    assert_eq!(
        host.claim_secret(&ticket).await.expect("the secret"),
        secret
    );
    let again = host.claim_secret(&ticket).await;
    assert!(matches!(again, Err(Fault::NotFound { .. })), "{again:?}");
}

#[tokio::test]
async fn a_service_that_never_comes_is_unavailable_by_name() {
    let directory = runtime_dir();
    let store = Bus::open(directory.path(), ServiceName::Store);
    let unmount = host::Unmount {
        volume: VolumeId::new("app-demo-data").expect("an id"),
    };
    let fault = store.call(unmount, Duration::from_millis(100)).await;
    let Err(Fault::Unavailable { what, .. }) = fault else {
        panic!("{fault:?}")
    };
    assert_eq!(what, "service host");
}
