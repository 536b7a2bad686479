//! Sockets for strangers: bound to all addresses, IPv4 and IPv6 alike.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::sleep;
use tracing::warn;

use crate::config::HubAddress;

const BACKLOG: i32 = 1024;
/// After a failed accept, mostly for want of descriptors; some will have been returned by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that could not be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {what}")]
pub struct ListenError {
    what: String,
    source: io::Error,
}

/// A listener for users on every address.
pub fn tcp(port: u16) -> Result<TcpListener, ListenError> {
    bound(Type::STREAM, port)
        .and_then(|socket| {
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        })
        .map_err(|source| ListenError {
            what: format!("TCP port {port}"),
            source,
        })
}

/// A socket for users' datagrams on every address.
pub fn udp(port: u16) -> Result<UdpSocket, ListenError> {
    bound(Type::DGRAM, port)
        .and_then(|socket| UdpSocket::from_std(socket.into()))
        .map_err(|source| ListenError {
            what: format!("UDP port {port}"),
            source,
        })
}

/// The listener for backends.
pub async fn hub(address: &HubAddress) -> Result<TcpListener, ListenError> {
    match address {
        HubAddress::All { port } => tcp(*port),
        HubAddress::One { host, port } => {
            TcpListener::bind((host.as_str(), *port))
                .await
                .map_err(|source| ListenError {
                    what: format!("{host} port {port}"),
                    source,
                })
        }
    }
}

/// The next connection; failures are logged and waited out.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Dual stack where the kernel has IPv6, else IPv4 alone.
fn bound(kind: Type, port: u16) -> io::Result<Socket> {
    match Socket::new(Domain::IPV6, kind, protocol(kind)) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            bind(socket, kind, (Ipv6Addr::UNSPECIFIED, port).into())
        }
        Err(_) => {
            let socket = Socket::new(Domain::IPV4, kind, protocol(kind))?;
            bind(socket, kind, (Ipv4Addr::UNSPECIFIED, port).into())
        }
    }
}

fn protocol(kind: Type) -> Option<Protocol> {
    Some(if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    })
}

fn bind(socket: Socket, kind: Type, address: SocketAddr) -> io::Result<Socket> {
    socket.set_nonblocking(true)?;
    // For a restart while old connections linger; on UDP it would let two relays share a port.
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}
