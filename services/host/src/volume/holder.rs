//! Who keeps a volume from being unmounted.

use super::{
    gocryptfs,
    mount_table::{self, Device},
};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// A process that holds something of a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    name: String,
    pid: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// More names would not help; the first one ended is usually all of them.
const NAMED: usize = 5;

/// `held by postgres (pid 12), cat (pid 14)`.
pub(crate) fn sentence(holders: &[Holder]) -> String {
    let named: Vec<_> = holders.iter().take(NAMED).map(Holder::to_string).collect();
    match (named.len(), holders.len().saturating_sub(NAMED)) {
        (0, _) => "held by something that can't be seen".to_owned(),
        (_, 0) => format!("held by {}", named.join(", ")),
        (_, more) => format!("held by {} and {more} more", named.join(", ")),
    }
}

/// In what way a volume is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// By what makes unmounting answer EBUSY: directories, open and mapped files.
    InUse,
    /// Or by a mount of another mount namespace, which keeps the FUSE process after ours is gone.
    /// (Before, every namespace that hears of our mounts has one too.)
    InUseOrMounted,
}

/// Finds the processes that hold a volume. Nothing is asked of the volume's own file system, which
/// may be stuck.
pub(crate) fn find(mount_point: &Path, device: Device, hold: Hold) -> Vec<Holder> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ours = namespace(Path::new("/proc/thread-self"));
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut holders: Vec<_> = pids
        .filter(|pid| !gocryptfs::serves(*pid, mount_point))
        .filter(|pid| {
            let process = PathBuf::from(format!("/proc/{pid}"));
            uses(&process, device)
                || hold == Hold::InUseOrMounted && has_it_mounted(&process, device, ours.as_deref())
        })
        .map(|pid| Holder {
            name: name(pid),
            pid,
        })
        .collect();
    holders.sort();
    holders
}

/// The device of a volume that only other mount namespaces have mounted still.
pub(crate) fn device_elsewhere(ciphertext: &Path) -> Option<Device> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut tables =
        processes.filter_map(|entry| fs::read_to_string(entry.path().join("mountinfo")).ok());
    tables.find_map(|table| {
        let mut mounts = mount_table::parse(&table).into_iter();
        mounts
            .find(|mount| mount.source == ciphertext)
            .map(|mount| mount.device)
    })
}

fn uses(process: &Path, device: Device) -> bool {
    let links = ["cwd", "root", "exe"].map(|link| process.join(link));
    links.iter().any(|link| lies_on(link, device))
        || fs::read_dir(process.join("fd"))
            .is_ok_and(|open| open.flatten().any(|entry| lies_on(&entry.path(), device)))
        || fs::read_to_string(process.join("maps")).is_ok_and(|maps| is_mapped(&maps, device))
}

/// Another mount namespace, a container's, keeps a mount of its own.
fn has_it_mounted(process: &Path, device: Device, ours: Option<&Path>) -> bool {
    namespace(process).as_deref() != ours
        && fs::read_to_string(process.join("mountinfo")).is_ok_and(|table| {
            let table = mount_table::parse(&table);
            table.iter().any(|mount| mount.device == device)
        })
}

fn namespace(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/mnt")).ok()
}

fn lies_on(link: &Path, device: Device) -> bool {
    // What the kernel remembers of the file will do; asking a stuck file system would not end.
    statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).is_ok_and(|stat| {
        let of_file = Device {
            major: stat.stx_dev_major,
            minor: stat.stx_dev_minor,
        };
        of_file == device
    })
}

/// `7f00-7f01 r-xp 00000000 00:27 12 /data/lib.so`; the device is hexadecimal here.
fn is_mapped(maps: &str, device: Device) -> bool {
    maps.lines().any(|line| {
        let number = |text| u32::from_str_radix(text, 16).ok();
        let of_line = line.split_whitespace().nth(3).and_then(|field| {
            let (major, minor) = field.split_once(':')?;
            Some(Device {
                major: number(major)?,
                minor: number(minor)?,
            })
        });
        of_line == Some(device)
    })
}

fn name(pid: u32) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name: String = comm.trim().chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() {
        "a process".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holder(name: &str, pid: u32) -> Holder {
        Holder {
            name: name.to_owned(),
            pid,
        }
    }

    #[test]
    fn holders_are_named_and_the_rest_counted() {
        assert_eq!(
            sentence(&[holder("postgres", 1234)]),
            "held by postgres (pid 1234)"
        );
        let many: Vec<_> = (0..7).map(|pid| holder("cat", pid)).collect();
        assert!(sentence(&many).ends_with("and 2 more"));
        assert!(sentence(&[]).contains("can't be seen"));
    }

    #[test]
    fn a_mapped_file_is_found_by_its_hexadecimal_device() {
        let maps = "7f00-7f01 r-xp 00000000 00:27 12 /data/lib.so\n7f02-7f03 rw-p 0 00:00 0\n";
        assert!(is_mapped(
            maps,
            Device {
                major: 0,
                minor: 0x27
            }
        ));
        assert!(!is_mapped(
            maps,
            Device {
                major: 0,
                minor: 27
            }
        ));
    }

    proptest! {
        #[test]
        fn no_map_upsets_the_reader(text in "(.|\n){0,200}") {
            let _ = is_mapped(&text, Device { major: 0, minor: 39 });
        }
    }
}
