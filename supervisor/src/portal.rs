//! The portal's sockets: bound here, since only root may, and kept while router-proxy restarts, so
//! that no connection is refused.

mod holder;

use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, bind, listen, socket_with,
        sockopt::{set_ipv6_v6only, set_socket_reuseaddr},
    },
};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

/// Connections that wait while router-proxy restarts.
const BACKLOG: i32 = 1024;

/// One of the portal's two sockets.
#[derive(Debug)]
pub(crate) struct Door {
    /// In LISTEN_FDNAMES: `portal-http`, `portal-https`.
    pub(crate) name: &'static str,
    /// In the configuration: `portal.http`.
    key: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) state: DoorState,
}

/// Whether it could be bound.
#[derive(Debug)]
pub(crate) enum DoorState {
    Bound(TcpListener),
    /// Not yet, and why not.
    Closed {
        why: String,
    },
}

/// The address can't be bound. Says who is in the way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error("port {} is in use by {holder}; stop it or choose another port", address.port())]
    Busy { address: SocketAddr, holder: String },
    #[error("it can't be bound ({errno}); choose an address of this machine")]
    Failed { errno: Errno },
}

impl Door {
    pub(crate) fn new(name: &'static str, key: &'static str, address: SocketAddr) -> Self {
        let why = "not bound yet".to_owned();
        Self {
            name,
            key,
            address,
            state: DoorState::Closed { why },
        }
    }

    /// A descriptor to hand over.
    pub(crate) fn duplicate(&self) -> Option<(String, OwnedFd)> {
        match &self.state {
            DoorState::Bound(listener) => {
                let duplicate = listener.try_clone().ok()?;
                Some((self.name.to_owned(), OwnedFd::from(duplicate)))
            }
            DoorState::Closed { .. } => None,
        }
    }

    /// What is wrong, in a sentence.
    pub(crate) fn complaint(&self) -> Option<String> {
        match &self.state {
            DoorState::Bound(_) => None,
            DoorState::Closed { why } => Some(format!("{} = {}: {why}", self.key, self.address)),
        }
    }

    /// Whether a socket kept from an earlier life is this one.
    pub(crate) fn matches(&self, listener: &TcpListener) -> bool {
        listener.local_addr().is_ok_and(|bound| {
            bound == self.address || (self.address.port() == 0 && bound.ip() == self.address.ip())
        })
    }
}

/// Binds and listens. An IPv6 wildcard takes IPv4 too; without IPv6 it becomes the IPv4 one.
/// Looks into /proc when the port is busy, so it may take some milliseconds.
pub(crate) fn open(address: SocketAddr) -> Result<TcpListener, BindError> {
    let outcome = match listener(address) {
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if is_wildcard_v6(address) => {
            listener((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        other => other,
    };
    outcome.map_err(|errno| match errno {
        Errno::ADDRINUSE => BindError::Busy {
            address,
            holder: holder::of_port(address.port()),
        },
        errno => BindError::Failed { errno },
    })
}

fn is_wildcard_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn listener(address: SocketAddr) -> Result<TcpListener, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of an earlier process in TIME_WAIT must not keep us out.
    set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn one_socket_takes_both_ipv4_and_ipv6() {
        let address = "[::]:0".parse().expect("an address");
        let listener = open(address).expect("bound");
        let port = listener.local_addr().expect("its address").port();
        TcpStream::connect(("127.0.0.1", port)).expect("over IPv4");
        if let Ok(probe) = TcpListener::bind("[::1]:0") {
            drop(probe);
            TcpStream::connect(("::1", port)).expect("over IPv6");
        }
    }

    #[test]
    fn a_busy_port_is_named_with_its_holder() {
        let first = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = first.local_addr().expect("its address");
        let error = open(address).expect_err("busy").to_string();
        assert!(error.contains(&address.port().to_string()), "{error}");
        assert!(error.contains(&std::process::id().to_string()), "{error}");
    }
}
