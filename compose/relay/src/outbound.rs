//! Connections the relay makes for a backend.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::info;
use uuid::Uuid;

use crate::claims::Claims;
use crate::config::OutboundLimits;
use crate::control::Notice;
use crate::flow::{End, Flow};
use crate::session::{Dial, Session, Unregistered};
use crate::tasks::Tasks;
use crate::tcp_flow;

const MAX_TARGET: usize = 260;

/// Why a connection is not made. The texts are part of the protocol.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OutboundError {
    #[error("outbound connections disabled on this proxy")]
    Disabled,
    #[error("outbound connections not allowed for this backend")]
    NotClaimed,
    #[error("target address too long")]
    TooLong,
    #[error("target address contains control characters")]
    ControlCharacters,
    #[error("invalid target address")]
    InvalidAddress,
    #[error("invalid target port")]
    InvalidPort,
    #[error("outbound port {0} not allowed by server")]
    PortNotAllowed(u16),
    #[error("outbound port {0} not allowed for this backend")]
    PortNotClaimed(u16),
    #[error("outbound connection limit exceeded")]
    Limit,
    #[error("missing client ID")]
    NoClientId,
    #[error("registration failed: client ID {0} already exists")]
    IdInUse(Uuid),
    #[error("dial failed")]
    Dial,
}

/// Starts the connection `request` asks for, or says why not.
pub fn start(session: &Arc<Session>, request: Dial, limits: &OutboundLimits, tasks: &Tasks) {
    let Dial { client, target } = request;
    let (host, port) = match admit(session, client, &target, limits) {
        Ok(target) => target,
        Err(error) => return fail(session, client, &error),
    };
    let session = Arc::clone(session);
    let (dial_limit, idle) = (limits.dial, limits.idle);
    tasks.spawn(async move {
        match timeout(dial_limit, TcpStream::connect((host.as_str(), port))).await {
            Ok(Ok(stream)) => serve(&session, client, stream, idle).await,
            Ok(Err(_)) | Err(_) => {
                session.abandon(client);
                fail(&session, client, &OutboundError::Dial);
            }
        }
    });
}

/// Server flag, claim, address, ports, limit, id: the order of the original.
fn admit(
    session: &Session,
    client: Uuid,
    target: &str,
    limits: &OutboundLimits,
) -> Result<(String, u16), OutboundError> {
    let target = permitted(&session.claims, target, limits)?;
    if client.is_nil() {
        // The limit comes first, and a nil id must not take a place.
        session
            .reserve(client, limits.connections)
            .map_err(|why| refusal(why, client))?;
        session.abandon(client);
        return Err(OutboundError::NoClientId);
    }
    session
        .reserve(client, limits.connections)
        .map_err(|why| refusal(why, client))?;
    Ok(target)
}

fn permitted(
    claims: &Claims,
    target: &str,
    limits: &OutboundLimits,
) -> Result<(String, u16), OutboundError> {
    if !limits.enabled {
        return Err(OutboundError::Disabled);
    }
    if !claims.outbound {
        return Err(OutboundError::NotClaimed);
    }
    let (host, port) = parse_target(target)?;
    if !limits.ports.is_empty() && !limits.ports.contains(&port) {
        return Err(OutboundError::PortNotAllowed(port));
    }
    if !claims.outbound_ports.is_empty() && !claims.outbound_ports.contains(&port) {
        return Err(OutboundError::PortNotClaimed(port));
    }
    Ok((host, port))
}

/// `host:port` or `[v6]:port`.
fn parse_target(target: &str) -> Result<(String, u16), OutboundError> {
    if target.len() > MAX_TARGET {
        return Err(OutboundError::TooLong);
    }
    if target.chars().any(char::is_control) {
        return Err(OutboundError::ControlCharacters);
    }
    let (host, port) = target
        .rsplit_once(':')
        .ok_or(OutboundError::InvalidAddress)?;
    let host = match host.strip_prefix('[') {
        Some(literal) => literal
            .strip_suffix(']')
            .ok_or(OutboundError::InvalidAddress)?,
        None if host.contains(':') => return Err(OutboundError::InvalidAddress),
        None => host,
    };
    if host.is_empty() {
        return Err(OutboundError::InvalidAddress);
    }
    match port.parse() {
        Ok(port) if port != 0 => Ok((host.to_owned(), port)),
        Ok(_) | Err(_) => Err(OutboundError::InvalidPort),
    }
}

fn refusal(why: Unregistered, client: Uuid) -> OutboundError {
    match why {
        Unregistered::IdInUse => OutboundError::IdInUse(client),
        Unregistered::Limit => OutboundError::Limit,
        Unregistered::SessionEnded => OutboundError::Dial,
    }
}

async fn serve(session: &Arc<Session>, client: Uuid, stream: TcpStream, idle: Option<Duration>) {
    let (flow, queue) = Flow::new(client);
    if session.fulfil(&flow).is_err() {
        return;
    }
    let told = session
        .lanes
        .notify_soon(client, &Notice::OutboundConnected);
    if told.await.is_err() {
        session.release(&flow);
        session.report_end(&flow, End::LaneFull).await;
        return;
    }
    info!(session = session.id, %client, "outbound connection made");
    tcp_flow::carry(session, &flow, queue, stream, idle).await;
}

/// A failure that finds the control lane full is lost; the backend has its own time-out.
fn fail(session: &Session, client: Uuid, error: &OutboundError) {
    let reason = error.to_string();
    let told = session
        .lanes
        .notify(client, &Notice::OutboundFailed { reason: &reason })
        .is_ok();
    info!(session = session.id, %client, reason, told, "no outbound connection");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port() {
        assert_eq!(parse_target("a.test:80"), Ok(("a.test".to_owned(), 80)));
        assert_eq!(parse_target("[::1]:443"), Ok(("::1".to_owned(), 443)));
        for (target, error) in [
            ("a.test", OutboundError::InvalidAddress),
            (":80", OutboundError::InvalidAddress),
            ("::1:80", OutboundError::InvalidAddress),
            ("a:0", OutboundError::InvalidPort),
            ("a:70000", OutboundError::InvalidPort),
            ("a\n:80", OutboundError::ControlCharacters),
        ] {
            assert_eq!(parse_target(target), Err(error), "{target:?}");
        }
        assert_eq!(parse_target(&"a".repeat(261)), Err(OutboundError::TooLong));
    }
}
