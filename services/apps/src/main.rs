//! `piccolo-apps`: container apps, from spec to endpoint.

use piccolo_apps::Config;
use piccolo_bus_schema::ServiceName;
use piccolo_runtime::Threads;
use std::process::ExitCode;

fn main() -> ExitCode {
    piccolo_runtime::run(ServiceName::Apps, Threads::One, |process| async move {
        let config = Config::from_environment(&process.environment)?;
        piccolo_apps::run(config, process).await
    })
}
