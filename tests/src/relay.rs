//! The relay between the device and the world.

use crate::{Result, child::Child, wait, world::Ports};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::net::TcpStream;

/// A nexus-relay with a hub certificate made for it.
pub struct Relay {
    directory: PathBuf,
    binaries: PathBuf,
    ports: Ports,
    secret: String,
    process: Option<Child>,
}

impl Relay {
    /// Prepares certificate and configuration; [`start`](Self::start) starts it.
    pub fn prepare(directory: &Path, binaries: &Path, ports: &Ports) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(directory.join("hub.crt"), generated.cert.pem())?;
        std::fs::write(
            directory.join("hub.key"),
            generated.signing_key.serialize_pem(),
        )?;
        let secret = random_secret()?;
        let config = format!(
            "backendListenAddress: \"127.0.0.1:{}\"\nrelayPorts: [{}, {}]\n\
             backendsJWTSecret: \"{secret}\"\nhubTlsCertFile: \"{}\"\nhubTlsKeyFile: \"{}\"\n\
             idleTimeoutSeconds: 60\n",
            ports.hub,
            ports.relay_http,
            ports.relay_https,
            directory.join("hub.crt").display(),
            directory.join("hub.key").display(),
        );
        std::fs::write(directory.join("relay.yaml"), config)?;
        Ok(Self {
            directory: directory.to_owned(),
            binaries: binaries.to_owned(),
            ports: ports.clone(),
            secret,
            process: None,
        })
    }

    /// Starts it and waits until it listens.
    pub async fn start(&mut self) -> Result<()> {
        let mut command = Command::new(self.binaries.join("nexus-relay"));
        command
            .arg("-config")
            .arg(self.directory.join("relay.yaml"));
        self.process = Some(Child::start(command, &self.directory, "relay")?);
        for port in [
            self.ports.hub,
            self.ports.relay_http,
            self.ports.relay_https,
        ] {
            wait::until("the relay", Duration::from_secs(30), || async {
                TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Takes it away without a word.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// `wss://…/connect`.
    pub fn endpoint(&self) -> String {
        format!("wss://localhost:{}/connect", self.ports.hub)
    }

    /// What a device signs its tokens with.
    pub fn device_secret(&self) -> &str {
        &self.secret
    }

    /// The certificate of its hub.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("hub.crt")
    }

    /// What it has logged.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Child::output).unwrap_or_default()
    }
}

/// 128 random bits as text.
pub fn random_secret() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/uuid")?
        .trim()
        .to_owned())
}
