//! Encrypted volumes: keys sealed in the control store, a journal beside the ciphertext, mounts by
//! host.
//!
//! gocryptfs can't tell a wrong key from an empty volume, so a marker is written at creation and
//! checked before anything is handed out. Containers bind `<mount>/data`, which only exists while
//! the volume is mounted.

use crate::{
    chain::hexadecimal,
    files,
    ledger::{Edit, encode},
    locking,
    seal::{Key, rand_bytes},
    vault::{OpenStores, Vault},
};
use piccolo_bus_client::Bus;
use piccolo_bus_schema::{
    Fault,
    host::{ListMounts, Mount, MountState, MountView, Mounted, Unmount},
    ids::{Generation, VolumeId},
    leadership::Resource,
    volume::{Attach, AttachMode, Attached, Volume, VolumeChanged, VolumeClass, VolumeState},
};
use piccolo_runtime::clock;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

const REPOSITORY: &str = "volumes";
const MARKER: &str = ".piccolo-volume";
/// Mounting, and unmounting with a FUSE process that ends slowly.
const PATIENCE: Duration = Duration::from_secs(25);
/// How soon a mount whose process died is noticed.
const WATCH: Duration = Duration::from_secs(3);

/// The sealed record of a volume; deleting it is the erase.
#[derive(Serialize, Deserialize)]
struct VolumeRecord {
    id: VolumeId,
    class: VolumeClass,
    #[serde(with = "serde_bytes")]
    key: [u8; 32],
    /// Whether the marker was written: from then on it must be there.
    #[serde(default)]
    created: bool,
}

/// What is written beside the ciphertext; no secret.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Journal {
    /// A mount is being made: if it stands at the next start, nobody has counted it yet.
    mounting: bool,
    /// Wanted state.
    attached: bool,
    read_only: bool,
    generation: u64,
}

/// All volumes of this node.
pub(crate) struct Volumes {
    state_dir: PathBuf,
    bus: Bus,
    vault: Arc<Vault>,
    /// What stands, as this process knows it; held while a volume is worked on.
    attached: Mutex<HashMap<VolumeId, Standing>>,
    /// A lock is under way: nothing is attached.
    closed: AtomicBool,
}

#[derive(Clone, Copy)]
struct Standing {
    mode: AttachMode,
    generation: Generation,
}

impl Volumes {
    pub(crate) fn new(state_dir: &Path, bus: Bus, vault: Arc<Vault>) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            bus,
            vault,
            attached: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    fn ciphertext(&self, id: &VolumeId) -> PathBuf {
        self.state_dir.join("volumes").join(id.as_str())
    }

    fn journal_path(&self, id: &VolumeId) -> PathBuf {
        self.state_dir.join("volumes").join(format!("{id}.json"))
    }

    fn data(&self, id: &VolumeId) -> PathBuf {
        self.state_dir.join("mounts").join(id.as_str()).join("data")
    }

    /// The journal; one that was lost must not count from one again, since containers remember
    /// generations.
    fn journal(&self, id: &VolumeId, created: bool) -> Journal {
        let bytes = files::read(&self.journal_path(id)).ok().flatten();
        let read = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        read.unwrap_or_else(|| Journal {
            generation: if created { clock::now().0 } else { 0 },
            ..Journal::default()
        })
    }

    fn write_journal(&self, id: &VolumeId, journal: Journal) -> Result<(), Fault> {
        let bytes = serde_json::to_vec(&journal).unwrap_or_default();
        files::replace(&self.journal_path(id), &bytes).map_err(|error| disk(&error))
    }

