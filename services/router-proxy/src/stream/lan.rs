//! Visitors on the local network: the portal's two ports, and one port for each app listener.

use super::{
    accept::{self, WhenFull},
    passthrough,
    peek::{self, Opening},
    tls,
};
use crate::{
    admission::Seat,
    edge::Edge,
    proxy::{self, Connection, Door},
    table::Carriage,
    visitor::Visitor,
};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The portal in plain text.
pub(crate) async fn portal_http(edge: Arc<Edge>, listener: TcpListener) {
    let port = port_of(&listener);
    let stop = edge.closing.clone();
    accept::accept(
        edge,
        listener,
        stop,
        WhenFull::SayBusy,
        move |edge, stream, peer, seat| {
            let visitor = Visitor::lan(peer.ip(), port, false);
            http(edge, stream, Door::Portal, visitor, seat)
        },
    )
    .await;
}

/// The portal over TLS: the real certificate for its own name, else the device-made one.
pub(crate) async fn portal_https(edge: Arc<Edge>, listener: TcpListener) {
    let port = port_of(&listener);
    let stop = edge.closing.clone();
    accept::accept(
        edge,
        listener,
        stop,
        WhenFull::Close,
        move |edge, stream, peer, seat| {
            let visitor = Visitor::lan(peer.ip(), port, true);
            portal_tls(edge, stream, visitor, seat)
        },
    )
    .await;
}

/// An app's port. What it leads to is looked up for each connection.
pub(crate) async fn public_port(
    edge: Arc<Edge>,
    listener: TcpListener,
    port: u16,
    stop: CancellationToken,
) {
    accept::accept(
        edge,
        listener,
        stop,
        WhenFull::SayBusy,
        move |edge, stream, peer, seat| app(edge, stream, peer, port, seat),
    )
    .await;
}

async fn portal_tls(edge: Arc<Edge>, stream: TcpStream, visitor: Visitor, seat: Arc<Seat>) {
    let (hello, stream) = match edge.unless_closing(peek::look(stream)).await {
        Some(Ok(Opening::Tls(hello, stream))) => (hello, stream),
        Some(Ok(Opening::Other(_))) | None => return,
        Some(Err(error)) => {
            tracing::debug!(%error, client = %visitor.address, "no TLS");
            return;
        }
    };
    let config = {
        let table = edge.table();
        let name = hello
            .server_name
            .filter(|name| table.portal_hostname() == Some(name));
        let real = name.and_then(|name| table.certificate(&name).cloned());
        real.map_or_else(
            || Arc::clone(&edge.lan_certificate.config),
            |real| Arc::clone(&real.config),
        )
    };
    let connection = Connection {
        door: Door::Portal,
        visitor,
        seat,
    };
    let closing = edge.closing.clone();
    tls::serve(edge, stream, config, connection, closing.cancelled_owned()).await;
}

async fn app(edge: Arc<Edge>, stream: TcpStream, peer: SocketAddr, port: u16, seat: Arc<Seat>) {
    let visitor = Visitor::lan(peer.ip(), port, false);
    let (listener, period) = {
        let table = edge.table();
        (table.by_port(port).cloned(), table.period.clone())
    };
    match listener {
        Some(listener) if listener.carriage == Carriage::Bytes => {
            passthrough::carry(edge, listener, period, stream, visitor.address, seat).await;
        }
        // A port whose listener is not known yet says so in HTTP.
        Some(_) | None => http(edge, stream, Door::PublicPort(port), visitor, seat).await,
    }
}

async fn http(edge: Arc<Edge>, stream: TcpStream, door: Door, visitor: Visitor, seat: Arc<Seat>) {
    let connection = Connection {
        door,
        visitor,
        seat,
    };
    let closing = edge.closing.clone();
    proxy::serve(edge, stream, connection, closing.cancelled_owned()).await;
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}
