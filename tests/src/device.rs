//! The device under test: piccolod, started as its owner's machine would.

use crate::{
    Result,
    api::Api,
    child::{self, Child},
    http_client::{self, Answer, Target, request},
    wait,
};
use std::{
    fmt::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

/// What a device is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    pub directory: PathBuf,
    pub binaries: PathBuf,
    pub portal_http: u16,
    pub portal_https: u16,
    pub health: u16,
    pub engine_socket: PathBuf,
    pub acme_directory: String,
    /// The system's roots when `None`.
    pub acme_ca_file: Option<PathBuf>,
    /// The system's roots when `None`.
    pub remote_ca_file: Option<PathBuf>,
}

/// One device.
pub struct Device {
    settings: Settings,
    process: Option<Child>,
}

impl Device {
    /// Writes the configuration; [`start`](Self::start) starts it.
    pub fn prepare(settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(&settings.directory)?;
        let device = Self {
            settings,
            process: None,
        };
        std::fs::write(device.config(), device.toml()?)?;
        Ok(device)
    }

    fn toml(&self) -> Result<String> {
        let settings = &self.settings;
        let mut toml = String::new();
        writeln!(toml, "state_dir = {:?}", self.state_dir())?;
        writeln!(toml, "runtime_dir = {:?}", self.runtime_dir())?;
        writeln!(toml, "privileges = \"shared\"")?;
        writeln!(toml, "[portal]\nhttp = \"[::]:{}\"", settings.portal_http)?;
        writeln!(toml, "https = \"[::]:{}\"", settings.portal_https)?;
        writeln!(toml, "[health]\nlisten = \"127.0.0.1:{}\"", settings.health)?;
        writeln!(toml, "[engine]\nsocket = {:?}", settings.engine_socket)?;
        writeln!(toml, "[acme]\ndirectory = {:?}", settings.acme_directory)?;
        if let Some(path) = &settings.acme_ca_file {
            writeln!(toml, "ca_file = {path:?}")?;
        }
        if let Some(path) = &settings.remote_ca_file {
            writeln!(toml, "[remote]\nca_file = {path:?}")?;
        }
        writeln!(toml, "[cluster]\nprovider = \"simulated\"")?;
        Ok(toml)
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.settings.directory.join("piccolo.toml")
    }

    /// Everything durable.
    pub fn state_dir(&self) -> PathBuf {
        self.settings.directory.join("state")
    }

    /// Its sockets.
    pub fn runtime_dir(&self) -> PathBuf {
        self.settings.directory.join("run")
    }

    /// Starts piccolod and waits until the API answers.
    pub async fn start(&mut self) -> Result<()> {
        let mut command = Command::new(self.settings.binaries.join("piccolod"));
        command.arg("--config").arg(self.config());
        // Settings of whoever runs the tests are not the device's.
        command.env_clear().env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        self.process = Some(Child::start(command, &self.settings.directory, "piccolod")?);
        let api = self.api();
        wait::until("the API", Duration::from_secs(60), || async {
            api.get("/api/v1/crypto/status")
                .await?
                .expect(200)
                .map(|_| ())
        })
        .await
        .map_err(|error| format!("{error}\n{}", self.output_tail()).into())
    }

    /// SIGTERM to piccolod and its end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        match &mut self.process {
            Some(process) => process.stop(Duration::from_secs(60)),
            None => Err("the device is not running".into()),
        }
    }

    /// As a power cut would: piccolod, every service and every FUSE process at once.
    pub fn cut_power(&mut self) -> Result<()> {
        child::kill_all_that_mention(&self.settings.directory.display().to_string());
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// SIGKILL to piccolod alone.
    pub fn kill_supervisor(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.kill_alone(),
            None => Err("the device is not running".into()),
        }
    }

    /// A fresh browser on the device's loopback door.
    pub fn api(&self) -> Api {
        Api::new(SocketAddr::from(([127, 0, 0, 1], self.settings.health)))
    }

    /// The port of the portal for plain HTTP.
    pub const fn portal_http(&self) -> u16 {
        self.settings.portal_http
    }

    /// The port of the portal for HTTPS.
    pub const fn portal_https(&self) -> u16 {
        self.settings.portal_https
    }

    /// The process id of a service, from the supervisor.
    pub async fn pid_of(&self, service: &str) -> Result<i32> {
        let output = self.ctl(&["--json", "service", "list"])?;
        let list: serde_json::Value = serde_json::from_str(&output)?;
        let units = list.as_array().or_else(|| list["units"].as_array());
        units
            .into_iter()
            .flatten()
            .find(|unit| unit["name"] == service)
            .and_then(|unit| unit["pid"].as_i64())
            .and_then(|pid| i32::try_from(pid).ok())
            .ok_or_else(|| format!("{service} does not run: {output}").into())
    }

    /// Runs piccoloctl against this device; its standard output, or its failure.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(self.settings.binaries.join("piccoloctl"))
            .arg("--runtime-dir")
            .arg(self.runtime_dir())
            .args(arguments)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!(
            "piccoloctl {arguments:?} ended with {}: {words}{text}",
            output.status
        )
        .into())
    }

    /// Asks an address on the LAN side of the device.
    pub async fn lan(&self, port: u16, path: &str) -> Result<Answer> {
        let target = Target::Plain(SocketAddr::from(([127, 0, 0, 1], port)));
        let host = format!("127.0.0.1:{port}");
        http_client::send(&target, request("GET", path, &host, &[], "")?).await
    }

    /// The last lines of piccolod's output, for failures.
    pub fn output_tail(&self) -> String {
        let output = self.process.as_ref().map(Child::output).unwrap_or_default();
        let lines: Vec<&str> = output.lines().rev().take(60).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Everything it has written.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Child::output).unwrap_or_default()
    }

    /// Its directory, which nothing else uses.
    pub fn directory(&self) -> &Path {
        &self.settings.directory
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.process.is_some() {
            let _ = self.stop();
        }
        let _ = self.cut_power();
        unmount_volumes(&self.state_dir());
    }
}

/// Detaches volumes a killed device left, so that its directory can be removed.
fn unmount_volumes(state_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(state_dir.join("mounts")) else {
        return;
    };
    for entry in entries.flatten() {
        let _ = nix::mount::umount2(&entry.path(), nix::mount::MntFlags::MNT_DETACH);
        let _ = Command::new("chattr").arg("-i").arg(entry.path()).output();
    }
}