    /// Refuses to attach from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Attaches again.
    pub(crate) fn reopen(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// Does any volume stand?
    pub(crate) async fn any_mounted(&self) -> bool {
        match self.bus.call(ListMounts {}, PATIENCE).await {
            Ok(mounts) => mounts
                .iter()
                .any(|mount| mount.state != MountState::NotMounted),
            Err(_) => false,
        }
    }

    /// Makes the volume if there is none and attaches it.
    pub(crate) async fn attach(&self, attach: Attach) -> Result<Attached, Fault> {
        let open = self.vault.open_stores()?;
        if attach.mode == AttachMode::ReadWrite {
            self.vault.registry.may_write(&attach.id)?;
        }
        let mut attached = self.attached.lock().await;
        if self.closed.load(Ordering::SeqCst) {
            return Err(Fault::Locked);
        }
        let record = self.record(&open, &attach).await?;
        let key = Key::from_bytes(record.key);
        let mut journal = self.journal(&attach.id, record.created);
        let read_only = attach.mode == AttachMode::ReadOnly;
        let uncounted = journal.mounting;
        journal.mounting = true;
        self.write_journal(&attach.id, journal)?;
        let mounted = self.mount(&attach.id, &key, read_only).await?;
        let checked = self.check_inside(&attach.id, &key, record.created, read_only);
        if let Err(why) = checked.await {
            let unmount = Unmount {
                volume: attach.id.clone(),
            };
            let _ = self.bus.call(unmount, PATIENCE).await;
            return Err(Fault::unavailable_until(
                format!("volume {}", attach.id),
                why,
                "Restore the volume from a copy; nothing was deleted.",
            ));
        }
        if !record.created {
            let created = VolumeRecord {
                created: true,
                ..record
            };
            self.put_record(&open, &created).await?;
        }
        if mounted.fresh || uncounted {
            journal.generation += 1;
        }
        journal = Journal {
            mounting: false,
            attached: true,
            read_only,
            ..journal
        };
        self.write_journal(&attach.id, journal)?;
        let generation = Generation(journal.generation);
        let standing = Standing {
            mode: attach.mode,
            generation,
        };
        let before = attached.insert(attach.id.clone(), standing);
        if mounted.fresh || before.is_none() {
            self.publish(&attach.id, attach.class, Some(standing));
        }
        Ok(Attached {
            path: self.data(&attach.id),
            generation,
        })
    }

    /// The volume's record, or a new one that is committed before anything is made.
    async fn record(&self, open: &OpenStores, attach: &Attach) -> Result<VolumeRecord, Fault> {
        let name = attach.id.to_string();
        let found = open
            .ledger
            .run(move |ledger| ledger.get::<VolumeRecord>(REPOSITORY, &name))
            .await??;
        let record = match found {
            Some(entry) => entry.value,
            None => self.create_record(open, attach).await?,
        };
        self.prepare_ciphertext(&attach.id)
            .map_err(|error| disk(&error))?;
        Ok(record)
    }

    async fn create_record(
        &self,
        open: &OpenStores,
        attach: &Attach,
    ) -> Result<VolumeRecord, Fault> {
        if self.ciphertext(&attach.id).exists() {
            // The record is the key: without it the ciphertext can't be opened, and must not be
            // written over with another one.
            return Err(Fault::unavailable(
                format!("volume {}", attach.id),
                "its key record is missing, but there is ciphertext",
            ));
        }
        let record = VolumeRecord {
            id: attach.id.clone(),
            class: attach.class,
            key: *Key::generate().expose(),
            created: false,
        };
        self.put_record(open, &record).await?;
        Ok(record)
    }

    async fn put_record(&self, open: &OpenStores, record: &VolumeRecord) -> Result<(), Fault> {
        let (name, plain) = (record.id.to_string(), encode(record)?);
        self.commit(
            open,
            Edit::Put {
                repository: REPOSITORY,
                name,
                plain,
            },
        )
        .await
    }

    async fn commit(&self, open: &OpenStores, edit: Edit) -> Result<(), Fault> {
        let registry = self.vault.registry.clone();
        open.ledger
            .run(move |ledger| {
                let roles = registry.hold();
                let epoch = roles.lead(&Resource::Kernel)?;
                ledger.commit(vec![edit], epoch)?;
                Ok::<_, Fault>(())
            })
            .await?
    }

    /// A volume needs no configuration file: a directory with 16 random bytes of IV.
    fn prepare_ciphertext(&self, id: &VolumeId) -> io::Result<()> {
        let directory = self.ciphertext(id);
        let iv = directory.join("gocryptfs.diriv");
        if iv.exists() {
            return Ok(());
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        files::replace(&iv, &rand_bytes::<16>())
    }

    async fn mount(&self, id: &VolumeId, key: &Key, read_only: bool) -> Result<Mounted, Fault> {
        let ticket = self
            .bus
            .offer_secret(Zeroizing::new(key.expose().to_vec()))?;
        let mount = Mount {
            volume: id.clone(),
            key: ticket,
            read_only,
        };
        self.bus.call(mount, PATIENCE).await
    }

    /// Writes the marker once, checks it ever after; the reason in words when it is not there.
    async fn check_inside(
        &self,
        id: &VolumeId,
        key: &Key,
        created: bool,
        read_only: bool,
    ) -> Result<(), String> {
        let data = self.data(id);
        let expected = hexadecimal(
            key.derive(&format!("piccolo volume marker 1 {id}"))
                .expose(),
        );
        let work = move || {
            let root = data.parent().ok_or("the volume has no root")?;
            let marker = root.join(MARKER);
            match fs::read_to_string(&marker) {
                Ok(found) if found == expected => {}
                Ok(_) => return Err("its marker belongs to another volume".to_owned()),
                Err(_) if created || read_only => {
                    return Err(
                        "its marker is missing: the key or the ciphertext is not its own".into(),
                    );
                }
                Err(_) => {
                    files::replace(&marker, expected.as_bytes()).map_err(|e| e.to_string())?
                }
            }
            if !read_only && !data.exists() {
                fs::create_dir(&data).map_err(|error| error.to_string())?;
                fs::set_permissions(&data, fs::Permissions::from_mode(0o755))
                    .map_err(|error| error.to_string())?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| error.to_string())?
    }

    /// Unmounts; who holds it is named.
    pub(crate) async fn detach(&self, id: &VolumeId) -> Result<(), Fault> {
        let mut attached = self.attached.lock().await;
        self.bus
            .call(Unmount { volume: id.clone() }, PATIENCE)
            .await?;
        let journal = self.journal(id, true);
        if journal.attached {
            self.write_journal(
                id,
                Journal {
                    attached: false,
                    ..journal
                },
            )?;
        }
        if attached.remove(id).is_some() {
            self.publish(id, VolumeClass::Application, None);
        }
        Ok(())
    }

    /// Detaches every volume that is mounted.
    pub(crate) async fn detach_all(&self) -> Result<(), Fault> {
        let mounts = self.bus.call(ListMounts {}, PATIENCE).await?;
        for mount in mounts {
            if mount.state != MountState::NotMounted {
                self.detach(&mount.volume).await?;
            }
        }
        Ok(())
    }

    /// The key record goes first: from then on the ciphertext is noise.
    pub(crate) async fn erase(&self, id: &VolumeId) -> Result<(), Fault> {
        let open = self.vault.open_stores()?;
        self.detach(id).await?;
        let edit = Edit::Delete {
            repository: REPOSITORY,
            name: id.to_string(),
        };
        self.commit(&open, edit).await?;
        open.ledger.run(|ledger| ledger.scrub()).await??;
        let (ciphertext, journal) = (self.ciphertext(id), self.journal_path(id));
        let removed = tokio::task::spawn_blocking(move || {
            for outcome in [fs::remove_dir_all(ciphertext), fs::remove_file(journal)] {
                match outcome {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            Ok(())
        });
        match removed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(disk(&error)),
            Err(error) => Err(Fault::Internal {
                log_id: error.to_string(),
            }),
        }
    }

    /// All volumes.
    pub(crate) async fn list(&self) -> Result<Vec<Volume>, Fault> {
        let open = self.vault.open_stores()?;
        let records = open
            .ledger
            .run(|ledger| ledger.read::<VolumeRecord>(REPOSITORY))
            .await??;
        let attached = self.attached.lock().await;
        let mut volumes: Vec<Volume> = records
            .into_iter()
            .map(|entry| {
                let record = entry.value;
                let standing = attached.get(&record.id).copied();
                self.view(&record.id, record.class, standing)
            })
            .collect();
        volumes.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(volumes)
    }

    fn view(&self, id: &VolumeId, class: VolumeClass, standing: Option<Standing>) -> Volume {
        let state = match standing {
            Some(Standing { mode, generation }) => VolumeState::Attached {
                mode,
                path: self.data(id),
                generation,
            },
            None => VolumeState::Detached,
        };
        Volume {
            id: id.clone(),
            class,
            state,
            size: None,
        }
    }

    fn publish(&self, id: &VolumeId, class: VolumeClass, standing: Option<Standing>) {
        self.bus.publish(&VolumeChanged {
            volume: self.view(id, class, standing),
        });
    }

    /// Takes up what stands from an earlier life of this process.
    async fn adopt(&self, mounts: &[MountView]) {
        let mut attached = self.attached.lock().await;
        for mount in mounts {
            let journal = self.journal(&mount.volume, true);
            if mount.state == MountState::NotMounted || !journal.attached || journal.mounting {
                continue;
            }
            let mode = if journal.read_only {
                AttachMode::ReadOnly
            } else {
                AttachMode::ReadWrite
            };
            let generation = Generation(journal.generation);
            attached
                .entry(mount.volume.clone())
                .or_insert(Standing { mode, generation });
        }
    }

    /// Notices mounts whose FUSE process died and attaches them anew: a new generation.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut timer = tokio::time::interval(WATCH);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            if self.vault.open_stores().is_err() {
                locking::sweep(&self.vault, &self).await;
                continue;
            }
            let Ok(mounts) = self.bus.call(ListMounts {}, PATIENCE).await else {
                continue;
            };
            self.adopt(&mounts).await;
            for mount in mounts
                .into_iter()
                .filter(|mount| mount.state != MountState::Mounted)
            {
                let standing = self.attached.lock().await.get(&mount.volume).copied();
                let Some(Standing { mode, .. }) = standing else {
                    continue;
                };
                tracing::warn!(volume = %mount.volume, "the mount was lost, attaching again");
                let class = VolumeClass::Application;
                let again = Attach {
                    id: mount.volume,
                    class,
                    mode,
                };
                if let Err(fault) = self.attach(again).await {
                    tracing::warn!(%fault, "the volume can't be attached again yet");
                }
            }
        }
    }
}

fn disk(error: &io::Error) -> Fault {
    Fault::unavailable_until(
        "the state directory",
        error.to_string(),
        "Check the disk for errors and free space.",
    )
}
