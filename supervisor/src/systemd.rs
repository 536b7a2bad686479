//! Our own supervisor: what systemd is told, and the descriptors it keeps for us.

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use sd_notify::NotifyState;
use std::{
    io,
    os::fd::{AsFd, OwnedFd, RawFd},
    time::Duration,
};

/// SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;

/// Descriptors kept from an earlier life: `<unit>/<name>`, and the portal's as `piccolod/<name>`.
pub(crate) type Kept = Vec<(String, OwnedFd)>;

/// Adopts the descriptors that systemd kept. Called once, before anything else opens descriptors.
pub(crate) fn take_back() -> Kept {
    let variable = |name| std::env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Kept::new();
    }
    let count: RawFd = variable("LISTEN_FDS").parse().unwrap_or(0);
    let names = variable("LISTEN_FDNAMES");
    let numbered = names.split(':').zip(FIRST..FIRST.saturating_add(count));
    numbered
        .filter_map(|(name, number)| Some((name.to_owned(), adopt(number).ok()?)))
        .collect()
}

/// Makes an inherited number an owned, close-on-exec descriptor: the kernel's own way of taking a
/// descriptor by its number.
fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    let this_process = pidfd_open(getpid(), PidfdFlags::empty())?;
    let descriptor = pidfd_getfd(this_process, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(descriptor)
}

/// How often systemd wants a sign of life: half of its limit.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// The loop and the control socket are up.
pub(crate) fn ready() {
    say(&[NotifyState::Ready]);
}

pub(crate) fn status(text: &str) {
    say(&[NotifyState::Status(text)]);
}

pub(crate) fn alive() {
    say(&[NotifyState::Watchdog]);
}

pub(crate) fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// Keeps a descriptor beyond our own life. What was kept under the name is replaced.
pub(crate) fn keep(unit: &str, name: &str, descriptor: impl AsFd) {
    let name = format!("{unit}/{name}");
    forget_named(&name);
    let state = [NotifyState::FdStore, NotifyState::FdName(&name)];
    if let Err(error) = sd_notify::notify_with_fds(&state, &[descriptor.as_fd()]) {
        tracing::warn!(name, %error, "systemd does not keep a descriptor");
    }
}

/// Lets systemd close a descriptor.
pub(crate) fn forget(unit: &str, name: &str) {
    forget_named(&format!("{unit}/{name}"));
}

/// Lets systemd close a descriptor by its full name.
pub(crate) fn forget_named(name: &str) {
    say(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// Without systemd this does nothing.
fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd can't be notified");
    }
}
