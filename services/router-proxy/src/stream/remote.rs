//! Visitors through the relay, handed over by nexus-agent on the stream socket, each stream opened
//! by a PROXY protocol header.
//!
//! ```text
//!   port 443 ─► ClientHello ─► name ─► terminate (http, websocket) or pass through (tls, raw)
//!   port 80  ─► challenge, else 308            unknown name, no certificate ─► close
//!   others   ─► a raw listener's own claim, else by the first bytes as one of the above
//! ```

use super::{
    Stream, passthrough,
    peek::{self, Opening},
    tls,
};
use crate::{
    admission::Seat,
    client_hello::ClientHello,
    edge::Edge,
    proxy::{self, Connection, Door},
    proxy_protocol::{self, FIXED, Header, Invalid},
    table::{Carriage, Site},
    visitor::Visitor,
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
};

const HEADER_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

#[derive(Debug, thiserror::Error)]
enum NoHeader {
    #[error("no PROXY protocol header within {} s", HEADER_WITHIN.as_secs())]
    TooSlow,
    #[error("the stream ended in its PROXY protocol header")]
    Read(#[source] io::Error),
    #[error("not a PROXY protocol header")]
    Invalid(#[from] Invalid),
}

/// Accepts streams from nexus-agent until the edge closes.
pub(crate) async fn streams(edge: Arc<Edge>, listener: UnixListener) {
    let entrance = edge.admission.entrance();
    loop {
        let accepted = tokio::select! {
            () = edge.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "stream socket can't accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if !is_ours(&stream) {
            tracing::warn!("stream refused: its sender is another user");
            continue;
        }
        match entrance.enter() {
            Some(seat) => {
                edge.tasks.spawn(serve(Arc::clone(&edge), stream, seat));
            }
            None => tracing::debug!("remote stream closed: too many connections"),
        }
    }
}

/// Sent by this user or by root?
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn serve(edge: Arc<Edge>, mut stream: UnixStream, seat: Arc<Seat>) {
    let header = tokio::time::timeout(HEADER_WITHIN, read_header(&mut stream));
    let Some(header) = edge.unless_closing(header).await else {
        return;
    };
    match header.unwrap_or(Err(NoHeader::TooSlow)) {
        Ok(header) => route(edge, stream, &header, seat).await,
        Err(error) => tracing::warn!(%error, "remote stream refused"),
    }
}

async fn read_header(stream: &mut UnixStream) -> Result<Header, NoHeader> {
    let mut fixed = [0; FIXED];
    stream
        .read_exact(&mut fixed)
        .await
        .map_err(NoHeader::Read)?;
    let mut rest = vec![0; proxy_protocol::rest_length(&fixed)?];
    stream.read_exact(&mut rest).await.map_err(NoHeader::Read)?;
    Ok(proxy_protocol::decode(&fixed, &rest)?)
}

async fn route(edge: Arc<Edge>, stream: UnixStream, header: &Header, seat: Arc<Seat>) {
    let address = header.source.ip();
    let port = header.relay_port;
    if port == HTTP {
        return plain(edge, stream, Visitor::remote(address, HTTP, false), seat).await;
    }
    let claim = format!("tcp:{port}");
    if port != HTTPS && header.authority.as_deref() == Some(claim.as_str()) {
        let (listener, period) = {
            let table = edge.table();
            (table.by_claim(port).cloned(), table.period.clone())
        };
        if let Some(listener) = listener {
            return passthrough::carry(edge, listener, period, stream, address, seat).await;
        }
    }
    let Some(opening) = edge.unless_closing(peek::look(stream)).await else {
        return;
    };
    match opening {
        Ok(Opening::Tls(hello, stream)) => {
            let visitor = Visitor::remote(address, port, true);
            by_name(edge, stream, hello, visitor, seat).await;
        }
        Ok(Opening::Other(stream)) if port != HTTPS => {
            plain(edge, stream, Visitor::remote(address, port, false), seat).await;
        }
        Ok(Opening::Other(_)) => tracing::debug!(client = %address, "no TLS on port 443: closed"),
        Err(error) => tracing::debug!(%error, client = %address, "remote stream closed"),
    }
}

async fn plain<S: Stream>(edge: Arc<Edge>, stream: S, visitor: Visitor, seat: Arc<Seat>) {
    let connection = Connection {
        door: Door::Plain,
        visitor,
        seat,
    };
    let closing = edge.closing.clone();
    proxy::serve(edge, stream, connection, closing.cancelled_owned()).await;
}

async fn by_name<S: Stream>(
    edge: Arc<Edge>,
    stream: S,
    hello: ClientHello,
    visitor: Visitor,
    seat: Arc<Seat>,
) {
    let Some(name) = hello.server_name else {
        tracing::debug!(client = %visitor.address, "no server name: closed");
        return;
    };
    let (site, certificate, period) = {
        let table = edge.table();
        let site = table.by_name(&name, visitor.port, true);
        (
            site,
            table.certificate(&name).cloned(),
            table.period.clone(),
        )
    };
    let ends_with_lock = match site {
        None => {
            tracing::debug!(%name, client = %visitor.address, "unknown name: closed");
            return;
        }
        Some(Site::Listener(listener)) if listener.carriage == Carriage::Bytes => {
            return passthrough::carry(edge, listener, period, stream, visitor.address, seat).await;
        }
        Some(Site::Listener(_)) => true,
        Some(Site::Portal) => false,
    };
    let Some(certificate) = certificate else {
        tracing::info!(%name, "no certificate for this name yet: closed");
        return;
    };
    let closing = edge.closing.clone();
    let ends = async move {
        tokio::select! {
            () = closing.cancelled() => {}
            () = period.cancelled(), if ends_with_lock => {}
        }
    };
    let connection = Connection {
        door: Door::Name(name),
        visitor,
        seat,
    };
    tls::serve(
        edge,
        stream,
        Arc::clone(&certificate.config),
        connection,
        ends,
    )
    .await;
}
