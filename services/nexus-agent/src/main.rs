//! `piccolo-nexus-agent`: the tunnel to the relay.

use piccolo_bus_schema::ServiceName;
use piccolo_nexus_agent::Config;
use piccolo_runtime::{Exit, Threads};
use std::process::ExitCode;

fn main() -> ExitCode {
    piccolo_runtime::run(
        ServiceName::NexusAgent,
        Threads::PerCore,
        |process| async move {
            let config =
                Config::from_environment(&process.environment).map_err(Exit::Configuration)?;
            piccolo_nexus_agent::run(config, process).await
        },
    )
}
