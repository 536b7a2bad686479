//! Descriptors that outlive a process: handed over at start by name (sd_listen_fds(3)), deposited
//! with piccolod at any time (sd_notify(3), `FDSTORE=1`).

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use sd_notify::NotifyState;
use std::{
    collections::HashMap,
    io,
    net::{TcpListener, UdpSocket},
    os::fd::{AsFd, OwnedFd, RawFd},
    os::unix::net::UnixListener,
};

/// SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;

/// What this start of the process was given.
#[derive(Debug, Default)]
pub struct Descriptors {
    by_name: HashMap<String, OwnedFd>,
}

impl Descriptors {
    /// Adopts what piccolod handed over. Call once, before anything else opens descriptors.
    pub fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let count = std::env::var("LISTEN_FDS")
            .ok()
            .and_then(|text| text.parse().ok());
        let numbers = FIRST..FIRST + count.unwrap_or(0);
        let by_name = names
            .split(':')
            .zip(numbers)
            .filter_map(|(name, number)| {
                adopt(number)
                    .inspect_err(|error| tracing::warn!(name, %error, "descriptor not adopted"))
                    .ok()
                    .map(|descriptor| (name.to_owned(), descriptor))
            })
            .collect();
        Self { by_name }
    }

    /// Names of everything that was handed over and not taken yet.
    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// Takes a descriptor by its name.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        self.by_name.remove(name)
    }

    /// Takes a listening TCP socket.
    pub fn take_tcp_listener(&mut self, name: &str) -> Option<TcpListener> {
        self.take(name).map(TcpListener::from)
    }

    /// Takes a listening Unix socket.
    pub fn take_unix_listener(&mut self, name: &str) -> Option<UnixListener> {
        self.take(name).map(UnixListener::from)
    }

    /// Takes a UDP socket.
    pub fn take_udp_socket(&mut self, name: &str) -> Option<UdpSocket> {
        self.take(name).map(UdpSocket::from)
    }
}

/// Makes a handed-over number an owned, close-on-exec descriptor. The kernel's own way of taking a
/// descriptor by number needs no `unsafe`; the original is closed afterwards.
fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    let this_process = pidfd_open(getpid(), PidfdFlags::empty())?;
    let descriptor = pidfd_getfd(this_process, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(descriptor)
}

/// Deposits a descriptor with piccolod under a name; the next start of this service gets it back.
pub fn deposit(name: &str, descriptor: impl AsFd) -> io::Result<()> {
    let state = [NotifyState::FdStore, NotifyState::FdName(name)];
    sd_notify::notify_with_fds(&state, &[descriptor.as_fd()])
}

/// Takes a deposited descriptor out of piccolod's store.
pub fn withdraw(name: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
}
