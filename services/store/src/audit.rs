//! Who did what: into the notebook, or into a bounded file while locked.

use crate::{files, vault::Vault};
use piccolo_bus_schema::local::{AuditEntry, AuditRecorded, RecordAudit};
use piccolo_runtime::clock;
use std::{io, path::Path};

/// Entries that wait for the unlock; the oldest go first.
const WAITING: usize = 200;
/// Longest text of one field, in characters.
const FIELD: usize = 300;

/// Records an entry. Best effort for the caller: a full disk must not keep an owner out.
pub(crate) async fn record(vault: &Vault, entry: RecordAudit) {
    let cut = |text: String| text.chars().take(FIELD).collect::<String>();
    let action = cut(entry.action);
    let entry = AuditEntry {
        sequence: 0,
        at: clock::now(),
        actor: cut(entry.actor),
        action: action.clone(),
        subject: cut(entry.subject),
        outcome: cut(entry.outcome),
    };
    let recorded = match vault.open_stores() {
        Ok(open) => match open
            .notebook
            .run(move |notebook| notebook.audit(entry))
            .await
        {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(fault) => Err(fault.to_string()),
        },
        Err(_) => wait(&vault.control_dir(), entry).map_err(|error| error.to_string()),
    };
    match recorded {
        Ok(()) => vault.bus().publish(&AuditRecorded { action }),
        Err(error) => tracing::error!(error, action, "audit entry lost"),
    }
}

/// The store's own deeds.
pub(crate) async fn own(vault: &Vault, actor: String, action: &str, outcome: &str) {
    let entry = RecordAudit {
        actor,
        action: action.to_owned(),
        subject: "device".to_owned(),
        outcome: outcome.to_owned(),
    };
    record(vault, entry).await;
}

fn wait(directory: &Path, entry: AuditEntry) -> io::Result<()> {
    let path = directory.join("audit-pending.json");
    let mut waiting = read(&path)?;
    waiting.push(entry);
    let surplus = waiting.len().saturating_sub(WAITING);
    waiting.drain(..surplus);
    files::replace(&path, &serde_json::to_vec(&waiting)?)
}

fn read(path: &Path) -> io::Result<Vec<AuditEntry>> {
    match files::read(path)? {
        // A torn file would only lose what waited in it.
        Some(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        None => Ok(Vec::new()),
    }
}

/// Joins what waited to the notebook, at unlock.
pub(crate) async fn join(vault: &Vault) {
    let path = vault.control_dir().join("audit-pending.json");
    let Ok(waiting) = read(&path) else { return };
    let Ok(open) = vault.open_stores() else {
        return;
    };
    if waiting.is_empty() {
        return;
    }
    let joined = open
        .notebook
        .run(move |notebook| {
            waiting
                .into_iter()
                .try_for_each(|entry| notebook.audit(entry))
        })
        .await;
    if matches!(joined, Ok(Ok(()))) {
        let _ = std::fs::remove_file(path);
    }
}
