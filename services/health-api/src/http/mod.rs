//! One file per noun of the API: its requests, its views, its handlers.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod certificates;
pub(crate) mod crypto;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod leadership;
pub(crate) mod metrics;
pub(crate) mod remote;
pub(crate) mod storage;
pub(crate) mod system;
pub(crate) mod timestamp;
pub(crate) mod updates;

use std::time::Duration;

/// For commands that only read or write a record.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// For commands that stretch a password and mount volumes.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(60);
