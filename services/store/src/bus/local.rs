//! `local.*`: jobs, ports, audit.

use crate::{audit, error::DatabaseError, notebook::Notebook, vault::Vault};
use piccolo_bus_client::Handlers;
use piccolo_bus_schema::{
    ids::{AppName, UnixSeconds},
    job::Job,
    local::{LocalChange, PortAllocation, ReadAudit, ReadJobs, ReadPorts, RecordAudit, Write},
};
use piccolo_runtime::clock;
use std::sync::Arc;

const JOB: &str = "job";
const PORT: &str = "port";
/// Jobs kept.
const JOBS: u32 = 200;

pub(super) fn handlers(handlers: Handlers, vault: &Arc<Vault>) -> Handlers {
    let clone = || Arc::clone(vault);
    let (writing, jobs, ports, recording, auditing) = (clone(), clone(), clone(), clone(), clone());
    handlers
        .on::<Write, _, _>(move |command, _| {
            let vault = Arc::clone(&writing);
            async move {
                let notebook = vault.open_stores()?.notebook;
                let now = clock::now();
                Ok(notebook
                    .run(move |book| write(book, command.changes, now))
                    .await??)
            }
        })
        .on::<ReadJobs, _, _>(move |_, _| {
            let vault = Arc::clone(&jobs);
            async move {
                let notebook = vault.open_stores()?.notebook;
                let mut jobs = notebook.run(|book| book.all::<Job>(JOB)).await??;
                jobs.sort_by_key(|job| std::cmp::Reverse(job.started));
                Ok(jobs)
            }
        })
        .on::<ReadPorts, _, _>(move |_, _| {
            let vault = Arc::clone(&ports);
            async move {
                let notebook = vault.open_stores()?.notebook;
                Ok(notebook
                    .run(|book| book.all::<PortAllocation>(PORT))
                    .await??)
            }
        })
        .on::<RecordAudit, _, _>(move |command, _| {
            let vault = Arc::clone(&recording);
            async move {
                audit::record(&vault, command).await;
                Ok(())
            }
        })
        .on::<ReadAudit, _, _>(move |command, _| {
            let vault = Arc::clone(&auditing);
            async move {
                let notebook = vault.open_stores()?.notebook;
                Ok(notebook
                    .run(move |book| book.audit_after(command.after))
                    .await??)
            }
        })
}

fn write(
    notebook: &Notebook,
    changes: Vec<LocalChange>,
    now: UnixSeconds,
) -> Result<(), DatabaseError> {
    notebook.in_one(|notebook| {
        for change in changes {
            match change {
                LocalChange::PutJob(job) => {
                    notebook.put(JOB, job.id.as_str(), &job, now)?;
                    notebook.keep_newest(JOB, JOBS)?;
                }
                LocalChange::PutPort(port) => notebook.put(PORT, &port_name(&port), &port, now)?,
                LocalChange::DeletePorts(app) => delete_ports(notebook, &app)?,
            }
        }
        Ok(())
    })
}

fn port_name(port: &PortAllocation) -> String {
    format!("{}/{}", port.app, port.listener)
}

fn delete_ports(notebook: &Notebook, app: &AppName) -> Result<(), DatabaseError> {
    for port in notebook.all::<PortAllocation>(PORT)? {
        if port.app == *app {
            notebook.remove(PORT, &port_name(&port))?;
        }
    }
    Ok(())
}
