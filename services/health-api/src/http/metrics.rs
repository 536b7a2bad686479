//! `/metrics`: Prometheus text format
//! (https://prometheus.io/docs/instrumenting/exposition_formats/).

use crate::App;
use axum::extract::State;
use http::{HeaderName, HeaderValue, header};
use piccolo_bus_schema::{
    health::{Level, Readiness},
    supervisor::UnitState,
};
use std::fmt::Write;

/// GET `/metrics`.
pub(crate) async fn show(State(app): State<App>) -> ([(HeaderName, HeaderValue); 1], String) {
    let mut text = String::new();
    let look = app.watch.look();
    metric(
        &mut text,
        "piccolo_ready",
        "gauge",
        "1 when the device is ready",
    );
    line(
        &mut text,
        "piccolo_ready",
        "",
        u64::from(look.readiness == Readiness::Ready),
    );
    metric(
        &mut text,
        "piccolo_component_level",
        "gauge",
        "0 ok, 1 warn, 2 error",
    );
    for component in &look.components {
        let level = match component.level {
            Level::Ok => 0,
            Level::Warn => 1,
            Level::Error => 2,
        };
        let labels = format!("{{component=\"{}\"}}", component.name);
        line(&mut text, "piccolo_component_level", &labels, level);
    }
    if let Some(status) = app.watch.units() {
        metric(
            &mut text,
            "piccolo_uptime_seconds",
            "gauge",
            "Since the supervisor started",
        );
        line(&mut text, "piccolo_uptime_seconds", "", status.uptime);
        metric(
            &mut text,
            "piccolo_unit_ready",
            "gauge",
            "1 when the unit is ready",
        );
        for unit in &status.units {
            let labels = format!("{{unit=\"{}\"}}", unit.name);
            line(
                &mut text,
                "piccolo_unit_ready",
                &labels,
                u64::from(unit.state == UnitState::Ready),
            );
        }
        metric(
            &mut text,
            "piccolo_unit_restarts_total",
            "counter",
            "Starts after the first one",
        );
        for unit in &status.units {
            let labels = format!("{{unit=\"{}\"}}", unit.name);
            line(
                &mut text,
                "piccolo_unit_restarts_total",
                &labels,
                u64::from(unit.restarts),
            );
        }
        metric(
            &mut text,
            "piccolo_unit_memory_bytes",
            "gauge",
            "Resident memory",
        );
        for unit in &status.units {
            let labels = format!("{{unit=\"{}\"}}", unit.name);
            line(
                &mut text,
                "piccolo_unit_memory_bytes",
                &labels,
                unit.memory.unwrap_or(0),
            );
        }
    }
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text)
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "{name}{labels} {value}");
}
