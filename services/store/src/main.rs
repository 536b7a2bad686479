//! `piccolo-store`: the sealed stores, the lock, volume keys, leadership.

use piccolo_bus_schema::ServiceName;
use piccolo_runtime::Threads;
use piccolo_store::Config;
use std::process::ExitCode;

fn main() -> ExitCode {
    piccolo_runtime::run(ServiceName::Store, Threads::One, |process| async move {
        let config = Config::from_environment(&process.environment)?;
        piccolo_store::run(config, process).await
    })
}
