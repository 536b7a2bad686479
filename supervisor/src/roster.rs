//! The live processes, written down: a piccolod that follows a killed one waits for its children.

use crate::procfs;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How often a predecessor's children are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// One process. The start time tells it from a later process of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    unit: String,
    pid: i32,
    start_time: u64,
}

/// The file `roster.json` of the runtime directory.
#[derive(Debug)]
pub(crate) struct Roster {
    path: PathBuf,
}

impl Roster {
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        Self {
            path: runtime_dir.join("roster.json"),
        }
    }

    /// Replaces the roster.
    pub(crate) fn write<'a>(
        &self,
        processes: impl Iterator<Item = (&'a str, Pid)>,
    ) -> io::Result<()> {
        let members: Vec<_> = processes
            .filter_map(|(unit, pid)| {
                let pid = pid.as_raw_nonzero().get();
                Some(Member {
                    unit: unit.to_owned(),
                    pid,
                    start_time: procfs::stat(pid)?.start_time,
                })
            })
            .collect();
        let next = self.path.with_extension("next");
        fs::write(&next, serde_json::to_vec(&members)?)?;
        fs::rename(next, &self.path)
    }

    /// Waits until the children of a killed piccolod have ended: their lease is lost, so they
    /// drain and exit. What is left after the grace is killed.
    pub(crate) async fn await_predecessors(&self, grace: Duration) {
        let members = fs::read(&self.path).unwrap_or_default();
        let mut members: Vec<Member> = serde_json::from_slice(&members).unwrap_or_default();
        let until = Instant::now() + grace;
        loop {
            members.retain(Member::is_alive);
            if members.is_empty() || Instant::now() >= until {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        for member in members {
            tracing::warn!(
                unit = member.unit,
                pid = member.pid,
                "killed a leftover process"
            );
            if let Some(pid) = Pid::from_raw(member.pid)
                && let Err(error) = kill_process_group(pid, Signal::KILL)
            {
                tracing::warn!(%error, "signal not delivered");
            }
        }
    }
}

impl Member {
    fn is_alive(&self) -> bool {
        procfs::stat(self.pid)
            .is_some_and(|stat| stat.start_time == self.start_time && !stat.is_zombie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_the_same_number_that_started_later_is_another_one() {
        let me = i32::try_from(std::process::id()).expect("a pid");
        let start_time = procfs::stat(me).expect("alive").start_time;
        let member = |start_time| Member {
            unit: "store".to_owned(),
            pid: me,
            start_time,
        };
        assert!(member(start_time).is_alive());
        assert!(!member(start_time + 1).is_alive());
    }
}
