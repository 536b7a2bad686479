//! What proc(5) says about processes.

use rustix::process::Pid;
use std::{fs, path::Path};

/// The fields of `/proc/PID/stat` that are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    pub(crate) is_zombie: bool,
    /// In clock ticks since boot: with the pid, it tells a process from a later one.
    pub(crate) start_time: u64,
}

/// `None` when there is no such process.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command's name may hold anything, so what counts begins after the last parenthesis.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    // starttime is field 22 of the line, state is field 3.
    let start_time = fields.nth(22 - 3 - 2)?.parse().ok()?;
    Some(Stat {
        parent,
        is_zombie,
        start_time,
    })
}

/// Resident memory in bytes.
pub(crate) fn resident_memory(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .strip_suffix("kB")?;
    Some(kibibytes.trim().parse::<u64>().ok()? * 1024)
}

/// All processes.
pub(crate) fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The name of a process's command.
pub(crate) fn command(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Whether a process has a socket open, by the socket's inode.
pub(crate) fn holds_socket(pid: i32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut descriptors = entries.into_iter().flatten().flatten();
    descriptors
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(&wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_and_spaces_confuses_nothing() {
        let line = "42 (a) b (c) Z 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 1";
        let stat = parse_stat(line).expect("it parses");
        assert_eq!(stat.parent, 7);
        assert!(stat.is_zombie);
        assert_eq!(stat.start_time, 98765);
    }

    #[test]
    fn this_process_is_found_with_its_memory() {
        let pid = rustix::process::getpid();
        assert!(stat(pid.as_raw_nonzero().get()).is_some_and(|stat| !stat.is_zombie));
        assert!(resident_memory(pid).is_some_and(|bytes| bytes > 4096));
    }
}
