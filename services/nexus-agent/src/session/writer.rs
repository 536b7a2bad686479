//! The only task that writes to the relay.

use super::{dial::Socket, shared::Shared};
use crate::{error::TunnelError, mux::Outgoing, timing::Timing};
use futures_util::{SinkExt, stream::SplitSink};
use std::{future::Future, sync::Arc, time::Duration};
use tokio_tungstenite::tungstenite::{self, Message};

/// Writes what the mux has, gathering what is there into few writes. Ends by an error or after a
/// Close.
pub(super) async fn write(
    shared: Arc<Shared>,
    mut sink: SplitSink<Socket, Message>,
    timing: Timing,
) -> Result<(), TunnelError> {
    loop {
        while let Some(outgoing) = shared.next() {
            let last = outgoing == Outgoing::Close;
            within(timing.write, sink.feed(message(outgoing))).await?;
            if last {
                return within(timing.write, sink.flush()).await;
            }
        }
        within(timing.write, sink.flush()).await?;
        shared.woken().await;
    }
}

fn message(outgoing: Outgoing) -> Message {
    match outgoing {
        Outgoing::Text(text) => Message::text(text),
        Outgoing::Ping(payload) => Message::Ping(payload),
        Outgoing::Binary(bytes) => Message::Binary(bytes),
        Outgoing::Close => Message::Close(None),
    }
}

async fn within(
    limit: Duration,
    writing: impl Future<Output = Result<(), tungstenite::Error>>,
) -> Result<(), TunnelError> {
    match tokio::time::timeout(limit, writing).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(TunnelError::Write {
            source: Box::new(source),
        }),
        Err(_) => Err(TunnelError::WriteTimeout { limit }),
    }
}
