//! The doorkeeper: what stands between a stranger's bytes and the ZeroMQ library.
//!
//! The library trusts frame lengths (an absurd one aborts the process), waits for ever on a mute
//! peer, and queues for ever towards one that does not read. So each endpoint has a door:
//!
//! ```text
//!   stranger ──public socket──► door: peer's user, timed handshake, every frame header checked
//!                                 │  a handshake of the door's own making
//!                                 ▼
//!                               library (private socket in a 0700 directory)
//! ```
//!
//! The same door stands in clients, because the same decoder runs there. A peer that breaks a rule
//! costs its own connection only.

mod inspector;
mod keeper;
mod relay;
mod zmtp;

pub(crate) use keeper::{enter, keep};
pub(crate) use zmtp::SocketKind;

#[cfg(test)]
mod hostile_tests;

use std::{
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Where the library's own sockets lie: no other process has business there.
fn private_directory(runtime_dir: &Path) -> io::Result<PathBuf> {
    let bus = runtime_dir.join("bus");
    let directory = bus.join(format!(".{}", std::process::id()));
    if directory.exists() {
        return Ok(directory);
    }
    clear_the_dead(&bus);
    let made = std::fs::DirBuilder::new().mode(0o700).create(&directory);
    match made {
        Ok(()) => Ok(directory),
        // Another thread of this process was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(directory),
        Err(error) => Err(error),
    }
}

/// Removes what processes that were killed left behind.
fn clear_the_dead(bus: &Path) {
    let Ok(entries) = std::fs::read_dir(bus) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // A leftover costs nothing but a name.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A path nobody used before in this process.
pub(crate) fn private_path(runtime_dir: &Path) -> io::Result<PathBuf> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = private_directory(runtime_dir)?.join(serial.to_string());
    // A process of an earlier life may have had our number.
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(error),
    }
}
