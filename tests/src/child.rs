//! Processes a world starts: their output in a file, their end certain.

use crate::Result;
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use std::{
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child as StdChild, Command, ExitStatus},
    time::{Duration, Instant},
};

/// A process of ours, in a process group of its own; killed with its group when dropped.
#[derive(Debug)]
pub struct Child {
    process: StdChild,
    log: PathBuf,
    ended: bool,
}

impl Child {
    /// Starts a command with its output in `<directory>/<name>.log`.
    pub fn start(mut command: Command, directory: &Path, name: &str) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let program = command.get_program().to_owned();
        let process = command
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("can't start {}: {error}", program.display()))?;
        Ok(Self {
            process,
            log,
            ended: false,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap_or(i32::MAX))
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Has it ended, and how?
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.process.try_wait()?;
        self.ended |= status.is_some();
        Ok(status)
    }

    /// SIGTERM, then waits for its end; SIGKILL to its group when it takes too long.
    pub fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.exit_status()? {
            return Ok(status);
        }
        kill(self.raw_pid(), Signal::SIGTERM)?;
        let start = Instant::now();
        while start.elapsed() < grace {
            if let Some(status) = self.exit_status()? {
                return Ok(status);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        self.kill()?;
        Err(format!("{} did not stop within {grace:?}", self.log.display()).into())
    }

    /// SIGKILL to the process alone, and reaps it.
    pub fn kill_alone(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.ended = true;
        Ok(())
    }

    /// SIGKILL to its whole group, and reaps it.
    pub fn kill(&mut self) -> Result<()> {
        // The group may be gone already.
        let _ = killpg(self.raw_pid(), Signal::SIGKILL);
        self.process.wait()?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.kill();
        }
    }
}

/// Ends processes by SIGKILL that carry a text in their command line or environment, until none is
/// left. The text must be the path of a directory only this world uses.
pub fn kill_all_that_mention(text: &str) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let found = mentioning(text);
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Living processes, other than this one, that carry a text in their command line or environment.
pub fn mentioning(text: &str) -> Vec<Pid> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own && *pid != 1 && !is_zombie(*pid))
        .filter(|pid| {
            ["cmdline", "environ"].iter().any(|file| {
                std::fs::read(format!("/proc/{pid}/{file}"))
                    .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
            })
        })
        .filter_map(|pid| i32::try_from(pid).ok().map(Pid::from_raw))
        .collect()
}

fn is_zombie(pid: u32) -> bool {
    // Field 3 of proc_pid_stat(5), after the name in parentheses.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('Z'))
        })
        .unwrap_or(true)
}
