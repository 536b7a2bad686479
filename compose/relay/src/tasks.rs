//! The tasks of one relay, so that they can be ended together.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks end at their next wait; none should need longer.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// Spawns tasks that end when the relay stops.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Starts `task`; it is dropped where it waits when the relay stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Ends every task: listeners and connections close without further words.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        let _ = timeout(STOP_DEADLINE, self.tracker.wait()).await;
    }
}
