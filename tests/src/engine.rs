//! A container engine of the world's own.

use crate::{
    Result,
    child::{self, Child},
    http_client::{self, request},
    wait,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A dockerd on its own directories and socket.
pub struct Engine {
    directory: PathBuf,
    socket: PathBuf,
    daemon: Option<Child>,
}

impl Engine {
    /// Starts dockerd and waits until it answers.
    pub async fn start(directory: &Path) -> Result<Self> {
        let socket = directory.join("docker.sock");
        let mut engine = Self {
            directory: directory.to_owned(),
            socket,
            daemon: None,
        };
        engine.restart().await?;
        Ok(engine)
    }

    /// The machine's own engine when one answers, otherwise a dockerd started here.
    pub async fn find_or_start(directory: &Path) -> Result<Self> {
        let socket = PathBuf::from("/var/run/docker.sock");
        let found = Self {
            directory: directory.to_owned(),
            socket,
            daemon: None,
        };
        match found.ping().await {
            Ok(()) => Ok(found),
            Err(_) => Self::start(directory).await,
        }
    }

    async fn ping(&self) -> Result<()> {
        let ping = request("GET", "/_ping", "engine", &[], "")?;
        http_client::send_unix(&self.socket, ping)
            .await?
            .expect(200)
            .map(|_| ())
    }

    /// Its API socket.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Starts it (again) on what it left on disk.
    pub async fn restart(&mut self) -> Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        // A killed engine leaves these, and refuses to start while they are there.
        let _ = std::fs::remove_file(self.directory.join("docker.pid"));
        let _ = std::fs::remove_file(self.socket());
        let mut command = Command::new("dockerd");
        command
            .arg("--data-root")
            .arg(self.directory.join("data"))
            .arg("--exec-root")
            .arg(self.directory.join("exec"))
            .arg("--pidfile")
            .arg(self.directory.join("docker.pid"))
            .arg("-H")
            .arg(format!("unix://{}", self.socket().display()))
            .args(["--storage-driver", "overlay2", "--log-level", "warn"]);
        self.daemon = Some(Child::start(command, &self.directory, "dockerd")?);
        wait::until("the container engine", Duration::from_secs(60), || {
            self.ping()
        })
        .await
        .map_err(|error| format!("{error}\n{}", self.output_tail()).into())
    }

    /// Asks its API for JSON.
    pub async fn get(&self, path: &str) -> Result<serde_json::Value> {
        let request = request("GET", path, "engine", &[], "")?;
        http_client::send_unix(&self.socket(), request)
            .await?
            .expect(200)?
            .json()
    }

    /// Names of all running containers.
    pub async fn running(&self) -> Result<Vec<String>> {
        let list = self.get("/containers/json").await?;
        let names = list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|container| {
                container["Names"][0]
                    .as_str()
                    .map(|name| name.trim_start_matches('/').to_owned())
            });
        Ok(names.collect())
    }

    fn output_tail(&self) -> String {
        let output = self.daemon.as_ref().map(Child::output).unwrap_or_default();
        let lines: Vec<&str> = output.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// As a power cut would: daemon, shims and containers at once, without a word; mounts and what
    /// lies in memory are gone.
    pub fn kill(&mut self) {
        let shims = child::mentioning(&self.directory.display().to_string());
        for shim in shims {
            for container in children_of(shim.as_raw()) {
                let pid = nix::unistd::Pid::from_raw(container);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
        child::kill_all_that_mention(&self.directory.display().to_string());
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
        }
        unmount_under(&self.directory);
        let _ = std::fs::remove_dir_all(self.directory.join("exec"));
    }
}

fn children_of(parent: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    list.unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

impl Drop for Engine {
    fn drop(&mut self) {
        match &mut self.daemon {
            Some(daemon) => {
                let _ = daemon.stop(Duration::from_secs(20));
            }
            // Killed on purpose, or not ours.
            None if self.socket != self.directory.join("docker.sock") => return,
            None => {}
        }
        self.kill();
    }
}

/// Detaches what a killed engine left mounted, deepest first.
fn unmount_under(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(directory))
        .collect();
    points.sort_unstable_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
    }
}
