//! Who let root do what: each operation leaves one line in the store's audit log.

use piccolo_bus_client::Bus;
use piccolo_bus_schema::{Fault, ServiceName, local::RecordAudit};
use std::time::Duration;

/// The store answers in milliseconds; an operation of root never waits for its audit line.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes audit lines in the background; what the store does not take is in this process's log.
#[derive(Clone)]
pub(crate) struct Audit {
    bus: Bus,
}

impl Audit {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Records one operation and how it ended.
    pub(crate) fn record<T>(
        &self,
        sender: ServiceName,
        action: &'static str,
        subject: &str,
        result: &Result<T, Fault>,
    ) {
        let outcome = match result {
            Ok(_) => "done".to_owned(),
            Err(fault) => format!("refused: {fault}"),
        };
        tracing::info!(action, subject, outcome, %sender, "root operation");
        let line = RecordAudit {
            actor: format!("host (for {sender})"),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome,
        };
        let bus = self.bus.clone();
        tokio::spawn(async move {
            if let Err(fault) = bus.call(line, PATIENCE).await {
                tracing::debug!(%fault, "audit line not taken by the store");
            }
        });
    }
}
