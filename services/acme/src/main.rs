//! `piccolo-acme`: certificates for the portal and every listener that ends TLS here.

use piccolo_acme::Config;
use piccolo_bus_schema::ServiceName;
use piccolo_runtime::Threads;
use std::process::ExitCode;

fn main() -> ExitCode {
    piccolo_runtime::run(ServiceName::Acme, Threads::One, |process| async move {
        let config = Config::from_environment(&process.environment)?;
        piccolo_acme::run(config, process).await
    })
}
