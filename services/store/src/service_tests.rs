//! The store as its peers meet it, over the in-memory bus, with a host that mounts directories.

use crate::{Config, Provider, Stretching, bus, vault::Vault, volumes::Volumes};
use piccolo_bus_client::{Bus, Handlers, memory::MemoryBus};
use piccolo_bus_schema::{
    Fault, ServiceName,
    app::StopForLock,
    control::{
        AppRecord, Change, Commit, Desired, Expectation, Read, ReadSecret, Record, RecordKey,
        RemoteRecord, Repository, SecretName, Verify,
    },
    host::{ListMounts, Mount, MountState, MountView, Mounted, Unmount},
    ids::{UnixSeconds, VolumeId},
    leadership::{Resource, Role, Simulate},
    local::ReadAudit,
    lock::{
        ChangePassword, Client, GenerateRecoveryKey, Lock, LockState, ResetPassword, Setup, Status,
        Unlock,
    },
    route::Withdraw,
    session::{Check, Open, SecretHash, SessionKind},
    volume::{Attach, AttachMode, Erase, VolumeClass},
};
use piccolo_runtime::Board;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(30);
const CHEAP: Stretching = Stretching {
    memory_kib: 64,
    passes: 1,
    lanes: 1,
};
const PASSWORD: &str = "an owner's long password";

/// A state directory that outlives the stores on it.
struct Home {
    directory: TempDir,
}

/// One life of a store.
struct Life {
    memory: MemoryBus,
    vault: Arc<Vault>,
}

impl Home {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn live(&self) -> Life {
        let memory = MemoryBus::new();
        let config = Config {
            state_dir: self.path().to_owned(),
            provider: Provider::Simulated,
            stretching: Some(CHEAP),
        };
        let bus = memory.join(ServiceName::Store);
        let vault = Vault::open(config, bus.clone(), Board::new()).expect("a vault");
        let volumes = Arc::new(Volumes::new(self.path(), bus, Arc::clone(&vault)));
        memory.serve(ServiceName::Store, bus::handlers(&vault, &volumes));
        memory.serve(
            ServiceName::Host,
            fake_host(&memory, self.path().to_owned()),
        );
        let withdrawn = Handlers::new().on::<Withdraw, _, _>(|_, _| async { Ok(()) });
        memory.serve(ServiceName::RouterProxy, withdrawn);
        let stopped = Handlers::new().on::<StopForLock, _, _>(|_, _| async { Ok(()) });
        memory.serve(ServiceName::Apps, stopped);
        Life { memory, vault }
    }
}

/// Mounts are plain directories: enough for the store's part.
fn fake_host(memory: &MemoryBus, state_dir: PathBuf) -> Handlers {
    let mounted: Arc<Mutex<BTreeSet<VolumeId>>> = Arc::default();
    let (adding, removing, listing) = (Arc::clone(&mounted), Arc::clone(&mounted), mounted);
    let bus = memory.join(ServiceName::Host);
    Handlers::new()
        .on::<Mount, _, _>(move |mount, _| {
            let (bus, adding) = (bus.clone(), Arc::clone(&adding));
            let path = state_dir.join("mounts").join(mount.volume.as_str());
            async move {
                assert_eq!(bus.claim_secret(&mount.key).await?.len(), 32);
                std::fs::create_dir_all(&path).expect("a mount point");
                let fresh = adding.lock().expect("the mounts").insert(mount.volume);
                Ok(Mounted { path, fresh })
            }
        })
        .on::<Unmount, _, _>(move |unmount, _| {
            removing.lock().expect("the mounts").remove(&unmount.volume);
            async { Ok(()) }
        })
        .on::<ListMounts, _, _>(move |_, _| {
            let listing = listing.lock().expect("the mounts").clone();
            let view = |volume| MountView {
                volume,
                state: MountState::Mounted,
            };
            async move { Ok(listing.into_iter().map(view).collect()) }
        })
}

impl Life {
    fn bus(&self, me: ServiceName) -> Bus {
        self.memory.join(me)
    }

    fn owner(&self) -> Bus {
        self.bus(ServiceName::HealthApi)
    }

    async fn set_up(&self) -> String {
        let owner = self.owner();
        let setup = Setup {
            password: offer(&owner, PASSWORD),
        };
        let key = owner.call(setup, PATIENCE).await.expect("a recovery key");
        let words = owner.claim_secret(&key.words).await.expect("the words");
        String::from_utf8(words.to_vec()).expect("text")
    }

