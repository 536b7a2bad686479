//! The vault: the lock state and, while unlocked, the data key and both databases.

use crate::{
    audit,
    chain::hexadecimal,
    config::Config,
    error::DatabaseError,
    files,
    keyset::{Keyset, KeysetError, Stretching, Words},
    leadership::Registry,
    ledger::{Ledger, Proof},
    notebook::Notebook,
    owner::Owner,
    password,
    seal::Key,
    sessions,
    throttle::Throttle,
    unlock_key::Deposit,
};
use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    Fault,
    control::Revision,
    health::Level,
    ids::UnixSeconds,
    leadership::{Leadership, Resource},
    lock::{Client, LockChanged, LockState, StoreFault},
};
use piccolo_runtime::{Board, clock};
use std::{
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Mutex as Turn, Semaphore};

/// What is open while unlocked. Clones share it.
#[derive(Clone)]
pub(crate) struct OpenStores {
    pub(crate) ledger: Owner<Ledger>,
    pub(crate) notebook: Owner<Notebook>,
    deposit: Deposit,
    verified_at: UnixSeconds,
}

enum Phase {
    Setup,
    Locked,
    Preunlock,
    Unlocked(Box<OpenStores>),
    Fault(StoreFault),
}

/// The one lock of the device.
pub(crate) struct Vault {
    config: Config,
    bus: Bus,
    board: Board,
    phase: Mutex<Phase>,
    /// One change of state at a time.
    turn: Turn<()>,
    /// One hash at a time: each takes 64 MiB and a core.
    hash: Semaphore,
    /// One waiting place for callers from the relay: a storm from outside leaves the owner's free.
    remote_place: Semaphore,
    throttle: Mutex<Throttle>,
    pub(crate) registry: Registry,
}

impl Vault {
    /// Looks at what is on disk; opens nothing.
    pub(crate) fn open(config: Config, bus: Bus, board: Board) -> io::Result<Arc<Self>> {
        let control = config.state_dir.join("control");
        std::fs::create_dir_all(&control)?;
        std::fs::create_dir_all(config.state_dir.join("volumes"))?;
        std::fs::create_dir_all(config.state_dir.join("mounts"))?;
        let throttle = files::read(&control.join("throttle.json"))?
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let registry = Registry::new(config.provider);
        let vault = Self {
            config,
            bus,
            board,
            phase: Mutex::new(Phase::Locked),
            turn: Turn::new(()),
            hash: Semaphore::new(1),
            remote_place: Semaphore::new(1),
            throttle: Mutex::new(throttle),
            registry,
        };
        let phase = match vault.read_keyset() {
            Ok(Some(_)) => Phase::Locked,
            Ok(None) if vault.control_dir().join("control.db").exists() => {
                Phase::Fault(StoreFault {
                    explanation: "The keyset is missing, but there is data sealed under it.".into(),
                    next_step: "Put keyset.json back from a copy; nothing was deleted.".into(),
                })
            }
            Ok(None) => Phase::Setup,
            Err(error) => Phase::Fault(keyset_fault(&error)),
        };
        vault.set_phase(phase);
        Ok(Arc::new(vault))
    }

    pub(crate) const fn bus(&self) -> &Bus {
        &self.bus
    }

    pub(crate) fn control_dir(&self) -> PathBuf {
        self.config.state_dir.join("control")
    }

    fn keyset_path(&self) -> PathBuf {
        self.config.state_dir.join("keyset.json")
    }

    fn read_keyset(&self) -> Result<Option<Keyset>, KeysetError> {
        let bytes = files::read(&self.keyset_path())
            .map_err(|error| KeysetError::Format(error.to_string()))?;
        bytes.map(|bytes| Keyset::parse(&bytes)).transpose()
    }

    fn keyset(&self) -> Result<Keyset, Fault> {
        match self.read_keyset() {
            Ok(Some(keyset)) => Ok(keyset),
            Ok(None) => Err(Fault::conflict("the device is not set up yet")),
            Err(error) => Err(Fault::unavailable("the keyset", error.to_string())),
        }
    }

