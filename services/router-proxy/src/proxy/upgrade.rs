//! WebSocket (RFC 6455 section 4): after both sides have agreed, bytes both ways.

use super::BoxError;
use crate::{admission::Seat, edge::Edge, table::Table};
use http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// Does the request ask for a WebSocket? No other protocol is passed on: `h2c` would carry requests
/// around every rule of the edge.
pub(super) fn is_asked<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && names(headers, header::CONNECTION, "upgrade")
        && names(headers, header::UPGRADE, "websocket")
}

fn names(headers: &HeaderMap, field: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(field)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// Puts the two fields back that ended at this hop.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// Carries bytes until both sides have ended, the device locks, or the edge ends.
pub(super) fn carry(
    edge: &Arc<Edge>,
    table: &Table,
    seat: Arc<Seat>,
    visitor: OnUpgrade,
    app: OnUpgrade,
) {
    let period = table.period.clone();
    let shared = Arc::clone(edge);
    edge.tasks.spawn(async move {
        let _seat = seat;
        let carrying = async {
            let (visitor, app) = tokio::try_join!(visitor, app)?;
            let (mut visitor, mut app) = (TokioIo::new(visitor), TokioIo::new(app));
            tokio::io::copy_bidirectional(&mut visitor, &mut app).await?;
            Ok::<(), BoxError>(())
        };
        tokio::select! {
            result = carrying => if let Err(error) = result {
                tracing::debug!(error, "WebSocket ended");
            },
            () = period.cancelled() => {}
            // A WebSocket has no end of its own to wait for.
            () = shared.closing.cancelled() => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, upgrade: &str) -> Request<()> {
        Request::builder()
            .version(version)
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", upgrade)
            .body(())
            .expect("a request")
    }

    #[test]
    fn only_websocket_over_http_1_1_is_passed_on() {
        assert!(is_asked(&request(Version::HTTP_11, "WebSocket")));
        assert!(!is_asked(&request(Version::HTTP_11, "h2c")));
        assert!(!is_asked(&request(Version::HTTP_10, "websocket")));
    }
}