    async fn unlock(&self, password: &str) -> Result<(), Fault> {
        let owner = self.owner();
        let unlock = Unlock {
            password: offer(&owner, password),
            from: Client::Local,
        };
        owner.call(unlock, PATIENCE).await
    }

    async fn state(&self) -> LockState {
        self.owner()
            .call(Status {}, PATIENCE)
            .await
            .expect("a state")
    }

    async fn put_app(&self, name: &str, expect: Vec<Expectation>) -> Result<u64, Fault> {
        let record = Record::Apps(AppRecord {
            name: name.parse().expect("a name"),
            spec: format!("name: {name}"),
            desired: Desired::Running,
            generation: 1,
            previous_spec: None,
            installed_at: UnixSeconds(1),
        });
        let commit = Commit {
            changes: vec![Change::Put(record)],
            expect,
        };
        self.bus(ServiceName::Apps)
            .call(commit, PATIENCE)
            .await
            .map(|done| done.revision)
    }

    async fn apps(&self) -> Vec<String> {
        let read = Read {
            repository: Repository::Apps,
        };
        let records = self.owner().call(read, PATIENCE).await.expect("records");
        records
            .into_iter()
            .filter_map(|versioned| match versioned.record {
                Record::Apps(app) => Some(app.name.to_string()),
                _ => None,
            })
            .collect()
    }
}

fn offer(bus: &Bus, text: &str) -> piccolo_bus_schema::ticket::Ticket {
    bus.offer_secret(Zeroizing::new(text.as_bytes().to_vec()))
        .expect("a ticket")
}

