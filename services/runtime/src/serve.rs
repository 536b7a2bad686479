//! Serving the bus: endpoints bound, READY said, watchdog fed, until asked to stop.

use crate::{Board, Exit, Shutdown};
use piccolo_bus_client::{Bus, Handlers};
use piccolo_bus_schema::health;
use sd_notify::NotifyState;

/// Binds the service's endpoints, says READY, and answers commands until shutdown is requested.
///
/// READY is said after the endpoints are bound. What else must be true before (dependencies
/// answered, ports bound) is awaited by the caller first. The watchdog is fed by the loop that
/// serves. `health.report` is answered from the board.
pub async fn serve(
    bus: &Bus,
    board: &Board,
    shutdown: &Shutdown,
    handlers: Handlers,
) -> Result<(), Exit> {
    let server = bus.bind().await.map_err(Exit::failed)?;
    let reported = board.clone();
    let handlers = handlers.on::<health::Report, _, _>(move |_, _| {
        let report = reported.report();
        async move { Ok(report) }
    });
    notify(&[NotifyState::Ready]);
    tracing::info!(service = %bus.me(), "ready");
    let serving = server.run(handlers, || notify(&[NotifyState::Watchdog]));
    let outcome = tokio::select! {
        outcome = serving => outcome.map_err(Exit::failed),
        () = shutdown.requested() => Ok(()),
    };
    notify(&[NotifyState::Stopping]);
    outcome
}

/// Says a sentence about itself to piccolod: `service list` shows it.
pub fn say_status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// Asks piccolod for more time to start or stop.
pub fn extend_timeout(by: std::time::Duration) {
    let micros = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::ExtendTimeoutUsec(micros)]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor can't be notified");
    }
}
