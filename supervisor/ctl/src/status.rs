//! The device on one screen. Pure: what was learnt in, text out.

use crate::{
    table::{Table, bytes, duration, printable},
    view::{App, Certificate, Health, Remote, System},
};
use piccolo_bus_schema::supervisor::{Unit, UnitState};

/// What could be learnt; an `Err` says why a part is missing.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) units: Result<Vec<Unit>, String>,
    pub(crate) health: Result<Health, String>,
    pub(crate) system: Option<System>,
    pub(crate) apps: Result<Vec<App>, String>,
    pub(crate) remote: Result<Remote, String>,
}

impl Overview {
    /// The screen.
    pub(crate) fn render(&self) -> String {
        let mut parts = vec![self.readiness()];
        parts.extend(self.addresses());
        parts.push(match &self.units {
            Ok(units) => unit_table(units) + &failures(units),
            Err(why) => format!("Services: {why}\n"),
        });
        // Without the API there is nothing more to say.
        if self.health.is_ok() {
            parts.push(self.app_part());
            parts.push(self.remote_part());
        }
        parts.join("\n")
    }

    fn readiness(&self) -> String {
        let health = match &self.health {
            Ok(health) => health,
            Err(why) => return format!("Device: the API does not answer\n  {why}\n"),
        };
        let name = self.system.as_ref().map_or_else(String::new, |system| {
            let identity = system.identity.as_ref();
            let place = identity.map_or_else(String::new, |identity| {
                format!("{}, {}, ", identity.hostname, identity.os)
            });
            let age = duration(system.uptime);
            format!("  ({place}piccolo {}, up {age})", system.version)
        });
        let mut text = format!("Device: {}{name}\n", health.status);
        let next = match health.status.as_str() {
            "setup" => "  Next step: piccoloctl setup\n",
            "locked" => "  Next step: piccoloctl unlock\n",
            _ => "",
        };
        text.push_str(next);
        for component in health.components.iter().filter(|part| part.level != "ok") {
            let message = printable(component.message.clone());
            text.push_str(&format!(
                "  {:5} {}: {message}\n",
                component.level, component.name
            ));
        }
        text
    }

    fn addresses(&self) -> Option<String> {
        let portal = self.system.as_ref()?.portal.as_ref()?;
        let mut text = format!("Portal: http {}  https {}\n", portal.http, portal.https);
        if let Ok(remote) = &self.remote
            && let Some(host) = &remote.portal_hostname
        {
            text.push_str(&format!("  Remote address: https://{host}/\n"));
        }
        if !portal.lan_fingerprint.is_empty() {
            let print = &portal.lan_fingerprint;
            text.push_str(&format!("  LAN certificate (SHA-256): {print}\n"));
        }
        Some(text)
    }

    fn app_part(&self) -> String {
        match &self.apps {
            Ok(apps) => app_table(apps),
            Err(why) => format!("Apps: {why}\n"),
        }
    }

    fn remote_part(&self) -> String {
        match &self.remote {
            Ok(remote) => remote_text(remote),
            Err(why) => format!("Remote access: {why}\n"),
        }
    }
}

/// All units.
pub(crate) fn unit_table(units: &[Unit]) -> String {
    let headings = [
        "SERVICE", "STATE", "FOR", "RESTARTS", "MEMORY", "PID", "SAYS",
    ];
    let mut table = Table::new(&headings);
    for unit in units {
        table.row([
            unit.name.clone(),
            state(unit.state).to_owned(),
            duration(unit.for_seconds),
            unit.restarts.to_string(),
            unit.memory.map(bytes).unwrap_or_default(),
            unit.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            unit.status_text.clone().unwrap_or_default(),
        ]);
    }
    table.or("There are no services.\n")
}

