//! The edge's words on the bus: what it answers, and what it asks its peers.

use crate::{
    certificate::{self, Shown},
    edge::Edge,
    keeper::Keeper,
    knowledge::Observed,
    table,
};
use futures_util::future::join_all;
use piccolo_bus_client::{Bus, Handlers, Signal, Subscription};
use piccolo_bus_schema::{
    Event, Fault, ServiceName,
    app::{EndpointChanged, ListEndpoints},
    control::{
        CertificateRecord, ControlCommitted, Read, ReadSecret, Record, RemoteRecord, Repository,
        SecretName,
    },
    ids::Hostname,
    leadership::{self, LeadershipChanged},
    lock::{self, LockChanged},
    route::{List, PublishChallenge, RemoveChallenge, Withdraw},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A peer that is restarted answers within a second; one that does not is asked again by the
/// timer, and its facts stay as they were.
const PATIENCE: Duration = Duration::from_secs(2);

/// The table of commands.
pub(crate) fn handlers(edge: &Arc<Edge>, keeper: &Arc<Keeper>) -> Handlers {
    let (listed, withdrawn) = (Arc::clone(keeper), Arc::clone(keeper));
    let (published, removed) = (Arc::clone(edge), Arc::clone(edge));
    Handlers::new()
        .on::<List, _, _>(move |List {}, _| {
            let routes = listed.list();
            async move { Ok(routes) }
        })
        .on::<Withdraw, _, _>(move |Withdraw {}, _| {
            withdrawn.withdraw();
            async { Ok(()) }
        })
        .on::<PublishChallenge, _, _>(move |challenge, _| {
            let PublishChallenge {
                host,
                token,
                key_authorization,
            } = challenge;
            tracing::info!(%host, "ACME challenge published");
            let result = published
                .challenges()
                .publish(host, token, key_authorization, Instant::now())
                .map_err(Fault::from);
            async move { result }
        })
        .on::<RemoveChallenge, _, _>(move |RemoveChallenge { host, token }, _| {
            removed.challenges().remove(host, token);
            async { Ok(()) }
        })
}

/// Turns what peers announce into one wake-up of the keeper. A close of the lock acts at once.
pub(crate) fn follow(bus: &Bus, keeper: &Arc<Keeper>) {
    let (store, apps) = (ServiceName::Store, ServiceName::Apps);
    wake_on::<ControlCommitted>(bus.subscribe(store), keeper);
    wake_on::<LeadershipChanged>(bus.subscribe(store), keeper);
    wake_on::<EndpointChanged>(bus.subscribe(apps), keeper);
    let mut lock: Subscription<LockChanged> = bus.subscribe(store);
    let keeper = Arc::clone(keeper);
    tokio::spawn(async move {
        loop {
            if let Signal::Event(LockChanged { state }) = lock.next().await {
                keeper.lock_changed(&state);
            }
            keeper.wake();
        }
    });
}

fn wake_on<E: Event>(mut subscription: Subscription<E>, keeper: &Arc<Keeper>) {
    let keeper = Arc::clone(keeper);
    tokio::spawn(async move {
        loop {
            subscription.next().await;
            keeper.wake();
        }
    });
}

/// What was found out, and which certificates could not be used.
pub(crate) struct Answers {
    pub(crate) observed: Observed,
    pub(crate) unusable: Vec<(Hostname, String)>,
}

/// Asks every peer at once. `current` are the certificates that serve now: only others are fetched.
pub(crate) async fn ask(
    bus: &Bus,
    current: &BTreeMap<Hostname, Arc<Shown>>,
    known_remote: Option<RemoteRecord>,
) -> Answers {
    let read = |repository| bus.call(Read { repository }, PATIENCE);
    let (lock, endpoints, remote, certificates, roles) = tokio::join!(
        bus.call(lock::Status {}, PATIENCE),
        bus.call(ListEndpoints {}, PATIENCE),
        read(Repository::Remote),
        read(Repository::Certificates),
        bus.call(leadership::Show {}, PATIENCE),
    );
    let endpoints = answered("endpoints", endpoints).map(|endpoints| endpoints.endpoints);
    let remote = answered("remote configuration", remote).map(|records| {
        records.into_iter().find_map(|found| match found.record {
            Record::Remote(remote) => Some(remote),
            Record::Apps(_) | Record::Certificates(_) | Record::Settings(_) => None,
        })
    });
    let certificates = answered("certificates", certificates).map(|records| {
        let certificates = records.into_iter().filter_map(|found| match found.record {
            Record::Certificates(certificate) => Some(certificate),
            Record::Apps(_) | Record::Remote(_) | Record::Settings(_) => None,
        });
        certificates.collect::<Vec<_>>()
    });
    let wanted = match remote.clone().unwrap_or(known_remote) {
        Some(remote) => table::certified_names(&remote, endpoints.as_deref().unwrap_or_default()),
        None => Vec::new(),
    };
    let records = certificates.as_deref().unwrap_or_default();
    let (good, unusable) = fetch(bus, current, &wanted, records).await;
    let observed = Observed {
        lock: answered("lock", lock),
        endpoints,
        remote,
        roles: answered("leadership", roles),
        certificates: good,
        certified: certificates.map(|records| {
            let issued = records
                .into_iter()
                .filter(|record| record.chain_pem.is_some());
            issued.map(|record| record.host).collect()
        }),
    };
    Answers { observed, unusable }
}

fn answered<T>(what: &str, answer: Result<T, Fault>) -> Option<T> {
    answer
        .inspect_err(|fault| tracing::debug!(what, %fault, "not answered, kept as it was"))
        .ok()
}

type Fetched = (Vec<(Hostname, Arc<Shown>)>, Vec<(Hostname, String)>);

/// Fetches and checks every wanted certificate that is not in use yet.
async fn fetch(
    bus: &Bus,
    current: &BTreeMap<Hostname, Arc<Shown>>,
    wanted: &[Hostname],
    records: &[CertificateRecord],
) -> Fetched {
    let new = records
        .iter()
        .filter(|record| wanted.contains(&record.host))
        .filter_map(|record| Some((&record.host, record.chain_pem.as_deref()?)))
        .filter(|(host, chain)| !current.get(host).is_some_and(|shown| shown.is_of(chain)));
    let fetched = join_all(new.map(|(host, chain)| async move {
        let shown = fetch_one(bus, host, chain).await;
        (host.clone(), shown)
    }));
    let mut good = Vec::new();
    let mut unusable = Vec::new();
    for (host, shown) in fetched.await {
        match shown {
            Ok(shown) => {
                tracing::info!(%host, fingerprint = shown.fingerprint, "certificate in use");
                good.push((host, Arc::new(shown)));
            }
            Err(why) => unusable.push((host, why)),
        }
    }
    (good, unusable)
}

async fn fetch_one(bus: &Bus, host: &Hostname, chain: &str) -> Result<Shown, String> {
    let fault = |fault: Fault| fault.to_string();
    let name = SecretName::TlsKey(host.clone());
    let ticket = bus
        .call(ReadSecret { name }, PATIENCE)
        .await
        .map_err(fault)?;
    let key = bus.claim_secret(&ticket).await.map_err(fault)?;
    certificate::check(host, chain, &key).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}
