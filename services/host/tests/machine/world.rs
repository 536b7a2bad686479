//! A host with a state directory and network namespace of its own, and a store that offers keys.

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::Pid,
};
use piccolo_bus_client::{Bus, Handlers, memory::MemoryBus};
use piccolo_bus_schema::{
    Command, Fault, ServiceName,
    host::{ListMounts, Mount, MountState, Mounted, Unmount},
    ids::VolumeId,
    local::RecordAudit,
};
use piccolo_host::{Config, Host};
use piccolo_runtime::{Board, Environment};
use rustix::fs::{IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, open};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use zeroize::Zeroizing;

const NOTHING: Option<&str> = None;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn volume(id: &str) -> VolumeId {
    VolumeId::new(id).expect("a valid id")
}

pub(crate) struct World {
    store: Bus,
    apps: Bus,
    audits: Mutex<mpsc::UnboundedReceiver<RecordAudit>>,
    state: TempDir,
    _tasks: JoinSet<()>,
}

impl World {
    /// The firewall table, the reserved ports and the mounts of this machine must not change, so the
    /// test's thread, and every process it starts, moves to namespaces of its own.
    pub(crate) async fn start() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("tests run as root");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(NOTHING, "/", NOTHING, private, NOTHING).expect("a namespace of our own");
        Self::start_in_this_namespace().await
    }

    pub(crate) async fn start_in_this_namespace() -> Self {
        let state = tempfile::tempdir().expect("a directory");
        let variables = [
            ("PICCOLO_STATE_DIR", state.path().to_str().expect("UTF-8")),
            ("PICCOLO_PORTS_HOST_BIND", "15000-25000"),
            ("PICCOLO_PORTS_PUBLIC", "35000-45000"),
            ("PICCOLO_UPDATES_DRIVER", "none"),
        ];
        let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = Config::from_environment(&Environment::of(variables)).expect("valid");

        let memory = MemoryBus::new();
        let (lines, audits) = mpsc::unbounded_channel();
        let store = Handlers::new().on(move |line: RecordAudit, _| {
            let _ = lines.send(line);
            async { Ok(()) }
        });
        memory.serve(ServiceName::Store, store);
        let bus = memory.join(ServiceName::Host);
        let host = Host::start(&bus, &Board::new(), config).await;
        memory.serve(ServiceName::Host, host.handlers);
        let tasks = host.tasks;
        Self {
            store: memory.join(ServiceName::Store),
            apps: memory.join(ServiceName::Apps),
            audits: Mutex::new(audits),
            state,
            _tasks: tasks,
        }
    }

    pub(crate) async fn call<C: Command>(&self, command: C) -> Result<C::Reply, Fault> {
        let from = if C::CALLERS == [ServiceName::Apps] {
            &self.apps
        } else {
            &self.store
        };
        from.call(command, PATIENCE).await
    }

    /// Mounts with the volume's one key; the ciphertext is made as the store makes it.
    pub(crate) async fn mount(&self, id: &str, read_only: bool) -> Result<Mounted, Fault> {
        self.make_ciphertext(id);
        self.ask(id, read_only, &[7; 32]).await
    }

    pub(crate) async fn mount_with_key(&self, id: &str, key: &[u8]) -> Result<Mounted, Fault> {
        self.make_ciphertext(id);
        self.ask(id, false, key).await
    }

    pub(crate) async fn mount_uninitialised(&self, id: &str) -> Result<Mounted, Fault> {
        self.ask(id, false, &[7; 32]).await
    }

    async fn ask(&self, id: &str, read_only: bool, key: &[u8]) -> Result<Mounted, Fault> {
        let key = self.store.offer_secret(Zeroizing::new(key.to_vec()))?;
        let volume = volume(id);
        self.call(Mount {
            volume,
            key,
            read_only,
        })
        .await
    }

    fn make_ciphertext(&self, id: &str) {
        let directory = self.state.path().join("volumes").join(id);
        fs::create_dir_all(&directory).expect("a directory");
        let names = directory.join("gocryptfs.diriv");
        if !names.exists() {
            fs::write(names, [3; 16]).expect("a file");
        }
    }

    pub(crate) fn ciphertext_contains(&self, id: &str, name: &str) -> bool {
        self.state
            .path()
            .join("volumes")
            .join(id)
            .join(name)
            .exists()
    }

    pub(crate) async fn unmount(&self, id: &str) -> Result<(), Fault> {
        self.call(Unmount { volume: volume(id) }).await
    }

    pub(crate) async fn state(&self, id: &str) -> Option<MountState> {
        let views = self.call(ListMounts {}).await.expect("lists");
        let mut views = views.into_iter();
        views
            .find(|view| view.volume == volume(id))
            .map(|view| view.state)
    }

    pub(crate) async fn until(&self, state: MountState, id: &str) {
        let reached = async {
            while self.state(id).await != Some(state) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .expect("the state is reached");
    }

    pub(crate) async fn until_process_is(&self, name: &str, pid: u32) {
        let comm = format!("/proc/{pid}/comm");
        let reached = async {
            while fs::read_to_string(&comm).is_ok_and(|comm| comm.trim() != name) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .expect("the program is there");
    }

    pub(crate) async fn audited(&self, action: &str) -> RecordAudit {
        let mut audits = self.audits.lock().await;
        loop {
            let line = tokio::time::timeout(PATIENCE, audits.recv()).await;
            let line = line.expect("audited in time").expect("the store listens");
            if line.action == action {
                return line;
            }
        }
    }

    /// The gocryptfs processes of a volume of this world.
    pub(crate) fn servers(&self, id: &str) -> Vec<Pid> {
        servers_of(&self.mount_point(id))
    }

    fn mount_point(&self, id: &str) -> PathBuf {
        let state = fs::canonicalize(self.state.path()).expect("it exists");
        state.join("mounts").join(id)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let mounts = self.state.path().join("mounts");
        for entry in fs::read_dir(mounts).into_iter().flatten().flatten() {
            let path = entry.path();
            while rustix::mount::unmount(&path, rustix::mount::UnmountFlags::empty()).is_ok() {}
            make_mutable(&path);
        }
    }
}

fn servers_of(mount_point: &Path) -> Vec<Pid> {
    let tail = format!("\0{}\0", mount_point.display());
    let processes = fs::read_dir("/proc").expect("readable").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let serves = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(tail.as_bytes())
    };
    pids.filter(serves).map(Pid::from_raw).collect()
}

fn make_mutable(path: &Path) {
    let Ok(directory) = open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) else {
        return;
    };
    if let Ok(flags) = ioctl_getflags(&directory) {
        let _ = ioctl_setflags(&directory, flags - IFlags::IMMUTABLE);
    }
}
