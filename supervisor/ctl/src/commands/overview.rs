//! `status`.

use super::Device;
use crate::{
    Failure, Screen,
    http::{Answer, Api, Call},
    status::Overview,
};
use piccolo_bus_schema::supervisor::Unit;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// A screen that is late is of no use: what is down is shown as that.
const PATIENCE: Duration = Duration::from_secs(4);

type Learnt = Result<Answer, Failure>;

/// Asks everybody; what one can't say, another may. Fails only when nobody answers.
pub(super) async fn show(device: &Device, screen: &Screen) -> Result<(), Failure> {
    let api = &device.api;
    let health = Box::pin(api.call_any(Call::get("/health/detail")));
    let (health, units) = tokio::join!(health, units(device));
    let (health, units) = match (health, units) {
        (Err(_), Err(unit_failure)) => return Err(unit_failure),
        pair => pair,
    };
    let (system, apps, remote) = tokio::join!(
        ask(api, &health, "/api/v1/system"),
        ask(api, &health, "/api/v1/apps"),
        ask(api, &health, "/api/v1/remote/status"),
    );
    if screen.is_json() {
        let document = json!({
            "health": document(&health),
            "system": document(&system),
            "units": units.as_ref().ok(),
            "apps": document(&apps),
            "remote": document(&remote),
        });
        screen.say(&format!("{document:#}"));
        return Ok(());
    }
    let overview = Overview {
        units: units.map_err(brief),
        health: parse(health),
        system: parse(system).ok(),
        apps: parse(apps),
        remote: parse(remote),
    };
    screen.say(&overview.render());
    Ok(())
}

/// Not asked when the API has not answered the first question: each would wait in vain.
async fn ask(api: &Api, health: &Learnt, path: &str) -> Learnt {
    let late = || Failure::TooLate {
        service: "this part",
        seconds: PATIENCE.as_secs(),
    };
    match health {
        Ok(_) => tokio::time::timeout(PATIENCE, Box::pin(api.call(Call::get(path))))
            .await
            .unwrap_or_else(|_| Err(late())),
        Err(_) => Err(late()),
    }
}

/// From the supervisor itself, or from a device elsewhere through its API.
pub(super) async fn units(device: &Device) -> Result<Vec<Unit>, Failure> {
    if let Some(control) = &device.control {
        return Ok(control.status().await?.units);
    }
    let call = Call::get("/api/v1/system/services");
    let mut units: Vec<Value> = device.api.call(call).await?.parse()?;
    for unit in &mut units {
        unit["status_text"] = unit["status"].take();
    }
    serde_json::from_value(Value::Array(units)).map_err(|error| Failure::Garbled {
        service: "the API",
        why: error.to_string(),
    })
}

fn document(learnt: &Learnt) -> Option<Value> {
    learnt.as_ref().ok().and_then(|answer| answer.value().ok())
}

fn parse<T: DeserializeOwned>(learnt: Learnt) -> Result<T, String> {
    learnt.and_then(|answer| answer.parse()).map_err(brief)
}

/// The first line: the rest is for a command of its own.
#[expect(clippy::needless_pass_by_value, reason = "an adapter for map_err")]
fn brief(failure: Failure) -> String {
    let text = failure.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
