//! `service`: through piccolod's own socket on the device, through the API elsewhere.

use super::{Device, overview, segment};
use crate::{
    Failure, Screen,
    arguments::{Logs, Service},
    control::Control,
    http::Call,
    status::unit_table,
    table::printable,
};
use piccolo_bus_schema::supervisor::Request;
use serde_json::json;

pub(super) async fn run(device: &Device, screen: &Screen, verb: Service) -> Result<(), Failure> {
    match (verb, &device.control) {
        (Service::List, _) => {
            let units = overview::units(device).await?;
            screen.show(&json!(units), || unit_table(&units));
            Ok(())
        }
        (Service::Start { name }, Some(control)) => {
            let request = Request::Start { unit: name.clone() };
            order(control, screen, &request, &format!("{name} is starting.")).await
        }
        (Service::Stop { name }, Some(control)) => {
            let request = Request::Stop { unit: name.clone() };
            order(control, screen, &request, &format!("{name} is stopping.")).await
        }
        (Service::Restart { name }, Some(control)) => {
            let request = Request::Restart { unit: name.clone() };
            order(control, screen, &request, &format!("{name} is restarting.")).await
        }
        (Service::Restart { name }, None) => {
            let path = format!("/api/v1/system/services/{}/restart", segment(&name));
            device.api.call(Call::post(&path)).await?;
            screen.show(&json!({}), || format!("{name} is restarting."));
            Ok(())
        }
        (Service::Start { .. } | Service::Stop { .. }, None) => Err(only_on_the_device()),
        (Service::Logs(logs), Some(control)) => {
            let show = |line: &str| screen.say(&printable(line.to_owned()));
            control.logs(&logs.name, logs.tail, logs.follow, show).await
        }
        (Service::Logs(logs), None) => remote_logs(device, screen, &logs).await,
    }
}

async fn order(
    control: &Control,
    screen: &Screen,
    request: &Request,
    done: &str,
) -> Result<(), Failure> {
    control.order(request).await?;
    screen.show(&json!({}), || done.to_owned());
    Ok(())
}

async fn remote_logs(device: &Device, screen: &Screen, logs: &Logs) -> Result<(), Failure> {
    if logs.follow {
        return Err(only_on_the_device());
    }
    let name = segment(&logs.name);
    let path = format!("/api/v1/system/services/{name}/logs?tail={}", logs.tail);
    let call = Call::get(&path).accept("text/plain");
    let answer = device.api.call(call).await?;
    screen.say(&answer.text());
    Ok(())
}

fn only_on_the_device() -> Failure {
    let why = "This works on the device itself only; leave --url out and run it there as root.";
    Failure::Usage(why.to_owned())
}
