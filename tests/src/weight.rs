//! What each process weighs: proportional set size, from proc_pid_smaps_rollup(5).

use crate::child;
use std::path::Path;

/// One process and its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    pub name: String,
    /// Proportional set size in KiB: shared pages are divided among those who share them.
    pub pss_kib: u64,
}

/// Every process of a device, known by the directory only it uses; sorted by name.
pub fn of_device(directory: &Path) -> Vec<Weight> {
    let processes = child::mentioning(&directory.display().to_string());
    let mut weights: Vec<Weight> = processes
        .iter()
        .filter_map(|pid| {
            let name = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            let name = name.file_name()?.to_string_lossy().into_owned();
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            Some(Weight {
                name,
                pss_kib: pss(&rollup)?,
            })
        })
        .collect();
    weights.sort_by(|one, other| one.name.cmp(&other.name));
    weights
}

fn pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportional_set_size_is_read() {
        let rollup = "5581-7ffd ---p 00000000 00:00 0 [rollup]\nRss:  884 kB\nPss:  385 kB\n";
        assert_eq!(pss(rollup), Some(385));
    }
}
