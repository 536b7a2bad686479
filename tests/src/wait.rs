//! Waiting on conditions.

use crate::Result;
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const PERIOD: Duration = Duration::from_millis(50);

/// Looks until the condition holds, at most `limit`; then the last reason why it did not.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let start = Instant::now();
    loop {
        let reason = match tokio::time::timeout(limit, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(reason)) => reason.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if start.elapsed() > limit {
            return Err(format!("waited {limit:?} for {what}: {reason}").into());
        }
        tokio::time::sleep(PERIOD).await;
    }
}
