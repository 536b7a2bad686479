//! The sockets an edge starts with: handed over by piccolod, or kept from an earlier start.

use crate::{error::StartError, stream::public};
use piccolo_bus_schema::endpoint;
use piccolo_runtime::{Descriptors, descriptors};
use std::{
    fs, io,
    net::TcpListener,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
};

const PORTAL_HTTP: &str = "portal-http";
const PORTAL_HTTPS: &str = "portal-https";
const STREAMS: &str = "streams";

/// Sockets by their purpose.
#[derive(Debug, Default)]
pub struct Sockets {
    /// The portal in plain text.
    pub portal_http: Option<TcpListener>,
    /// The portal over TLS.
    pub portal_https: Option<TcpListener>,
    /// Listeners of apps' ports, from an earlier start.
    pub public: Vec<(u16, TcpListener)>,
    /// The stream socket, from an earlier start.
    pub streams: Option<UnixListener>,
}

/// The same, on the runtime.
pub(crate) struct Opened {
    pub(crate) portal_http: Option<tokio::net::TcpListener>,
    pub(crate) portal_https: Option<tokio::net::TcpListener>,
    pub(crate) public: Vec<(u16, TcpListener)>,
    pub(crate) streams: tokio::net::UnixListener,
}

impl Sockets {
    /// Takes `portal-http`, `portal-https`, `streams` and every `public-<port>`.
    pub fn take(descriptors: &mut Descriptors) -> Self {
        let public = descriptors.names().into_iter().filter_map(|name| {
            let port = public::port_of(&name)?;
            Some((port, descriptors.take_tcp_listener(&name)?))
        });
        Self {
            public: public.collect(),
            portal_http: descriptors.take_tcp_listener(PORTAL_HTTP),
            portal_https: descriptors.take_tcp_listener(PORTAL_HTTPS),
            streams: descriptors.take_unix_listener(STREAMS),
        }
    }

    /// Puts them on the runtime; the stream socket is bound when it is not there yet.
    pub(crate) fn open(self, runtime_dir: &Path) -> Result<Opened, StartError> {
        Ok(Opened {
            portal_http: adopt(PORTAL_HTTP, self.portal_http)?,
            portal_https: adopt(PORTAL_HTTPS, self.portal_https)?,
            public: self.public,
            streams: streams(&endpoint::streams(runtime_dir), self.streams)?,
        })
    }
}

fn adopt(
    name: &str,
    listener: Option<TcpListener>,
) -> Result<Option<tokio::net::TcpListener>, StartError> {
    let Some(listener) = listener else {
        tracing::error!(name, "descriptor was not handed over");
        return Ok(None);
    };
    listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(listener))
        .map(Some)
        .map_err(|source| StartError::Adopt {
            name: name.to_owned(),
            source,
        })
}

fn streams(
    path: &Path,
    kept: Option<UnixListener>,
) -> Result<tokio::net::UnixListener, StartError> {
    let open = || -> io::Result<tokio::net::UnixListener> {
        let is_there = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        let listener = match kept {
            Some(listener) if is_there => listener,
            Some(_) | None => bind(path)?,
        };
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    };
    open().map_err(|source| StartError::Streams {
        path: path.to_owned(),
        source,
    })
}

/// A path left by a dead process is in the way (unix(7)).
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    if let Err(error) = descriptors::deposit(STREAMS, &listener) {
        tracing::warn!(%error, "a restart of this process will refuse remote streams");
    }
    Ok(listener)
}
