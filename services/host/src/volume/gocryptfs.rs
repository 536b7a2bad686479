//! gocryptfs: one process per mounted volume, holding its key.

use super::{MasterKey, Mode, VolumeError};
use crate::{fuse, program};
use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Mounting takes some 0.1 s; key derivation is ours, so nothing in it stretches.
const PATIENCE: Duration = Duration::from_secs(15);

/// The cipher, spelled out in full. A volume has no configuration file, so a default that changed
/// between versions would show an empty directory and take writes.
const CIPHER: [&str; 8] = [
    "-aessiv=false",
    "-xchacha=false",
    "-plaintextnames=false",
    "-deterministic-names=false",
    "-hkdf=true",
    "-raw64=true",
    "-longnames=true",
    "-longnamemax=255",
];

/// What our mounts always are: readable by containers, without device files or setuid programs;
/// and silent to the system's log.
const BEHAVIOUR: [&str; 6] = [
    "-q",
    "-nosyslog",
    "-masterkey=stdin",
    "-allow_other",
    "-nosuid",
    "-nodev",
];

/// Mounts and returns once the file system serves. The process daemonizes into a session of its
/// own and outlives this one.
pub(crate) async fn mount(
    ciphertext: &Path,
    mount_point: &Path,
    mode: Mode,
    key: &MasterKey,
) -> Result<(), VolumeError> {
    fuse::present()?;
    let (ciphertext, mount_point) = (ciphertext.to_string_lossy(), mount_point.to_string_lossy());
    let arguments = arguments(&ciphertext, &mount_point, mode);
    let finished = program::run("gocryptfs", &arguments, Some(key.to_line()), PATIENCE).await?;
    if finished.is_success() {
        return Ok(());
    }
    Err(VolumeError::Gocryptfs {
        code: finished.code,
        words: words(finished.code),
        complaint: finished.complaint(),
    })
}

fn arguments<'a>(ciphertext: &'a str, mount_point: &'a str, mode: Mode) -> Vec<&'a str> {
    let mode: &[&str] = match mode {
        Mode::ReadWrite => &[],
        Mode::ReadOnly => &["-ro"],
    };
    let paths = ["--", ciphertext, mount_point];
    [&BEHAVIOUR[..], &CIPHER[..], mode, &paths[..]].concat()
}

/// gocryptfs(1), "EXIT CODES".
const fn words(code: Option<i32>) -> &'static str {
    match code {
        Some(6) => "the ciphertext directory can't be used",
        Some(9) => "the key is empty",
        Some(10) => "the mount point can't be used",
        Some(11 | 23) => "its configuration can't be read",
        Some(12) => "the key is wrong",
        Some(19) => "FUSE refused the mount",
        Some(22) => "the key can't be read",
        Some(26) => "the ciphertext is damaged",
        Some(_) => "it failed",
        None => "it was killed",
    }
}

/// Processes that serve a mount point, whether it is still mounted here or not.
pub(crate) fn serving(mount_point: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| serves(*pid, mount_point)).collect()
}

/// Is this process, by its command line, the gocryptfs of a mount point? One that ended and waits
/// to be reaped has none.
pub(crate) fn serves(pid: u32, mount_point: &Path) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| is_serving(&line, mount_point))
}

fn is_serving(command_line: &[u8], mount_point: &Path) -> bool {
    let mut arguments = command_line
        .strip_suffix(b"\0")
        .unwrap_or(command_line)
        .split(|byte| *byte == 0);
    let program = arguments
        .next()
        .map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path)));
    let named =
        program.is_some_and(|path| path.file_name().is_some_and(|name| name == "gocryptfs"));
    named && arguments.next_back() == Some(mount_point.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_never_an_argument_and_paths_come_last() {
        let line = arguments("/s/volumes/a", "/s/mounts/a", Mode::ReadOnly);
        assert!(line.contains(&"-masterkey=stdin") && line.contains(&"-ro"));
        assert_eq!(
            line[line.len() - 3..],
            ["--", "/s/volumes/a", "/s/mounts/a"]
        );
        assert!(!arguments("/c", "/m", Mode::ReadWrite).contains(&"-ro"));
    }

    #[test]
    fn a_server_is_known_by_its_program_and_mount_point() {
        let at = Path::new("/s/mounts/a");
        let line = b"/usr/bin/gocryptfs\0-fg\0--\0/s/volumes/a\0/s/mounts/a\0";
        assert!(is_serving(line, at));
        assert!(!is_serving(line, Path::new("/s/mounts")));
        assert!(!is_serving(b"/usr/bin/cat\0/s/mounts/a\0", at));
        assert!(!is_serving(b"", at));
    }
}
