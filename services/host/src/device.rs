//! Who this device is, and whether its clock is set.

use crate::program;
use piccolo_bus_schema::{Fault, host::Device, ids::UnixSeconds};
use piccolo_runtime::clock;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The machine id must not leave the device (machine-id(5)), so ours is derived from it.
const LABEL: &[u8] = b"piccolo device identity, version 1\0";
/// Asking is a process; the answer changes once a boot.
const KEEP_CLOCK: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads identity, system and clock. `Unavailable` on a system without a machine id.
pub(crate) async fn read(clock: &KernelClock) -> Result<Device, Fault> {
    let machine_id = ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|text| text.len() == 32)
        .ok_or_else(|| {
            let why = "this system has no machine id";
            Fault::unavailable_until("the device's identity", why, "run systemd-machine-id-setup")
        })?;
    let uname = rustix::system::uname();
    let words = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    Ok(Device {
        id: identity(&machine_id),
        hostname: words(uname.nodename()),
        os: os_name(&read_or_empty("/etc/os-release")),
        kernel: words(uname.release()),
        architecture: words(uname.machine()),
        memory: memory(&read_or_empty("/proc/meminfo")),
        booted_at: UnixSeconds(boot_time(&read_or_empty("/proc/stat"))),
        clock_synchronised: clock.is_synchronised().await,
    })
}

fn read_or_empty(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// 32 hexadecimal digits.
fn identity(machine_id: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(LABEL);
    hash.update(machine_id.as_bytes());
    let digest = hash.finalize();
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `PRETTY_NAME` of os-release(5), or `Linux`.
fn os_name(os_release: &str) -> String {
    let line = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = line.map(|value| value.trim().trim_matches(['"', '\'']));
    name.filter(|name| !name.is_empty())
        .unwrap_or("Linux")
        .to_owned()
}

/// Bytes, from `MemTotal:  24689384 kB`.
fn memory(meminfo: &str) -> u64 {
    field(meminfo, "MemTotal:")
        .unwrap_or(0)
        .saturating_mul(1024)
}

/// Seconds since the epoch, from `btime 1767225600`.
fn boot_time(stat: &str) -> u64 {
    field(stat, "btime").unwrap_or(0)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether the kernel's clock is synchronised, asked at most every [`KEEP_CLOCK`].
#[derive(Debug, Default)]
pub(crate) struct KernelClock {
    known: Mutex<Option<(Instant, bool)>>,
}

impl KernelClock {
    async fn is_synchronised(&self) -> bool {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, answer)) = known
            && asked.elapsed() < KEEP_CLOCK
        {
            return answer;
        }
        let answer = ask().await;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), answer));
        answer
    }
}

/// systemd-timesyncd's mark, else timedatectl (which asks the kernel), else whether the clock is at
/// least as late as this build.
async fn ask() -> bool {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return true;
    }
    let arguments = ["show", "--property=NTPSynchronized", "--value"];
    match program::run("timedatectl", &arguments, None, PATIENCE).await {
        Ok(said) if said.is_success() => said.stdout.trim() == "yes",
        Ok(_) | Err(_) => clock::is_plausible(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_identity_is_stable_and_does_not_show_the_machine_id() {
        let machine = "3d1219c7c4c5404aaa1f6d2a48adfda4";
        let id = identity(machine);
        assert_eq!(id, identity(machine));
        assert_eq!(id.len(), 32);
        assert_ne!(id, machine);
        assert_ne!(id, identity("3d1219c7c4c5404aaa1f6d2a48adfda5"));
    }

    #[test]
    fn facts_are_read_from_the_kernels_texts() {
        let os = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(os_name(os), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(os_name("PRETTY_NAME=\"\""), "Linux");
        assert_eq!(
            memory("MemTotal:       2048 kB\nMemFree: 1 kB\n"),
            2048 * 1024
        );
        assert_eq!(boot_time("cpu 1 2\nbtime 1767225600\n"), 1_767_225_600);
    }

    #[tokio::test]
    async fn this_machine_is_described() {
        let device = read(&KernelClock::default()).await.expect("a machine id");
        assert!(device.memory > 0 && device.booted_at.0 > 0 && !device.kernel.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_upsets_the_readers(text: String) {
            let _ = (os_name(&text), memory(&text), boot_time(&text));
        }
    }
}