fn every_file(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        if entry.path().is_dir() {
            files.extend(every_file(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

#[tokio::test]
async fn records_survive_a_restart_and_only_the_owner_opens_them() {
    let home = Home::new();
    let life = home.live();
    assert_eq!(life.state().await, LockState::Setup);
    life.set_up().await;
    assert_eq!(life.put_app("demo", Vec::new()).await, Ok(1));
    drop(life);
    let life = home.live();
    assert_eq!(life.state().await, LockState::Locked);
    assert_eq!(life.put_app("more", Vec::new()).await, Err(Fault::Locked));
    let wrong = life.unlock("not the owner's password").await;
    assert!(matches!(wrong, Err(Fault::Invalid { .. })), "{wrong:?}");
    life.unlock(PASSWORD).await.expect("an open store");
    assert_eq!(life.apps().await, ["demo"]);
    let verified = life
        .owner()
        .call(Verify {}, PATIENCE)
        .await
        .expect("a proof");
    assert_eq!((verified.records, verified.commits), (1, 1));
}

#[tokio::test]
async fn a_weak_password_makes_nothing() {
    let home = Home::new();
    let life = home.live();
    let owner = life.owner();
    let setup = Setup {
        password: offer(&owner, "short"),
    };
    let refused = owner.call(setup, PATIENCE).await;
    assert!(matches!(refused, Err(Fault::Invalid { ref field, .. }) if field == "password"));
    assert_eq!(life.state().await, LockState::Setup);
    assert!(!home.path().join("keyset.json").exists());
}

#[tokio::test]
async fn the_fifth_wrong_password_is_refused_before_it_is_hashed_even_after_a_restart() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    life.owner().call(Lock {}, PATIENCE).await.expect("a lock");
    for _ in 0..5 {
        assert!(matches!(
            life.unlock("wrong wrong wrong").await,
            Err(Fault::Invalid { .. })
        ));
    }
    assert!(matches!(
        life.unlock(PASSWORD).await,
        Err(Fault::Busy { .. })
    ));
    drop(life);
    let life = home.live();
    assert!(matches!(
        life.unlock(PASSWORD).await,
        Err(Fault::Busy { .. })
    ));
}

#[tokio::test]
async fn the_recovery_words_set_a_new_password_until_new_words_are_made() {
    let home = Home::new();
    let life = home.live();
    let words = life.set_up().await;
    let owner = life.owner();
    let reset = |words: &str, password: &str| ResetPassword {
        recovery_key: offer(&owner, words),
        new_password: offer(&owner, password),
        from: Client::Local,
    };
    owner
        .call(reset(&words, "another long password"), PATIENCE)
        .await
        .expect("a reset");
    assert!(life.unlock(PASSWORD).await.is_err());
    life.unlock("another long password")
        .await
        .expect("the new password");
    let generate = GenerateRecoveryKey {
        password: offer(&owner, "another long password"),
        from: Client::Local,
    };
    owner.call(generate, PATIENCE).await.expect("new words");
    let refused = owner.call(reset(&words, PASSWORD), PATIENCE).await;
    assert!(matches!(refused, Err(Fault::Invalid { ref field, .. }) if field == "recovery_key"));
}

#[tokio::test]
async fn sessions_end_with_the_lock_and_with_a_new_password() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    let owner = life.owner();
    let hash = || SecretHash([1; 32]);
    let open = || Open {
        secret_hash: hash(),
        kind: SessionKind::Browser {
            user_agent: "test".into(),
        },
        from: Client::Local,
    };
    owner.call(open(), PATIENCE).await.expect("a session");
    owner
        .call(
            Check {
                secret_hash: hash(),
            },
            PATIENCE,
        )
        .await
        .expect("alive");
    let change = ChangePassword {
        old_password: offer(&owner, PASSWORD),
        new_password: offer(&owner, "another long password"),
        from: Client::Local,
    };
    owner.call(change, PATIENCE).await.expect("a new password");
    let ended = owner
        .call(
            Check {
                secret_hash: hash(),
            },
            PATIENCE,
        )
        .await;
    assert!(matches!(ended, Err(Fault::NotFound { .. })));
    owner.call(open(), PATIENCE).await.expect("a session");
    owner.call(Lock {}, PATIENCE).await.expect("a lock");
    life.unlock("another long password")
        .await
        .expect("an open store");
    let ended = owner
        .call(
            Check {
                secret_hash: hash(),
            },
            PATIENCE,
        )
        .await;
    assert!(matches!(ended, Err(Fault::NotFound { .. })));
}

#[tokio::test]
async fn a_follower_writes_nothing_and_a_stale_expectation_neither() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    let first = life.put_app("demo", Vec::new()).await.expect("a commit");
    let stale = Expectation {
        key: RecordKey::App("demo".parse().expect("a name")),
        revision: 99,
    };
    assert!(matches!(
        life.put_app("demo", vec![stale]).await,
        Err(Fault::Conflict { .. })
    ));
    let role = Role::Follower {
        leader: Some("https://192.0.2.9".into()),
    };
    let follow = Simulate {
        resource: Resource::Kernel,
        role,
    };
    let epoch = life
        .owner()
        .call(follow, PATIENCE)
        .await
        .expect("a role")
        .epoch;
    let refused = life.put_app("more", Vec::new()).await;
    assert!(
        matches!(
            refused,
            Err(Fault::NotLeader {
                leader: Some(_),
                ..
            })
        ),
        "{refused:?}"
    );
    let lead = Simulate {
        resource: Resource::Kernel,
        role: Role::Leader,
    };
    let again = life.owner().call(lead, PATIENCE).await.expect("a role");
    assert!(again.epoch > epoch);
    assert_eq!(life.put_app("more", Vec::new()).await, Ok(first + 1));
}

#[tokio::test]
async fn secrets_travel_by_ticket_and_lie_sealed() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    let agent = life.bus(ServiceName::NexusAgent);
    let canary = "canary-relay-secret-7d1f";
    let remote = Record::Remote(RemoteRecord {
        enabled: true,
        endpoint: "wss://canary-endpoint.example/connect".into(),
        tld: "home.example".parse().expect("a name"),
        portal_hostname: "portal.home.example".parse().expect("a name"),
        acme_email: None,
    });
    let secret = Change::PutSecret {
        name: SecretName::RelayDevice,
        value: offer(&agent, canary),
    };
    let commit = Commit {
        changes: vec![Change::Put(remote), secret],
        expect: Vec::new(),
    };
    agent.call(commit, PATIENCE).await.expect("a commit");
    let read = ReadSecret {
        name: SecretName::RelayDevice,
    };
    let ticket = agent.call(read, PATIENCE).await.expect("a ticket");
    let bytes = agent.claim_secret(&ticket).await.expect("the secret");
    assert_eq!(bytes.as_slice(), canary.as_bytes());
    drop(life);
    for file in every_file(home.path()) {
        let bytes = std::fs::read(&file).expect("a file");
        for text in [canary, "canary-endpoint", PASSWORD, "portal.home.example"] {
            let found = bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes());
            assert!(!found, "{text} lies readable in {}", file.display());
        }
    }
}