    fn write_keyset(&self, keyset: &Keyset) -> Result<(), Fault> {
        files::replace(&self.keyset_path(), &keyset.to_bytes()).map_err(|error| {
            Fault::unavailable_until(
                "the keyset",
                format!("it can't be written: {error}"),
                "Check the disk for errors and free space.",
            )
        })
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_phase(&self, phase: Phase) {
        *self.phase() = phase;
        let state = self.state();
        self.report(&state);
        self.bus.publish(&LockChanged { state });
    }

    fn report(&self, state: &LockState) {
        match state {
            LockState::Setup => self
                .board
                .ok("store", "Waiting for its owner to set a password."),
            LockState::Locked => self.board.ok("store", "Locked, waiting for its owner."),
            LockState::Preunlock => self.board.ok("store", "Opening and verifying."),
            LockState::Unlocked => self.board.ok("store", "Unlocked, every record verified."),
            LockState::Fault(fault) => {
                let words = format!("{} {}", fault.explanation, fault.next_step);
                self.board.set("store", Level::Error, words);
            }
        }
        let leads = self.registry.hold().of(&Resource::Kernel).role.is_leader();
        self.board
            .set_role("store", if leads { "leader" } else { "follower" });
    }

    /// Says the role anew, after it changed.
    pub(crate) fn report_role(&self) {
        self.report(&self.state());
    }

    /// The lock state.
    pub(crate) fn state(&self) -> LockState {
        match &*self.phase() {
            Phase::Setup => LockState::Setup,
            Phase::Locked => LockState::Locked,
            Phase::Preunlock => LockState::Preunlock,
            Phase::Unlocked(_) => LockState::Unlocked,
            Phase::Fault(fault) => LockState::Fault(fault.clone()),
        }
    }

    /// What is open, or why nothing is.
    pub(crate) fn open_stores(&self) -> Result<OpenStores, Fault> {
        match &*self.phase() {
            Phase::Unlocked(open) => Ok((**open).clone()),
            Phase::Setup | Phase::Locked | Phase::Preunlock => Err(Fault::Locked),
            Phase::Fault(fault) => Err(Fault::unavailable_until(
                "the store",
                fault.explanation.clone(),
                fault.next_step.clone(),
            )),
        }
    }

    /// Makes the keyset and opens everything; the recovery words.
    pub(crate) async fn set_up(&self, secret: Vec<u8>) -> Result<Words, Fault> {
        let _turn = self.turn.lock().await;
        if self.state() != LockState::Setup {
            return Err(Fault::conflict("the device is set up already"));
        }
        let secret = zeroize::Zeroizing::new(secret);
        check_strength("password", &secret)?;
        let stretching = self.config.stretching;
        let made = blocking(move || {
            let words = Words::generate();
            let stretching = stretching.unwrap_or_else(Stretching::measured);
            Keyset::create(&secret, &words, stretching).map(|(keyset, key)| (words, keyset, key))
        })
        .await?;
        let (words, keyset, key) = made.map_err(internal)?;
        self.write_keyset(&keyset)?;
        self.open_with(key).await?;
        audit::own(self, "owner".to_owned(), "lock.setup", "done").await;
        Ok(words)
    }

    /// Checks a password before it costs anything to check: throttle, then hash.
    async fn check_password(
        &self,
        secret: &[u8],
        from: Client,
        field: &'static str,
    ) -> Result<Key, Fault> {
        let secret = zeroize::Zeroizing::new(secret.to_vec());
        self.try_secret(from, field, move |keyset| keyset.open(&secret))
            .await
    }

    async fn try_secret(
        &self,
        from: Client,
        field: &'static str,
        open: impl FnOnce(&Keyset) -> Result<Key, KeysetError> + Send + 'static,
    ) -> Result<Key, Fault> {
        let keyset = self.keyset()?;
        let busy = || Fault::busy(Duration::from_secs(1));
        let _place = match from {
            Client::Remote(_) => Some(self.remote_place.try_acquire().map_err(|_| busy())?),
            Client::Local | Client::Lan(_) => None,
        };
        let _hash = self.hash.acquire().await.map_err(|_| busy())?;
        // Looked at with the place in hand: those who waited here may have failed meanwhile.
        if let Some(wait) = self.throttle().wait(from, clock::now().0) {
            return Err(Fault::busy(Duration::from_secs(wait)));
        }
        match blocking(move || open(&keyset)).await? {
            Ok(key) => {
                self.throttle().succeeded(from);
                self.save_throttle();
                Ok(key)
            }
            Err(KeysetError::Wrong) => {
                self.throttle().failed(from, clock::now().0);
                self.save_throttle();
                audit::own(self, actor(from), "lock.unlock", "refused: wrong secret").await;
                Err(Fault::invalid(field, "is wrong"))
            }
            Err(error) => Err(Fault::unavailable("the keyset", error.to_string())),
        }
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save_throttle(&self) {
        let bytes = serde_json::to_vec(&*self.throttle()).unwrap_or_default();
        if let Err(error) = files::replace(&self.control_dir().join("throttle.json"), &bytes) {
            tracing::warn!(%error, "failed attempts are not remembered over a restart");
        }
    }

    /// Checks the password and, when locked, unlocks.
    pub(crate) async fn unlock(&self, secret: &[u8], from: Client) -> Result<(), Fault> {
        let key = self.check_password(secret, from, "password").await?;
        let _turn = self.turn.lock().await;
        match self.state() {
            LockState::Unlocked => Ok(()),
            LockState::Setup => Err(Fault::conflict("the device is not set up yet")),
            // A fault may have been mended meanwhile: opening tells.
            LockState::Locked | LockState::Preunlock | LockState::Fault(_) => {
                self.open_with(key).await?;
                // A power cut is a lock too: whoever was signed in before it signs in again.
                self.end_sessions(self.reset_happened()).await?;
                audit::own(self, actor(from), "lock.unlock", "done").await;
                Ok(())
            }
        }
    }

    /// Opens and verifies both databases; a mismatch is a fault that says which record.
    async fn open_with(&self, key: Key) -> Result<(), Fault> {
        self.set_phase(Phase::Preunlock);
        let directory = self.control_dir();
        let opening = key.clone();
        let opened = blocking(move || {
            let (ledger, proof) = Ledger::open(&directory, &opening)?;
            let notebook = Notebook::open(&directory, &opening)?;
            Ok::<_, DatabaseError>((ledger, proof, notebook))
        })
        .await?;
        let (ledger, proof, notebook) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let fault = error.into_fault();
                self.set_phase(Phase::Fault(fault.clone()));
                return Err(Fault::unavailable_until(
                    "the store",
                    fault.explanation,
                    fault.next_step,
                ));
            }
        };
        let deposit = Deposit::make(&key).map_err(internal)?;
        self.open_done(ledger, proof, notebook, deposit).await
    }