/// Why those that failed did.
fn failures(units: &[Unit]) -> String {
    let mut text = String::new();
    for unit in units.iter().filter(|unit| has_failed(unit.state)) {
        let exit = unit.last_exit.as_deref().unwrap_or("no exit seen");
        text.push_str(&format!("  {}: {exit}\n", unit.name));
        for line in unit.last_lines.iter().rev().take(2).rev() {
            text.push_str(&format!("    {}\n", printable(line.clone())));
        }
        text.push_str(&format!(
            "    Next step: piccoloctl service logs {}\n",
            unit.name
        ));
    }
    text
}

const fn has_failed(state: UnitState) -> bool {
    matches!(
        state,
        UnitState::BackOff | UnitState::Degraded | UnitState::Misconfigured
    )
}

const fn state(state: UnitState) -> &'static str {
    match state {
        UnitState::Stopped => "stopped",
        UnitState::Waiting => "waiting",
        UnitState::Starting => "starting",
        UnitState::Ready => "ready",
        UnitState::Stopping => "stopping",
        UnitState::BackOff => "back-off",
        UnitState::Degraded => "degraded",
        UnitState::Misconfigured => "misconfigured",
    }
}

/// All apps with their addresses.
pub(crate) fn app_table(apps: &[App]) -> String {
    let mut table = Table::new(&["APP", "STATUS", "LISTENER", "LOCAL", "REMOTE"]);
    for app in apps {
        let mut name = app.name.clone();
        let mut status = app.status.clone();
        if app.listeners.is_empty() {
            table.row([name.clone(), status.clone()]);
        }
        for listener in &app.listeners {
            // Said once, on the app's first line.
            table.row([
                std::mem::take(&mut name),
                std::mem::take(&mut status),
                listener.name.clone(),
                listener.local_url.clone(),
                listener.remote_url.clone().unwrap_or_default(),
            ]);
        }
    }
    let mut text = table.or("No apps are installed.\n");
    for app in apps {
        if let Some(detail) = &app.detail {
            text.push_str(&format!("  {}: {}\n", app.name, printable(detail.clone())));
        }
    }
    text
}

/// Remote access and its certificates.
pub(crate) fn remote_text(remote: &Remote) -> String {
    let mut text = format!("Remote access: {}", remote.state);
    if let Some(endpoint) = &remote.endpoint {
        text.push_str(&format!(" ({endpoint})"));
    }
    if let Some(since) = &remote.since {
        text.push_str(&format!(" since {since}"));
    }
    text.push('\n');
    for relay in &remote.relays {
        if let Some(milliseconds) = relay.round_trip_ms {
            let streams = relay.streams;
            text.push_str(&format!(
                "  {} {}: round trip {milliseconds:.0} ms, {streams} streams\n",
                relay.endpoint, relay.state
            ));
        }
    }
    let mut add = |label: &str, value: &Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("  {label}: {}\n", printable(value.clone())));
        }
    };
    add("Portal", &remote.portal_hostname);
    add("Last error", &remote.last_error);
    add("Next attempt", &remote.next_attempt);
    for listener in &remote.listeners {
        let claimed = if listener.claimed {
            "claimed"
        } else {
            "not claimed"
        };
        text.push_str(&format!(
            "  {} ({} of {}): {claimed}\n",
            listener.remote_host, listener.name, listener.app
        ));
    }
    if !remote.certificates.is_empty() {
        text.push('\n');
        text.push_str(&certificate_table(&remote.certificates));
    }
    text
}

/// All certificates.
pub(crate) fn certificate_table(certificates: &[Certificate]) -> String {
    let headings = [
        "CERTIFICATE",
        "STATUS",
        "EXPIRES",
        "ISSUER",
        "NEXT ATTEMPT",
        "LAST ERROR",
    ];
    let mut table = Table::new(&headings);
    for certificate in certificates {
        table.row([
            certificate.id.clone(),
            certificate.status.clone(),
            certificate.expires_at.clone().unwrap_or_default(),
            certificate.issuer.clone().unwrap_or_default(),
            certificate.next_attempt.clone().unwrap_or_default(),
            certificate.last_error.clone().unwrap_or_default(),
        ]);
    }
    table.or("There are no certificates yet.\n")
}