#[tokio::test]
async fn a_volume_has_a_new_generation_each_time_it_is_mounted_and_none_when_erased() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    let apps = life.bus(ServiceName::Apps);
    let id: VolumeId = "app-demo-data".parse().expect("an id");
    let attach = || Attach {
        id: id.clone(),
        class: VolumeClass::Application,
        mode: AttachMode::ReadWrite,
    };
    let first = apps.call(attach(), PATIENCE).await.expect("a volume");
    assert!(first.path.is_dir());
    assert_eq!(apps.call(attach(), PATIENCE).await, Ok(first.clone()));
    let detach = piccolo_bus_schema::volume::Detach { id: id.clone() };
    apps.call(detach, PATIENCE).await.expect("a detach");
    let second = apps.call(attach(), PATIENCE).await.expect("a volume");
    assert!(second.generation > first.generation);
    apps.call(Erase { id: id.clone() }, PATIENCE)
        .await
        .expect("an erase");
    assert!(!home.path().join("volumes/app-demo-data").exists());
    let follow = Simulate {
        resource: "app:demo".parse().expect("a resource"),
        role: Role::Follower { leader: None },
    };
    life.owner().call(follow, PATIENCE).await.expect("a role");
    assert!(matches!(
        apps.call(attach(), PATIENCE).await,
        Err(Fault::NotLeader { .. })
    ));
}

#[tokio::test]
async fn a_volume_whose_marker_is_missing_is_not_handed_out() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    let apps = life.bus(ServiceName::Apps);
    let id: VolumeId = "app-demo-data".parse().expect("an id");
    let attach = || Attach {
        id: id.clone(),
        class: VolumeClass::Application,
        mode: AttachMode::ReadWrite,
    };
    apps.call(attach(), PATIENCE).await.expect("a volume");
    std::fs::remove_file(home.path().join("mounts/app-demo-data/.piccolo-volume")).expect("marker");
    let refused = apps.call(attach(), PATIENCE).await;
    assert!(
        matches!(refused, Err(Fault::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn damage_is_a_fault_that_names_the_record_and_deletes_nothing() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    life.put_app("demo", Vec::new()).await.expect("a commit");
    let open = life.vault.open_stores().expect("an open store");
    open.ledger
        .run(|ledger| ledger.scrub())
        .await
        .expect("an owner")
        .expect("one file");
    drop(open);
    drop(life);
    let path = home.path().join("control/control.db");
    let database = rusqlite::Connection::open(&path).expect("the database");
    database
        .execute("UPDATE records SET sealed = zeroblob(length(sealed))", [])
        .expect("the damage");
    drop(database);
    let before = std::fs::metadata(&path).expect("the database").len();
    let life = home.live();
    assert!(life.unlock(PASSWORD).await.is_err());
    let LockState::Fault(fault) = life.state().await else {
        panic!("no fault")
    };
    assert!(fault.explanation.contains("damaged"), "{fault:?}");
    assert_eq!(
        std::fs::metadata(&path).expect("the database").len(),
        before
    );
}

#[tokio::test]
async fn a_missing_keyset_beside_data_is_a_fault_and_not_a_setup() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    drop(life);
    std::fs::remove_file(home.path().join("keyset.json")).expect("the keyset");
    assert!(matches!(home.live().state().await, LockState::Fault(_)));
}

#[tokio::test]
async fn what_happens_while_locked_is_in_the_audit_log_after_the_unlock() {
    let home = Home::new();
    let life = home.live();
    life.set_up().await;
    life.owner().call(Lock {}, PATIENCE).await.expect("a lock");
    assert!(life.unlock("wrong wrong wrong").await.is_err());
    life.unlock(PASSWORD).await.expect("an open store");
    let entries = life
        .owner()
        .call(ReadAudit { after: 0 }, PATIENCE)
        .await
        .expect("the log");
    let outcomes: Vec<&str> = entries.iter().map(|entry| entry.outcome.as_str()).collect();
    assert!(outcomes.contains(&"refused: wrong secret"), "{outcomes:?}");
}