    async fn open_done(
        &self,
        ledger: Ledger,
        proof: Proof,
        notebook: Notebook,
        deposit: Deposit,
    ) -> Result<(), Fault> {
        let roles = notebook.all::<Leadership>("role").unwrap_or_default();
        self.registry.restore(roles);
        let open = OpenStores {
            ledger: Owner::start("ledger", ledger).map_err(internal)?,
            notebook: Owner::start("notebook", notebook).map_err(internal)?,
            deposit,
            verified_at: clock::now(),
        };
        tracing::info!(
            revision = proof.head.revision,
            records = proof.records,
            "unlocked"
        );
        self.board
            .set_detail("store", "revision", proof.head.revision.to_string());
        self.set_phase(Phase::Unlocked(Box::new(open)));
        audit::join(self).await;
        Ok(())
    }

    /// Takes up the key an earlier life of this process left with piccolod.
    pub(crate) async fn resume(&self, descriptor: OwnedFd) {
        let _turn = self.turn.lock().await;
        match Deposit::take_back(descriptor) {
            Ok(Some((deposit, key))) => {
                // Opening leaves the key anew, under the same name.
                drop(deposit);
                if let Err(fault) = self.open_with(key).await {
                    tracing::error!(%fault, "the store does not open again");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the kept key can't be read; locked"),
        }
    }

    /// Forgets the key: wiped, databases closed, sessions ended. The caller has stopped who used it.
    pub(crate) async fn forget(&self) -> Result<(), Fault> {
        let Ok(open) = self.open_stores() else {
            return Ok(());
        };
        open.notebook
            .run(|notebook| sessions::end_all(notebook, false))
            .await??;
        open.deposit.wipe().map_err(internal)?;
        self.set_phase(Phase::Locked);
        Ok(())
    }

    /// Held during a lock, so that no unlock comes between.
    pub(crate) async fn take_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Sets a new password; ends the sessions of browsers.
    pub(crate) async fn change_password(
        &self,
        old: &[u8],
        new: Vec<u8>,
        from: Client,
    ) -> Result<(), Fault> {
        let open = self.open_stores()?;
        let new = zeroize::Zeroizing::new(new);
        check_strength("new_password", &new)?;
        let key = self.check_password(old, from, "old_password").await?;
        // First: a crash in between only signs out who was signed in.
        open.notebook
            .run(|notebook| sessions::end_all(notebook, false))
            .await??;
        self.rewrap(move |keyset| keyset.with_password(&key, &new))
            .await?;
        audit::own(self, actor(from), "lock.change-password", "done").await;
        Ok(())
    }

    /// Sets a new password with the recovery words; ends all sessions.
    pub(crate) async fn reset_password(
        &self,
        words: &[u8],
        new: Vec<u8>,
        from: Client,
    ) -> Result<(), Fault> {
        let new = zeroize::Zeroizing::new(new);
        check_strength("new_password", &new)?;
        let words = std::str::from_utf8(words).unwrap_or_default().to_owned();
        let words = zeroize::Zeroizing::new(words);
        let key = self
            .try_secret(from, "recovery_key", move |keyset| {
                keyset.open_with_words(&Words::parse(&words)?)
            })
            .await?;
        // While locked the sessions can't be reached: the note makes the next unlock end them.
        files::replace(&self.reset_note(), b"")
            .map_err(|error| Fault::unavailable("the state directory", error.to_string()))?;
        self.rewrap(move |keyset| keyset.with_password(&key, &new))
            .await?;
        if self.open_stores().is_ok() {
            self.end_sessions(true).await?;
        }
        audit::own(self, actor(from), "lock.reset-password", "done").await;
        Ok(())
    }

    fn reset_note(&self) -> PathBuf {
        self.control_dir().join("password-was-reset")
    }

    fn reset_happened(&self) -> bool {
        self.reset_note().exists()
    }

    /// Ends the sessions of browsers, and of tokens too after a reset.
    async fn end_sessions(&self, tokens: bool) -> Result<(), Fault> {
        let open = self.open_stores()?;
        open.notebook
            .run(move |notebook| {
                sessions::end_all(notebook, false)?;
                if tokens {
                    sessions::end_all(notebook, true)?;
                }
                Ok::<_, DatabaseError>(())
            })
            .await??;
        if tokens {
            let _ = std::fs::remove_file(self.reset_note());
        }
        Ok(())
    }

    /// Says the state again: a lock that was given up must be heard of by who stopped for it.
    pub(crate) fn announce(&self) {
        let state = self.state();
        self.bus.publish(&LockChanged { state });
    }

    /// New recovery words; the old ones stop working.
    pub(crate) async fn new_words(&self, secret: &[u8], from: Client) -> Result<Words, Fault> {
        let key = self.check_password(secret, from, "password").await?;
        let words = Words::generate();
        let made = Words::parse(words.expose()).map_err(internal)?;
        self.rewrap(move |keyset| keyset.with_recovery(&key, &made))
            .await?;
        audit::own(self, actor(from), "lock.generate-recovery-key", "done").await;
        Ok(words)
    }

    /// One atomic replacement of the keyset.
    async fn rewrap(
        &self,
        change: impl FnOnce(Keyset) -> Result<Keyset, KeysetError> + Send + 'static,
    ) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        let keyset = self.keyset()?;
        let changed = blocking(move || change(keyset)).await?.map_err(internal)?;
        self.write_keyset(&changed)
    }

    /// Where the control store stands.
    pub(crate) async fn revision(&self) -> Result<Revision, Fault> {
        let open = self.open_stores()?;
        let head = open.ledger.run(|ledger| ledger.head()).await??;
        Ok(Revision {
            revision: head.revision,
            checksum: hexadecimal(&head.checksum),
            epoch: head.epoch,
            verified_at: open.verified_at,
        })
    }
}

/// Work that hashes or waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> Fault {
    tracing::error!(%error, "internal error");
    Fault::Internal {
        log_id: format!("store-{}", clock::now().0),
    }
}

fn keyset_fault(error: &KeysetError) -> StoreFault {
    StoreFault {
        explanation: format!("The keyset can't be used: {error}."),
        next_step: "Put keyset.json back from a copy; nothing was deleted.".to_owned(),
    }
}

fn check_strength(field: &str, secret: &[u8]) -> Result<(), Fault> {
    let text = std::str::from_utf8(secret).map_err(|_| Fault::invalid(field, "must be text"))?;
    password::weakness(text).map_or(Ok(()), |why| Err(Fault::invalid(field, why)))
}

fn actor(from: Client) -> String {
    match from {
        Client::Local => "operator".to_owned(),
        Client::Lan(address) => format!("owner (LAN {address})"),
        Client::Remote(address) => format!("owner (remote {address})"),
    }
}
