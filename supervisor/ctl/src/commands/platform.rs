//! `volume`, `store`, `leadership`, `audit`, `update`.

use crate::{
    Failure, Screen,
    arguments::{Audit, Leadership, Store, Update, Volume},
    http::{Api, Call},
    table::{Table, bytes},
    view,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// How often new audit entries are looked for.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn volume(api: &Api, screen: &Screen, verb: &Volume) -> Result<(), Failure> {
    match verb {
        Volume::List => {}
    }
    let answer = api.call(Call::get("/api/v1/storage/volumes")).await?;
    let volumes: Vec<view::Volume> = answer.parse()?;
    screen.show(&answer.value()?, || {
        let headings = [
            "VOLUME",
            "CLASS",
            "STATE",
            "MODE",
            "GENERATION",
            "SIZE",
            "EXPLANATION",
        ];
        let mut table = Table::new(&headings);
        for volume in volumes {
            table.row([
                volume.id,
                volume.class,
                volume.state,
                volume.mode.unwrap_or_default(),
                volume
                    .generation
                    .map(|number| number.to_string())
                    .unwrap_or_default(),
                volume.size.map(bytes).unwrap_or_default(),
                volume.explanation.unwrap_or_default(),
            ]);
        }
        table.or("There are no volumes.")
    });
    Ok(())
}

pub(super) async fn store(api: &Api, screen: &Screen, verb: &Store) -> Result<(), Failure> {
    match verb {
        Store::Verify => {}
    }
    let answer = api.call(Call::post("/api/v1/storage/verify")).await?;
    let verified: view::Verified = answer.parse()?;
    screen.show(&answer.value()?, || {
        format!(
            "Verified: revision {}, {} records, {} commits.\n  Checksum {}",
            verified.revision, verified.records, verified.commits, verified.checksum
        )
    });
    Ok(())
}

pub(super) async fn leadership(
    api: &Api,
    screen: &Screen,
    verb: Leadership,
) -> Result<(), Failure> {
    let (answer, roles) = match verb {
        Leadership::Show => {
            let answer = api.call(Call::get("/api/v1/leadership")).await?;
            let roles: Vec<view::Role> = answer.parse()?;
            (answer, roles)
        }
        Leadership::Simulate {
            resource,
            role,
            leader,
        } => {
            let mut body = json!({ "resource": resource, "role": role });
            if let Some(leader) = leader {
                body["leader"] = leader.into();
            }
            let call = Call::post("/api/v1/leadership/simulate");
            let answer = api.call(call.json(Bytes::from(body.to_string()))).await?;
            let role: view::Role = answer.parse()?;
            (answer, vec![role])
        }
    };
    screen.show(&answer.value()?, || {
        let mut table = Table::new(&["RESOURCE", "ROLE", "EPOCH", "LEADER"]);
        for role in roles {
            let leader = role.leader.unwrap_or_default();
            table.row([role.resource, role.role, role.epoch.to_string(), leader]);
        }
        table.or("No roles are recorded.")
    });
    Ok(())
}

pub(super) async fn audit(api: &Api, screen: &Screen, verb: &Audit) -> Result<(), Failure> {
    let Audit::Tail { follow, tail } = verb;
    let mut after = 0;
    let mut count = *tail;
    loop {
        let path = format!("/api/v1/audit?after={after}");
        let answer = api.call(Call::get(&path)).await?;
        let entries: Vec<Value> = answer.parse()?;
        let newest = entries.iter().rev().take(count).rev();
        let newest = Value::Array(newest.cloned().collect());
        if screen.is_json() || newest != json!([]) {
            screen.show(&newest, || entry_table(&newest));
        }
        let last = entries.last().and_then(|entry| entry["sequence"].as_u64());
        after = last.unwrap_or(after);
        if !follow {
            return Ok(());
        }
        count = usize::MAX;
        tokio::time::sleep(LOOK).await;
    }
}

fn entry_table(entries: &Value) -> String {
    let entries: Vec<view::AuditEntry> =
        serde_json::from_value(entries.clone()).unwrap_or_default();
    let mut table = Table::new(&["NO", "AT", "WHO", "DID", "TO", "OUTCOME"]);
    for entry in entries {
        table.row([
            entry.sequence.to_string(),
            entry.at.unwrap_or_default(),
            entry.actor,
            entry.action,
            entry.subject,
            entry.outcome,
        ]);
    }
    table.or("")
}

pub(super) async fn update(api: &Api, screen: &Screen, verb: &Update) -> Result<(), Failure> {
    match verb {
        Update::Show => {}
    }
    let answer = api.call(Call::get("/api/v1/updates/os")).await?;
    let updates: view::Updates = answer.parse()?;
    screen.show(&answer.value()?, || {
        let mut text = format!("Driver: {}\n", updates.driver);
        let mut add = |label: &str, value: Option<String>| {
            text.push_str(&format!(
                "{label}: {}\n",
                value.as_deref().unwrap_or("none")
            ));
        };
        add("Current", updates.current);
        add("Staged", updates.staged);
        add("Previous", updates.previous);
        add("Last result", updates.last_result);
        text
    });
    Ok(())
}
