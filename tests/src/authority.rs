//! An ACME certificate authority: Pebble, with a DNS that points every name at this machine.

use crate::{
    Result,
    child::Child,
    http_client::{self, Target, request},
    wait,
    world::Ports,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Pebble and its DNS.
pub struct CertificateAuthority {
    directory: PathBuf,
    ports: Ports,
    api_certificate: PathBuf,
    pebble: Option<Child>,
    _dns: Child,
}

impl CertificateAuthority {
    /// Starts both and waits until the directory answers.
    pub async fn start(directory: &Path, ports: &Ports) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let api_certificate = directory.join("api.crt");
        let generated =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        std::fs::write(&api_certificate, generated.cert.pem())?;
        std::fs::write(
            directory.join("api.key"),
            generated.signing_key.serialize_pem(),
        )?;
        let mut dns = Command::new("pebble-challtestsrv");
        dns.arg("-defaultIPv4")
            .arg("127.0.0.1")
            .arg("-defaultIPv6")
            .arg("");
        dns.arg("-dns01").arg(format!("127.0.0.1:{}", ports.dns));
        dns.arg("-management")
            .arg(format!("127.0.0.1:{}", ports.dns_management));
        dns.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let dns = Child::start(dns, directory, "dns")?;
        let mut authority = Self {
            directory: directory.to_owned(),
            ports: ports.clone(),
            api_certificate,
            pebble: None,
            _dns: dns,
        };
        authority.restart().await?;
        Ok(authority)
    }

    /// Starts Pebble (again); it forgets everything and issues from a new root.
    pub async fn restart(&mut self) -> Result<()> {
        let ports = &self.ports;
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", ports.acme),
            "managementListenAddress": format!("127.0.0.1:{}", ports.acme_management),
            "certificate": self.api_certificate,
            "privateKey": self.directory.join("api.key"),
            "httpPort": ports.relay_http,
            "tlsPort": ports.relay_https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        let path = self.directory.join("pebble.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        let mut pebble = Command::new("pebble");
        pebble
            .arg("-config")
            .arg(path)
            .arg("-dnsserver")
            .arg(format!("127.0.0.1:{}", ports.dns))
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_WFE_NONCEREJECT", "5");
        self.pebble = Some(Child::start(pebble, &self.directory, "pebble")?);
        wait::until(
            "the certificate authority",
            Duration::from_secs(60),
            || async { self.ask(self.ports.acme, "/dir").await.map(|_| ()) },
        )
        .await
    }

    /// Takes it away.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut pebble) = self.pebble.take() {
            pebble.kill()?;
        }
        Ok(())
    }

    /// Its ACME directory.
    pub fn directory_url(&self) -> String {
        format!("https://localhost:{}/dir", self.ports.acme)
    }

    /// The certificate its API is to be trusted by.
    pub fn api_certificate(&self) -> &Path {
        &self.api_certificate
    }

    /// The root that issued certificates are to be trusted by, PEM.
    pub async fn root(&self) -> Result<String> {
        self.ask(self.ports.acme_management, "/roots/0").await
    }

    async fn ask(&self, port: u16, path: &str) -> Result<String> {
        let target = Target::Tls {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            name: "localhost".to_owned(),
            trust: http_client::trusting(&std::fs::read_to_string(&self.api_certificate)?)?,
        };
        let request = request("GET", path, "localhost", &[], "")?;
        Ok(http_client::send(&target, request)
            .await?
            .expect(200)?
            .text())
    }
}
