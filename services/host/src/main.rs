//! `piccolo-host`: root's hands, kept narrow.

use piccolo_bus_schema::ServiceName;
use piccolo_host::Config;
use piccolo_runtime::Threads;
use std::process::ExitCode;

fn main() -> ExitCode {
    piccolo_runtime::run(ServiceName::Host, Threads::One, |process| async move {
        let config = Config::from_environment(&process.environment)?;
        piccolo_host::run(config, process).await
    })
}
