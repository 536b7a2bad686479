//! `piccolo-router-proxy`: the edge. Started by piccolod; takes no arguments.

#![forbid(unsafe_code)]

use piccolo_bus_schema::ServiceName;
use piccolo_router_proxy::Config;
use piccolo_runtime::Threads;
use std::process::ExitCode;

fn main() -> ExitCode {
    let service = ServiceName::RouterProxy;
    piccolo_runtime::run(service, Threads::PerCore, |process| async move {
        let config = Config::from_environment(&process.environment)?;
        piccolo_router_proxy::run(config, process).await
    })
}
