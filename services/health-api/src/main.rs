//! `piccolo-health-api`: the HTTP API, sessions, the health endpoint, the event stream, the portal.

use piccolo_bus_schema::ServiceName;
use piccolo_health_api::Config;
use piccolo_runtime::Threads;
use std::process::ExitCode;

fn main() -> ExitCode {
    piccolo_runtime::run(ServiceName::HealthApi, Threads::One, |process| async move {
        let config = Config::from_environment(&process.environment)?;
        piccolo_health_api::run(config, process).await
    })
}
