//! Structured lines on stderr; piccolod carries them on. One event, one line, fields not prose.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Installs the process's one subscriber. `filter` is the value of `PICCOLO_LOG`.
pub(crate) fn install(filter: Option<&str>) {
    let filter = filter
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new("info,zeromq=warn,hyper=warn,rustls=warn"));
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
}
