//! Apps' ports on the LAN: bound when a listener appears, kept through locks and restarts, let go
//! when it is gone.

use super::lan;
use crate::{edge::Edge, gate::Openness, table::Table};
use piccolo_runtime::descriptors;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// A burst of visitors that came while this process was restarted waits here.
const BACKLOG: i32 = 1024;

/// The name under which a port's listener outlives this process.
pub(crate) fn descriptor_name(port: u16) -> String {
    format!("public-{port}")
}

/// The port of a descriptor's name.
pub(crate) fn port_of(name: &str) -> Option<u16> {
    name.strip_prefix("public-")?.parse().ok()
}

/// The ports bound now.
#[derive(Default)]
pub(crate) struct PublicPorts {
    bound: BTreeMap<u16, CancellationToken>,
    /// Why a port is not bound.
    refused: BTreeMap<u16, String>,
}

impl PublicPorts {
    /// Takes back a listener of an earlier start.
    pub(crate) fn adopt(&mut self, edge: &Arc<Edge>, port: u16, listener: TcpListener) {
        match self.serve(edge, port, listener) {
            Ok(()) => tracing::info!(port, "listener taken back"),
            Err(error) => tracing::warn!(port, %error, "listener can't be taken back"),
        }
    }

    /// Binds what the table wants, and lets go of what an open table no longer wants.
    pub(crate) fn reconcile(&mut self, edge: &Arc<Edge>, table: &Table) {
        let wanted: BTreeSet<u16> = table.public_ports().collect();
        if table.openness == Openness::Open {
            self.let_go(&wanted);
        }
        self.refused.retain(|port, _| wanted.contains(port));
        for port in wanted {
            if self.bound.contains_key(&port) {
                continue;
            }
            match bind(port).and_then(|listener| self.keep(edge, port, listener)) {
                Ok(()) => {
                    self.refused.remove(&port);
                    tracing::info!(port, "listening");
                }
                Err(error) => {
                    let why = error.to_string();
                    if self.refused.insert(port, why.clone()).as_ref() != Some(&why) {
                        tracing::warn!(port, error = why, "can't listen");
                    }
                }
            }
        }
    }

    /// Is the port bound?
    pub(crate) fn is_bound(&self, port: u16) -> bool {
        self.bound.contains_key(&port)
    }

    /// Ports that can't be bound, with the reason.
    pub(crate) const fn refused(&self) -> &BTreeMap<u16, String> {
        &self.refused
    }

    fn let_go(&mut self, wanted: &BTreeSet<u16>) {
        self.bound.retain(|port, stop| {
            let stays = wanted.contains(port);
            if !stays {
                stop.cancel();
                if let Err(error) = descriptors::withdraw(&descriptor_name(*port)) {
                    tracing::warn!(port, %error, "listener stays in the supervisor's store");
                }
                tracing::info!(port, "no longer listening");
            }
            stays
        });
    }

    fn keep(&mut self, edge: &Arc<Edge>, port: u16, listener: TcpListener) -> io::Result<()> {
        if let Err(error) = descriptors::deposit(&descriptor_name(port), &listener) {
            tracing::warn!(port, %error, "a restart of this process will refuse connections");
        }
        self.serve(edge, port, listener)
    }

    fn serve(&mut self, edge: &Arc<Edge>, port: u16, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stop = CancellationToken::new();
        self.bound.insert(port, stop.clone());
        tokio::spawn(lan::public_port(Arc::clone(edge), listener, port, stop));
        Ok(())
    }
}

/// Both families on one socket; IPv4 alone where the kernel has no IPv6.
fn bind(port: u16) -> io::Result<TcpListener> {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match listen(Domain::IPV6, dual) {
        Err(error) if is_without_ipv6(&error) => listen(
            Domain::IPV4,
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ),
        result => result,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    [
        rustix::io::Errno::AFNOSUPPORT.raw_os_error(),
        rustix::io::Errno::ADDRNOTAVAIL.raw_os_error(),
    ]
    .map(Some)
    .contains(&error.raw_os_error())
}

fn listen(domain: Domain, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    // Connections of the last start may still be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
