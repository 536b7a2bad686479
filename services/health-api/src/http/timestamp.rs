//! Times as the API shows them: RFC 3339 in UTC.

use piccolo_bus_schema::ids::UnixSeconds;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// `2026-12-01T14:09:51Z`; nothing for a clock that was not set.
pub(crate) fn rfc3339(at: UnixSeconds) -> Option<String> {
    let seconds = i64::try_from(at.0).ok().filter(|seconds| *seconds > 0)?;
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .format(&Rfc3339)
        .ok()
}
