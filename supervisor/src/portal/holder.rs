//! Who listens on a port, by /proc/net/tcp and everyone's descriptors.

use crate::procfs;
use std::fs;

/// The state LISTEN in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The holder in words: `nginx (process id 812)`.
pub(super) fn of_port(port: u16) -> String {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|table| listener(&table, port));
    let Some(inode) = inode else {
        return "a program outside of this network namespace's view".to_owned();
    };
    let holder = procfs::pids()
        .into_iter()
        .find(|pid| procfs::holds_socket(*pid, inode));
    match holder {
        Some(pid) => {
            let command = procfs::command(pid).unwrap_or_else(|| "a program".to_owned());
            format!("{command} (process id {pid})")
        }
        None => "a program of another user or container".to_owned(),
    }
}

/// The inode of the listening socket of a port.
fn listener(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let here = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        here.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listening_socket_of_that_port_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n\
             1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1\n";
        assert_eq!(listener(table, 8080), Some(22));
        assert_eq!(listener(table, 8081), None);
    }
}
