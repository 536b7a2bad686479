//! Everything around a device, and the visitor's way through the relay.

use crate::{
    Api, Device, Result,
    authority::CertificateAuthority,
    device::Settings,
    engine::Engine,
    http_client::{self, Answer, Target, request},
    image,
    relay::Relay,
    wait,
};
use serde_json::json;
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// The domain under which apps have their names.
pub const TLD: &str = "home.test";
/// The portal's own name.
pub const PORTAL: &str = "portal.home.test";
/// The owner's password in tests.
pub const PASSWORD: &str = "an owner's long password";

/// Free ports for everything that listens.
#[derive(Clone, Debug)]
pub struct Ports {
    pub portal_http: u16,
    pub portal_https: u16,
    pub health: u16,
    pub relay_http: u16,
    pub relay_https: u16,
    pub hub: u16,
    pub acme: u16,
    pub acme_management: u16,
    pub dns: u16,
    pub dns_management: u16,
}

impl Ports {
    /// Prefers well-known numbers and takes another free one where they are taken.
    pub fn pick() -> Result<Self> {
        let mut picker = Picker::default();
        Ok(Self {
            portal_http: picker.free(8080)?,
            portal_https: picker.free(8443)?,
            health: picker.free(8600)?,
            relay_http: picker.free(28080)?,
            relay_https: picker.free(28443)?,
            hub: picker.free(28444)?,
            acme: picker.free(14000)?,
            acme_management: picker.free(14001)?,
            dns: picker.free(28053)?,
            dns_management: picker.free(28055)?,
        })
    }
}

/// Holds every port it picked until all are picked, so that none is picked twice.
#[derive(Default)]
struct Picker {
    held: Vec<TcpListener>,
}

impl Picker {
    fn free(&mut self, wish: u16) -> Result<u16> {
        // Both: something may listen on loopback alone.
        let loopback = TcpListener::bind(("127.0.0.1", wish)).map(drop);
        let wished = loopback.and_then(|()| TcpListener::bind(("0.0.0.0", wish)));
        let listener = wished.or_else(|_| TcpListener::bind("0.0.0.0:0"))?;
        let port = listener.local_addr()?.port();
        self.held.push(listener);
        Ok(port)
    }
}

/// Where the binaries are: beside the one that runs, or one up for tests.
pub fn binaries() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.parent().ok_or("the binary has no directory")?;
    let directory = if directory.ends_with("deps") {
        directory.parent()
    } else {
        Some(directory)
    };
    let directory = directory.ok_or("the binary has no directory")?;
    if directory.join("piccolod").exists() {
        return Ok(directory.to_owned());
    }
    let missing = directory.join("piccolod");
    Err(format!(
        "{} is missing; run `cargo build --workspace --bins`",
        missing.display()
    )
    .into())
}

/// A world of real parts. Dropping it ends everything in it.
pub struct World {
    pub device: Device,
    pub relay: Relay,
    pub authority: CertificateAuthority,
    pub engine: Engine,
    pub ports: Ports,
    /// The sample app's static binary.
    pub guestbook: PathBuf,
    _temporary: Option<TempDir>,
}

impl World {
    /// Starts engine, certificate authority and relay, prepares the device, and builds the sample
    /// image.
    pub async fn start() -> Result<Self> {
        // Short: Unix socket paths have 108 bytes.
        let temporary = tempfile::Builder::new().prefix("pic").tempdir_in("/tmp")?;
        let path = temporary.path().to_owned();
        let engine = Engine::start(&path.join("engine")).await?;
        let mut world = Self::around(&path, engine, &mut |_| ()).await?;
        world.keep(temporary);
        Ok(world)
    }

    /// The same around an engine that runs already, in a directory that is kept; `report` hears the
    /// name of each part once it stands.
    pub async fn around(
        directory: &Path,
        engine: Engine,
        report: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let ports = Ports::pick()?;
        let binaries = binaries()?;
        let guestbook = image::compile(directory)?;
        image::build(
            &engine.socket(),
            &guestbook,
            "localhost/piccolo-guestbook:1",
            "1",
        )
        .await?;
        report("sample image built from a static binary");
        let authority = CertificateAuthority::start(&directory.join("ca"), &ports).await?;
        report("ACME certificate authority (Pebble)");
        let mut relay = Relay::prepare(&directory.join("relay"), &binaries, &ports)?;
        relay.start().await?;
        report("relay");
        let device = Device::prepare(Settings {
            directory: directory.join("device"),
            binaries,
            portal_http: ports.portal_http,
            portal_https: ports.portal_https,
            health: ports.health,
            engine_socket: engine.socket(),
            acme_directory: authority.directory_url(),
            acme_ca_file: Some(authority.api_certificate().to_owned()),
            remote_ca_file: Some(relay.certificate()),
        })?;
        Ok(Self {
            device,
            relay,
            authority,
            engine,
            ports,
            guestbook,
            _temporary: None,
        })
    }

    /// Removes a directory only after the world in it has ended.
    pub fn keep(&mut self, directory: TempDir) {
        self._temporary = Some(directory);
    }

    /// A spec of the sample app under another name.
    pub fn spec(name: &str) -> String {
        let file = image::checkout().join("compose/sample-app/guestbook.yaml");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.replace("name: guestbook", &format!("name: {name}"))
    }

    /// Sets up remote access.
    pub async fn configure_remote(&self, api: &Api) -> Result<()> {
        let body = json!({
            "endpoint": self.relay.endpoint(),
            "device_secret": self.relay.device_secret(),
            "tld": TLD,
            "portal_hostname": PORTAL,
            "acme_email": "owner@home.test",
        });
        api.post("/api/v1/remote/configure", &body)
            .await?
            .expect(200)
            .map(|_| ())
    }

    /// Asks a name over HTTPS through the relay, trusting only the authority's root.
    pub async fn visit(&self, name: &str, path: &str) -> Result<Answer> {
        self.visit_with("GET", name, path, "").await
    }

    /// The same with a method and a body.
    pub async fn visit_with(
        &self,
        method: &str,
        name: &str,
        path: &str,
        body: &str,
    ) -> Result<Answer> {
        let target = self.remote_target(name).await?;
        http_client::send(&target, request(method, path, name, &[], body.to_owned())?).await
    }

    /// The way to a name through the relay.
    pub async fn remote_target(&self, name: &str) -> Result<Target> {
        Ok(Target::Tls {
            address: SocketAddr::from(([127, 0, 0, 1], self.ports.relay_https)),
            name: name.to_owned(),
            trust: http_client::trusting(&self.authority.root().await?)?,
        })
    }

    /// Waits until a name answers 200 over HTTPS through the relay.
    pub async fn reachable(&self, name: &str, path: &str, limit: Duration) -> Result<Answer> {
        wait::until(
            &format!("https://{name}{path} through the relay"),
            limit,
            || async { self.visit(name, path).await?.expect(200) },
        )
        .await
    }

    /// Asks a name in plain HTTP through the relay.
    pub async fn visit_plain(&self, name: &str, path: &str) -> Result<Answer> {
        let target = Target::Plain(SocketAddr::from(([127, 0, 0, 1], self.ports.relay_http)));
        http_client::send(&target, request("GET", path, name, &[], "")?).await
    }
}
