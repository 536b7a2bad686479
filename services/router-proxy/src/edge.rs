//! What every connection shares: the table, challenges, ways to the apps, limits and the end.

use crate::{
    admission::Admission, certificate::Shown, challenge::Challenges, proxy::upstream::Upstreams,
    table::Table,
};
use arc_swap::{ArcSwap, Guard};
use std::{
    future::Future,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long connections may finish what they do when the edge stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Shared by all listeners and connections.
pub(crate) struct Edge {
    table: ArcSwap<Table>,
    challenges: Mutex<Challenges>,
    pub(crate) upstreams: Upstreams,
    pub(crate) lan_certificate: Shown,
    pub(crate) admission: Admission,
    /// Every connection and every upgraded stream.
    pub(crate) tasks: TaskTracker,
    /// Accept nothing more; finish what runs.
    pub(crate) closing: CancellationToken,
    /// Finish nothing more.
    pub(crate) cut: CancellationToken,
}

impl Edge {
    pub(crate) fn new(runtime_dir: &Path, lan_certificate: Shown) -> Arc<Self> {
        Arc::new(Self {
            table: ArcSwap::from_pointee(Table::empty()),
            challenges: Mutex::default(),
            upstreams: Upstreams::new(runtime_dir),
            lan_certificate,
            admission: Admission::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
        })
    }

    /// The snapshot that serves now.
    pub(crate) fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Replaces the snapshot whole.
    pub(crate) fn swap(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// The published challenges; never held over an await.
    pub(crate) fn challenges(&self) -> MutexGuard<'_, Challenges> {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits what precedes a request; `None` when the edge closes first. No request is lost by it:
    /// a connection that is not ready yet would be closed as soon as it is.
    pub(crate) async fn unless_closing<F: Future>(&self, opening: F) -> Option<F::Output> {
        tokio::select! {
            () = self.closing.cancelled() => None,
            opened = opening => Some(opened),
        }
    }

    /// Stops accepting, lets connections finish for five seconds, cuts the rest and says how many.
    pub(crate) async fn drain(&self) -> usize {
        self.closing.cancel();
        self.tasks.close();
        let drained = tokio::time::timeout(DRAIN, self.tasks.wait()).await;
        let left = if drained.is_ok() { 0 } else { self.tasks.len() };
        self.cut.cancel();
        left
    }
}
