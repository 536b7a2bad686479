//! Orphans: processes whose parents died become ours (PR_SET_CHILD_SUBREAPER), and their exits too.

use crate::procfs;
use rustix::process::{Pid, WaitOptions, getpid, waitpid};

/// Takes the exits of all dead children but the given ones, whose exits are somebody's to read.
/// Each is asked for by its pid: waiting for any child would steal theirs.
pub(crate) fn reap_orphans(except: &[Pid]) {
    let me = getpid().as_raw_nonzero().get();
    let dead = procfs::pids()
        .into_iter()
        .filter(|pid| procfs::stat(*pid).is_some_and(|stat| stat.is_zombie && stat.parent == me));
    let orphans = dead
        .filter_map(Pid::from_raw)
        .filter(|pid| !except.contains(pid));
    for orphan in orphans {
        if let Err(error) = waitpid(Some(orphan), WaitOptions::NOHANG) {
            tracing::debug!(%error, "an orphan was reaped by somebody else");
        }
    }
}
